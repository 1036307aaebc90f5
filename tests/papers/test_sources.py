"""Measured results that are compared with the paper's."""

import dataclasses
import re

import pytest

from privbench.papers.he2020 import sources
from privbench.papers.he2020.attack_claims import KIND, RMLE
from privbench.papers.he2020.claims import STATEMENTS, judge
from privbench.papers.he2020.comparable import comparable
from privbench.papers.he2020.comparison import match_published
from privbench.papers.he2020.document import document, statements
from privbench.papers.he2020.verdicts import recovers_less_by
from privbench.papers.verdict import FAILS, HOLDS, INCONCLUSIVE
from privbench.report.analysis import frame, tradeoffs, worst_case
from privbench.runtime.options import without_later_options
from privbench.store.group_keys import group_key
from privbench.store.record_archive import import_records
from privbench.store.record_frame import read_records
from tests.paper_records import TEN, verdict
from tests.paper_records import table as claims_table
from tests.records import record, records_by_steps, with_victim
from tests.support import ROOT


def test_a_short_run_is_no_point_of_the_strongest_curve():
    """Of the paper's statements' column of the strongest adversaries too."""
    records = records_by_steps((10, 0.8), (1000, 0.5), attack="rmle_adaptive", adaptive=True)
    measured = sources.MeasuredResults.of(records, adaptive=True)
    (spot,) = measured.curve("mnist", "relu2", "dropout", "features", "ssim")
    assert spot.scores["ssim"] == pytest.approx(0.5, abs=0.01)


def test_records_of_one_seed_but_other_weights_are_not_paired():
    """And the summary and the page name data set, victim and seed."""
    one = with_victim(record(ssim=0.3, targets=24), "a")
    other = with_victim(record(ssim=0.6, targets=24, attack="inverse"), "b")
    groups = frame.grouped([one, other])
    assert frame.paired_interval(*groups, "ssim") is None
    (worst,) = worst_case.worst_cases([one, other])
    (caveat,) = worst.caveats["ssim"]
    assert caveat.endswith("is not compared: seed 0 with victims of other weights")
    (line,) = worst_case.mixed_victims([one, other])
    assert "mnist, lenet5" in line
    assert "seed 0: aaaaaaaa, bbbbbbbb" in line
    same = with_victim(record(ssim=0.6, targets=24, attack="inverse"), "a")
    assert worst_case.mixed_victims([one, same]) == []
    assert frame.paired_interval(*frame.grouped([one, same]), "ssim") is not None
    split = [
        with_victim(claims_table("rmle_paper", at, level), weights)
        for at, level, weights in (("conv1", 0.9, "a"), ("relu2", 0.5, "b"))
    ]
    assert verdict("White-box: a deeper split", split)[0] == INCONCLUSIVE
    assert verdict("White-box: a deeper split", [split[0], with_victim(split[1], "a")])[0] == HOLDS


def test_attacks_with_fewer_seeds_leave_no_other_attack_out():
    """The results keep five seeds of one attack and three of another, and compare them on three."""
    rmle = [one for seed in range(5) for split in ("conv1", "relu2", "fc1")
            for one in [claims_table("rmle", split, 0.5, seed=seed)]]  # fmt: skip
    learned = [claims_table("inverse", "fc1", 0.7, seed=seed) for seed in range(3)]
    many = [claims_table("inverse", split, 0.7, seed=seed) for seed in range(3)
            for split in ("conv1", "relu2", "fc1", "pool1", "pool2")]  # fmt: skip
    for networks in (learned, many):
        compared = sources.comparable([*rmle, *networks])
        count = {
            name: len([r for r in compared if r.attack == name]) for name in ("rmle", "inverse")
        }
        assert count == {"rmle": 15, "inverse": len(networks)}
    spot = sources.MeasuredResults.of([*rmle, *learned], adaptive=True).best("mnist", "fc1")
    assert spot.point.group.seeds == [0, 1, 2]


def test_settings_with_a_seed_less_are_kept_where_they_are_the_most_records():
    """Ten undefended settings of one seed more once hid all defended ones."""
    seeds = [(split, seed) for split in ("conv1", "relu2", "fc1") for seed in range(4)]
    seeds += [(split, seed) for split in ("pool1", "pool2") for seed in (1, 2, 3)]
    kept = sources.comparable([claims_table("rmle", at, 0.5, seed=seed) for at, seed in seeds])
    assert {(one.split, one.seed) for one in kept} == {(at, s) for at, s in seeds if s}


def test_a_verdict_names_the_seeds_and_images_that_it_is_of():
    """Those of every record that was asked for, of seeds that both sides have or not."""
    records = [
        *(claims_table("rmle_paper", "conv1", 0.9, seed=seed) for seed in (1, 2)),
        *(claims_table("rmle_paper", "relu2", 0.5, seed=seed) for seed in (1, 2)),
    ]
    row = next(r for r in statements(records) if r[1].startswith("White-box: a deeper split"))
    assert "seeds 1, 2, 12 images</details>" in row[4]
    assert "images</details>" not in row[3], "published numbers are all of ten images"


def test_the_document_gives_the_verdicts_that_records_have():
    """Also those that ask measured results for more than the paper has, such as blind baselines."""
    records = [
        *(claims_table("rmle_paper", split, 0.9) for split in ("conv1", "relu2")),
        claims_table("inverse_paper", "conv1", 0.5),
    ]
    results = sources.MeasuredResults.of(records)
    wanted = [
        judge(statement, dataset, results)[0]
        for statement in STATEMENTS
        for dataset in statement.datasets
    ]
    found = [row[4].partition("<")[0].strip("*") for row in statements(records)[1:]]
    assert found == wanted
    assert wanted[-2] == FAILS, "the blind baseline has a good quality by the paper's limits"


def test_cells_in_bf16_count_as_those_in_float32_which_come_first():
    """One curve may have both; the document says how many multiplied in bf16."""

    def in_precision(strength, ssim, **precision):
        one = record(strength=strength, attack="rmle_paper", ssim=ssim, notes=precision)
        options = without_later_options({**one.config["attack"], **precision})
        config = {**one.config, "attack": options}
        return dataclasses.replace(one, config=config, key=f"{strength}{precision}")

    rounded = [in_precision(at, 0.1, precision="bf16-mixed") for at in (0.0, 0.2, 0.4)]
    exact = [in_precision(at, 0.5) for at in (0.0, 0.4)]
    kept = sources.comparable([*rounded, *exact])
    scores = {one.strength: pytest.approx(one.scores["ssim"].mean) for one in kept}
    assert scores == {0.0: 0.5, 0.2: 0.1, 0.4: 0.5}
    assert all("precision" not in one.config["attack"] for one in kept)
    # a cell in bf16 of a group without all of its seeds is none
    assert len(sources.comparable(rounded, {group_key(rounded[1])})) == 2
    (panel,) = tradeoffs.panels(kept)
    assert len(panel.adversaries) == 1
    text = document([*rounded, *exact], "a command")
    assert "3 cells, 1 of them in bf16, 0 minutes of computing" in text


def test_victims_at_which_the_attack_never_moves_are_left_out_and_named():
    """Where those of other seeds moved; a setting at which none moved keeps all of them."""
    places = ("conv1", "relu2", "pool2")
    moved = [claims_table("rmle_paper", at, 0.5, seed=seed) for at in places for seed in (1, 2)]
    still = [claims_table("rmle_paper", at, 0.5, seed=0) for at in (*places, "fc1")]
    for one, share in zip(still, (0.0, 1.0, 1.0, 1.0), strict=True):
        one.notes["never_moved"] = share
    kept = sources.comparable([*moved, *still[:3]])
    assert {(one.split, one.seed) for one in kept} == {(at, s) for at in places for s in (1, 2)}
    text = document([*moved, *still], "a command")
    assert "mnist pool2, rmle_paper: seed 0; mnist relu2, rmle_paper: seed 0." in text
    assert "Left out" not in document(moved, "a command")
    assert len(sources.comparable(still)) == 4


def test_of_two_numbers_of_seeds_a_verdict_says_which_were_compared():
    """And numbers of the published ten images have their interval."""
    many = [claims_table("rmle_paper", "relu2", 0.5, seed=s, targets=75) for s in (1, 2)]
    one = claims_table("inverse_paper", "relu2", 0.8, seed=1, targets=75)
    for found in (*many, one):
        found.config["include"] = TEN
    measured = sources.MeasuredResults.of([*many, one])
    spots = [measured.attack("mnist", "relu2", *which) for which in (RMLE, KIND)]
    _, details = recovers_less_by(*spots, "ssim")
    assert "on seed 1, which both have, difference" in details
    _, alike = recovers_less_by(spots[0], spots[0], "ssim")
    assert "both have" not in alike
    text = r"[\d.]+ \[[\d.]+, [\d.]+\] dB / 0\.\d+ \[0\.\d+, 0\.\d+\] on the published ten images, "
    assert re.fullmatch(text + "seeds 1, 2", spots[0].comparable_text())


@pytest.mark.long
def test_the_archived_records_are_those_that_the_document_compares(tmp_path):
    """A new option of an attack must not make records from before it another attack's."""
    import_records(ROOT / "sweeps/he2020/records.jsonl.xz", tmp_path)
    records, _ = read_records(tmp_path / "store")
    matched = match_published(tradeoffs.panels(comparable(records)))
    met = {row.source for row, _ in matched.items()}
    expected = {"fig9", "fig10", "fig12", "fig13", "fig15", "table3", "table4", "table6", "table8"}
    assert met == expected
