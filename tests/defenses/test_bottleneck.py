"""Bottleneck: the rank of what is sent, of grids, tokens and vectors."""

import pytest
import torch
from torch import nn

from privbench.defenses.adversarial import Adversarial
from privbench.defenses.bottleneck import Bottleneck
from privbench.defenses.deployment import SplitVictim
from privbench.defenses.quantize import Quantize
from privbench.runtime.random import RandomStreams
from privbench.testing import FitAlways, SmallData
from privbench.threat import Access
from privbench.victims.lenet5 import LeNet5
from tests.support import granted

EDGES = {
    "grid": (nn.Conv2d(1, 8, 3), nn.Sequential(nn.Flatten(), nn.Linear(8 * 4 * 4, 2)), (2, 4, 4)),
    "tokens": (nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(2)), nn.Sequential(nn.Flatten(), nn.Linear(8 * 16, 2)), (8, 4)),
    "vector": (nn.Sequential(nn.Flatten(), nn.Linear(36, 8)), nn.Sequential(nn.Linear(8, 2)), (2,)),
}  # fmt: skip


@pytest.mark.parametrize("kind", EDGES)
def test_a_bottleneck_of_c_channels_has_rank_c(kind):
    """The matrix of all positions of many images, as the cloud widens it again."""
    torch.manual_seed(0)
    layers, cloud, shape = EDGES[kind]
    victim = SplitVictim(nn.Sequential(nn.Identity(), layers), cloud, (1, 6, 6))
    deployment = Bottleneck(rate=0.75).build(victim)
    x = torch.rand(40, 1, 6, 6)
    v = deployment.transmit(x, RandomStreams(0, "test", range(40)))
    assert v.shape == (40, 1, *shape)
    wide = deployment.cloud[0](v[:, 0])
    rows = wide.flatten(2).transpose(1, 2) if kind == "grid" else wide
    matrix = rows.reshape(-1, rows.shape[-1]) - deployment.cloud[0].map.bias
    assert (
        int(torch.linalg.matrix_rank(matrix.double(), rtol=1e-5))
        == wide.shape[-1 if kind != "grid" else 1] / 4
    )
    assert deployment.predict(v).shape == (40, 1, 2)


@pytest.mark.parametrize(("kind", "narrow"), [(Bottleneck, "rate"), (Adversarial, "bottleneck")])
def test_it_is_quantised_in_the_range_of_what_it_sends_and_rebuilt_by_who_knows_the_layers(
    kind, narrow
):
    torch.manual_seed(0)
    model = LeNet5((1, 28, 28), 10).eval().requires_grad_(False)
    victim = SplitVictim(*model.split("relu2"), (1, 28, 28))
    data = SmallData(
        torch.randint(0, 256, (32, 1, 28, 28), dtype=torch.uint8), torch.arange(32) % 10
    )
    defense = kind(**{narrow: 0.75}, channel=Quantize(levels=4), min_steps=1, epochs=1)
    deployment = defense.fit(victim, data, FitAlways())
    v = deployment.edge(data.pixels / 255)
    low, high = deployment.channel.low, deployment.channel.high
    assert low < 0.1 * float(v.min()) < 0.1 * float(v.max()) < high < 3 * float(v.max())
    assert v.shape[1] == 4
    assert deployment.channel.payload_bits(v) == 4 * 8 * 8 * 2
    view = granted(deployment, torch.rand(2, 1, 28, 28), Access.EDGE_STRUCTURE)
    fresh = view.fresh_edge()
    assert fresh(torch.rand(2, 1, 28, 28)).shape[1:] == view.feature_shape == (4, 8, 8)
    assert torch.equal(fresh[-1].map.weight, view.fresh_edge()[-1].map.weight)
    assert not torch.equal(fresh[-1].map.weight, deployment.edge[-1].map.weight)
