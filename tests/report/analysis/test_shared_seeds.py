"""Comparisons on shared seeds and victims."""

import pytest

from privbench.report import curves, summary, undefended
from privbench.report.analysis import frame, operating_points, tradeoffs, worst_case
from tests.records import imaged, record, spread, with_victim


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
        line = "\n    compared on seed 0: inverse lacks seeds 1, 2"
        assert summary.table(records).count(line) == 1, "said once, of the whole setting"
        assert "unreliable" not in summary.table(records)
        (choice,) = operating_points.operating_points(tradeoffs.panels(records)[0], "ssim")
        assert choice.adversary == "rmle"
        assert "compared on seed 0: inverse lacks seeds 1, 2" in choice.caveats
    (worst,) = worst_case.worst_cases([*wide, *_easy_and_hard("inverse", {7: 0.99})])
    assert worst.best["ssim"].first.attack == "rmle"
    assert worst.caveats["ssim"] == ["inverse is not compared: seed 7"]


def test_what_is_left_out_is_said_of_two_attacks_of_one_name_too():
    """They differ in an option; one of them was not run on the victim of the others."""
    records = [
        one
        for attack, seed, weight in (("rmle", 7, 1.0), ("rmle", 0, 2.0), ("inverse", 0, 1.0))
        for one in _easy_and_hard(attack, {seed: 0.5})
        if not one.config["attack"].update(tv_weight=weight)
    ]
    (worst,) = worst_case.worst_cases(records)
    assert worst.caveats["ssim"] == ["rmle is not compared: seed 7"]


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
                    dict(zip(one.columns["index"], one.columns["ssim"], strict=True)))
             for one in defended if one.strength == 0.1]  # fmt: skip
    points = next(undefended.undefended(tradeoffs.panels(plain)))
    assert "conv1 leaks most and relu2 least" in points.title
    lines = next(curves.splits(tradeoffs.panels(defended)))
    assert "relu2 leaks least and conv1 most" in lines.title


def test_a_setting_comes_once_in_a_pareto_set():
    """However often it is handed in."""
    (panel,) = tradeoffs.panels([record(), record("gaussian", ssim=0.3, accuracy=0.97)])
    found = operating_points.operating_points(panel, "ssim")
    assert (
        len(operating_points.pareto([*found, *found])) == len(operating_points.pareto(found)) == 2
    )


def test_two_victims_of_one_seed_are_two_victims_of_a_group():
    """Neither replaces the other in its mean."""
    both = [
        with_victim(imaged(record(key=name), spread(level)), name)
        for name, level in (("a", 0.3), ("b", 0.5))
    ]
    (group,) = frame.grouped(both)
    assert group.score("ssim") == pytest.approx(0.402, abs=1e-3)
