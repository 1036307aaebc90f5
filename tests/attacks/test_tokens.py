"""Attacks on a vision transformer: features are tokens, and weights more than those of layers."""

import pytest
import torch

from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.runtime.random import RandomStreams
from privbench.victims.vit_small import ViTSmall
from tests.support import granted, hasty, instantiated

SHAPE = (1, 28, 28)
ATTACKS = ["inverse", "inverse_adaptive", "inverse_paper", "rmle", "shadow", "shadow_same", "dip"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = ViTSmall(SHAPE, 10, patch=7, width=8, depth=3, heads=2)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("split", ["early", "late"])
def test_attacks_take_tokens(name, split, model):
    """Each returns finite images from dropped-out tokens ``(N, K, T, D)``."""
    edge, cloud = model.split(split)
    deployment = Deployment(edge, Dropout(rate=0.3), cloud)
    attack = hasty(instantiated("attack", name))
    x = torch.rand(24, *SHAPE)
    labels = torch.arange(20) % 10
    view = granted(deployment, x[4:], attack.access, labels, split=split)
    assert len(view.feature_shape) == 2
    v = deployment.transmit(x[:4], RandomStreams(0, "test", range(4)))
    x_hat = attack.fit(view)(v)
    assert x_hat.shape == (4, *SHAPE)
    assert bool(x_hat.isfinite().all())


def test_a_fresh_transformer_has_new_attention_and_position_weights(model):
    """Built by the constructor: nothing of the victim's weights, and nothing left at zero."""
    deployment = Deployment(*_around(model, Dropout(rate=0.3)))
    view = granted(
        deployment, torch.rand(2, *SHAPE), hasty(instantiated("attack", "shadow_same")).access
    )
    fresh, own = (
        dict(view.fresh_edge().named_parameters()),
        dict(deployment.edge.named_parameters()),
    )
    assert fresh.keys() == own.keys()
    random = [name for name, weight in own.items() if weight.std() > 0]
    assert any("position" in name for name in random)
    assert all(not torch.equal(fresh[name], own[name]) for name in random)
    assert all(float(fresh[name].detach().std()) > 0 for name in random)


def _around(model, channel):
    edge, cloud = model.split("middle")
    return edge, channel, cloud
