"""CEM: clusters, their loss, and what it does to the features of a class."""

import math

import pytest
import torch
from torch import nn

from privbench.defenses.cem import CEM, CEMTask, k_means
from privbench.defenses.deployment import SplitVictim
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.runtime.random import RandomStreams
from privbench.testing import FitAlways, SmallData

SIDE = 4
DRAWS = RandomStreams(0, "test", range(64))


@pytest.fixture(scope="module")
def setting():
    """Two classes by brightness, each of two patterns."""
    y = torch.arange(64) % 2
    pattern = (torch.arange(64) // 2 % 2).view(-1, 1, 1, 1)
    noise = torch.rand(64, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    stripes = pattern * (torch.arange(SIDE) % 2).float()
    x = 0.4 * y.view(-1, 1, 1, 1) + 0.3 * stripes + 0.2 * noise
    torch.manual_seed(0)
    edge = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(SIDE**2, 8))
    halves = (half.requires_grad_(False) for half in (edge, nn.Sequential(nn.Linear(8, 2))))
    return SplitVictim(*halves, (1, SIDE, SIDE)), SmallData((255 * x).byte(), y)


def test_clusters_that_lie_apart_are_found():
    """From any start; empty clusters keep a point where there are fewer points than clusters."""
    generator = torch.Generator().manual_seed(0)
    middles = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = (middles[:, None] + 0.1 * torch.randn(3, 20, 2, generator=generator)).flatten(0, 1)
    for _ in range(3):
        centres, nearest = k_means(points, 3, generator)
        assert torch.cdist(middles, centres).amin(1).max() < 0.2
        assert all(len(nearest[at : at + 20].unique()) == 1 for at in (0, 20, 40))
    centres, nearest = k_means(points[:2], 4, generator)
    assert bool(centres.isfinite().all())
    assert torch.allclose(centres[nearest], points[:2])


def test_the_loss_of_the_first_batch_is_the_formula(setting):
    """Of one cluster a class, evaluated class by class in the units of the features."""
    victim, data = setting
    defense = CEM(channel=Gaussian(sigma=0.05), clusters=1, gamma=1e-3)
    deployment = defense.build(victim)
    task = CEMTask(defense, deployment, data, FitAlways())
    found = task.batch_losses(data.pixels / 255, data.labels, DRAWS)["entropy_loss"]
    v = victim.edge(data.pixels / 255)
    unit, terms = float(v.square().mean()), []
    for label in (0, 1):
        one = v[data.labels == label]
        variance = float((one - one.mean(0)).square().mean()) / unit
        terms.append(math.log(variance + 1e-3) - math.log(0.125 * 0.05**2 / unit + 1e-3))
    assert min(terms) > 0
    assert float(found.detach()) == pytest.approx(sum(terms) / 2, rel=1e-4)


def test_clusters_count_by_their_share_of_the_class(setting):
    """Two clusters of unequal sizes and widths, evaluated by hand around the centres found."""
    victim, data = setting
    rows = torch.tensor([row for row in range(64) if row // 2 % 2 == 0 or row < 12])
    data = SmallData(data.pixels[rows], data.labels[rows])
    defense = CEM(channel=Gaussian(sigma=0.01), clusters=2, gamma=1e-5)
    deployment = defense.build(victim)
    task = CEMTask(defense, deployment, data, FitAlways())
    draws = RandomStreams(0, "test", range(len(rows)))
    found = task.batch_losses(data.pixels / 255, data.labels, draws)["entropy_loss"]
    v = deployment.edge(data.pixels / 255)
    unit, terms = float(victim.edge(data.pixels / 255).square().mean()), []
    for label in (0, 1):
        one = v[data.labels == label] / unit**0.5
        nearest = torch.cdist(one, task.centres[label]).argmin(1)
        for k in (0, 1):
            mine = one[nearest == k]
            width = float((mine - task.centres[label, k]).square().mean())
            excess = math.log(width + 1e-5) - math.log(0.125 * 0.01**2 / unit + 1e-5)
            terms.append((len(mine) / len(one), excess))
    assert min(excess for _, excess in terms) > 0
    assert max(share for share, _ in terms) > 0.6, "unequal"
    expected = sum(share * excess for share, excess in terms) / 2
    assert float(found.detach()) == pytest.approx(expected, rel=1e-3)


def test_clusters_become_narrow_within_the_bounded_norm(setting):
    """The variance within the classes, at a larger weight, beside the same noise."""
    victim, data = setting
    x, left = data.pixels / 255, []
    for weight in (1e-3, 3.0):
        defense = CEM(
            channel=Gaussian(sigma=0.01),
            weight=weight,
            clusters=1,
            gamma=1e-5,
            min_steps=80,
            lr=1e-2,
        )
        deployment = defense.fit(victim, data, FitAlways())
        v = deployment.edge(x)
        means = torch.stack([v[data.labels == label].mean(0) for label in (0, 1)])
        left.append(float((v - means[data.labels]).square().mean()))
        assert float(v.norm(dim=1).max()) <= float(victim.edge(x).norm(dim=1).mean()) + 1e-4
        answers = deployment.predict(deployment.transmit(x, DRAWS))[:, 0].argmax(1)
        assert float((answers == data.labels).float().mean()) > 0.75
    assert left[1] < 0.5 * left[0]


def test_other_noise_is_refused():
    with pytest.raises(ValueError, match="gaussian"):
        CEM(channel=Dropout())


def test_noise_on_the_input_is_refused():
    """The loss would compare features with the deviation of pixels."""
    with pytest.raises(ValueError, match="defense.channel.site=input does not fit defense=cem"):
        CEM(channel=Gaussian(sigma=0.5, site="input"))
