"""Attacks by auxiliary images against edges whose answer is known."""

import dataclasses

import pytest
import torch
from torch import nn

from privbench.attacks.inverse_refined import InverseRefined
from privbench.attacks.ridge import Ridge
from privbench.attacks.unsplit import UnSplit
from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.defenses.none import NoDefense
from privbench.evaluation import metrics
from privbench.runtime.random import RandomStreams
from tests.support import Orthogonal, granted, hasty, instantiated, lenet_edge, scenes


def _scores(attack, edge, aux, defense=None):
    """PSNR of each of five scenes."""
    x, cloud = scenes(5), nn.Sequential(nn.Flatten())
    deployment = Deployment(edge, defense or NoDefense(), cloud)
    v = deployment.transmit(x, RandomStreams(0, "transmission", range(5)))
    x_hat = attack.fit(granted(deployment, aux, attack.access).without_logging())(v)
    assert x_hat.isfinite().all()
    return metrics.psnr_db(x_hat, x), metrics.psnr_db(x.mean(0, keepdim=True).expand_as(x), x)


def _refined(name, **changes):
    attack = instantiated("attack", name)
    return dataclasses.replace(attack, network=hasty(attack.network), **changes)


@pytest.fixture(scope="module")
def noise():
    """More images than pixels, which span them all."""
    return torch.rand(1000, 1, 28, 28, generator=torch.Generator().manual_seed(2))


def test_ridge_inverts_an_orthogonal_edge_above_60_db(noise):
    """Given more pairs than pixels, a linear map is learned exactly."""
    scores, _ = _scores(Ridge(images=None), nn.Sequential(nn.Identity(), Orthogonal()), noise)
    assert float(scores.min()) > 60


@pytest.mark.long
def test_a_refined_answer_of_an_orthogonal_edge_exceeds_60_db():
    """From the answer of a network that has hardly been trained."""
    attack = _refined("inverse_refined", images=2, steps=150)
    scores, _ = _scores(attack, nn.Sequential(nn.Identity(), Orthogonal()), scenes(60))
    assert float(scores.min()) > 60


@pytest.mark.long
@pytest.mark.parametrize(
    "attack",
    [
        Ridge(images=None),
        UnSplit(
            rounds=2, steps=5, lr=1e-2, clone_lr=1e-3, tv_weight=0.1, tv_beta=2.0, square_weight=1.0
        ),
        InverseRefined,
        "dip",
        "inverse",
        "inverse_adaptive",
        "inverse_refined",
        "diffusion",
        "diffusion_refined",
        "diffusion_refined_adaptive",
        "tuned",
    ],
    ids=str,
)
def test_a_dead_channel_lets_nobody_beat_the_best_constant_image(attack):
    """Dropout of everything: what is left is what was known before."""
    if attack is InverseRefined:
        attack = _refined("inverse_refined_adaptive", images=2, steps=20)
    elif isinstance(attack, str):
        attack = hasty(instantiated("attack", attack))
    scores, best = _scores(attack, lenet_edge("relu2"), scenes(60), Dropout(rate=1.0))
    assert float(scores.mean()) <= float(best.mean()) + 1e-4
