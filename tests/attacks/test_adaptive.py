"""Adversaries who know of the defense: likelihoods, what they gain, and who is believed."""

import dataclasses

import pytest
import torch
from torch import nn

from privbench.attacks.components.data_terms import data_term_of, independent_observations
from privbench.attacks.rmle import RMLE
from privbench.defenses.base import Perturbation
from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.laplace import Laplace
from privbench.defenses.none import NoDefense
from privbench.defenses.quantize import Quantize
from privbench.defenses.topk import TopK
from privbench.evaluation import metrics
from privbench.runtime.random import RandomStreams
from privbench.threat import Access
from privbench.victims.split_model import Normalize
from tests.support import granted, lenet_edge, scenes


def _attacked(attack, edge, x, defense, copies=1, v=None):
    cloud = nn.Sequential(nn.Flatten())
    deployment = Deployment(edge, defense, cloud)
    if v is None:
        v = deployment.transmit(x, RandomStreams(0, "transmission", range(len(x))), copies)
    view = granted(
        deployment, scenes(3), attack.access
    ).without_logging()  # no facts: no longer run
    return attack.fit(view)(v)


ADAPTIVE = RMLE(steps=100, adaptive=True)


@pytest.mark.long
@pytest.mark.parametrize("defense", [NoDefense(), Dropout(rate=0.0), Gaussian(sigma=0)], ids=str)
def test_where_there_is_no_defense_adaptive_and_naive_agree(defense):
    """Bit for bit; and a noise of next to nothing changes next to nothing.

    By .4 dB on any instruction set after 60 steps; after 200 the last bits decide on 2.3 dB.
    """
    x, edge = scenes(4), lenet_edge("relu2")
    naive = _attacked(RMLE(steps=60), edge, x, defense)
    adaptive = dataclasses.replace(ADAPTIVE, steps=60)
    assert torch.equal(_attacked(adaptive, edge, x, defense), naive)
    close = _attacked(adaptive, edge, x, Gaussian(sigma=1e-6))
    scores = [metrics.psnr_db(answer, x).mean() for answer in (naive, close)]
    assert float(scores[1]) > float(scores[0]) - 2


@pytest.mark.long
@pytest.mark.parametrize("split", ["conv1", "relu2"])
def test_who_knows_of_dropout_sees_through_it(split):
    """By 3 dB at least at a rate of one half."""
    x, edge = scenes(4), lenet_edge(split)
    naive, adaptive = (
        metrics.psnr_db(_attacked(attack, edge, x, Dropout(rate=0.5)), x).mean()
        for attack in (RMLE(steps=100), ADAPTIVE)
    )
    assert adaptive > naive + 3


@pytest.mark.parametrize(
    "defense",
    [Gaussian(sigma=0.5), pytest.param(Laplace(scale=0.35), marks=pytest.mark.slow)],
    ids=str,
)
def test_more_transmissions_are_never_worse(defense):
    """K = 16 less K = 1, paired by image: the interval is not wholly below 0."""
    from privbench.evaluation.statistics import bca

    attack = dataclasses.replace(ADAPTIVE, steps=60)
    x, edge = scenes(5), lenet_edge("conv1")
    once, often = (
        metrics.psnr_db(_attacked(attack, edge, x, defense, copies), x) for copies in (1, 16)
    )
    assert bca((often - once).tolist())[1] > 0
    assert float(often.mean()) > float(once.mean()) + 3


class FixedMask(Dropout):
    """Dropout whose mask is the device's own: every transmission repeats the first."""

    def _pool(self, received):
        return received[:, :1].contiguous(), self


def test_a_mask_that_never_changes_says_no_more_the_sixteenth_time():
    """A defense that declares its transmissions repeats loses and gains nothing, bit for bit."""
    x, edge, defense = scenes(3), lenet_edge("relu2"), FixedMask(rate=0.5)
    v = Deployment(edge, defense, nn.Sequential()).transmit(x, RandomStreams(0, "device", range(3)))
    attack = dataclasses.replace(ADAPTIVE, steps=20)
    once = _attacked(attack, edge, x, defense, v=v)
    repeated = _attacked(attack, edge, x, defense, v=v.repeat(1, 16, 1, 1, 1))
    assert torch.equal(once, repeated)


@pytest.mark.parametrize("site", ["features", "input"])
@pytest.mark.parametrize("defense", [Dropout(rate=0.3), Laplace(scale=0.3)], ids=str)
def test_lambda_is_divided_by_what_pooling_leaves(defense, site):
    """Undivided for dropout on features; by K for noise, and for disturbed images by the end."""
    x, defense = scenes(2), dataclasses.replace(defense, site=site)
    edge = lenet_edge("conv1")
    v = Deployment(edge, defense, nn.Sequential()).transmit(x, RandomStreams(0, "t", range(2)), 16)
    attack = RMLE(adaptive=True)
    observed, known = independent_observations(v, defense)
    data_term = data_term_of(edge, observed, known, 0.1 * x)
    prior = attack._prior(4.0, observed.shape[1], data_term)
    first, last = (float(prior(torch.tensor(r))) for r in (1.0, attack.noise_variance_last))
    alone = isinstance(defense, Dropout) and site == "features"
    assert last == pytest.approx(4.0 if alone else 4.0 / 16)
    assert first == pytest.approx(4.0 if alone or site == "input" else 4.0 / 16)


@pytest.mark.parametrize("defense", [TopK(rate=0.6), Quantize(levels=4)], ids=str)
def test_what_changes_the_input_alike_each_time_is_a_part_of_the_edge(defense):
    """The image itself explains the features without an error, another one does not."""
    defense = dataclasses.replace(defense, site="input")
    x, edge = scenes(2), lenet_edge("conv1")
    v = Deployment(edge, defense, nn.Sequential()).transmit(x, RandomStreams(0, "t", range(2)), 3)
    observed, known = independent_observations(v, defense)
    data_term = data_term_of(edge, observed, known, x)
    assert not data_term.extra_parameters
    other = x.flip(0).requires_grad_()
    (own, _), (error, _) = (data_term(image, torch.tensor(1e-3)) for image in (x, other))
    assert float(own.detach().max()) < 1e-10
    assert float(error.detach().min()) > 1e-2
    (slope,) = torch.autograd.grad(error.sum(), other)
    assert bool(slope.isfinite().all()) and bool(slope.any())


@pytest.mark.long
def test_noise_on_the_input_comes_back_as_the_noisy_image_and_no_better():
    """One transmission, no prior, conv1, which loses nothing: the likeliest image is the noisy one."""
    x = 0.25 + 0.5 * scenes(4)
    edge = lenet_edge("conv1")
    defense = Gaussian(sigma=0.1, site="input")
    draws = RandomStreams(0, "transmission", range(4))
    noisy = (1 + defense.perturb(edge[0](x), draws)) / 2  # back from the units of the network
    attack = RMLE(steps=500, tv_weight=0.0, adaptive=True)
    x_hat = _attacked(attack, edge, x, defense)
    assert float(metrics.psnr_db(x_hat, noisy.clamp(0, 1)).mean()) > 40
    difference = metrics.psnr_db(x_hat, x) - metrics.psnr_db(noisy.clamp(0, 1), x)
    assert float(difference.abs().max()) < 0.5


class Silent(Perturbation):
    """A defense of which nothing is stated."""

    @property
    def strength(self):
        return 1.0

    def _perturb(self, t, draws):
        return t.abs()


def test_an_adaptive_attack_on_a_defense_that_states_no_likelihood_is_refused():
    """By name; and adaptivity is refused where the view does not hold the defense."""
    from privbench.threat import AccessDeniedError

    attack = RMLE(adaptive=True)
    deployment = Deployment(lenet_edge("conv1"), Silent(), nn.Sequential(nn.Flatten()))

    with pytest.raises(ValueError, match="Silent has no likelihood"):
        attack.check(granted(deployment, scenes(2), attack.access))
    with pytest.raises(AccessDeniedError, match="DEFENSE"):
        attack.fit(granted(deployment, scenes(2), Access.EDGE_WEIGHTS))


@pytest.mark.parametrize("copies", [1, 3])
def test_constants_of_three_channels_perturb_three_of_a_grey_image(copies):
    """As torchvision's victims have them: each channel has its own noise, and one image is found."""
    edge = nn.Sequential(Normalize((0.4,) * 3, (0.2,) * 3), nn.Conv2d(3, 24, 3, padding=1))
    x, defense = scenes(4), Gaussian(sigma=0.2, site="input")
    reconstructed = _attacked(ADAPTIVE, edge, x, defense, copies)
    assert reconstructed.shape == x.shape
    assert float(metrics.psnr_db(reconstructed, x).mean()) > 18
