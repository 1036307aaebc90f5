"""Cells of adaptive attacks: their records, what tuning keeps, and who is the worst case."""

import dataclasses
from itertools import islice

import pytest

from privbench.experiment.config import build
from privbench.experiment.evaluation_classifier import EVALUATION_CLASSIFIER
from privbench.experiment.evaluation_classifier import SEED as JUDGES_SEED
from privbench.report import summary
from privbench.report.analysis import frame, worst_case


def test_where_everything_was_dropped_there_is_an_answer_all_the_same(run_cell):
    """All features zero: finite images, none failed."""
    words = ["attack=rmle_adaptive", "defense.rate=1", "targets=3", "attack.steps=20"]
    assert run_cell(*words).failed == 0


BAD = {
    "transmissions=0": ["transmissions=0"],
    "attack=rmle_adaptive attack.objective=squared": ["attack.objective=squared", "profile"],
    "attack=tuned attack.images=401": ["attack.images=401", "400"],
    "attack=tuned attack.images=1": ["attack.images=1"],
    "attack=tuned attack.trials=0": ["attack.trials=0"],
    "attack=tuned attack.inner.tv_weight=0": ["attack.inner.tv_weight=0"],
    "attack=tuned attack@attack.inner=blind": ["attack.inner", "rmle"],
}


@pytest.mark.parametrize("words", BAD)
def test_bad_input_is_refused_in_one_line_before_any_training(words, refused):
    """It names the value and what may stand there."""
    refused(words, BAD[words])


@pytest.mark.long
@pytest.mark.parametrize("inner", ["rmle", "rmle_adaptive"])
def test_tuning_tries_the_attacks_own_setting_and_keeps_what_was_best(inner, composed, run_cell):
    """On equal budgets, on images of the adversary's own, once."""
    words = [
        "attack=tuned",
        f"attack@attack.inner={inner}",
        "attack.trials=4",
        "attack.images=4",
        "attack.inner.steps=10",
        "targets=4",
        "defense.rate=0.3",
    ]
    first, second = (run_cell(*words, f"accuracy_draws={n}") for n in (1, 2))
    assert first.columns == second.columns
    assert first.notes["tuned"] == second.notes["tuned"]
    assert first.notes["tuned"]["settings"] == 4 and first.notes["tuned"]["images"] == 4
    assert first.adaptive == (inner == "rmle_adaptive")
    assert ("DEFENSE" in first.access) == first.adaptive
    tried = build(composed(*words)).attack
    starts = [(a.init, a.tv_weight) for a in islice(tried._candidates(), 4)]
    own = 3.5 if first.adaptive else 4.0
    assert starts == [("dark", own), ("grey", own), ("dark", 4 * own), ("grey", 4 * own)]


def test_the_adaptive_inverter_composes_with_the_shadow(run_cell):
    """No new file: the shadow's rights grow by DEFENSE."""
    words = ["attack=shadow", "attack@attack.inverter=rmle_adaptive", "attack.steps=12"]
    record = run_cell(*words, "attack.inverter.steps=10", "targets=3")
    assert record.access == ["AUX_IMAGES", "AUX_LABELS", "DEFENSE"]
    assert record.adaptive


@pytest.mark.long
def test_the_judge_is_nobodys_kin(run_cell, stage):
    """Another seed than any cell may have, another architecture, no weight shared; and it can read."""
    assert JUDGES_SEED > 2**32 - 1
    made = stage()
    judge = EVALUATION_CLASSIFIER.build(made.data.shape, 10, JUDGES_SEED)
    assert type(judge) is not type(made.model)
    mine = {id(p) for p in made.model.parameters()}
    assert not mine & {id(p) for p in made.truth().evaluator.parameters()}
    record = run_cell("attack=rmle", "defense=none", "targets=12", "attack.steps=100")
    assert record.judge_accuracy > 0.95
    assert record.score("semantic_accuracy") > 0.9 and record.score("identification") > 0.9
    assert record.above["attack"] == {"psnr_db": 1.0, "ssim": 1.0}
    assert record.above["black"]["psnr_db"] <= 1
    assert record.floor["black"]["identification"] == pytest.approx(record.chance["identification"])
    assert record.floor["class_mean"]["semantic_accuracy"] > 0.9


@pytest.mark.long
def test_the_worst_case_is_taken_within_the_rights_and_doubted_where_it_must_be(run_cell):
    """Weights imply queries; an attack that does better at a greater strength was no bound."""

    def cell(attack, rate, *words):
        return run_cell(f"attack={attack}", f"defense.rate={rate}", "targets=10", *words)

    records = [
        cell("blind", 0.3),
        cell("rmle", 0.3, "attack.steps=60"),
        cell("rmle_adaptive", 0.2, "attack.steps=60"),
        cell("rmle_adaptive", 0.6, "attack.steps=60"),
    ]
    # as if the stronger defense had hidden less
    low, high = records[2:]
    records[2:] = [
        dataclasses.replace(
            record,
            strength=rate,
            config={**record.config, "defense": {**record.config["defense"], "rate": rate}},
        )
        for record, rate in ((low, 0.5), (high, 0.3))
    ]
    inverse = cell("inverse_paper", 0.3, "attack.steps=12")
    worst = {(w.rights, w.setting): w for w in worst_case.worst_cases([*records, inverse])}
    assert len(worst) == 5
    settings = {setting for _, setting in worst}
    at = next(s for s in settings if "0.3" in s)
    white = worst[("EDGE_WEIGHTS",), at]
    assert white.best["psnr_db"].first.attack == "rmle"
    adaptive = worst[("EDGE_WEIGHTS", "DEFENSE"), at]
    assert adaptive.best["ssim"].first.attack in ("rmle", "rmle_adaptive")
    groups = frame.grouped(records)
    weak = next(g for g in groups if g.first.attack == "rmle_adaptive" and g.first.strength == 0.3)
    assert any(
        "0.5 gives more" in doubt
        for doubt in worst_case.caveats(weak, worst_case.RelatedGroups(groups), "psnr_db")
    )
    output = summary.table(records)
    assert "accuracy" in output and "edge_weights" in output


@pytest.mark.long
def test_more_steps_that_give_more_are_a_doubt(run_cell):
    """Paired by image, beyond the interval."""
    few, many = (
        run_cell("attack=rmle_adaptive", "defense.rate=0.3", "targets=10", f"attack.steps={n}")
        for n in (150, 5)
    )
    groups = frame.grouped([few, many])
    related = worst_case.RelatedGroups(groups)
    longer = next(g for g in groups if worst_case.steps(g.first) == 150)
    assert not [d for d in worst_case.caveats(longer, related, "psnr_db") if "steps" in d]
    swapped = [
        dataclasses.replace(
            record, config={**record.config, "attack": {**record.config["attack"], "steps": steps}}
        )
        for record, steps in ((few, 5), (many, 150))
    ]
    groups = frame.grouped(swapped)
    related = worst_case.RelatedGroups(groups)
    longer = next(g for g in groups if worst_case.steps(g.first) == 150)
    assert any("5 steps give more" in d for d in worst_case.caveats(longer, related, "psnr_db"))
