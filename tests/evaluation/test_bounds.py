"""Bounds: dFIL against its closed form and against attacks."""

import math

import pytest
import torch
from torch import nn

from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.laplace import Laplace
from privbench.deployment import Deployment
from privbench.evaluation.bounds import dfil
from privbench.runtime.random import RandomStreams

X = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def linear():
    """A linear edge of 20 features of 16 pixels, behind a normalisation by 2."""
    torch.manual_seed(0)
    double = nn.Conv2d(1, 1, 1, bias=False)
    double.weight.data.fill_(2.0)
    return nn.Sequential(double, nn.Flatten(), nn.Linear(16, 20))


def test_dfil_of_a_linear_edge_is_its_closed_form(linear):
    """|W|² / (d sigma²), K times for K transmissions; of Laplacian noise with b for sigma."""
    square = float((2 * linear[2].weight.detach()).square().sum())
    for channel, spread in ((Gaussian(sigma=0.3), 0.3), (Laplace(scale=0.2), 0.2)):
        deployment = Deployment(linear, channel, nn.Sequential())
        expected = square / (16 * spread**2)
        assert dfil(deployment, X) == pytest.approx(expected, rel=1e-5)
        assert dfil(deployment, X, transmissions=4) == pytest.approx(4 * expected, rel=1e-5)
        assert dfil(deployment, X, probes=400) == pytest.approx(expected, rel=0.05)


def test_an_unbiased_attack_does_not_beat_it_and_the_best_one_meets_it(linear):
    """Orthogonal features: least squares has exactly the error 1/dFIL."""
    torch.manual_seed(1)
    edge = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(16, 16, bias=False))
    nn.init.orthogonal_(edge[2].weight)
    for layers, equal in ((edge, True), (linear, False)):
        deployment = Deployment(layers, Gaussian(sigma=0.3), nn.Sequential())
        images = X[:1].expand(4000, 1, 4, 4)
        v = deployment.transmit(images, RandomStreams(0, "test", range(4000)))[:, 0]
        with torch.no_grad():
            offset = layers(torch.zeros(1, 1, 4, 4))
            matrix = layers(torch.eye(16).view(16, 1, 4, 4)) - offset
        x_hat = (v - offset) @ torch.linalg.pinv(matrix)
        error = float((x_hat - images.flatten(1)).square().mean())
        bound = 1 / dfil(deployment, X[:1])
        assert error == pytest.approx(bound, rel=0.05) if equal else error > 1.02 * bound


def test_it_is_the_jacobians_norm_behind_a_nonlinearity():
    torch.manual_seed(0)
    edge = nn.Sequential(nn.Identity(), nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Tanh())
    jacobians = (torch.autograd.functional.jacobian(edge, x[None]) for x in X)
    square = sum(float(j.square().sum()) for j in jacobians) / len(X)
    deployment = Deployment(edge, Gaussian(sigma=0.5), nn.Sequential())
    assert dfil(deployment, X) == pytest.approx(square / (16 * 0.25), rel=1e-5)


def test_noise_on_the_input_bounds_all_features_and_other_channels_bound_nothing(linear):
    at_input = Deployment(linear, Gaussian(sigma=0.1, site="input"), nn.Sequential())
    assert dfil(at_input, X) == pytest.approx(4 / 0.01, rel=1e-5)
    for channel in (Dropout(rate=0.9), Gaussian(sigma=0.0)):
        assert dfil(Deployment(linear, channel, nn.Sequential()), X) == math.inf
