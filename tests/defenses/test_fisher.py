"""ReFIL: the deployed noise meets the target, and the regulariser lowers what it costs."""

import pytest
import torch
from torch import nn

from privbench.defenses.deployment import SplitVictim
from privbench.defenses.dropout import Dropout
from privbench.defenses.fisher import Fisher
from privbench.evaluation.bounds import dfil
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


def test_a_channel_of_its_own_is_refused():
    with pytest.raises(ValueError, match="choose none"):
        Fisher(channel=Dropout())
