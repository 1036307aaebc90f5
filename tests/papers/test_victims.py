"""Published numbers next to the spread over victims."""

import itertools

import pytest

from privbench.papers.he2020.comparable import comparable
from privbench.papers.he2020.victims import LEAST, spread
from tests.paper_records import attacked, undefended
from tests.records import record, with_victim

PSNR, SSIM = undefended()


def row(records, metric: str, source: str = "fig9"):
    rows, _ = spread(records)
    (found,) = [one for one in rows[1:] if (one[0], one[2]) == (source, metric)]
    return found


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [
        (-2.001, "within"),
        (0.501, "-0.50 below all, within our tolerance"),
        (5.001, "-5.00 below all"),
        (-13.001, "+9.00 above all"),
    ],
)
def test_whether_a_published_number_lies_between_victims(shift, verdict):
    """Victims lie from it plus a shift to one decibel more each."""
    records = [attacked(seed, PSNR + shift + seed, SSIM) for seed in range(LEAST)]
    found = row(records, "PSNR [dB]")
    assert found[3:8] == [
        f"{PSNR:.2f}",
        *(f"{PSNR + shift + at:.2f}" for at in (0, 2, 4)),
        f"{LEAST} ({LEAST})",
    ]
    assert found[-1] == verdict


def test_victims_whose_attack_never_moved_are_counted_apart():
    """Their score is the start's."""
    records = [attacked(seed, PSNR, SSIM) for seed in range(LEAST)]
    records.append(attacked(LEAST, 6.4, 0.004, notes={"never_moved": 1}))
    assert row(records, "PSNR [dB]")[4:] == ["10.30"] * 3 + [f"{LEAST} ({LEAST})", "1", "within"]
    rows, used = spread(records[1:])
    assert len(rows) == 1
    assert not used


def test_a_victim_is_a_set_of_weights():
    """Two machines trained seed 0: its victims count both, and a cell in bf16 counts as its own."""
    records = [attacked(seed, PSNR, SSIM) for seed in range(1, LEAST)]
    records += [with_victim(attacked(0, 15.0, SSIM), "a"), with_victim(attacked(0, 5.0, SSIM), "b")]
    rounded = with_victim(attacked(0, 99.0, SSIM, notes={"precision": "bf16-mixed"}, key="r"), "b")
    rounded.config["attack"]["precision"] = "bf16-mixed"
    for order in ([rounded, *records], [*records, rounded]):
        found = row(order, "PSNR [dB]")
        assert [found[4], *found[6:8]] == ["5.00", "15.00", f"{LEAST + 1} ({LEAST})"]


def test_other_images_of_the_adversary_are_another_setting():
    """As many as usual count, and of figure 15 those that are not the victim's."""
    records = [attacked(seed, PSNR, SSIM) for seed in range(LEAST)]
    few = attacked(LEAST, 99.0, SSIM)
    few.config["dataset"]["aux_images"] = 500
    assert row([*records, few], "PSNR [dB]")[6:8] == ["10.30", f"{LEAST} ({LEAST})"]


def test_the_accuracy_under_a_defense_is_that_of_any_attack_on_it():
    """Sent once; without a defense it is no number of figure 9."""
    records = [
        record("gaussian", 1.0, "input", attack="blind", accuracy=0.6 + 0.1 * seed, seed=seed)
        for seed in range(LEAST)
    ]
    records.append(record("gaussian", 1.0, "input", attack="blind", accuracy=0.1, seed=9,
                          transmissions=16))  # fmt: skip
    rows, used = spread(records)
    assert [one[2:8] for one in rows[1:]] == [
        ["accuracy", "0.831", "0.600", "0.800", "1.000", f"{LEAST} ({LEAST})"]
    ]
    assert {one.key for one in used} == {one.key for one in records[:-1]}


def test_of_a_victims_accuracies_the_mean_of_most_draws_counts():
    """Whichever key comes last."""
    for order in ("ab", "ba"):
        records = []
        for seed in range(LEAST):
            for draws, accuracy, key in ((1, 0.5, order[0]), (3, 0.8, order[1])):
                one = record("gaussian", 1.0, "input", attack="blind", accuracy=accuracy,
                             seed=seed, key=f"{key}{seed}")  # fmt: skip
                one.config["accuracy_draws"] = draws
                records.append(one)
        assert row(records, "accuracy")[4:7] == ["0.800"] * 3


def test_many_victims_at_few_settings_do_not_displace_few_victims_at_all_of_them():
    """A table has the targets of most published settings, not those of most records."""
    settings = [("none", 0.0), ("dropout", 0.3), ("dropout", 0.6)]
    whole = [record(*at, attack="rmle_paper", targets=12, seed=1) for at in settings]
    many = [attacked(seed, PSNR, SSIM) for seed in range(10)]
    for seed, rate in itertools.product(range(10), (0.1, 0.2, 0.3, 0.4)):
        many.append(attacked(seed, PSNR, SSIM, key=f"{seed} {rate}"))
        many[-1].config["attack"]["lr"] = rate  # settings that are not published
    assert {one.key for one in comparable([*many, *whole])} == {one.key for one in whole}
    assert len(spread([*many, *whole])[0]) > 1
