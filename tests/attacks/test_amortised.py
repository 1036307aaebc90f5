"""One inverse network for all strengths of a defense: trained once, and given the strength."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from privbench.attacks.components.amortised import StrengthRange, fixed_shares, random_shares
from privbench.attacks.inverse_adaptive import AmortisedDecoderTask, InverseAdaptive
from privbench.defenses.base import Perturbation
from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.laplace import Laplace
from privbench.defenses.none import NoDefense
from privbench.defenses.quantize import Quantize
from privbench.defenses.topk import TopK
from privbench.runtime.code_identity import described
from privbench.runtime.random import RandomStreams
from tests.support import granted, instantiated, lenet_edge, scenes

EDGE = nn.Sequential(nn.Identity())


def attack_of(**changes):
    return dataclasses.replace(instantiated("attack", "inverse_adaptive"), **changes)


def view_of(defense, edge=EDGE, images=None, undefended=None, **others):
    images = scenes(4) if images is None else images
    deployment = Deployment(edge, defense, nn.Sequential(nn.Flatten()), undefended)
    return granted(deployment, images, InverseAdaptive.access.fget(None), **others)


class Shelf:
    """Keeps each network by its recipe, as a store does."""

    def __init__(self):
        self.kept, self.recipes = {}, []

    def __call__(self, recipe, module, train):
        self.recipes.append(recipe)
        name = str(sorted(recipe["recipe"].items()))
        if name not in self.kept:
            facts = train()
            self.kept[name] = copy.deepcopy(module.eval()), facts
        module.load_state_dict(self.kept[name][0].state_dict())
        return self.kept[name][1]


@pytest.mark.long
def test_one_network_is_trained_for_all_strengths_and_uses_the_one_it_is_given():
    """Given the strength of other features, it errs more: it trusts noise, or mistrusts an image."""
    images = torch.rand(200, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    attack = attack_of(
        amortised=True, strengths=[0, 2], steps=40, batch=32, lr=1e-2, precision="32-true"
    )
    shelf, x, sent, answers = Shelf(), images[:64], {}, {}
    for sigma in (0.1, 1.8):
        defense = Gaussian(sigma=sigma)
        reconstruct = attack.fit(view_of(defense, images=images, fit_or_load=shelf))
        sent[sigma] = Deployment(EDGE, defense, nn.Sequential()).transmit(
            x, RandomStreams(5, "transmission", range(len(x)))
        )
        answers[sigma] = reconstruct(sent[sigma])
    assert len(shelf.kept) == 1 and shelf.recipes[0] == shelf.recipes[1]
    ((network, _),) = shelf.kept.values()
    for sigma, other in ((0.1, 1.8), (1.8, 0.1)):
        by_its_own, by_another = (
            network(sent[sigma], torch.full((len(x),), given / 2)).detach().clamp(0, 1)
            for given in (sigma, other)
        )
        assert torch.allclose(answers[sigma], by_its_own, atol=1e-5)
        errors = [float((image - x).square().mean()) for image in (by_its_own, by_another)]
        assert errors[0] < errors[1] - 0.005, errors


def test_the_network_learns_with_the_strength_that_was_drawn():
    """Levels are whole numbers: a third has three, and no strength lies between it and a half."""
    images = torch.rand(64, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    view = view_of(Quantize(levels=2, low=0.0, high=1.0), images=images)
    given = []

    class Noting(nn.Module):
        def forward(self, v, shares):
            given.extend(shares.tolist())
            return v[:, 0]

    task = AmortisedDecoderTask(Noting(), view, images, StrengthRange(0.0, 0.5))
    for network in (task.network.train(), task.network.eval()):
        assert task.network is network
        task.losses((torch.arange(64),))
    drawn = torch.tensor(given)
    levels = 2 / drawn
    assert len(drawn) == 128 and torch.allclose(levels, levels.round(), rtol=1e-5)
    assert {2, 3, 4} <= {*levels.round().int().tolist()}


def test_half_of_the_strengths_lie_in_the_lowest_quarter_of_the_range():
    """In training, and of held-out images."""
    drawn = random_shares(1000, torch.Generator().manual_seed(0))
    for shares in (drawn, fixed_shares(torch.arange(1000))):
        assert float((shares < 0.25).float().mean()) == pytest.approx(0.5, abs=0.01)
        assert 0 <= float(shares.min()) < 0.01 and 0.99 < float(shares.max()) <= 1


@pytest.mark.fault
def test_two_strengths_of_a_cell_share_a_network_of_the_store(run_cell, outputs):
    """On digits; the record has the strength, the key of the network has not."""
    folder = outputs / "store" / "adversaries"
    before = set(folder.glob("*.safetensors"))
    words = ["attack=inverse_adaptive", "attack.amortised=true", "attack.steps=4", "targets=4"]
    records = [run_cell(*words, f"defense.rate={rate}") for rate in (0.2, 0.4)]
    assert len(set(folder.glob("*.safetensors")) - before) == 1
    assert [record.strength for record in records] == [0.2, 0.4]
    assert all(record.adaptive and record.notes["steps"] >= 4 for record in records)


def test_without_a_defense_it_is_the_network_that_is_not_amortised():
    """So a cell without a defense has one result, whatever the site of its defense."""
    updates = []

    class Noted(InverseAdaptive):
        def train(self, learner, pairs, held_out, view):
            updates.append(self.length(len(pairs[0]))[1])
            return {}

    shelf = Shelf()
    for amortised in (True, False):
        options = {f.name: getattr(attack_of(), f.name) for f in dataclasses.fields(attack_of())}
        attack = Noted(**{**options, "amortised": amortised})
        attack.fit(view_of(NoDefense(), edge=lenet_edge("relu2"), fit_or_load=shelf))
        shelf.kept.clear()
    assert shelf.recipes[0] == shelf.recipes[1] and updates[0] == updates[1]


def test_keys_of_earlier_results_stay(composed):
    """Options at their first values are in no configuration and no description of an attack."""
    config = composed("attack=inverse_adaptive").config["attack"]
    refined = composed("attack=inverse_refined").config["attack"]["network"]
    assert not {"amortised", "strengths"} & ({*config} | {*refined} | {*described(attack_of())})
    chosen = composed("attack=inverse_adaptive", "attack.amortised=true").config["attack"]
    assert chosen == {**config, "amortised": True}
    assert described(attack_of(amortised=True))["amortised"]


class Fixed(Perturbation):
    """A defense that has one strength."""

    strength = 0.5

    def _perturb(self, t, draws):
        return t.abs()


REFUSED = [
    (Gaussian(sigma=1), {}, r"attack.strengths=null.*Gaussian have no highest one.*\[LOWEST,HIGH"),
    (Gaussian(sigma=3), {"strengths": [0, 2]}, r"attack.strengths=\[0,2\] leaves out.*strength 3"),
    (Dropout(rate=0.3), {"strengths": [0, 2]}, "Dropout has strengths up to 1"),
    (Fixed(), {}, "Fixed has no at_strength: choose attack.amortised=false"),
]


@pytest.mark.parametrize(("defense", "options", "line"), REFUSED)
def test_a_defense_without_a_range_of_strengths_is_refused(defense, options, line):
    """In one line that says what to choose; a trained edge too, whatever its channel."""
    attack = attack_of(amortised=True, **options)
    with pytest.raises(ValueError, match=line):
        attack.check(view_of(defense))
    attack_of().check(view_of(defense))
    with pytest.raises(ValueError, match="this defense trained it: choose attack.amortised=false"):
        attack.check(view_of(defense, undefended=nn.Sequential(nn.Identity())))


@pytest.mark.parametrize("strengths", [[0.5], [0.5, 0.5], [-1, 1], [0, 1, 2]])
def test_a_range_that_is_none_is_refused(strengths):
    """And any without a network for all strengths."""
    with pytest.raises(ValueError, match="is out of range: choose"):
        attack_of(amortised=True, strengths=strengths)
    with pytest.raises(ValueError, match="attack.amortised=true alone"):
        attack_of(strengths=[0, 1])


PERTURBATIONS = [
    Dropout(rate=0.3), Gaussian(sigma=0.4), Laplace(scale=0.2), Quantize(levels=6), TopK(rate=0.7),
]  # fmt: skip


@pytest.mark.parametrize("defense", PERTURBATIONS, ids=lambda defense: type(defense).__name__)
def test_a_defense_at_another_strength_has_that_strength(defense):
    """At its own it is itself, at 0 it changes nothing; the rest of its options stay."""
    assert defense.at_strength(defense.strength) == defense
    moved = dataclasses.replace(defense, site="input").at_strength(0.5)
    assert moved.strength == 0.5 and moved.site == "input"
    t = torch.rand(1, 3)
    assert torch.equal(defense.at_strength(0).perturb(t, RandomStreams(0, "t", [0])), t)
