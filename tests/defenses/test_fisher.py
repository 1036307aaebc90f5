"""ReFIL: the deployed noise meets the target, and the regulariser lowers what it costs."""

import pytest
import torch
from torch import nn

from privbench.defenses.deployment import SplitVictim
from privbench.defenses.dropout import Dropout
from privbench.defenses.fisher import Fisher
from privbench.defenses.none import NoDefense
from privbench.evaluation.bounds import dfil
from privbench.runtime.random import RandomStreams
from privbench.testing import FitAlways, SmallData

SIDE = 4


@pytest.fixture(scope="module")
def setting():
    """A victim, and images of two classes that differ in brightness."""
    y = torch.arange(64) % 2
    noise = torch.rand(64, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    edge = nn.Sequential(nn.Identity(), nn.Conv2d(1, 6, 3), nn.GELU())
    cloud = nn.Sequential(nn.Flatten(), nn.Linear(24, 2))
    halves = (half.requires_grad_(False) for half in (edge, cloud))
    return SplitVictim(*halves, (1, SIDE, SIDE)), SmallData(
        ((y.view(-1, 1, 1, 1) + noise) * 127).byte(), y
    )


def test_the_deployed_noise_meets_the_target_and_the_regulariser_raises_the_signal(setting):
    """1/dFIL is the target on the training images; at the same target more signal is left."""
    victim, data = setting
    x, found = data.pixels / 255, []
    for regulariser in (0.0, 1.0):
        defense = Fisher(target=0.02, regulariser=regulariser, min_steps=60, lr=1e-2)
        deployment = defense.fit(victim, data, FitAlways())
        assert 1 / dfil(deployment, x) == pytest.approx(0.02, rel=0.1)
        facts = defense.facts(deployment, 4)
        assert facts["sigma"] == deployment.channel.sigma
        assert facts["inverse_dfil_of_all_transmissions"] == pytest.approx(
            1 / dfil(deployment, x, transmissions=4), rel=0.1
        )
        found.append(deployment.signal_to_noise_db(x))
    assert found[1] > found[0] + 0.5


def test_it_acts_on_the_features_whatever_the_channel_says(setting):
    """A record says where the noise is, which is never the channel's site."""
    victim, _ = setting
    defense = Fisher(channel=NoDefense(site="input"))
    assert defense.site == defense.build(victim).channel.site == "features"


def test_the_cloud_is_trained_through_noise_of_the_target(setting):
    """The task is the cross-entropy of the noised features, at the deviation of the batch."""
    victim, data = setting
    x, y, draws = data.pixels / 255, data.labels, RandomStreams(0, "test", range(64))
    task = {}
    for target in (1e-9, 400.0):
        defense = Fisher(target=target, regulariser=0.5)
        deployment = defense.build(victim)
        losses = defense.losses(deployment, x, y, draws)
        found = {name: value.detach() for name, value in losses.items()}
        v = deployment.edge(x)
        noised = deployment.cloud(v + found["sigma"] * draws.normal(v))
        task[target] = float(nn.functional.cross_entropy(noised, y))
        assert float(found["task"]) == pytest.approx(task[target], rel=1e-5)
        expected = task[target] + 0.5 * float(found["ratio"])
        assert float(found["loss"]) == pytest.approx(expected, rel=1e-5)
    assert abs(task[400.0] - task[1e-9]) > 0.05, "the noise changes the loss"


def test_a_channel_of_its_own_is_refused():
    with pytest.raises(ValueError, match="choose none"):
        Fisher(channel=Dropout())
