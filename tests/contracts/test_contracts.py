"""Keys of results, and properties of attacks and defenses together; see the other files here."""

import pytest
from torch import nn

from privbench.attacks.rmle import RMLE
from privbench.deployment import SplitVictim
from privbench.evaluation import metrics
from privbench.evaluation.statistics import bca
from privbench.runtime.random import RandomStreams
from tests.stage import Stage
from tests.support import ROOT, at_site, granted, instantiated, lenet_edge, options, scenes


def _more_often(name, site, attack, images, often=(1, 4, 16)):
    """PSNR of each image ``(N,)`` after so many transmissions of a defense by its yaml."""
    defense, x = at_site(instantiated("defense", name), site), scenes(images)
    deployment = defense.build(SplitVictim(lenet_edge("relu2"), nn.Sequential(nn.Flatten())))
    for copies in often:
        v = deployment.transmit(x, RandomStreams(0, "transmission", range(images)), copies)
        view = granted(deployment, scenes(2), attack.access, transmissions=copies)
        yield metrics.psnr_db(attack.fit(view.without_logging())(v), x)


CHANNELS = [
    name for name in options("defense")
    if "\nsite: " in (ROOT / "conf" / "defense" / f"{name}.yaml").read_text()
]  # fmt: skip
"""Defenses that train nothing, at either site."""
SCATTER = 0.5
"""dB by which the last bits move a mean where nothing is left to be learnt: dropout of 0.1 hides one
entry in 10,000 from 4 transmissions, and those of 16 give 0.24 dB less to 0.31 dB more."""


def _never_worse(scores):
    """The paired 95 % interval of more transmissions less fewer is nowhere wholly below 0."""
    for at, often in enumerate(scores):
        for once in scores[:at]:
            high = bca((often - once).tolist())[1]
            assert high > -SCATTER, [float(s.mean()) for s in scores]


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("site", ["features", "input"])
def test_more_transmissions_are_never_worse_for_an_adversary_who_knows_the_defense(name, site):
    """K = 1 and 16, whatever the defense: evidence adds up."""
    attack = RMLE(steps=20, adaptive=True, tv_weight=3.5)
    _never_worse(list(_more_often(name, site, attack, images=4, often=(1, 16))))


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("site", ["features", "input"])
def test_more_transmissions_are_never_worse_in_a_longer_attack(name, site):
    """The same with 200 steps and 12 images, and with K = 4."""
    attack = RMLE(steps=200, adaptive=True, tv_weight=3.5)
    _never_worse(list(_more_often(name, site, attack, images=12)))


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
