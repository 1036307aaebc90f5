"""What is estimated, with which interval, and what may be compared with what."""

import dataclasses
import re
import shlex

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from privbench.evaluation import statistics as intervals
from privbench.papers.he2020 import sources as books
from privbench.papers.he2020.verdicts import HOLDS, INCONCLUSIVE
from privbench.report import (
    frame,
    operating_points,
    split_figures,
    summary,
    tables,
    tradeoffs,
    worst_case,
)
from privbench.report.image_grids import image_loader
from privbench.report.page import page
from privbench.report.selection import select
from privbench.runtime.paths import ROOT
from privbench.store import record as results
from privbench.store import result_table
from privbench.store.sweep_log import SweepLog
from privbench.sweep import grids
from tests.paper_records import table as claims_table
from tests.paper_records import verdict
from tests.records import kept, record, sweep


def imaged(one, scores: dict[int, float]):
    """The same record with these images' scores."""
    values = list(scores.values())
    psnr = [10 + 20 * value for value in values]
    changed = dataclasses.replace(
        one,
        targets=len(values),
        ssim=float(np.mean(values)),
        psnr_db=float(np.mean(psnr)),
        ssim_ci95=(min(values), max(values)),
        psnr_db_ci95=(min(psnr), max(psnr)),
    )
    changed.per_image.clear()
    changed.per_image.update(index=list(scores), ssim=values, psnr_db=psnr)
    changed.per_image["identification"] = [0.5] * len(values)
    return changed


def with_victim(one, sha256: str):
    """The same record of a victim with these weights."""
    object.__setattr__(one, "victim_sha256", sha256 * 64)
    return one


def _page(outputs, records) -> str:
    """The page of a store that holds these records, without its figures and tables."""
    selection = select(kept(outputs, records), {})
    read = image_loader(selection.store)
    return page(selection, tradeoffs.panels(records), {}, {}, read, outputs)


def spread(level: float, count: int = 24, at: int = 0) -> dict[int, float]:
    """Scores of images about a level."""
    return {at + n: level + 0.001 * (n % 5) for n in range(count)}


# one estimand ------------------------------------------------------------------------------------


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
            for index, value in zip(each.per_image["index"], each.per_image["ssim"], strict=True):
                images[at].setdefault(index, []).append(value)
    want = [np.mean([np.mean(values) for values in found.values()]) for found in images]
    for point, mean in zip(points, want, strict=True):
        assert point.score("ssim") == pytest.approx(mean)
        low, high = point.bands["ssim"]
        assert low < point.score("ssim") < high
    low, high = frame.paired_interval(points[0].group, points[1].group, "ssim")
    assert low - 1e-9 <= points[0].score("ssim") - points[1].score("ssim") <= high + 1e-9


def test_the_blind_floor_is_the_same_mean_where_records_have_it_by_image():
    """A shared image's floor counts once too."""
    records = _shared_and_own("rmle")
    for one in records:
        one.per_image["floor_ssim"] = [0.2] * 10 + [0.5] * 20
    (group,) = frame.grouped(records)
    assert group.baseline("ssim") == pytest.approx((10 * 0.2 + 60 * 0.5) / 70)
    assert group.baseline("psnr_db") == 12.0, "no column: the mean over records"


# intervals ---------------------------------------------------------------------------------------


def test_every_interval_of_few_images_is_labelled_with_their_number():
    """On the terminal, in a table and in a comparison; 95 % from twenty images on."""
    few, many = record(targets=10, ssim=0.4), record(targets=20, ssim=0.4)
    assert "t, 10 images [" in result_table.table(few, {})
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
    one = dataclasses.replace(one, ssim_ci95=None, psnr_db_ci95=None)
    one.validate()
    store = kept(tmp_path, [one])
    path = store / "records" / one.key / "record.json"
    assert '"ssim_ci95": null' in path.read_text()
    assert "nan" not in path.read_text().lower()
    assert results.read(path).ssim_ci95 is None
    assert "(one image: no interval)" in result_table.table(one, {})
    from privbench.report.writing import write

    text = write(select(store, {}), tmp_path / "report").read_text()
    assert "one image: no interval" in text


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


# budgets, transmissions, what did not converge ---------------------------------------------------


def _runs(*levels: tuple[int, float], **others):
    return [imaged(record(steps=n, **others), spread(level)) for n, level in levels]


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_short_run_is_never_the_worst_case_of_a_longer_one(adaptive):
    """However much more it recovers: the longer run is the worst case, with a caveat."""
    records = _runs((10, 0.8), (1000, 0.5), adaptive=adaptive)
    (worst,) = worst_case.worst_cases(records)
    assert worst_case.steps(worst.best["ssim"].first) == 1000
    assert "10 steps give more" in worst.caveats["ssim"]
    (panel,) = tradeoffs.panels(records)
    (choice,) = operating_points.operating_points(panel, "ssim")
    assert choice.leakage == pytest.approx(0.5, abs=0.01)
    assert "10 steps give more" in choice.caveats
    assert "10 steps give more" in tables.attacks([panel])[2][-1]


def test_a_short_run_is_no_point_of_the_strongest_curve():
    """Of the paper's statements' column of the strongest adversaries too."""
    records = _runs((10, 0.8), (1000, 0.5), attack="rmle_adaptive", adaptive=True)
    book = books.MeasuredResults.of(records, adaptive=True)
    (spot,) = book.curve("mnist", "relu2", "dropout", "features", "ssim")
    assert spot.scores["ssim"] == pytest.approx(0.5, abs=0.01)


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
    records = [*_runs((500, 0.5)), *_runs((1400, 0.6), **learned)]
    want = "unequal budgets: rmle 500 steps; inverse 1400 steps, 700 queries, all auxiliary images"
    assert want in summary.table(records)
    assert "unequal budgets" not in summary.table(
        [*_runs((500, 0.5)), *_runs((500, 0.6), attack="x")]
    )
    both = [*_runs((500, 0.5)), *_runs((900, 0.7), defense="gaussian", attack="x")]
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
    text = _page(tmp_path, records)
    assert "1 settings compare attacks of unequal budgets" in text


# the same seeds and victims on both sides --------------------------------------------------------


def _easy_and_hard(attack: str, levels: dict[int, float], **others):
    return [
        imaged(record(attack=attack, seed=seed, **others), spread(level))
        for seed, level in levels.items()
    ]


def test_the_worst_case_is_taken_on_shared_seeds():
    """One seed's easy victim makes no attack the stronger one, and what is missing is said."""
    wide = _easy_and_hard("rmle", {0: 0.9, 1: 0.3, 2: 0.3})
    lone = _easy_and_hard("inverse", {0: 0.8})
    for records in ([*wide, *lone], [*lone, *wide]):
        (worst,) = worst_case.worst_cases(records)
        assert worst.best["ssim"].first.attack == "rmle"
        assert worst.best["ssim"].score("ssim") == pytest.approx(0.9, abs=0.01)
        assert worst.caveats["ssim"] == ["compared on seed 0: inverse lacks seeds 1, 2"]
        line = "\n    compared on seed 0: inverse lacks seeds 1, 2\n"
        assert line in summary.table(records), "said once, of the whole setting"
        assert "unreliable" not in summary.table(records)
        (choice,) = operating_points.operating_points(tradeoffs.panels(records)[0], "ssim")
        assert choice.adversary == "rmle"
        assert "compared on seed 0: inverse lacks seeds 1, 2" in choice.caveats
    (worst,) = worst_case.worst_cases([*wide, *_easy_and_hard("inverse", {7: 0.99})])
    assert worst.best["ssim"].first.attack == "rmle"
    assert worst.caveats["ssim"] == ["inverse is not compared: seed 7"]


def test_settings_are_chosen_and_compared_on_shared_seeds():
    """A setting that was measured on an easy victim alone neither wins nor loses by it."""
    dropout = [*_easy_and_hard("rmle", {0: 0.9, 1: 0.3}), record("none", 0.0, targets=24)]
    gaussian = _easy_and_hard("rmle", {0: 0.8}, defense="gaussian")
    (panel,) = tradeoffs.panels([*dropout, *gaussian])
    defended = [c for c in operating_points.operating_points(panel, "ssim") if c.worst.strength]
    best = operating_points.within(defended, 0.02)
    assert best.name == "gaussian 0.3 on features", "0.8 against 0.9 on seed 0"
    assert any("lacks seed 1" in why for why in best.caveats)
    assert [c.name for c in operating_points.pareto(defended)] == ["gaussian 0.3 on features"]
    (found,) = operating_points.comparisons(panel, "ssim", 0.02)
    assert found.description.startswith(
        "gaussian 0.3 on features leaks less than dropout 0.3 on features"
    )
    apart = tradeoffs.panels(
        [*_easy_and_hard("rmle", {1: 0.3}), *_easy_and_hard("rmle", {0: 0.8}, defense="gaussian")]
    )[0]
    assert len(operating_points.pareto(operating_points.operating_points(apart, "ssim"))) == 2
    (found,) = operating_points.comparisons(apart, "ssim", 0.02)
    assert "no victim in common" in found.description


def test_a_figure_of_splits_ranks_them_on_shared_seeds():
    """An easy victim that one split alone was attacked on moves no rank."""
    defended = [
        imaged(record("dropout", rate, seed=seed, split=split), spread(level))
        for split, levels in (("conv1", {0: 0.9, 1: 0.2}), ("relu2", {0: 0.8}))
        for seed, level in levels.items()
        for rate in (0.1, 0.2, 0.3)
    ]
    plain = [imaged(record("none", 0.0, seed=one.seed, split=one.split),
                    dict(zip(one.per_image["index"], one.per_image["ssim"], strict=True)))
             for one in defended if one.strength == 0.1]  # fmt: skip
    (bars,) = split_figures.partition(tradeoffs.panels(plain))
    assert "conv1 leaks most and relu2 least" in bars.get_suptitle().replace("\n", " ")
    (lines,) = split_figures.splits(tradeoffs.panels(defended))
    assert "relu2 leaks least and conv1 most" in lines.get_suptitle().replace("\n", " ")


def test_a_setting_comes_once_in_a_pareto_set():
    """However often it is handed in."""
    (panel,) = tradeoffs.panels([record(), record("gaussian", ssim=0.3, accuracy=0.97)])
    found = operating_points.operating_points(panel, "ssim")
    assert (
        len(operating_points.pareto([*found, *found])) == len(operating_points.pareto(found)) == 2
    )


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


def test_two_victims_of_one_seed_are_two_victims_of_a_group():
    """Neither replaces the other in its mean."""
    both = [
        with_victim(imaged(record(key=name), spread(level)), name)
        for name, level in (("a", 0.3), ("b", 0.5))
    ]
    (group,) = frame.grouped(both)
    assert group.score("ssim") == pytest.approx(0.402, abs=1e-3)


def test_attacks_with_fewer_seeds_leave_no_other_attack_out():
    """A book keeps five seeds of one attack and three of another, and compares them on three."""
    rmle = [one for seed in range(5) for split in ("conv1", "relu2", "fc1")
            for one in [claims_table("rmle", split, 0.5, seed=seed)]]  # fmt: skip
    learned = [claims_table("inverse", "fc1", 0.7, seed=seed) for seed in range(3)]
    many = [claims_table("inverse", split, 0.7, seed=seed) for seed in range(3)
            for split in ("conv1", "relu2", "fc1", "pool1", "pool2")]  # fmt: skip
    for networks in (learned, many):
        kept_ = books.comparable([*rmle, *networks])
        count = {name: len([r for r in kept_ if r.attack == name]) for name in ("rmle", "inverse")}
        assert count == {"rmle": 15, "inverse": len(networks)}
    spot = books.MeasuredResults.of([*rmle, *learned], adaptive=True).best("mnist", "fc1")
    assert spot.point.group.seeds == [0, 1, 2]


# defenses that no attack knows -------------------------------------------------------------------

UNKNOWN = "No adaptive attack was run against dropout on features: the leakage may be higher."


def _command(text: str) -> list[str]:
    (line,) = re.findall(r"this adds one: (.*)", text)
    return shlex.split(line)


def test_a_summary_without_an_adaptive_attack_says_so_first(tmp_path):
    """With the sweep's own words and the attack that knows the defense."""
    text = "python -m privbench -m attack=rmle attack.steps=20 defense.rate=0.1,0.3 targets=5"
    rmle = {"_target_": "privbench.attacks.rmle.RMLE", "steps": 20}
    naive, knowing = record("dropout", 0.3), record("dropout", 0.3, attack="a", adaptive=True)
    naive.config["attack"].update(rmle)
    naive.config["defense"]["_target_"] = "privbench.defenses.dropout.Dropout"
    summaries = {}
    for name, records in (("without", [naive]), ("with", [naive, knowing])):
        folder = sweep(tmp_path / name, name, records, [])
        lines = (folder / "cells.jsonl").read_text().splitlines()
        lines[0] = lines[0].replace(f"python -m privbench sweeps={name}", text)
        (folder / "cells.jsonl").write_text("\n".join(lines) + "\n")
        summaries[name] = summary.of_sweep(SweepLog(folder)).splitlines()
    assert summaries["without"][0] == UNKNOWN
    want = text.replace(" attack=rmle ", " ") + " attack=rmle,rmle_adaptive"
    assert _command(summaries["without"][1]) == shlex.split(want)
    assert summaries["with"][0].startswith("worst case over 2 cells")
    nothing = sweep(tmp_path / "none", "none", [record("none", 0.0)], [])
    assert summary.of_sweep(SweepLog(nothing)).startswith("worst case")


def test_options_of_another_attack_are_left_out_of_the_command(tmp_path):
    """They would be refused, or mean something else."""
    from privbench.report.advice import untried

    network = record(attack="inverse_naive")
    network.config["attack"]["_target_"] = "privbench.attacks.inverse.Inverse"
    network.config["defense"]["_target_"] = "privbench.defenses.dropout.Dropout"
    typed = "python -m privbench -m attack=inverse_naive attack.queries=100,200 defense.rate=0.3"
    (command,) = untried([network], typed).commands
    assert command.endswith("python -m privbench -m defense.rate=0.3 attack=rmle_adaptive")
    (command,) = untried([network], typed.replace(" attack.queries=100,200", "")).commands
    assert command.endswith("-m defense.rate=0.3 attack=inverse_naive,rmle_adaptive")


def test_a_defense_without_a_likelihood_is_met_by_queries(tmp_path, monkeypatch):
    """Whether it states one is read off its class, one that it inherits included."""
    from privbench.report.advice import untried

    (tmp_path / "mine_here.py").write_text(
        "from privbench.defenses.base import Defense\n"
        "from privbench.defenses.dropout import Dropout\n"
        "class Quantise(Defense):\n    def _perturb(self, t, draws): ...\n"
        "class Rarely(Dropout):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, attack in (("Quantise", "inverse"), ("Rarely", "rmle_adaptive")):
        one = record("mine", 0.3)
        one.config["defense"]["_target_"] = f"mine_here.{name}"
        (command,) = untried([one], "python -m privbench -m attack=rmle defense=mine").commands
        assert command.endswith(f"attack=rmle,{attack}")


def test_a_page_says_first_which_defense_no_attack_knows(tmp_path):
    """A selection of a store gets a command from what was typed for its records."""
    records = [
        record("dropout", rate, overrides=["attack=rmle", f"defense.rate={rate:g}", f"seed={seed}",
                          f"tracker={'none' if seed else 'wandb'}", "sweep.report=false"],
               seed=seed)
        for rate in (0.1, 0.3) for seed in (0, 1)
    ]  # fmt: skip
    for one in records:
        one.config["defense"]["_target_"] = "privbench.defenses.dropout.Dropout"
    text = _page(tmp_path, records)
    body = text.partition("<body>")[2].lstrip()
    assert body.startswith(f"<p class=warn>{UNKNOWN}</p>")
    command = "python -m privbench -m attack=rmle_adaptive,inverse defense.rate=0.1,0.3 seed=0,1"
    assert f"<pre>{command}</pre>" in body.splitlines()[1]
    some = [*records, record("dropout", 0.3, attack="rmle_adaptive", adaptive=True)]
    text = _page(tmp_path / "some", some)
    assert "was run against dropout on features in 1 of its 2 settings: the" in text


def test_no_setting_is_recommended_by_naive_attacks_without_a_caveat():
    """In the headline, the least leakage and the settings that none beats."""
    naive = [record("dropout", rate, ssim=0.5 - rate, targets=24) for rate in (0.1, 0.3)]
    knowing = [
        record("dropout", rate, attack="rmle_adaptive", adaptive=True, ssim=0.6, targets=24)
        for rate in (0.1, 0.3)
    ]
    (panel,) = tradeoffs.panels(naive)
    said = [
        operating_points.headline(panel),
        tables.leakages([panel])[1][-1],
        tables.pareto_sets([panel])[1][-1],
    ]
    assert all("no adaptive attack was run" in text for text in said)
    (panel,) = tradeoffs.panels([*naive, *knowing])
    rows = {row[1]: row[-1] for row in tables.leakages([panel])[1:] if row[2] == "SSIM"}
    caveated = operating_points.headline(panel) + rows["worst case"] + rows["rmle_adaptive"]
    assert "no adaptive attack" not in caveated
    assert "not adaptive" not in caveated
    assert "this attack is not adaptive" in rows["rmle"]


# sweeps ------------------------------------------------------------------------------------------


def _cells(name: str, *typed: str) -> list[dict[str, str]]:
    own = OmegaConf.to_container(OmegaConf.load(ROOT / "sweeps" / "he2020" / f"{name}.yaml"))
    sweeper = own["hydra"]["sweeper"]
    parse = OverridesParser.create().parse_overrides
    shared = grids.parse_axes(parse(grids.to_overrides(sweeper["params"])))
    found = [
        {**shared, **grids.parse_axes(parse(grids.to_overrides(grid)))}
        for grid in sweeper.get("grids", [{}])
    ]
    groups = {"attack", "defense", "dataset"}
    cells = grids.expand_grids(
        found, grids.parse_axes(parse(list(typed))), lambda option: option in groups
    )
    return [dict(word.split("=", 1) for word in cell) for cell in cells]


SWEEPS = ("fig9_mnist", "fig13_mnist_splits", "table_whitebox", "strongest", "adaptive",
          "fig15_partition", "table_queryfree", "table_blackbox", "fig10_cifar",
          "fig12_cifar_splits")  # fmt: skip


@pytest.mark.parametrize("name", SWEEPS)
def test_rmle_on_mnist_has_five_victims_and_what_trains_networks_or_is_cifar_three(name):
    """A typed seed replaces them everywhere."""
    cells = _cells(name)
    for cell in cells:
        few = not cell["attack"].startswith("rmle") or cell["dataset"] == "cifar10"
        seeds = {c["seed"] for c in cells if {**c, "seed": ""} == {**cell, "seed": ""}}
        assert seeds == set("012" if few else "01234"), cell
    alone = _cells(name, "seed=0")
    assert {cell["seed"] for cell in alone} == {"0"}
    distinct = {tuple(sorted({**cell, "seed": ""}.items())) for cell in cells}
    assert len(alone) == len(distinct)


def test_a_pair_of_adversaries_is_a_command_of_the_adaptive_sweep():
    """Typing attacks picks their grids, with their seeds."""
    assert {cell["seed"] for cell in _cells("adaptive", "attack=rmle,rmle_adaptive")} == set(
        "01234"
    )
    assert {cell["seed"] for cell in _cells("adaptive", "attack=inverse")} == set("012")
    cells = _cells("fig9_mnist", "attack=rmle_paper,rmle_adaptive", "defense=dropout")
    assert {cell["attack"] for cell in cells} == {"rmle_paper", "rmle_adaptive"}
