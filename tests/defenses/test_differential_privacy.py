"""Differential privacy: noise for a budget, what transmissions cost, and the clipping."""

import math

import pytest
import torch
from scipy.special import log_ndtr
from scipy.stats import norm
from torch import nn

from privbench.defenses.deployment import SplitVictim
from privbench.defenses.differential_privacy import Clip
from privbench.defenses.dp_gaussian import (
    DPGaussian,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_sigma,
)
from privbench.defenses.dp_laplace import DPLaplace
from privbench.testing import FitAlways, SmallData


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-8])
def test_sigma_solves_the_equation_of_balle_and_wang(epsilon, delta):
    """As scipy evaluates it, and it is less than the classical one where that one holds."""
    sensitivity = 3.0
    sigma = gaussian_sigma(epsilon, delta, sensitivity)
    half, shift = sensitivity / (2 * sigma), epsilon * sigma / sensitivity
    found = norm.cdf(half - shift) - math.exp(epsilon) * norm.cdf(-half - shift)
    assert found == pytest.approx(delta, rel=1e-6)
    if epsilon <= 1:
        assert sigma < math.sqrt(2 * math.log(1.25 / delta)) * sensitivity / epsilon
    assert gaussian_epsilon(sigma, delta, sensitivity) == pytest.approx(epsilon, rel=1e-8)


def test_large_budgets_do_not_overflow_and_large_noise_costs_nothing():
    """At epsilon 1000, exp(epsilon) is no float."""
    sigma = gaussian_sigma(1000.0, 1e-5, 1.0)
    assert 0 < gaussian_delta(sigma, 1000.0, 1.0) == pytest.approx(1e-5, rel=1e-6)
    assert sigma == pytest.approx(1 / math.sqrt(2000), rel=0.15)
    assert gaussian_epsilon(1e6, 1e-5, 1.0) == 0


def test_the_privacy_loss_of_clipped_features_has_the_stated_tail():
    """Of the worst pair, C and -C: the loss exceeds epsilon by the law that delta comes from."""
    epsilon, delta = 2.0, 0.05
    sigma = gaussian_sigma(epsilon, delta, 2.0)
    noise = sigma * torch.randn(400_000, generator=torch.Generator().manual_seed(0)).double()
    loss = ((noise + 2).square() - noise.square()) / (2 * sigma**2)
    missed = (1 - (epsilon - loss).exp()).clamp_min(0)
    assert float(missed.mean()) == pytest.approx(delta, abs=4 * float(missed.std()) / 400_000**0.5)
    assert float(log_ndtr(0.0)) == pytest.approx(math.log(0.5))


@pytest.fixture(scope="module")
def victim():
    torch.manual_seed(0)
    edge = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(16, 8))
    halves = (edge, nn.Sequential(nn.Linear(8, 2)))
    return SplitVictim(*(half.requires_grad_(False) for half in halves), (1, 4, 4))


DATA = SmallData(
    torch.randint(0, 256, (41, 1, 4, 4), generator=torch.Generator().manual_seed(0)).byte(),
    torch.arange(41) % 2,
)


@pytest.mark.parametrize("train", ["none", "cloud", "both"])
@pytest.mark.parametrize("kind", [DPGaussian, DPLaplace])
def test_noise_and_budget_follow_from_the_median_norm(kind, train, victim):
    """The clipped features of any two images differ by at most the sensitivity of the record."""
    defense = kind(epsilon=4.0, train=train, epochs=1, min_steps=1)
    deployment = defense.fit(victim, DATA, FitAlways())
    facts = defense.facts(deployment, 3)
    norms = victim.edge(DATA.pixels / 255).norm(p=defense.order, dim=1)
    assert facts["clip"] == pytest.approx(float(norms.median()))
    v = deployment.edge(3 * DATA.pixels / 255)
    assert float(torch.cdist(v, v, p=defense.order).max()) <= facts["sensitivity"] + 1e-5
    assert float(v.norm(p=defense.order, dim=1).max()) == pytest.approx(facts["clip"], rel=1e-5)
    assert defense.facts(deployment, 1)["epsilon_of_all_transmissions"] == pytest.approx(4.0)
    if kind is DPLaplace:
        assert facts["noise"] == pytest.approx(facts["sensitivity"] / 4)
        assert facts["epsilon_of_all_transmissions"] == pytest.approx(12.0)
    else:
        assert 4 * math.sqrt(3) < facts["epsilon_of_all_transmissions"] < 12
    assert (deployment.edge[2] is victim.edge[2]) == (train != "both")
    assert (deployment.cloud is victim.cloud) == (train == "none")


def test_clipping_leaves_what_is_within_and_has_a_gradient_at_zero():
    clip = Clip(1.0, 1)
    v = torch.tensor([[0.5, -0.25], [3.0, -1.0], [0.0, 0.0]], requires_grad=True)
    clipped = clip(v)
    assert clipped.tolist() == [[0.5, -0.25], [0.75, -0.25], [0.0, 0.0]]
    clipped.square().sum().backward()
    assert bool(v.grad.isfinite().all())


def test_a_budget_is_a_number_above_zero_or_null():
    assert DPGaussian(epsilon=None).strength == 0
    with pytest.raises(ValueError, match="a number above 0, or null"):
        DPGaussian(epsilon=0.0)
