"""Limits and their reasons, the Pareto set, and what records say."""

import dataclasses

import numpy as np
import pytest

from privbench.plan.choice import Limits, choose
from privbench.plan.evidence import collect, matching
from privbench.plan.missing import commands
from privbench.plan.option import Span
from privbench.plan.pareto import Position, hypervolume, marks, volumes
from privbench.report.summary import table
from privbench.store.recipes import files_stamp
from tests.plan.setups import counts, option, setup
from tests.records import record

BATTERY, ADAPTIVE = ["rmle", "inverse"], ["rmle_adaptive", "inverse"]


def _evidence():
    """Two attacks undefended at relu2, one behind dropout, and a blind guess at conv1."""
    records = [
        record("none", 0.0, attack="rmle", ssim=0.41, targets=30),
        record("none", 0.0, attack="inverse", ssim=0.35, targets=30),
        record("none", 0.0, attack="blind", ssim=0.9, targets=30),
        record("none", 0.0, attack="blind", ssim=0.9, targets=30, split="conv1"),
        record("dropout", 0.6, attack="inverse", ssim=0.25, accuracy=0.8, targets=30),
    ]
    return {(e.split, e.defense): e for e in collect(records, BATTERY, ADAPTIVE)}


@pytest.fixture(scope="module")
def evidence():
    return _evidence()


def _options(evidence, at):
    return [
        option("cloud-only", counts(0, 0, 0, 1e6), at, accuracy=0.99),
        option("conv1", counts(1e8), at, evidence=evidence["conv1", "no defense"], accuracy=0.98),
        option("relu2", counts(2e8), at, evidence=evidence["relu2", "no defense"], accuracy=0.98),
        option(
            "relu2",
            counts(3e8),
            at,
            evidence=evidence["relu2", "dropout 0.6 on features"],
            accuracy=0.8,
        ),
        option("fc1", counts(9e8, bits=1e3), at),
        option("edge-only", counts(2e9, bits=0, cloud=0, answer=0), at, accuracy=0.99),
    ]


def test_the_worst_case_counts_and_what_was_not_tried_is_named(evidence):
    """The leakage of a split where only blind guesses were run is unknown."""
    undefended, defended = (
        evidence["relu2", "no defense"],
        evidence["relu2", "dropout 0.6 on features"],
    )
    leak = undefended.leaks["ssim"]
    assert (leak.by, undefended.not_tried) == ("rmle", [])
    assert leak.score == pytest.approx(0.41) and leak.low < 0.41 < leak.high
    assert (defended.not_tried, defended.accuracy) == (["rmle_adaptive"], 0.8)
    assert evidence["conv1", "no defense"].leaks == {}
    assert evidence["conv1", "no defense"].not_tried == BATTERY


def test_the_undefended_accuracy_is_a_mean_over_seeds_as_the_defended_one_is():
    """So that a cut which changes nothing costs nothing."""
    accuracies = [0.98, 0.99]
    records = [
        dataclasses.replace(record("none", 0.0, seed=seed, accuracy=acc), accuracy_undefended=acc)
        for seed, acc in enumerate(accuracies)
    ]
    (row,) = collect(records, BATTERY, ADAPTIVE)
    assert row.accuracy == row.undefended == pytest.approx(0.985)


def test_settings_are_not_mixed_and_the_worst_of_them_counts():
    """The same attack on other targets: its higher score is the leakage of the row."""
    many = record("none", 0.0, ssim=0.5, targets=30)
    few = record("none", 0.0, ssim=0.6, targets=20)
    (found,) = collect([many, few, record("none", 0.0, seed=2, targets=30)], BATTERY, ADAPTIVE)
    assert found.overrides == ["seed=0,2"]
    assert found.leaks["ssim"].score == pytest.approx(0.6)
    other = dataclasses.replace(
        many, config={**many.config, "victim": {"_target_": "v", "epochs": 9}}
    )
    assert matching([many, other], many.config["dataset"], many.config["victim"]) == [many]


def test_every_reason_is_named_and_the_unknown_is_not_safe(evidence):
    """Leakage, latency, memory and accuracy; the best is the fastest of those within the limits."""
    at = setup()
    options = _options(evidence, at)
    limits = Limits({"ssim": 0.3, "latency_ms": 5000.0}, {"accuracy": 0.75})
    chosen = choose(options, limits, "latency", "ssim", at)
    assert chosen.best is options[3] and chosen.ranking[1] is options[5]
    assert chosen.rejected["cloud-only"] == "sends the image"
    assert chosen.rejected["conv1"] == "SSIM not measured"
    assert chosen.rejected["relu2"] == "SSIM 0.410 > 0.3, as does a blind guess, 0.350"
    assert chosen.rejected["fc1"] == "SSIM not measured; accuracy not measured"
    assert chosen.rejected["edge-only"].startswith("within the limits; latency 3000 ms > ")
    tight = Limits({"memory_mb": 500.0, "latency_ms": 10.0, "payload_kb": 0.5}, {"accuracy": 0.9})
    reasons = choose(options, tight, "energy", "ssim", at).rejected["relu2 dropout 0.6"]
    assert reasons.split("; ")[0] == "1001 MB > 500 MB"
    assert reasons.endswith("kB > 0.5 kB; accuracy 0.8000 < 0.9")
    silent = dataclasses.replace(at, platform=dataclasses.replace(at.platform, active_w=None))
    needs = choose(
        [o.at(silent) for o in options], Limits({"energy_j": 1.0}, {}), "energy", "ssim", silent
    )
    assert needs.best is None and needs.rejected["fc1"] == "energy unknown: no power of mine"


def test_a_limit_of_an_unknown_score_is_refused():
    """In one line with the choices, as a limit that is no number."""
    with pytest.raises(ValueError, match="max=sim is not known: choose from latency_ms, "):
        Limits({"sim": 0.3}, {})
    with pytest.raises(ValueError, match="max.ssim=low is out of range: choose a number"):
        Limits({"ssim": "low"}, {})


def test_missing_attacks_are_commands(evidence):
    """Undefended splits without records share one; a defended one repeats its record's options."""
    base = ["dataset=mnist", "victim=lenet5"]
    lines = commands(_options(evidence, setup()), base, BATTERY)
    assert (
        "python -m privbench -m dataset=mnist victim=lenet5 defense=none split=fc1 attack=rmle,inverse"
        in lines
    )
    assert any("split=relu2 attack=rmle_adaptive" in line for line in lines)
    assert not any("cloud-only" in line or "edge-only" in line for line in lines)


def test_the_pareto_set_of_exact_values_is_moocores():
    """Random sets in three dimensions, with ties and duplicates."""
    moocore = pytest.importorskip("moocore")
    generator = np.random.default_rng(0)
    for _ in range(20):
        points = generator.integers(0, 6, size=(25, 3)).astype(float)
        positions = [Position(tuple(p[:2]), Span(*[p[2]] * 3)) for p in points]
        expected = moocore.is_nondominated(points, keep_weakly=True)
        assert [mark == "*" for mark in marks(positions)] == expected.tolist()


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_hypervolumes_are_moocores(axes):
    """Random sets with ties, duplicates and points beyond the reference."""
    moocore = pytest.importorskip("moocore")
    generator = np.random.default_rng(axes)
    for _ in range(10):
        points = generator.integers(0, 8, size=(15, axes)).astype(float)
        points += generator.choice([0, 0.37], size=points.shape)
        found = hypervolume(points.tolist(), [7.0] * axes)
        expected = 7 - min(7.0, points.min()) if axes == 1 else moocore.hypervolume(points, ref=7)
        assert found == pytest.approx(float(expected))
    assert hypervolume([], [1.0] * axes) == 0


def test_defenses_are_compared_by_the_volume_that_their_splits_dominate(evidence):
    """One defense has none; of two the shares are those of the box between best and worst."""
    at = setup()
    plain = evidence["relu2", "no defense"]
    defended = evidence["relu2", "dropout 0.6 on features"]
    one = option("relu2", counts(2e8), at, evidence=plain, accuracy=0.9)
    two = option("relu2", counts(3e8), at, evidence=defended, accuracy=0.8)
    three = option("fc1", counts(2.5e8), at, evidence=defended, accuracy=0.85)
    assert volumes([one], "ssim") is None
    found = volumes([one, two, three], "ssim")
    assert (found.axes, len(found.reference)) == (["latency_ms", "error", "ssim"], 3)
    # of ranges that are a tenth longer: best, best, worst; the middle of two, best
    shares = {"no defense": 0.1 / 1.1, "dropout 0.6 on features": (0.6 / 1.1) ** 2}
    assert found.shares == pytest.approx(shares)


def test_bounds_are_those_of_the_strongest_attack():
    """Where a record has the facts of a bound, its sentences go into the plan and the summary."""
    floor = {"error": 0.02, "error_deviation": 1e-4, "identified": 0.4, "identified_by_two": 0.6,
             "images": 100, "draws": 10, "transmissions": 1}  # fmt: skip
    one = record("gaussian", 0.6, attack="rmle", ssim=0.41, targets=30)
    bounded = dataclasses.replace(one, notes={**one.notes, "bayes_floor": floor})
    (found,) = collect([bounded], BATTERY, ADAPTIVE)
    assert found.bounds[0].startswith("Bayes floor (N = 100 test images, K = 1): ")
    assert "Bayes floor (N = 100 test images" in " ".join(table([bounded]).split())
    (unbounded,) = collect([one], BATTERY, ADAPTIVE)
    assert unbounded.bounds == []


def test_worst_cases_within_each_set_of_rights_are_kept():
    """Queries allow the weaker attack alone, weights both."""
    strong = record("none", 0.0, attack="rmle", ssim=0.41, targets=30)
    weak = dataclasses.replace(
        record("none", 0.0, attack="inverse", ssim=0.35, targets=30), access=["EDGE_QUERIES"]
    )
    (found,) = collect([strong, weak], BATTERY, ADAPTIVE)
    by = {rights: leaks["ssim"].by for rights, leaks in found.by_rights.items()}
    assert by == {"edge_queries": "inverse", "edge_weights": "rmle"}
    assert found.by_rights["edge_weights"]["ssim"].score == found.leaks["ssim"].score


def test_overlapping_intervals_dominate_nothing():
    """Cheaper and less by its score alone is a tie; beyond the intervals it dominates."""
    cheap = Position((1.0, 1.0), Span(0.2, 0.3, 0.4))
    near = Position((2.0, 2.0), Span(0.35, 0.45, 0.55))
    far = Position((2.0, 2.0), Span(0.45, 0.5, 0.55))
    assert marks([cheap, near, far]) == ["*", "~", ""]


def test_what_is_not_measured_leaks_less_than_the_image_but_is_no_least_leakage(evidence):
    """Cloud-only is chosen where nothing else keeps to the limits, and not by its latency."""
    at = setup()
    options = _options(evidence, at)
    chosen = choose([options[0], options[4], options[2]], Limits({}, {}), "leakage", "ssim", at)
    assert [one.name for one in chosen.ranking] == ["relu2", "fc1", "cloud-only"]
    chosen = choose([options[0], options[4]], Limits({}, {}), "leakage", "ssim", at)
    assert chosen.best is None
    assert chosen.rejected == {"cloud-only": "SSIM not measured", "fc1": "SSIM not measured"}


def test_photographs_of_another_folder_are_no_records_of_this_one(tmp_path):
    """The same pictures in another place are."""
    for folder, size in (("faces", 10), ("flowers", 20), ("moved", 10)):
        for half in ("train", "test"):
            (tmp_path / folder / half / "a").mkdir(parents=True)
            (tmp_path / folder / half / "a" / "1.png").write_bytes(bytes(size))
    one = record("none", 0.0, targets=30)
    options = {**one.config["dataset"], "root": str(tmp_path / "faces")}
    one = dataclasses.replace(
        one,
        config={**one.config, "dataset": options},
        sources={**one.sources, "data.files": files_stamp(options["root"])},
    )
    for folder, found in (("faces", 1), ("moved", 1), ("flowers", 0)):
        other = {**options, "root": str(tmp_path / folder)}
        assert len(matching([one], other, one.config["victim"])) == found
