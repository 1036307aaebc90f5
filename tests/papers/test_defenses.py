"""The table of all defenses: rows of records, verdicts on claims, commands for what is missing."""

import dataclasses
import shlex

import pytest

from privbench.defenses.none import NoDefense
from privbench.papers.defenses import __main__ as command
from privbench.papers.defenses.claims import MISSING, hides_images
from privbench.papers.defenses.commands import (
    further_seeds,
    in_table,
    lacking,
    missing,
    other_options,
    planned,
)
from privbench.papers.defenses.document import document, verdicts
from privbench.papers.defenses.results import defended
from privbench.papers.defenses.rows import AMORTISED, Row, merged, read, rows_of, write
from privbench.papers.verdict import FAILS, HOLDS, INCONCLUSIVE
from tests.records import kept, record
from tests.support import instantiated, options

BLIND = {"psnr_db": 12.0, "ssim": 0.3, "identification": 0.01}


def row(
    defense="none", strength=0.0, attack="inverse", ssim=0.9, psnr_db=22.0, lost=0.0,
    option="level", **others
):  # fmt: skip
    """A row whose intervals reach .02, .2 dB and .002 to either side."""
    values = {
        "dataset": "mnist", "victim": "lenet5", "split": "relu2", "site": "features", "seed": 0,
        "targets": 100, "transmissions": 1, "adaptive": attack != "rmle",
        "accuracy": 0.99 - lost / 100, "accuracy_undefended": 0.99, "payload_bits": 32768.0,
        "class_radius": float("nan"),
        "seconds": 60.0, "victim_sha256": "0" * 12, "finished": "2026-11-28T12:00:00+00:00",
        "key": f"{defense}{strength}{attack}", "defense_code": "", "attack_code": "", "battery": "",
        "command": f"python -m privbench dataset=mnist split=relu2 targets=100 seed=0 "
                   f"defense={defense} defense.{option}={strength:g} attack={attack}",
    }  # fmt: skip
    # as much of the images is identified as SSIM is left between .3 and .9
    identified = min(1.0, max(0.01, 0.01 + 0.99 * (ssim - 0.3) / 0.6))
    values |= {"ssim": ssim, "psnr_db": psnr_db, "identification": identified, **others}
    for name, width in (
        ("accuracy", 0.002),
        ("psnr_db", 0.2),
        ("ssim", 0.02),
        ("identification", 0.03),
    ):
        values |= {f"{name}_low": values[name] - width, f"{name}_high": values[name] + width}
    values |= {f"{name}_baseline": value for name, value in BLIND.items()}
    return Row(defense=defense, strength=strength, attack=attack, **{**values, **others})


NONE = [row(attack="rmle", ssim=0.85), row(attack="inverse"), row(attack="rmle_prior")]


def verdict(text, *rows):
    (found,) = [verdict for name, verdict in verdicts([*NONE, *rows]).items() if text in name]
    return found


def _curve(defense, *points, **others):
    """Rows of (strength, lost, SSIM, PSNR)."""
    return [
        row(defense, strength, ssim=ssim, psnr_db=psnr, lost=lost, **others)
        for strength, lost, ssim, psnr in points
    ]


def _radii(*points):
    """Rows of label smoothing by two attacks of (radius of the classes, PSNR)."""
    return [
        row("label_smoothing", strength, attack, psnr_db=psnr, class_radius=radius)
        for strength, (radius, psnr) in enumerate(points, 1)
        for attack in ("inverse", "rmle_prior")
    ]


def _both(defense, *points):
    """A curve by each of the strong attacks."""
    return [
        one for name in ("inverse", "rmle_prior") for one in _curve(defense, *points, attack=name)
    ]


NOISE = _both("noise_aware(gaussian)", (0.4, 0, 0.9, 22), (1, 2, 0.7, 18), (2, 6, 0.5, 14))
CASES = [
    # the strongest strength that costs 2 points decides, by the attack that the claim names
    ("Shredder", [*_curve("shredder", (1, 1, 0.4, 13), (2, 9, 0.1, 9), attack="rmle_adaptive"),
                  *_both("shredder", (1, 1, 0.4, 13))], HOLDS),
    # another attack was not run, or recovers more
    ("Shredder", _curve("shredder", (1, 1, 0.4, 13), attack="rmle_adaptive"), INCONCLUSIVE),
    ("Shredder", [*_curve("shredder", (1, 1, 0.4, 13), attack="rmle_adaptive"),
                  *_both("shredder", (1, 1, 0.8, 20))], INCONCLUSIVE),
    ("Shredder", _curve("shredder", (1, 1, 0.8, 20), (2, 9, 0.1, 9), attack="rmle_adaptive"), FAILS),
    ("Shredder", _curve("shredder", (1, 1, 0.57, 15), attack="rmle_adaptive"), INCONCLUSIVE),
    # at a higher cost alone it may fall, and cannot stand
    ("Shredder", _curve("shredder", (1, 9, 0.4, 13), attack="rmle_adaptive"), INCONCLUSIVE),
    ("Shredder", _curve("shredder", (1, 9, 0.8, 20), attack="rmle_adaptive"), FAILS),
    ("Shredder", _curve("shredder", (1, 1, 0.1, 9), attack="rmle"), MISSING),
    ("NoPeek", [*_curve("nopeek", (1, 1, 0.1, 9), attack="rmle"),
                *_curve("nopeek", (1, 1, 0.8, 20))], FAILS),
    # 1 dB is a ratio of 1.26 of squared errors; between two strengths the noise is interpolated
    ("CEM", [*NOISE, *_both("cem(gaussian)", (1, 1, 0.8, 18.5), (2, 2, 0.7, 16.5))], HOLDS),
    ("CEM", [*NOISE, *_both("cem(gaussian)", (1, 1, 0.8, 21), (2, 2, 0.7, 19))], FAILS),
    # within the interval of the accuracy, and where only one strong attack met both
    ("CEM", [*NOISE, *_both("cem(gaussian)", (1, 1, 0.8, 19), (2, 2, 0.7, 16.9))], INCONCLUSIVE),
    ("CEM", [*NOISE, *_curve("cem(gaussian)", (1, 1, 0.8, 18), (2, 2, 0.7, 16))], INCONCLUSIVE),
    ("CEM", [*NOISE, *_both("cem(gaussian)", (1, 9, 0.8, 19))], INCONCLUSIVE),
    ("CEM", [*NOISE, *_curve("cem(gaussian)", (1, 1, 0.8, 18), attack="rmle")], MISSING),
    ("dropout .8", _curve("noise_aware(dropout)", (0.8, 1, 0.9, 21)), HOLDS),
    ("dropout .8", _curve("noise_aware(dropout)", (0.8, 5, 0.9, 21)), FAILS),
    ("dropout .8", _curve("noise_aware(dropout)", (0.6, 1, 0.9, 21)), MISSING),
    # by the best attack of either side and by each beside itself: 5 dB, 7 dB
    ("Label smoothing", [*_curve("label_smoothing", (0.3, 0, 0.8, 15), (0.8, 9, 0.5, 9)),
                         *_curve("label_smoothing", (0.3, 0, 0.7, 14), attack="rmle_prior")], HOLDS),
    ("Label smoothing", _curve("label_smoothing", (0.3, 0, 0.8, 15)), INCONCLUSIVE),
    ("Label smoothing", [*_curve("label_smoothing", (0.3, 0, 0.8, 17)),
                         *_curve("label_smoothing", (0.3, 0, 0.4, 9), attack="rmle_prior")], FAILS),
    ("Label smoothing", _curve("label_smoothing", (0.3, 0, 0.8, 9), attack="rmle"), MISSING),
    # the best attack falls from 32 to 22 dB, the others by 0 and 1: both are true
    ("Label smoothing", [row(attack="rmle", ssim=0.85, psnr_db=32.0),
                         *_curve("label_smoothing", (0.3, 0, 0.8, 22)),
                         *_curve("label_smoothing", (0.3, 0, 0.4, 21), attack="rmle_prior")],
     INCONCLUSIVE),
    ("radius", _radii((0.2, 18), (0.4, 20), (0.6, 22)), HOLDS),
    ("radius", _radii((0.2, 18), (0.4, 22), (0.6, 20)), FAILS),
    ("radius", _radii((0.2, 18), (0.4, 20), (0.6, 20.1)), INCONCLUSIVE),
    ("radius", _radii((0.2, 18), (0.4, 20)), MISSING),
    ("radius", _radii((0.2, 18), (0.4, 20), (0.6, 22))[::2], MISSING),
    ("top-k", _curve("topk", (0.9, 1, 0.8, 20)), FAILS),
    ("4 bits", _curve("quantize", (1 / 16, 0, 0.9, 22)), FAILS),
    ("1 bit ", _curve("quantize", (1 / 2, 9, 0.4, 13)), INCONCLUSIVE),
    # little of SSIM is left, and most images are identified
    ("1 bit ", [row("quantize", 0.5, ssim=0.4, identification=0.9, attack=name)
                for name in ("inverse", "rmle_prior")], FAILS),
    (
        "1 bit ",
        [
            *_curve("quantize", (1 / 2, 9, 0.4, 13)),
            *_curve("quantize", (1 / 2, 9, 0.4, 13), attack="rmle_prior"),
        ],
        HOLDS,
    ),
    ("8 bits", _curve("quantize", (1 / 2, 9, 0.4, 13)), MISSING),
    ("8 bits", [], MISSING),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "rows", "state"), CASES)
def test_a_claim_is_judged_by_the_rows(claim, rows, state):
    """Each can stand, fall and stay open, and says why."""
    found, reason = verdict(claim, *rows)
    assert found == state, reason
    assert len(reason) > 15


def test_a_ratio_of_squared_errors_is_that_of_the_means_in_decibel():
    """From 19.0 dB, what noise has at a point of lost accuracy is 20 dB: 26 % more.

    Each error is known to .2 dB, and the accuracy to .2 points, over which noise changes by .4 dB.
    """
    _, reason = verdict("CEM", *NOISE, *_both("cem(gaussian)", (1, 1, 0.8, 19)))
    assert "+26 % [+5, +51] at strength 1" in reason
    assert pytest.approx(51, abs=0.5) == 100 * (10 ** ((1 + 0.4 + 0.4) / 10) - 1)
    _, reason = verdict("CEM", *NOISE, *_both("cem(gaussian)", (1, 5.9, 0.8, 14)))
    assert "[-100, " in reason, "its accuracy may be below the curve's"


@pytest.mark.long
def test_every_defense_is_in_the_sweep_with_an_attack_that_knows_it():
    """At four strengths or more, by all but one attack; without a likelihood, by the prior through the edge."""
    plans = planned()
    assert {name.partition("(")[0] for name in plans} == set(options("defense"))
    for name, plan in plans.items():
        assert {"rmle", "inverse", "rmle_prior"} <= set(plan.attacks), name
        strengths = len({typed for _, typed in plan.cells})
        assert strengths == 1 if name == "none" else strengths >= 4, name
        # behind noise that is trained with, new draws at one strength
        single = len([name for name, _ in plan.cells if name == "inverse_adaptive"])
        attacks = len(plan.attacks) - single
        assert single in (0, 1) and len(set(plan.cells)) == attacks * strengths + single, name
        channel = getattr(instantiated("defense", name.partition("(")[0]), "channel", NoDefense())
        assert ("(" in name) == (channel != NoDefense()), f"{name} is not what its records say"
    assert AMORTISED in plans["gaussian"].attacks


def test_commands_complete_a_defense_and_run_further_seeds_at_two_points():
    """The nearest strength of seed 0; nothing where the rows are there."""
    plan = planned()["nopeek"]
    whole = [
        row("nopeek", strength, attack, lost=lost, option="weight")
        for strength, lost in ((1, 0.2), (2, 1.7), (5, 2.4), (15, 6))
        for attack in plan.attacks
    ]
    lacking = missing(whole, ["dataset=mnist"])
    assert "nopeek" not in lacking and len(lacking) == len(planned()) - 1
    assert (
        lacking["bottleneck"]
        == "python -m privbench sweeps=defenses dataset=mnist defense=bottleneck"
    )
    assert "nopeek" in missing(whole[1:], [])
    other = row("nopeek", 30, "inverse", option="weight")
    assert "nopeek" in missing([*whole[1:], other], []), "a strength that is not the sweep's"
    typed = shlex.split(further_seeds(whole)["nopeek"])
    assert typed[3:] == ["sweeps=defenses", "dataset=mnist", "defense=nopeek", "defense.weight=2",
                         "attack=rmle,rmle_prior,inverse", "seed=1,2"]  # fmt: skip
    seeds = [dataclasses.replace(one, seed=s) for one in whole if one.strength == 2 for s in (1, 2)]
    assert further_seeds([*whole, *seeds]) == {}


def test_further_seeds_of_a_defense_of_ones_own_are_no_sweep_and_of_its_own_site():
    """The sweep has no grid of it; a row at the other site has seeds of its own."""
    mine = [row("mine", 1.0, lost=2, option="rate")]
    assert shlex.split(further_seeds([*NONE, *mine])["mine"])[3:] == [
        "-m", "dataset=mnist", "split=relu2", "targets=100", "defense=mine", "defense.rate=1",
        "attack=inverse", "seed=1,2",
    ]  # fmt: skip
    at_input = {"site": "input", "option": "sigma", "lost": 2}
    seeds = [row("gaussian", 1.0, seed=seed, **at_input) for seed in (0, 1, 2)]
    both = [*NONE, row("gaussian", 1.0, lost=2, option="sigma"), *seeds]
    assert set(further_seeds(merged(both))) == {"none", "gaussian"}


def test_rows_are_added_once_and_the_newest_of_a_cell_counts(tmp_path, capsys):
    """From a store to the file and the document; a second time nothing is new."""
    amortised = record("dropout", 0.3, attack="inverse_adaptive", adaptive=True)
    amortised.config["attack"]["amortised"] = True
    records = [record("dropout", 0.3), record("dropout", 0.3, attack="blind"), amortised]
    store, file = kept(tmp_path, records), tmp_path / "table" / "records.csv"
    file.parent.mkdir()
    for new in (2, 0):
        command.main([str(store), "--records", str(file)])
        assert f"2 rows, {new} of them new" in capsys.readouterr().out
    rows = read(file)
    assert {one.attack for one in rows} == {"rmle", AMORTISED}
    assert rows == merged(rows) and rows[0].score("ssim").baseline == 0.35
    write(file, rows)
    assert str(read(file)) == str(rows)  # a payload that no record has is not equal to itself
    newer = dataclasses.replace(rows[0], finished="2027-01-01", ssim=0.1)
    assert newer in merged([newer, *rows]) and len(merged([newer, *rows])) == 2
    assert rows_of(records)[0].strength == 0.3
    text = (file.parent / "RESULTS.md").read_text()
    assert "| dropout | 0.3 | 0 | +1.0 |" in text
    command.main(["--records", str(file)])
    assert (file.parent / "RESULTS.md").read_text() == text
    file.write_text(file.read_text().replace("0.35", "many"))
    with pytest.raises(SystemExit, match="privbench: not a row of records: .*'many'"):
        command.main(["--records", str(file)])


def test_rows_of_several_options_are_named():
    """A default that changed between two seeds is another defense; what is not known is none."""
    first, second = ({"defense_code": code, "option": "weight"} for code in ("a", "b"))
    seeds = [row("cem(gaussian)", 10.0, **first), row("cem(gaussian)", 10.0, seed=1, **second)]
    text = document(merged([*NONE, *seeds]), "the command")
    assert "several options or versions stand together: cem(gaussian) 10." in text
    alike = [*seeds[:1], row("cem(gaussian)", 10.0, seed=1), row("cem(gaussian)", 3.0, **second)]
    assert "several options" not in document(merged([*NONE, *alike]), "the command")
    met = [row("topk", 0.9, attack_code=code, seed=seed) for seed, code in enumerate("ab")]
    assert "together: inverse on topk." in document(merged([*NONE, *met]), "the command")


def test_an_attack_of_one_seed_is_not_ranked_above_one_of_three():
    """Its victim may be the easiest of them."""
    met = [row("fisher", 1.0, seed=seed, ssim=0.8, lost=2) for seed in (0, 1, 2)]
    once = row("fisher", 1.0, "inverse_adaptive", ssim=0.85, lost=2)
    text = document(merged([*NONE, *met, once]), "the command")
    assert "| fisher | 1 | 0, 1, 2 | +2.0 | inverse | 0.800" in text
    assert "| fisher | 1 | 0.9700 [0.9680, 0.9720] | +2.0 | inverse_adaptive | 0 | 0.850" in text


def test_what_a_row_computes_with_is_in_its_code():
    one, other, newer = (record("dropout", 0.3) for _ in range(3))
    other.config["defense"] = {**other.config["defense"], "epochs": 5}
    newer.sources["attack"] = "rmle-99"
    rows = rows_of([one]) + rows_of([other]) + rows_of([newer])
    assert len({found.defense_code for found in rows}) == 2
    assert rows[0].defense_code == rows[2].defense_code
    assert rows[0].attack_code == rows[1].attack_code != rows[2].attack_code


def test_a_payload_of_seven_digits_keeps_them(tmp_path):
    """Of 128 channels of 16x16: the file has six digits of a score, and all of a count."""
    write(tmp_path / "records.csv", [row("gaussian", 1.0, payload_bits=1048576.0)])
    assert read(tmp_path / "records.csv")[0].payload_bits == 1048576


def test_a_strength_without_end_is_one_cell_however_often_it_is_added(tmp_path):
    """1/300 in the file has six digits, and in the record all of them."""
    store, file = kept(tmp_path, [record("dropout", 1 / 300)]), tmp_path / "records.csv"
    texts = []
    for _ in range(2):
        command.main([str(store), "--records", str(file)])
        texts.append((tmp_path / "RESULTS.md").read_text())
    command.main(["--records", str(file)])
    assert {*texts} == {(tmp_path / "RESULTS.md").read_text()}, "the file tells all of it"
    assert str(rows_of([record("dropout", 1 / 300)])) == str(read(file))
    assert [one.strength for one in read(file)] == [0.00333333]
    assert (tmp_path / "RESULTS.md").read_text().count("| dropout | 0.00333333 | 0.98") == 1


def test_the_document_explains_a_score_below_the_blind_baseline_and_names_what_is_missing():
    """By the other score or not at all; with the attack that does not exist yet."""
    rows = [
        *NONE,
        row("nopeek", 5.0, ssim=0.5, psnr_db=11.0),
        row("cloak", 0.3, site="input"),
        row("disco", 0.6, ssim=0.2, psnr_db=15.0),
        row("adversarial", 1.0, ssim=0.2, psnr_db=10.0),
        row("topk", 0.9, ssim=0.2, psnr_db=10.0, lost=30),
    ]
    text = document(merged(rows), "the command")
    assert (
        "- disco 0.6, inverse: SSIM 0.200 where a blind guess has 0.300; above it is PSNR [dB] 15.00 "
        "where a blind guess has 12.00" in text
    )
    assert "- nopeek 5, inverse: PSNR [dB] 11.00 where a blind guess has 12.00; above it is" in text
    assert (
        "not explained, so a stronger attack may exist: one that starts from the defender" in text
    )
    assert "topk 0.9, inverse: SSIM 0.200 where a blind guess has 0.300; not explained" in text
    assert "exist; the cloud itself loses 30.0 points" in text
    assert "| shredder | all |" in text and "| cloak | all |" not in text
    assert "have met none here: `dip`" not in text, "it knows the edge at most"
    assert "have met none here: `rmle_adaptive`, `diffusion_adaptive`, `inverse_adaptive`" in text
    assert "not measured** | no record of shredder; `python -m privbench sweeps=defenses" in text
    assert "mnist defense=gaussian  # gaussian" in text
    assert "No record is there yet" in document([], "the command")


def test_one_network_for_all_strengths_stands_beside_one_a_strength():
    """Where both were trained; the extremes and the mean of the differences in words."""
    rows = [
        *_curve("gaussian", (0.4, 0, 0.9, 24), (1, 1, 0.8, 20), (2, 2, 0.7, 16)),
        *_curve("gaussian", (0.4, 0, 0.9, 23.5), (1, 1, 0.8, 20.3), attack=AMORTISED),
    ]
    text = document(merged([*NONE, *rows]), "the command")
    assert "The first scores -0.50 to +0.30 dB, -0.10 in the mean." in text
    assert "| gaussian | 0.4 | 23.50 [23.30, 23.70] | 24.00 [23.80, 24.20] | -0.50 |" in text
    assert "for all strengths of a defense" not in document(merged(NONE), "the command")


def test_a_setting_of_few_defenses_has_its_table_and_no_list_of_all_that_lacks():
    """On faces, say: how it is typed, the verdicts that can be given, and what was not run."""
    typed = "python -m privbench dataset=image_folder dataset.root=FACES split=relu2 seed=0"
    rows = [
        dataclasses.replace(one, dataset="image_folder", command=f"{typed} attack={one.attack}")
        for one in [*NONE, *_curve("nopeek", (5, 1, 0.8, 20))]
    ]
    most = [row(name, 1.0) for name in ("topk", "disco", "cloak", "fisher")]
    text = document(merged([*rows, *NONE, *most]), "the command")
    text = text.partition("## image_folder")[2].partition("## mnist")[0]
    assert (
        "`python -m privbench sweeps=defenses dataset=image_folder dataset.root=FACES defense=NAME`"
        in text
    )
    assert "NoPeek hides images" in text and "Shredder" not in text
    assert "Not run here: gaussian, laplace, " in text and "seeds other than 0." in text
    assert "further seeds" not in text


def test_what_is_left_is_counted_from_one_baseline_though_a_cloud_that_errs_guesses_worse():
    """SSIM .55 of .3 to .9; by the baseline of the defended cloud, .1, it would be .75."""
    rows = [
        row("quantize", 0.5, attack, ssim=0.55, lost=30, ssim_baseline=0.1)
        for attack in ("inverse", "rmle_prior")
    ]
    state, reason = verdict("1 bit hides", *rows)
    assert "42% in SSIM" in reason and state == HOLDS


def test_accuracy_under_dropout_is_judged_by_the_victims_of_all_seeds():
    at = {"attack": "inverse", "ssim": 0.9, "psnr_db": 21.0}
    one = row("noise_aware(dropout)", 0.8, lost=1, **at)
    other = row("noise_aware(dropout)", 0.8, lost=4, seed=1, **at)
    state, reason = verdict("dropout .8", one, other, row(seed=1))
    assert state == INCONCLUSIVE and "+2.5 points of accuracy lost [0.8, 4.2]" in reason


def test_rows_of_other_options_are_left_out(tmp_path, capsys):
    """They would take the place of the sweep's row; a strength of one's own has its own."""
    own = row("nopeek", 7.0, option="weight")
    assert other_options(own) == []
    typed = dataclasses.replace(own, command=f"{own.command} attack.steps=5 defense.lr=0.1")
    assert other_options(typed) == ["attack.steps=5", "defense.lr=0.1"]
    assert other_options(dataclasses.replace(typed, defense="mine")) == []
    none = dataclasses.replace(NONE[0], command=f"{NONE[0].command} attack.steps=5")
    assert other_options(none) == ["attack.steps=5"], "without a defense, too"
    for defense in ("nopeek", "mine"):
        images = dataclasses.replace(
            own, defense=defense, command=f"{own.command} dataset.aux=noise"
        )
        assert other_options(images) == ["dataset.aux=noise"]
    command.main(
        [
            str(
                kept(
                    tmp_path,
                    [
                        record(
                            "dropout",
                            0.3,
                            attack="rmle",
                            overrides=[
                                "defense=dropout",
                                "defense.rate=0.3",
                                "attack=rmle",
                                "attack.steps=5",
                            ],
                        )
                    ],
                )
            ),
            "--records",
            str(tmp_path / "records.csv"),
        ]
    )
    out = capsys.readouterr().out
    assert "0 rows" in out and "the sweep does not set: attack.steps=5" in out


def test_a_defense_hides_from_all_only_where_the_strong_attacks_were_run():
    """Without a network on its answers the verdict waits; that it does not hide stands at once."""
    prior = [row("quantize", 0.5, attack="rmle_prior", ssim=0.35, lost=30)]
    state, reason = verdict("1 bit hides", *prior)
    assert (state, reason.endswith("not run there: inverse")) == (INCONCLUSIVE, True)
    assert verdict("1 bit hides", *prior, row("quantize", 0.5, ssim=0.35, lost=30))[0] == HOLDS
    leaks = row("quantize", 0.5, attack="rmle_prior", ssim=0.88, lost=30)
    assert verdict("1 bit hides", leaks)[0] == FAILS


def test_an_attack_of_fewer_seeds_that_says_the_contrary_leaves_a_verdict_open():
    """Either side of it: what one victim hides from it, or what it recovers without a defense."""
    hidden = [row("quantize", 0.5, seed=seed, ssim=0.35, lost=30) for seed in (0, 1)]
    few = row("quantize", 0.5, attack="rmle_prior", ssim=0.35, lost=30)
    assert verdict("1 bit hides", *hidden, few)[0] == HOLDS
    leaks = row("quantize", 0.5, attack="rmle_prior", ssim=0.88, lost=30)
    state, reason = verdict("1 bit hides", *hidden, leaks)
    assert state == INCONCLUSIVE
    assert "there, on fewer seeds, rmle_prior reaches SSIM 0.880" in reason
    weak = [
        row(attack=attack, seed=seed, ssim=0.5)
        for attack in ("rmle", "inverse", "rmle_prior")
        for seed in (0, 1)
    ]
    left = row("quantize", 0.5, ssim=0.48, lost=30)
    (without,) = defended(weak)
    (one,) = defended([left])
    assert hides_images(one, without)[0] == FAILS
    (without,) = defended([*weak, row(attack="gan", ssim=0.9)])
    state, reason = hides_images(one, without)
    assert (state, "without the defense, on fewer seeds, gan" in reason) == (INCONCLUSIVE, True)


def test_rows_of_another_machine_are_of_another_victim():
    """They stand beside the first, make no verdict with them, and the document says so."""
    there = {"victim_sha256": "1" * 12, "finished": "2027-01-01"}
    attacks = ("rmle_adaptive", "rmle_prior", "inverse")
    newer = [row("shredder", 1.0, name, ssim=0.4, lost=1, **there) for name in attacks]
    earlier = [row("shredder", 1.0, name, ssim=0.8, lost=1) for name in attacks]
    both = merged([*NONE, *earlier, *newer])
    assert len(both) == 9
    # of equally many rows the newer, whose victim has no row without a defense
    assert verdict("Shredder", *both)[0] == MISSING
    assert "no record of none" in verdict("Shredder", *both)[1]
    reference = row(attack="rmle", ssim=0.85, **there)
    assert verdict("Shredder", *both, reference)[0] == HOLDS
    older = row("shredder", 1.0, "rmle", ssim=0.9, lost=1)
    assert verdict("Shredder", *both, reference, older)[0] == FAILS
    noise = [dataclasses.replace(one, victim_sha256="1" * 12) for one in NOISE]
    cem = _both("cem(gaussian)", (1, 1, 0.8, 18.5), (2, 2, 0.7, 16.5))
    assert verdict("CEM", *noise, *cem)[0] == MISSING
    assert verdict("CEM", *[dataclasses.replace(one, seed=1) for one in noise], *cem)[0] == HOLDS
    text = document(both, "the command")
    assert f"- seed 0: `{'0' * 12}` of none, shredder; `{'1' * 12}` of shredder" in text
    assert "several victims" not in document(merged(NONE), "the command")


def test_a_battery_is_compared_with_the_table_by_scores_and_verdicts():
    bare = [dataclasses.replace(one, targets=50, battery="quick 5") for one in NONE]
    weak = _both("topk", (0.9, 1, 0.4, 13))
    met = [
        dataclasses.replace(one, targets=50, battery="quick 5", transmissions=sent, ssim=ssim,
                            ssim_low=ssim - 0.02, ssim_high=ssim + 0.02)
        for one in weak
        for sent, ssim in ((1, 0.4), (16, 0.85))
    ]  # fmt: skip
    text = document(merged([*NONE, *weak, *bare, *met]), "the command")
    table, battery = text.split("## The standard battery")
    (line,) = [line for line in battery.splitlines() if line.startswith("| topk | 0.9 ")]
    assert "0.850 [0.830, 0.870] (inverse, sent 16 times) | 0.400 [0.380, 0.420]" in line
    assert line.endswith("| **no** | **yes** |")
    assert "sent 16 times" not in table and "50 targets" not in table
    assert (
        "quick, version 5" in battery
        and "battery=quick dataset=mnist split=relu2 defense=NAME`" in battery
    )
    assert "| none | 0 | +0.0 |" in battery
    (left,) = [line for line in battery.splitlines() if line.startswith("Not met by it yet: ")]
    names = left.removeprefix("Not met by it yet: ").rstrip(".").split(", ")
    assert {"gaussian", "cem(gaussian)"} <= set(names) and not {"topk", "none"} & set(names)
    assert "other weights" not in battery
    other = [dataclasses.replace(one, victim_sha256="other") for one in (*bare, *met)]
    assert "Its victim has other weights" in document(merged([*NONE, *weak, *other]), "c")
    third = [dataclasses.replace(one, victim_sha256="third") for one in met]
    mixed = document(merged([*NONE, *weak, *other[: len(bare)], *third]), "c")
    assert "one for each of these groups: none; topk." in mixed
    # alike verdicts are not bold, and a defense without a row in the table has one verdict
    alike = document(merged([*NONE, *bare, *(one for one in met if one.transmissions == 1)]), "c")
    (line,) = [
        line for line in alike.splitlines() if line.startswith("| topk | 0.9 | +1.0 | 0.400")
    ]
    assert line.endswith("| yes |  |")
    assert "standard battery" not in document(merged(NONE), "the command")


def test_a_cell_that_a_battery_computed_first_is_in_the_table_too():
    """The sweep finds it cached, so no other command would ever put it there."""
    of_battery = {"battery": "full 7", "option": "sigma"}
    cells = [row("gaussian", 1.0, attack="rmle", **of_battery)]
    assert in_table(cells[0])
    others = [
        row("gaussian", 1.0, attack="rmle", targets=50, **of_battery),
        row("gaussian", 1.0, attack="rmle", transmissions=16, **of_battery),
        row("gaussian", 1.5, attack="rmle", **of_battery),
        row("gaussian", 1.0, attack="dip", **of_battery),
        row("mine", 1.0, attack="rmle", **of_battery),
    ]
    elsewhere = f"{cells[0].command} defense.site=input"
    others.append(dataclasses.replace(cells[0], site="input", command=elsewhere))
    assert not any(map(in_table, others))
    assert ("rmle", "defense.sigma=1.0") not in lacking([*NONE, *cells])["gaussian"]
    text = document([*NONE, *cells, *others], "COMMAND")
    table = text.partition("## The standard battery")[0]
    assert "gaussian" in table and "50 targets" not in table and "| mine" not in table
