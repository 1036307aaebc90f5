"""The edge in bf16: what it changes, and when it is used."""

import pytest
import torch
from torch import nn

from privbench.attacks.components.mixed_precision import MixedPrecisionEdge
from privbench.attacks.rmle import RMLE
from privbench.defenses.deployment import Deployment
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.none import NoDefense
from privbench.evaluation import metrics
from privbench.runtime.device import DeviceConfig
from privbench.runtime.random import RandomStreams
from tests.support import RecordingLogger, granted, lenet_edge, scenes

BF16 = 2.0**-8
"""Largest relative rounding error of bf16, and room for a few of them."""


def _answers(monkeypatch, precision, faster, defense=None, **options):
    """Images and notes of rMLE where the machine says that bf16 is faster, or not."""
    monkeypatch.setattr(DeviceConfig, "_bf16_is_faster", lambda self: faster)
    x = scenes(4)
    deployment = Deployment(lenet_edge("relu1"), defense or NoDefense(), nn.Flatten())
    v = deployment.transmit(x, RandomStreams(0, "transmission", range(4)))
    attack = RMLE(precision=precision, **options)
    logger = RecordingLogger()
    view = granted(deployment, scenes(1), attack.access, logger=logger)
    x_hat = attack.fit(view)(v)
    return x_hat, metrics.psnr_db(x_hat, x), logger.facts


def test_an_edge_in_bf16_has_nearly_the_features_in_float32_and_so_have_its_parts():
    """Rounding alone tells them apart, and gradients reach the image."""
    edge, x = lenet_edge("relu2"), scenes(6).requires_grad_()
    mixed = MixedPrecisionEdge.of(edge)
    exact = edge(x)
    for rounded in (mixed(x), mixed[1:](mixed[0](x))):
        assert rounded.dtype == torch.float32
        error = (rounded - exact).norm() / exact.norm()
        assert 0 < error.item() < 2 * BF16
    linear = lenet_edge("conv1")  # a pooling that picks another pixel has another gradient
    (gradient,) = torch.autograd.grad(MixedPrecisionEdge.of(linear)(x).square().sum(), x)
    (wanted,) = torch.autograd.grad(linear(x).square().sum(), x)
    assert gradient.dtype == torch.float32
    assert ((gradient - wanted).norm() / wanted.norm()).item() < 4 * BF16
    assert next(mixed.parameters()) is next(edge.parameters())  # nothing is copied


def test_bf16_is_used_where_it_is_faster_and_the_record_says_so(monkeypatch):
    """Elsewhere the numbers are those of float32, to the last bit."""
    exact, psnr, notes = _answers(monkeypatch, "32-true", True, steps=200)
    assert "precision" not in notes
    assert float(psnr.min()) > 60
    slow, _, notes = _answers(monkeypatch, "bf16-mixed", False, steps=200)
    assert torch.equal(slow, exact)
    assert "precision" not in notes
    rounded, psnr, notes = _answers(monkeypatch, "bf16-mixed", True, steps=200)
    assert notes["precision"] == "bf16-mixed"
    assert not torch.equal(rounded, exact)
    assert float(psnr.min()) > 40


@pytest.mark.parametrize("site", ["features", "input"])
def test_an_attack_that_knows_the_defense_descends_in_bf16_too(monkeypatch, site):
    """Where noise limits what is recovered, rounding takes nothing."""
    defense = Gaussian(sigma=0.3, site=site)
    (exact, psnr, _), (rounded, other, notes) = (
        _answers(monkeypatch, precision, True, defense, adaptive=True, steps=150)
        for precision in ("32-true", "bf16-mixed")
    )
    assert notes["precision"] == "bf16-mixed"
    assert not torch.equal(rounded, exact)
    assert abs(float(psnr.mean() - other.mean())) < 0.3
