"""Published numbers next to the spread over victims."""

import pytest

from privbench.papers.he2020.comparable import comparable
from privbench.papers.he2020.published import PAPER_IMAGES
from privbench.papers.he2020.victims import LEAST, spread
from tests.records import put_images, record, with_victim

TEN = PAPER_IMAGES["mnist"][0]
PSNR, SSIM = 10.305, 0.5105
"""Of figure 9 without a defense."""


def attacked(seed: int, psnr: float, ssim: float, **others):
    """A record of the published attack without a defense, on the ten images."""
    one = record(
        "none", 0.0, attack="rmle_paper", targets=10, seed=seed,
        **{"overrides": [f"seed={seed}"], **others},
    )  # fmt: skip
    one.config["include"] = TEN
    one.per_image["index"] = list(TEN)
    put_images(one, "psnr_db", [psnr] * 10)
    put_images(one, "ssim", [ssim] * 10)
    return one


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
        str(LEAST),
    ]
    assert found[-1] == verdict


def test_victims_whose_attack_never_moved_are_counted_apart():
    """Their score is the start's."""
    records = [attacked(seed, PSNR, SSIM) for seed in range(LEAST)]
    records.append(attacked(LEAST, 6.4, 0.004, notes={"never_moved": 1}))
    assert row(records, "PSNR [dB]")[4:] == ["10.30"] * 3 + [str(LEAST), "1", "within"]
    rows, used = spread(records[1:])
    assert len(rows) == 1
    assert not used


def test_a_seed_counts_once_by_the_victim_with_most_numbers():
    """Two machines trained seed 0; one of them has other settings too."""
    records = [attacked(seed, PSNR, SSIM) for seed in range(1, LEAST)]
    own = [with_victim(attacked(0, 15.0, SSIM), "a")]
    own += [
        with_victim(record("gaussian", s, "input", attack="blind", seed=0), "a") for s in (0.5, 1)
    ]
    other = with_victim(attacked(0, 5.0, SSIM, key="other"), "b")
    for order in ([*own, other], [other, *own]):
        found = row([*order, *records], "PSNR [dB]")
        assert found[6:8] == ["15.00", str(LEAST)]


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
        ["accuracy", "0.831", "0.600", "0.800", "1.000", str(LEAST)]
    ]
    assert {one.key for one in used} == {one.key for one in records[:-1]}


def test_many_victims_at_few_settings_do_not_displace_few_victims_at_all_of_them():
    """Elsewhere the targets count that most settings have, not those that most records have."""
    settings = [("none", 0.0), ("dropout", 0.3), ("dropout", 0.6)]
    whole = [record(*at, attack="rmle_paper", targets=12, seed=1) for at in settings]
    many = [attacked(seed, PSNR, SSIM) for seed in range(10)]
    assert {one.key for one in comparable([*many, *whole])} == {one.key for one in whole}
    assert len(spread([*many, *whole])[0]) > 1
