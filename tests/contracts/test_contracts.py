"""Keys of results, and properties of attacks and defenses together; see the other files here."""

import dataclasses
import functools

import pytest
import torch

from privbench.attacks.rmle import RMLE
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.trained import TrainedDefense
from privbench.evaluation import metrics
from privbench.evaluation.statistics import student_t
from privbench.runtime.random import RandomStreams
from privbench.testing.defenses import FitAlways, SmallData
from privbench.victims.lenet5 import LeNet5
from tests.stage import Stage
from tests.support import ROOT, at_site, granted, instantiated, options, scenes

SITED = [
    name for name in options("defense")
    if "\nsite: " in (ROOT / "conf" / "defense" / f"{name}.yaml").read_text()
]  # fmt: skip
"""Defenses that train nothing, at either site."""
DEPLOYED = [
    (name, site)
    for name in options("defense")
    for site in (("features", "input") if name in SITED else ("",))
]
"""Every yaml, at each site that it may have; a fitted one at its own."""
EQUAL = ["adversarial", "bottleneck", "disco", "label_smoothing", "none", "nopeek", "quantize",
         "siamese", "topk"]  # fmt: skip
"""Defenses by whose yaml all transmissions of an image are equal."""
DRAWN = [case for case in DEPLOYED if case[0] not in EQUAL]
REPEATED = [case for case in DEPLOYED if case[0] in EQUAL]


@functools.cache
def _deployment(name: str, site: str) -> Deployment:
    """A defense by its yaml, fitted in one step to a few images."""
    defense = instantiated("defense", name)
    defense = at_site(defense, site) if site else defense
    if isinstance(defense, TrainedDefense):
        defense = dataclasses.replace(defense, epochs=1, min_steps=1)
    torch.manual_seed(3)
    model, images = LeNet5((1, 28, 28), 10).eval().requires_grad_(False), scenes(32)
    victim = SplitVictim(*model.split("relu2"), (1, 28, 28))
    data = SmallData((images * 255).byte(), torch.arange(32) % 10)
    deployment = defense.fit(victim, data, FitAlways())
    if name == "cloak":  # one step leaves its noise at 1/500 of the pixel range
        with torch.no_grad():
            deployment.channel.rho.fill_(-1.0)
    return deployment


def _more_often(deployment, steps, images, often):
    """Reconstructions by the adaptive attack of the first so many transmissions, for each number.

    Where there is no noise the channel has no likelihood, and the attack need not know it.
    """
    sent = deployment.transmit(
        scenes(images), RandomStreams(0, "transmission", range(images)), max(often)
    )
    known = deployment.channel.strength == 0 or deployment.channel.has_likelihood
    attack = RMLE(steps=steps, adaptive=known, tv_weight=3.5)
    for copies in often:
        view = granted(deployment, scenes(2), attack.access, transmissions=copies)
        yield attack.fit(view.without_logging())(sent[:, :copies])


SCATTER = 0.05
"""dB by which the last bits of a longer run move a mean where nothing is left to be learnt."""


def _never_worse(deployment, steps, images, often):
    """The paired t interval of more transmissions less fewer is nowhere wholly below 0."""
    x = scenes(images)
    scores = [metrics.psnr_db(x_hat, x) for x_hat in _more_often(deployment, steps, images, often)]
    for at, more in enumerate(scores):
        for fewer in scores[:at]:
            high = student_t((more - fewer).tolist())[1]
            assert high > -SCATTER, [float(s.mean()) for s in scores]


@pytest.mark.long
@pytest.mark.parametrize(("name", "site"), DRAWN)
def test_more_transmissions_are_never_worse_for_an_adversary_who_knows_the_defense(name, site):
    """K = 1 and 8, of every defense that draws anew for each transmission: evidence adds up."""
    deployment = _deployment(name, site)
    sent = deployment.transmit(scenes(1), RandomStreams(0, "transmission", [0]), 2)
    assert not torch.equal(sent[:, 0], sent[:, 1]), "the transmissions are equal: name it in EQUAL"
    _never_worse(deployment, steps=16, images=4, often=(1, 8))


@pytest.mark.parametrize(("name", "site"), REPEATED)
def test_equal_transmissions_say_no_more_than_one(name, site):
    """Of every other defense: the answer to four is that to one, bit for bit."""
    once, often = _more_often(_deployment(name, site), steps=20, images=2, often=(1, 4))
    assert torch.equal(once, often)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "site"), DRAWN)
def test_more_transmissions_are_never_worse_in_a_longer_attack(name, site):
    """The same with 200 steps and 12 images, and with K = 4."""
    _never_worse(_deployment(name, site), steps=200, images=12, often=(1, 4, 16))


SAME = [
    ["tracker=wandb"], ["device.progress=false"], ["defense.rate=1e-1"],
    ["split=relu2"], ["victim.name=mine"], ["attack.steps=500"],
]  # fmt: skip
OTHER = [
    ["seed=1"], ["targets=5"], ["target_indices=[3,2]"], ["transmissions=2"], ["accuracy_draws=2"],
    ["split=conv1"], ["defense.rate=0.2"], ["defense.site=input"], ["defense=laplace"],
    ["attack.steps=501"], ["attack=blind"], ["dataset.aux=noise"], ["dataset.aux_images=300"],
    ["dataset.size=30"], ["victim.epochs=9"], ["device.threads=1"],
]  # fmt: skip


def test_a_records_key_moves_with_what_the_numbers_depend_on_and_with_nothing_else(cell):
    """Not with the tracker, nor how a number is spelt; with threads where a number is typed."""
    keys = [Stage.of(cell(*words)).key for words in ([], *SAME, *OTHER)]
    assert len(set(keys[: 1 + len(SAME)])) == 1
    assert len(set(keys)) == 1 + len(OTHER)


def test_a_defense_that_does_nothing_has_one_key(cell):
    """Whatever its site and draws."""
    words = (
        ["defense=none"],
        ["defense.rate=0"],
        ["defense=gaussian", "defense.sigma=0", "accuracy_draws=5"],
    )
    assert len({Stage.of(cell(*change)).key for change in words}) == 1


def test_auxiliary_images_can_be_the_victims_own_or_noise(cell):
    """The victim stays the same, so that the rows of a table share it."""
    disjoint, same, noise = (
        Stage.of(cell(f"dataset.aux={aux}")).data for aux in ("disjoint", "train", "noise")
    )
    assert disjoint.train.fingerprint == same.train.fingerprint == noise.train.fingerprint
    own = {image.numpy().tobytes() for image in same.train.images}
    assert all(image.numpy().tobytes() in own for image in same.aux.images)
    assert len(disjoint.aux) == len(same.aux) == len(noise.aux)
    assert float(noise.aux.images.std()) == pytest.approx(12**-0.5, abs=0.01)
