"""The search of an attack's numeric options: its optimum, its store, its budget, its refusals."""

import sys
from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from privbench.attacks.components.search import (
    numeric_options,
    ranges_of,
    search,
    with_options,
)
from privbench.attacks.rmle import RMLE
from privbench.attacks.tuned import Tuned
from privbench.defenses.deployment import Deployment
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.none import NoDefense
from privbench.threat import Access
from privbench.threat.view import jsonable
from tests.support import RecordingLogger, granted, hasty, instantiated, lenet_edge, scenes

TRIED: list["Gain"] = []
"""Every attack that was fitted, in order."""


@dataclass
class Gain:
    """Multiplies the features, which are the images: with gain 1 the images are exact."""

    gain: float = 5.0
    count: int = 1
    rights: Access = Access.EDGE_WEIGHTS

    @property
    def access(self):
        return self.rights

    def fit(self, view):
        TRIED.append(self)
        self.seen = len(view.images) if Access.AUX_IMAGES in self.rights else None
        return lambda v: (v.mean(1) * self.gain / self.count).view(-1, *view.image_shape)


class Kept:
    """A store in memory, of a process that is killed after some trainings."""

    def __init__(self, most=1000):
        self.held, self.most = {}, most

    def __call__(self, recipe, module, train):
        key = repr(recipe)
        if key not in self.held:
            if len(self.held) == self.most:
                raise KeyboardInterrupt
            self.held[key] = (train(), {n: t.clone() for n, t in module.state_dict().items()})
        module.load_state_dict(self.held[key][1])
        return self.held[key][0]


def _view(access, kept=None, k=1):
    edge = nn.Sequential(nn.Flatten())
    deployment = Deployment(edge, Gaussian(sigma=0.01, site="features"), nn.Sequential())
    images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    others = {} if kept is None else {"fit_or_load": kept}
    return granted(deployment, images, access, transmissions=k, **others)


def _tuned(inner=None, trials=20, **search):
    search = search or {"gain": [0.01, 100.0, "log"]}
    return Tuned(inner=inner or Gain(), trials=trials, images=8, search=search)


def test_a_search_finds_the_optimum_and_goes_on_where_it_was_killed():
    """The configured value is tried first; the trials of a killed search are not run again."""
    TRIED.clear()
    attack, kept = _tuned(), Kept(most=7)
    with pytest.raises(KeyboardInterrupt):
        attack.fit(_view(attack.access, kept))
    kept.most = 1000
    attack.fit(_view(attack.access, kept))
    assert len(TRIED) == 20 + 1, "a fit for each trial, and one with the best"
    assert TRIED[0].gain == 5.0
    assert TRIED[-1].gain == pytest.approx(1, rel=0.25)
    whole = [one.gain for one in TRIED[:-1]]
    TRIED.clear()
    attack.fit(_view(attack.access))
    assert [one.gain for one in TRIED[:-1]] == whole, "the same search without an interruption"


def test_a_naive_and_an_adaptive_attack_have_equal_budgets():
    """As many trials on as many images; whole numbers stay whole; facts are noted."""
    for rights in (Access.EDGE_WEIGHTS, Access.EDGE_WEIGHTS | Access.DEFENSE):
        TRIED.clear()
        attack = _tuned(Gain(rights=rights), trials=6, gain=[1.0, 9.0], count=[1, 9])
        logger = RecordingLogger()
        view = _view(attack.access)
        view.logger = logger
        attack.fit(view)
        assert len(TRIED) == 7
        assert all(isinstance(one.count, int) for one in TRIED)
        tuned = logger.facts["tuned"]
        assert (tuned["settings"], tuned["images"], len(tuned["errors"])) == (6, 8, 6)
        assert tuned["chosen"] == {"gain": TRIED[-1].gain, "count": TRIED[-1].count}


def test_an_attack_is_tried_on_images_that_it_does_not_learn_from():
    """Its features are answers to counted queries; the final one learns from all images."""
    TRIED.clear()
    attack = _tuned(Gain(rights=Access.EDGE_QUERIES | Access.AUX_IMAGES), trials=3)
    view = _view(attack.access, k=2)
    attack.fit(view)
    assert [one.seen for one in TRIED] == [32, 32, 32, 40]
    assert view._counter.queries == 2 * 8


def test_images_that_are_tried_on_are_none_to_learn_from():
    """An auxiliary set that leaves none is refused, where the attack learns from images."""
    inner = hasty(instantiated("attack", "ridge"))
    deployment = Deployment(lenet_edge("relu2"), NoDefense(), nn.Flatten())
    for count, allowed in ((32, False), (40, True)):
        attack = Tuned(inner=inner, trials=1, images=32, search={"images": [2, 8]})
        view = granted(deployment, scenes(count), attack.access)
        with nullcontext() if allowed else pytest.raises(ValueError, match="holds 0 image"):
            attack.check(view)


def test_what_is_trained_without_images_is_kept_apart():
    """A network of fewer images is not taken for that of all."""
    kept = Kept()
    view = _view(Access.AUX_IMAGES | Access.AUX_LABELS, kept)
    fewer = view.without_images(8)
    for one in (view, fewer):
        one.fit_or_load({"a": 1}, nn.Identity(), dict)
    assert len(kept.held) == 2
    assert (len(fewer.images), len(fewer.labels), len(view.images)) == (32, 32, 40)


@pytest.mark.parametrize(
    ("search", "parts"),
    [
        ({"tv": [1, 2]}, "attack.search.tv is not a number of attack.inner: choose from steps, lr"),
        ({"tv_weight": [2.0, 1.0]}, r"attack.search.tv_weight=\[2.0, 1.0\] is not a range"),
        ({"tv_weight": [0, 1, "log"]}, "has no logarithm"),
        ({"steps": [1.5, 2]}, "whole numbers"),
        ({"lr": [-1.0, 1.0]}, "attack.search.lr=-1.0 is out of range: choose a number above 0"),
        ({}, "attack.search is empty: choose from steps"),
    ],
)
def test_a_bad_range_is_refused_in_one_line(search, parts):
    """It names the option and the choices."""
    rmle: RMLE = instantiated("attack", "rmle")
    with pytest.raises(ValueError, match=parts):
        Tuned(inner=rmle, trials=2, images=2, search=search)


def test_without_features_or_without_optuna_one_line_says_so(monkeypatch):
    """An attack that receives nothing of its own images cannot be tried."""
    with pytest.raises(ValueError, match="choose one with edge weights or queries"):
        _tuned(Gain(rights=Access.AUX_IMAGES))
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr("privbench.attacks.components.search.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'privbench\[search\]'"):
        _tuned()


@dataclass
class Pair(Gain):
    """Refuses a least value above its gain, as a last level above the first is refused."""

    least: float | None = None

    def __post_init__(self):
        if self.least is not None and self.least > self.gain:
            raise ValueError("the least is larger")


def test_values_that_are_refused_together_cost_a_trial_and_no_search():
    """Each end is allowed alone; null as configured, an option is a number all the same."""
    TRIED.clear()
    attack = _tuned(Pair(), trials=12, gain=[0.5, 2.0], least=[0.4, 1.9])
    attack.fit(_view(attack.access, Kept()))
    assert all(one.least <= one.gain for one in TRIED)
    assert 2 < len(TRIED) < 13, "some were refused"
    assert abs(TRIED[-1].gain - 1) < 0.5
    never = _tuned(Pair(), trials=3, gain=[0.5, 0.6], least=[0.1, 5.0])
    with pytest.raises(ValueError, match="choose ranges that go together"):
        search(
            lambda values: None, ranges_of(Pair(), never.search), {"gain": 1, "least": None}, 3, 0
        )


@dataclass
class Few(Gain):
    """Refuses, once it sees the images, to ask for more than there are."""

    def check(self, view):
        if self.gain > 1.5:
            raise ValueError("more than there are")


def test_a_trial_that_the_images_refuse_is_not_run_and_is_noted():
    """The facts stay numbers where json has no infinity; what is refused is null."""
    TRIED.clear()
    attack = _tuned(Few(gain=1.0), trials=12, gain=[0.5, 3.0])
    view, logger = _view(attack.access), RecordingLogger()
    view.logger = logger
    attack.fit(view)
    errors = jsonable(logger.facts["tuned"])["errors"]
    assert len(errors) == 12
    assert len(TRIED) == 1 + sum(error is not None for error in errors) < 13
    assert all(one.gain <= 1.5 for one in TRIED)


def test_a_search_of_more_trials_goes_on_from_one_of_fewer():
    """The first trials are the same, so the store has them."""
    kept, tried = Kept(), []
    for trials in (8, 16):
        TRIED.clear()
        attack = _tuned(trials=trials)
        attack.fit(_view(attack.access, kept))
        tried.append(len(TRIED))
    assert tried == [8 + 1, 8 + 1]


def test_searched_images_are_noted_apart_from_those_of_the_trials():
    """Of two options of one name each has its own number in the record."""
    attack = _tuned(Sized(), trials=3, images=[3, 9])
    view, logger = _view(attack.access, Kept()), RecordingLogger()
    view.logger = logger
    attack.fit(view)
    tuned = logger.facts["tuned"]
    assert (tuned["images"], tuned["chosen"]) == (8, {"images": TRIED[-1].images})


def test_options_that_are_null_can_be_searched_and_others_are_refused():
    options = numeric_options(instantiated("attack", "inverse"))
    assert options["steps"].whole and options["steps"].value is None
    assert not options["lr"].whole
    assert "pooled" not in options and "conditional" not in options
    assert set(ranges_of(instantiated("attack", "inverse"), {"steps": [100, 900]})) == {"steps"}
    with pytest.raises(ValueError, match="attack.search.network is not a number"):
        ranges_of(instantiated("attack", "inverse_refined"), {"network": [1, 2]})


@dataclass
class Sized(Gain):
    """Has a number of images of its own."""

    images: int = 5


@dataclass
class Outer(Gain):
    """An attack with another one within, which does the work."""

    within: Gain = field(default_factory=lambda: Gain(gain=0.2))

    def fit(self, view):
        return self.within.fit(view)


def test_options_of_an_attack_within_are_searched_by_two_names():
    """As ``+attack.search.within.gain=[0.01,100,log]`` sets them; its own stay as they are."""
    TRIED.clear()
    attack = _tuned(Outer(), trials=20, within={"gain": [0.01, 100.0, "log"]})
    attack.fit(_view(attack.access, Kept()))
    assert TRIED[0].gain == 0.2, "the configured value first"
    assert abs(TRIED[-1].gain - 1) < 0.2
    refined = instantiated("attack", "inverse_refined")
    assert numeric_options(refined)["network.lr"].value == refined.network.lr
    assert with_options(refined, {"network.lr": 0.5, "steps": 7}).network.lr == 0.5
    for wanted, line in (
        ({"network": {"depth": [1, 2]}}, "attack.search.network.depth is not a number of"),
        ({"network": {"lr": [-1.0, 1.0]}}, "attack.search.network.lr=-1.0 is out of range"),
    ):
        with pytest.raises(ValueError, match=line):
            ranges_of(refined, wanted)


@dataclass
class Noting(Gain):
    """Keeps the features that it is tried on."""

    def fit(self, view):
        inner = super().fit(view)

        def reconstruct(v):
            RECEIVED.append(v)
            return inner(v)

        return reconstruct


RECEIVED: list[torch.Tensor] = []


@pytest.mark.parametrize("known", [True, False])
def test_an_adaptive_attack_is_tried_on_draws_of_the_defense_and_a_naive_one_on_none(known):
    """The defense adds noise of .01 to features that are the images."""
    RECEIVED.clear()
    rights = Access.EDGE_WEIGHTS | (Access.DEFENSE if known else Access(0))
    attack = _tuned(Noting(rights=rights), trials=2)
    view = _view(attack.access, Kept())
    attack.fit(view)
    noise = RECEIVED[0][:, 0] - view.images[:8].flatten(1)
    assert float(noise.std()) == pytest.approx(0.01 if known else 0, abs=2e-3)


def test_a_search_without_its_plus_is_told_so(refused):
    """Hydra's own line would be about a struct."""
    refused(
        "attack=tuned attack@attack.inner=rmle attack.search.tv_weight=[0.1,40,log]",
        ["'+attack.search.FIELD=[LOW,HIGH,log]'"],
    )
