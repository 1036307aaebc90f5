"""Views: nothing leads from them to the truth, and what they keep is theirs."""

import torch
from torch import nn

from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.dp_gaussian import DPGaussian
from privbench.defenses.dropout import Dropout
from privbench.defenses.none import NoDefense
from privbench.testing import FitAlways
from privbench.threat import Access
from privbench.victims.lenet5 import LeNet5
from tests.support import RecordingLogger, granted, lenet_edge, scenes


def _reachable(view) -> list:
    """Everything that attributes lead to from a view, three steps deep."""
    found, edge = [], [view]
    for _ in range(4):
        nearer = []
        for thing in edge:
            names = [
                n for n in dir(thing) if n not in dir(object) or n in ("__self__", "__wrapped__")
            ]
            for name in names:
                try:
                    nearer.append(getattr(thing, name))
                except Exception:
                    continue
        found += nearer
        edge = [t for t in nearer if type(t).__module__.startswith("privbench") or callable(t)][
            :400
        ]
    return found


def test_no_attribute_of_a_view_leads_to_the_truth_or_to_the_edge():
    """Not through the journal, not through the query channel, not through a wrapped function."""
    from privbench.experiment.services import AttackLogger
    from privbench.tracking.base import NullRun

    x = scenes(3)
    edge = lenet_edge("relu2")
    deployment = Deployment(edge, Dropout(rate=0.5), nn.Sequential(nn.Identity()))
    access = Access.EDGE_QUERIES | Access.CLEAN_QUERIES | Access.AUX_IMAGES
    logger = AttackLogger(x, NullRun())
    view = granted(deployment, scenes(2), access, seed=7, logger=logger)
    view.query(x[:1])
    view.logger.step(1, x)
    secrets = [x, edge, deployment, deployment.channel, logger, *edge.parameters()]
    found = _reachable(view)
    assert any(thing is view.images for thing in found)
    assert not [s for s in secrets if any(thing is s for thing in found)]
    assert view._seed != 7


def test_a_kept_network_replays_its_queries_and_knows_its_edge():
    """A loaded network counts the queries of its training; two surrogate edges share none."""

    kept: dict[str, tuple[dict, dict]] = {}

    def keep(recipe, module, train):
        key = str(recipe)
        if key not in kept:
            facts = dict(train())
            kept[key] = ({n: t.clone() for n, t in module.state_dict().items()}, facts)
        module.load_state_dict(kept[key][0])
        return kept[key][1]

    edge = lenet_edge("conv1")
    deployment = Deployment(edge, Dropout(rate=0.5), nn.Sequential(nn.Identity()))
    answers = []
    for _ in range(2):
        logger = RecordingLogger()
        access = Access.EDGE_QUERIES | Access.AUX_IMAGES
        view = granted(deployment, scenes(5), access, logger=logger, fit_or_load=keep)
        module = nn.Linear(2, 2)

        def train(view=view, module=module):
            view.query(view.images)
            nn.init.constant_(module.weight, 3.0)
            return {"epochs": 4}

        view.fit_or_load({"net": "linear"}, module, train)
        assert float(module.weight.detach().mean()) == 3
        assert logger.facts == {"epochs": 4, "queries": 5}
        answers.append(view.query(view.images[:1]))
    assert len(kept) == 1
    assert torch.equal(*answers)
    for weight in (1.0, 2.0):
        surrogate_edge, module = nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2)
        nn.init.constant_(surrogate_edge[0].weight, weight)

        def fill(module=module, weight=weight):
            nn.init.constant_(module.weight, weight)
            return {}

        view.with_edge(surrogate_edge).fit_or_load({"net": "other"}, module, fill)
        assert float(module.weight.detach().mean()) == weight


def test_shadows_behind_other_clippings_are_kept_apart():
    """A clipping has no weights; without one the recipe names no structure, as it never did."""
    victim = SplitVictim(*LeNet5((1, 28, 28), 10).eval().split("relu2"), (1, 28, 28))
    recipes = []

    def keep(recipe, module, train):
        recipes.append(recipe)
        return {**train()}

    for clip in (0.5, 50.0, 0.5, None):
        defense = DPGaussian(epsilon=4.0, clip=clip, train="none") if clip else NoDefense()
        deployment = defense.fit(victim, None, FitAlways())
        view = granted(deployment, scenes(5), Access.EDGE_STRUCTURE, fit_or_load=keep)
        view.fit_or_load({"net": "shadow"}, nn.Linear(2, 2), dict)
    assert recipes[0] == recipes[2] != recipes[1]
    assert "fresh_edge" in recipes[0] and "fresh_edge" not in recipes[3]
