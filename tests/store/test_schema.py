"""A raised ``SCHEMA``: what the harness computed under the earlier one is computed again."""

import torch
from torch import nn

from privbench.evaluation.metrics import metric
from privbench.experiment.accuracy import per_image_accuracy
from privbench.experiment.adversary import adversary_view
from privbench.experiment.evaluate import deployment_scores
from privbench.runtime.hashing import content_hash
from privbench.store import recipes
from privbench.store.artifacts import Artifact
from privbench.threat import Access
from privbench.threat.view import NullLogger
from tests.stage import Stage


class Recipes:
    """A store that makes and keeps nothing: the recipe of all that is asked of it, by kind."""

    def __init__(self) -> None:
        self.asked: dict[str, dict] = {}

    def keep(self, kind, recipe, make):
        self.asked[kind] = recipe
        tensors = {"correct": torch.ones(1)} if kind == "accuracies" else {}
        return Artifact(tensors, {"value": 1.0, "seconds": 0.0, "queries": 0})


def _asked(stage: Stage) -> dict[str, dict]:
    """The recipes of an accuracy, a costly number, an adversary and a blind answer of a cell."""
    store, deployed = Recipes(), stage.deployed(stage.deploy(stage.cell.defense))
    object.__setattr__(stage.services, "store", store)
    per_image_accuracy(stage.plan, stage.services, deployed)
    deployment_scores(stage.plan, stage.services, deployed, stage.x, [metric("dfil")])
    view = adversary_view(stage.plan, stage.services, deployed, Access.AUX_IMAGES, NullLogger())
    for recipe in ({"code": "mine-1"}, {"baseline": "mine"}):
        view.fit_or_load(recipe, nn.Identity(), dict)
    return store.asked


def test_a_raised_schema_computes_again_what_the_harness_keeps(cell, monkeypatch):
    """Accuracies and adversaries too, and ``status`` says so of records with a schema or without.

    At the present schema recipes are those of earlier versions, which named none.
    """
    stage = Stage.of(cell("attack=blind", "targets=5"))
    now, key = _asked(stage), stage.key
    assert {"accuracies", "deployment_metrics", "adversaries", "baselines"} == now.keys()
    assert not any("schema" in recipe for recipe in now.values())
    named = {"schema": recipes.RECORD_SCHEMA, "config": stage.cell.config, "victim_sha256": ""}
    named["sources"] = stage.plan.sources
    unnamed = {**named, "sources": {p: v for p, v in named["sources"].items() if p != "harness"}}
    root = stage.cell.outputs / "nowhere"
    assert [recipes.outdated(record, root) for record in (named, unnamed)] == [[], []]

    monkeypatch.setattr(recipes, "SCHEMA", recipes.SCHEMA + 1)
    raised = Stage.of(stage.cell)
    for kind, recipe in _asked(raised).items():
        assert content_hash(recipe) != content_hash(now[kind]), kind
    assert raised.key != key
    reason = f"harness: schema-{recipes.SCHEMA - 1} is now schema-{recipes.SCHEMA}"
    assert [recipes.outdated(record, root) for record in (named, unnamed)] == [[reason]] * 2
