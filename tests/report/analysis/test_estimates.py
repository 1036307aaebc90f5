"""Means over images and seeds, their intervals, and caveats of unequal budgets."""

import dataclasses
import json

import numpy as np
import pytest

from privbench.evaluation import statistics as intervals
from privbench.report import summary
from privbench.report.analysis import frame, operating_points, tables, tradeoffs, worst_case
from privbench.report.analysis.overlay import no_overlay
from privbench.report.analysis.selection import select
from privbench.report.writing import curve_figures
from privbench.store import record as results
from privbench.store import result_table
from tests.records import (
    imaged,
    kept,
    page_of,
    page_text,
    put_images,
    record,
    records_by_steps,
    rescored,
    rows_of,
    spread,
)
from tests.samples import SSIM, TRIALS, skewed_scores


def test_steps_that_follow_the_data_are_counted_as_they_were_made():
    """A summary compares budgets; null is not none."""
    made = record("dropout", 0.4, attack="inverse", steps=None)
    assert worst_case.steps(dataclasses.replace(made, notes={"steps": 506})) == 506
    assert worst_case.steps(record("dropout", 0.4, attack="inverse", steps=60)) == 60


def test_the_turns_of_a_learned_prior_count_beside_its_training():
    """Each has updates of the images, or repetitions of a step of diffusion."""
    one = record("dropout", 0.4, attack="x", steps=1000)
    for name, a_turn in (("updates", 20), ("recurrences", 4)):
        turns = {**one.config, "attack": {**one.config["attack"], "levels": 30, name: a_turn}}
        assert worst_case.steps(dataclasses.replace(one, config=turns)) == 1000 + 30 * a_turn
    for other in (
        {"levels": 30},
        {"levels": [0.1, 0.2], "updates": 4},
        {"levels": 3, "updates": None},
    ):
        options = {**one.config, "attack": {**one.config["attack"], **other}}
        assert worst_case.steps(dataclasses.replace(one, config=options)) == 1000


def test_an_attack_that_runs_another_learns_from_the_images_of_that_one():
    """Its own are for trials: of lambda, of options, of a weight."""
    one = record("dropout", 0.4, attack="x", access=["AUX_IMAGES"])
    for inner, words in ((None, "all auxiliary images"), (700, "700 auxiliary images")):
        attack = {**one.config["attack"], "images": 32, "network": {"images": inner}}
        changed = dataclasses.replace(one, config={**one.config, "attack": attack})
        assert str(worst_case.Budget.of(changed)).endswith(f", {words}")


def test_listed_trainings_are_counted_as_they_were_made_and_descents_by_their_options():
    """A network that ended early, a denoiser and a network, fewer levels than the options', turns."""

    def steps(attack, site="features", **notes):
        one = record("dropout", 0.4, site, attack="x")
        config = {**one.config, "attack": attack}
        return worst_case.steps(dataclasses.replace(one, config=config, notes=notes))

    network = {"steps": 28000, "patience": 700}
    one = {"steps": 9000, "seconds": 3.0, "stored": False}
    assert steps(network, trainings=[one]) == 9000
    assert steps(network) == 28000
    both = {**network, "steps": None, "levels": 25, "recurrences": 4, "network": network}
    other = {"steps": None, "seconds": 1.0, "stored": True}
    assert steps(both, trainings=[one, {**one, "steps": 1410}, other], turns=56) == 9000 + 1410 + 56
    assert steps({"steps": 50, "rounds": 20}) == 2000
    assert steps({"inverter": {"steps": 500}, **network}, trainings=[one]) == 9500
    # perturbed images are found for a defense on the input that is known, and an answer may stand
    prior = {"levels": 40, "updates": 20, "inversion_steps": 100}
    assert (steps(prior), steps(prior, "input")) == (800, 900)
    assert steps({**prior, "adaptive": False}, "input") == 800
    refined = {"network": network, "steps": 200}
    assert steps(refined, trainings=[one], refined={"descend": True}) == 9200
    assert steps(refined, trainings=[one], refined={"descend": False}) == 9000


def test_seconds_count_what_another_cell_had_trained_and_what_a_refinement_compared():
    one = record("dropout", 0.4, attack="x", steps=500)
    seconds = {"fit": 1.0, "reconstruct": 2.0, "stored": 70.0, "total": 9.0}
    spent = dataclasses.replace(one, seconds=seconds)
    assert worst_case.seconds_spent(frame.SeedGroup([spent])) == 73
    assert worst_case.seconds_spent(frame.SeedGroup([one])) == 0
    refined = {"losses": [1.0] * 6, "under_noise": [{"losses": [1.0] * 6}] * 4}
    budget = worst_case.Budget.of(dataclasses.replace(one, notes={"refined": refined}))
    assert str(budget) == "500 steps, 30 combinations compared"


def test_trials_of_a_search_are_a_part_of_the_budget():
    """A searched attack and the same one without a search are unequal, and the words say why."""
    plain = record("dropout", 0.4, attack="x", steps=500)
    attack = {"trials": 16, "inner": plain.config["attack"]}
    searched = dataclasses.replace(plain, config={**plain.config, "attack": attack})
    assert str(worst_case.Budget.of(plain)) == "500 steps"
    assert str(worst_case.Budget.of(searched)) == "500 steps, after 16 trials of as many"
    assert worst_case.Budget.of(plain) != worst_case.Budget.of(searched)


def test_the_budget_of_a_search_is_that_of_the_options_that_it_chose():
    """Not of those that its attack was configured with, of an attack within it either."""
    one = record("dropout", 0.4, attack="tuned", access=["AUX_IMAGES"])
    network = {"steps": 2000, "images": None}
    inner = {"steps": 500, "images": 64, "network": network}
    config = {**one.config, "attack": {"trials": 16, "images": 32, "inner": inner}}
    chosen = {"steps": 100, "network.steps": 700, "network.images": 40}
    for found, words in (
        ({}, "2500 steps, after 16 trials of as many, all auxiliary images"),
        ({"chosen": chosen}, "800 steps, after 16 trials of as many, 40 auxiliary images"),
    ):
        notes = {"tuned": {"settings": 16, "images": 32, "errors": [0.1] * 16, **found}}
        searched = dataclasses.replace(one, config=config, notes=notes)
        assert str(worst_case.Budget.of(searched)) == words


@pytest.mark.slow
def test_what_is_called_an_interval_about_victims_covers_their_mean_and_pooled_images_do_not():
    """Five victims of 64 images each, whose means differ by a standard deviation of .06."""
    draw = np.random.default_rng(0)
    hits = {"victims": 0, "images": 0}
    for _ in range(TRIALS // 2):
        one = frame.SeedGroup([
            imaged(record(seed=seed), dict(zip(
                range(64 * seed, 64 * (seed + 1)),
                skewed_scores(draw, 64) + draw.normal(0, 0.06), strict=True,
            )))
            for seed in range(5)
        ])  # fmt: skip
        ends = {"victims": one.victim_interval("ssim"), "images": one.interval("ssim")}
        for name, (low, high) in ends.items():
            hits[name] += low <= SSIM <= high
    assert 0.90 <= hits["victims"] / (TRIALS // 2) <= 0.98
    assert hits["images"] / (TRIALS // 2) < 0.65
    assert "about victims" not in intervals.interval_label(320)


def _shared_and_own(attack: str, shift: float = 0.0, seeds: int = 3):
    """Ten images that every seed attacks score .5 and less, twenty of each seed's own .6."""
    return [
        imaged(
            record("dropout", 0.4, attack=attack, seed=seed),
            {n: value + shift for n, value in
             (spread(0.45 + 0.02 * seed, 10) | spread(0.6, 20, 100 * (seed + 1))).items()},
        )
        for seed in range(seeds)
    ]  # fmt: skip


def test_score_interval_and_paired_difference_are_of_one_mean():
    """Each distinct image counts once, however many seeds attacked it."""
    one, other = _shared_and_own("rmle"), _shared_and_own("inverse", -0.1)
    (panel,) = tradeoffs.panels([*one, *other])
    points = [p for a in panel.adversaries for p in a.points]
    images = [{}, {}]
    for at, records in enumerate((one, other)):
        for each in records:
            for index, value in zip(each.columns["index"], each.columns["ssim"], strict=True):
                images[at].setdefault(index, []).append(value)
    want = [np.mean([np.mean(values) for values in found.values()]) for found in images]
    for point, mean in zip(points, want, strict=True):
        assert point.score("ssim") == pytest.approx(mean)
        low, high = point.bands["ssim"]
        assert low < point.score("ssim") < high
    low, high = frame.paired_interval(points[0].group, points[1].group, "ssim")
    assert low - 1e-9 <= points[0].score("ssim") - points[1].score("ssim") <= high + 1e-9


def test_a_paired_interval_takes_images_as_the_sample():
    """An image counts once, whether one victim or three met it: by the mean of its differences.

    Images that all three met gain .12 in the mean, the others .43: that is .384 by images, and .325
    by pairs of image and victim.
    """
    one, other = _shared_and_own("inverse"), _shared_and_own("rmle")
    shared, own = [0.11 + 0.002 * n for n in range(10)], [0.4 + 0.003 * n for n in range(20)]
    for seed, each in enumerate(one):
        gained = [value + 0.01 * (seed - 1) for value in shared] + own
        put_images(each, "ssim", np.add(each.columns["ssim"], gained))
    (mine,), (theirs,) = frame.grouped(one), frame.grouped(other)
    assert mine.score("ssim") - theirs.score("ssim") == pytest.approx(0.3842857)
    low, high = frame.paired_interval(mine, theirs, "ssim")
    assert (low, high) == pytest.approx(intervals.bca([*shared, *own, *own, *own]), abs=1e-3)
    assert low < 0.3842857 < high
    pairs = intervals.bca(frame.differences(mine, theirs, "ssim").tolist())
    assert pairs[1] < 0.3842857, "an interval by pairs is of another mean"


def test_the_blind_floor_is_the_same_mean_where_records_have_it_by_image():
    """A shared image's floor counts once too."""
    records = _shared_and_own("rmle")
    for one in records:
        one.per_image["floor_ssim"] = [0.2] * 10 + [0.5] * 20
    (group,) = frame.grouped(records)
    assert group.baseline("ssim") == pytest.approx((10 * 0.2 + 60 * 0.5) / 70)
    assert group.baseline("psnr_db") == 12.0, "no column: the mean over records"


def test_every_interval_of_few_images_is_labelled_with_their_number():
    """On the terminal, in a table and in a comparison; 95 % from twenty images on."""
    few, many = record(targets=10, ssim=0.4), record(targets=20, ssim=0.4)
    assert "] (t, 10 images)" in result_table.table(few, {})
    assert result_table.table(few, {}).count("95 %") == 1, "the accuracy's, over all test images"
    assert result_table.table(many, {}).count("95 % [") == 3
    rows = [tables.attacks(tradeoffs.panels([one])) for one in (few, many)]
    assert ["(t, 10 images)" in row[1][5] for row in rows] == [True, False]
    for targets, label in ((10, "(t, 10 images)"), (20, "(95 %)")):
        both = [record(targets=targets), record("gaussian", 0.3, ssim=0.8, targets=targets)]
        (panel,) = tradeoffs.panels(both)
        (found,) = operating_points.comparisons(panel, "ssim", 0.02)
        assert label in found.description


def test_a_single_image_has_no_interval(tmp_path):
    """Null in the record and not of no width; its page and its table are written."""
    assert intervals.mean_interval([0.3]) is None
    one = imaged(record(), {3: 0.5})
    one = rescored(rescored(one, "ssim", ci95=None), "psnr_db", ci95=None)
    one.validate()
    store = kept(tmp_path, [one])
    path = store / "records" / one.key / "record.json"
    assert json.loads(path.read_text())["scores"]["ssim"]["ci95"] is None
    assert "nan" not in path.read_text().lower()
    assert results.read(path).scores["ssim"].ci95 is None
    assert "(one image: no interval)" in result_table.table(one, {})
    found = tradeoffs.panels([one])
    assert "one image: no interval" in str(tables.attacks(found))
    (figure, _) = curve_figures(found, no_overlay)
    assert not {"x0", "x1"} & rows_of(figure, "point")[0].keys(), "no bar"
    assert "</em> mnist relu2: " in page_of(select(store, {}), tmp_path)


def test_several_seeds_have_an_interval_over_victims():
    """From three on, called one about victims from five on, and wide where victims differ."""
    for seeds, label in (
        (2, ""),
        (3, "(t, 3 victims)"),
        (5, "(interval about victims: t, 5 victim"),
    ):
        records = [
            imaged(record(seed=seed), spread(0.5 + 0.05 * seed)) for seed in range(seeds)
        ]  # fmt: skip
        (row,) = tables.attacks(tradeoffs.panels(records))[1:]
        assert ("victims)" in row[5]) == bool(label)
        assert label in row[5]
    group = frame.SeedGroup(records)
    narrow, wide = group.interval("ssim"), group.victim_interval("ssim")
    assert wide[1] - wide[0] > 10 * (narrow[1] - narrow[0])


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_short_run_is_never_the_worst_case_of_a_longer_one(adaptive):
    """However much more it recovers: the longer run is the worst case, with a caveat."""
    records = records_by_steps((10, 0.8), (1000, 0.5), adaptive=adaptive)
    (worst,) = worst_case.worst_cases(records)
    assert worst_case.steps(worst.best["ssim"].first) == 1000
    assert "10 steps give more" in worst.caveats["ssim"]
    (panel,) = tradeoffs.panels(records)
    (choice,) = operating_points.operating_points(panel, "ssim")
    assert choice.leakage == pytest.approx(0.5, abs=0.01)
    assert "10 steps give more" in choice.caveats
    assert "10 steps give more" in tables.attacks([panel])[2][-1]


def test_what_did_not_converge_or_never_moved_is_a_caveat_of_naive_attacks_too():
    """As the record notes it."""
    (worst,) = worst_case.worst_cases([record(converged=0.3, notes={"never_moved": 0.4})])
    assert worst.caveats["ssim"] == ["not converged", "40% of the images never moved"]
    (worst,) = worst_case.worst_cases([record(notes={"never_moved": 0.0})])
    assert worst.caveats["ssim"] == []


def test_fewer_transmissions_that_give_more_are_a_caveat():
    """Beyond the paired interval; of an attack that gains from more of them there is none."""
    for once, often, caveat in ((0.8, 0.5, True), (0.5, 0.8, False)):
        records = [
            imaged(record(transmissions=k, key=f"k{k}"), spread(level))
            for k, level in ((1, once), (16, often))
        ]
        by_k = {worst.best["ssim"].first.transmissions: worst.caveats for worst in
                worst_case.worst_cases(records)}  # fmt: skip
        assert ("1 transmission gives more" in by_k[16]["ssim"]) == caveat
        assert by_k[1]["ssim"] == []


def test_unequal_budgets_are_a_warning_wherever_they_are_compared(tmp_path):
    """Steps, queries and auxiliary images, on the terminal, in the table and on the page."""
    learned = {"attack": "inverse", "access": ["EDGE_QUERIES", "AUX_IMAGES"], "queries": 700}
    records = [*records_by_steps((500, 0.5)), *records_by_steps((1400, 0.6), **learned)]
    want = "unequal budgets: rmle 500 steps; inverse 1400 steps, 700 queries, all auxiliary images"
    assert want in summary.table(records)
    assert "unequal budgets" not in summary.table(
        [*records_by_steps((500, 0.5)), *records_by_steps((500, 0.6), attack="x")]
    )
    both = [
        *records_by_steps((500, 0.5)),
        *records_by_steps((900, 0.7), defense="gaussian", attack="x"),
    ]
    (panel,) = tradeoffs.panels(both)
    assert all(
        "compare" not in c.description for c in operating_points.comparisons(panel, "ssim", 0.02)
    )
    one, other = (
        operating_points.operating_points(panel, "ssim", name)[0] for name in ("rmle", "x")
    )
    assert (
        "unequal budgets: rmle 500 steps; x 900 steps"
        in operating_points.Comparison.of(one, other).description
    )
    text = page_text(tmp_path, records)
    assert "1 settings compare attacks of unequal budgets" in text
