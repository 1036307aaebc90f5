"""Noise-aware training: what is trained, what is bounded, and what the channel then costs."""

import pytest
import torch
from torch import nn

from privbench.defenses.deployment import SplitVictim
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.noise_aware import UNBOUNDED, NoiseAware, NormBound
from privbench.defenses.quantize import Quantize
from privbench.runtime.random import RandomStreams
from privbench.testing import FitAlways, SmallData
from privbench.threat import Access
from privbench.victims.lenet5 import LeNet5
from tests.support import granted

SIDE = 4


@pytest.fixture
def data():
    """Two classes that differ in brightness."""
    labels = torch.arange(64) % 2
    noise = torch.rand(64, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return SmallData(((labels.view(-1, 1, 1, 1) + noise) * 127).byte(), labels)


@pytest.fixture
def victim():
    torch.manual_seed(0)
    edge = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(SIDE**2, 8))
    cloud = nn.Sequential(nn.Linear(8, 2))
    return SplitVictim(*(half.eval().requires_grad_(False) for half in (edge, cloud)))


def fitted(victim, data, **fields):
    defense = NoiseAware(channel=Gaussian(sigma=3.0), min_steps=60, lr=1e-2, **fields)
    return defense.fit(victim, data, FitAlways())


def accuracy(deployment, data):
    x = data.pixels.float() / 255
    v = deployment.transmit(x, RandomStreams(0, "test", range(len(x))), transmissions=20)
    right = deployment.predict(v).argmax(2) == data.labels[:, None]
    return float(right.float().mean())


def test_training_with_the_noise_on_keeps_more_accuracy_within_the_bound(victim, data):
    """A bound keeps the edge from drowning the noise: accuracy rises more where there is none."""
    plain = accuracy(victim.deploy(Gaussian(sigma=3.0)), data)
    bounded, free = fitted(victim, data), fitted(victim, data, bounded=False)
    x = data.pixels.float() / 255
    before = victim.deploy(Gaussian(sigma=3.0)).signal_to_noise_db(x)
    assert accuracy(bounded, data) > plain + 0.05
    assert accuracy(free, data) > accuracy(bounded, data) + 0.05
    norms = victim.edge(x).norm(dim=1)
    assert float(bounded.edge(x).norm(dim=1).max()) <= float(norms.mean()) + 1e-4
    assert bounded.signal_to_noise_db(x) <= before + 0.1
    assert free.signal_to_noise_db(x) > before + 6


def test_the_cloud_alone_may_be_trained(victim, data):
    """For edges that are in the field already."""
    deployment = fitted(victim, data, train="cloud")
    assert deployment.edge is victim.edge
    assert not torch.equal(deployment.cloud[0].weight, victim.cloud[0].weight)
    x = data.pixels.float() / 255
    assert torch.equal(deployment.undefended_edge(x), victim.edge(x))


def test_a_trained_edge_leaves_the_undefended_one_for_clean_queries(victim, data):
    deployment = fitted(victim, data)
    x = data.pixels.float() / 255
    assert torch.equal(deployment.undefended_edge(x), victim.edge(x))
    assert not torch.allclose(deployment.edge(x), victim.edge(x))


def test_a_channel_that_measures_a_range_is_measured_on_the_victim(victim, data):
    defense = NoiseAware(channel=Quantize(levels=4), min_steps=1, epochs=1)
    channel = defense.fit(victim, data, FitAlways()).channel
    features = victim.edge(data.pixels.float() / 255)
    assert channel.low == pytest.approx(float(features.min()))
    assert channel.high == pytest.approx(float(features.max()))


def test_strength_and_site_are_the_channels():
    defense = NoiseAware(channel=Dropout(rate=0.25, site="input"))
    assert (defense.strength, defense.site) == (0.25, "input")


def test_a_short_vector_stays_and_a_long_one_is_shrunk():
    bound = NormBound()
    v = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    assert torch.equal(bound(v), v)
    for limit in (UNBOUNDED, 1.0):
        bound.limit.fill_(limit)
        moved = v.clone().requires_grad_(True)
        bound(moved).square().sum().backward()
        assert bool(moved.grad.isfinite().all())
    assert torch.allclose(bound(v), torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))


def test_a_defense_within_a_defense_is_refused():
    with pytest.raises(ValueError, match="channel"):
        NoiseAware(channel=NoiseAware(channel=Dropout()))


def test_a_fresh_edge_has_the_bound_and_none_of_its_limit():
    """As an adversary with the right EDGE_STRUCTURE gets it."""
    torch.manual_seed(0)
    model = LeNet5((1, 28, 28), 10).eval().requires_grad_(False)
    deployment = NoiseAware(channel=Gaussian()).build(SplitVictim(*model.split("relu2")))
    deployment.edge[-1].limit.fill_(3.0)
    view = granted(deployment, torch.rand(2, 1, 28, 28), Access.EDGE_STRUCTURE)
    fresh = view.fresh_edge()
    assert len(fresh) == len(deployment.edge)
    assert float(fresh[-1].limit) == UNBOUNDED
    assert not torch.equal(fresh[1].weight, deployment.edge[1].weight)
