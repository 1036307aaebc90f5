"""Quantisation: rounding, range, payload, and its likelihood of intervals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_ndtr
from torch import nn

from privbench.defenses.deployment import SplitVictim
from privbench.defenses.quantize import Quantize, log_normal_mass
from privbench.runtime.random import RandomStreams
from privbench.testing import FitAlways, SmallData

DRAWS = RandomStreams(0, "test", range(2))


@pytest.mark.parametrize("levels", [2, 3, 16, 255])
def test_values_are_rounded_to_the_nearest_of_the_levels(levels):
    t = torch.linspace(-1.5, 3.5, 2000).view(2, 1000)
    quantize = Quantize(levels=levels, low=-1.0, high=3.0)
    sent, step = quantize.perturb(t, DRAWS), 4.0 / (levels - 1)
    inside = (t >= -1) & (t <= 3)
    assert len(sent.unique()) == levels
    assert float((sent - t)[inside].abs().max()) <= step / 2 + 1e-6
    assert quantize.payload_bits(sent) == 1000 * math.ceil(math.log2(levels))
    assert quantize.strength == 1 / levels


def test_the_error_under_dither_is_uniform_whatever_the_value():
    """Within the range, at a cell's middle as at its border (Schuchman 1964)."""
    quantize = Quantize(levels=5, low=-1.0, high=3.0, dither=True)
    for value in (0.0, 0.5, 1.3):
        t = torch.full((2, 20_000), value)
        error = (quantize.perturb(t, DRAWS) - t).flatten()
        assert float(error.abs().max()) <= 0.5 + 1e-6
        quarters = error.quantile(torch.tensor([0.25, 0.5, 0.75]))
        assert quarters.tolist() == pytest.approx([-0.25, 0.0, 0.25], abs=0.02)


@pytest.mark.parametrize("spread", [1e-3, 0.1, 2.0])
@pytest.mark.parametrize("clean", [-2.0, 0.1, 0.25, 1.0, 5.0])
def test_the_likelihood_of_all_levels_sums_to_one(spread, clean):
    levels = torch.linspace(0, 1, 9, dtype=torch.float64)
    quantize = Quantize(levels=9, low=0.0, high=1.0)
    values = (torch.tensor(v, dtype=torch.float64) for v in (clean, spread**2))
    total = quantize.log_likelihood(levels, *values).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("value", [-1.0, 0.05, 0.4, 1.4])
def test_the_likelihood_under_dither_integrates_to_one(value):
    """Over what can be received, which is half a step more than the range; also of values beyond."""
    quantize = Quantize(levels=9, low=0.0, high=1.0, dither=True)
    v = torch.linspace(-1 / 16 + 1e-9, 17 / 16 - 1e-9, 200_001, dtype=torch.float64)
    clean, variance = (torch.tensor(x, dtype=torch.float64) for x in (value, 0.01))
    density = quantize.log_likelihood(v, clean, variance).exp()
    assert float(torch.trapezoid(density, v)) == pytest.approx(1, abs=3e-5)


def test_the_mass_of_an_interval_is_exact_in_both_tails_and_has_a_gradient():
    """Against scipy in 64 bits: differences of log_ndtr, on the side where they are small."""
    below = torch.tensor([-40.0, -3.0, -0.5, 0.2, 5.0, 39.0], requires_grad=True)
    mass = log_normal_mass(below, below + 1.0)
    low = below.detach().double().numpy()
    left, right = np.where(low + 0.5 > 0, -low - 1, low), np.where(low + 0.5 > 0, -low, low + 1)
    exact = log_ndtr(right) + np.log1p(-np.exp(log_ndtr(left) - log_ndtr(right)))
    assert mass.detach().numpy() == pytest.approx(exact, rel=1e-5)
    mass.sum().backward()
    assert bool(below.grad.isfinite().all())
    narrow = log_normal_mass(torch.tensor([1.0]), torch.tensor([1.0 + 1e-4]))
    width = float(torch.tensor(1.0 + 1e-4) - 1.0)
    density = math.exp(-0.5 * (1 + width / 2) ** 2) / math.sqrt(2 * math.pi)
    assert float(narrow) == pytest.approx(math.log(density * width), abs=1e-4)


def test_the_range_is_that_of_the_features_unless_it_is_typed():
    edge = nn.Sequential(nn.Identity(), nn.Flatten())
    victim = SplitVictim(edge, nn.Sequential(nn.Linear(4, 2)))
    pixels = torch.tensor([[[[0, 51], [102, 204]]]], dtype=torch.uint8)
    data = SmallData(pixels, torch.zeros(1, dtype=torch.long))
    fitted = Quantize(levels=4).fit(victim, data, FitAlways()).channel
    assert (fitted.low, fitted.high) == pytest.approx((0.0, 0.8))
    typed = replace(fitted, low=None, high=2.0).fit(victim, data, FitAlways()).channel
    assert (typed.low, typed.high) == pytest.approx((0.0, 2.0))
    dead = SmallData(torch.zeros_like(pixels), data.labels)
    alike = Quantize(levels=4).fit(victim, dead, FitAlways())
    sent = alike.transmit(torch.zeros(2, 1, 2, 2), DRAWS)
    assert torch.equal(sent, torch.zeros_like(sent))


def test_the_gradient_passes_through_the_rounding():
    t = torch.linspace(0, 1, 8).view(2, 4).requires_grad_(True)
    Quantize(levels=3, low=0.0, high=1.0).perturb(t, DRAWS).square().sum().backward()
    assert bool((t.grad != 0)[t > 0.25].all())


@pytest.mark.parametrize(
    ("fields", "line"),
    [({"levels": 1}, "defense.levels=1"), ({"low": 1.0, "high": 0.5}, "defense.low=1.0")],
)
def test_what_is_out_of_range_is_refused(fields, line):
    with pytest.raises(ValueError, match=f"{line} is out of range"):
        Quantize(**fields)
