"""Defenses that train both halves by further losses: the losses, against direct evaluations."""

import math

import pytest
import torch
from torch import nn

from privbench.defenses.deployment import SplitVictim
from privbench.defenses.label_smoothing import LabelSmoothing, squared_radius
from privbench.defenses.nopeek import (
    NoPeek,
    corrected_covariance,
    corrected_distance_correlation,
    distance_correlation,
)
from privbench.defenses.siamese import Siamese, contrastive
from privbench.runtime.random import RandomStreams
from privbench.testing import FitAlways, SmallData

SIDE = 4


def test_distance_correlation_is_that_of_a_direct_evaluation():
    """Székely et al. (2007), Eq. (2.8) to (2.10), term by term."""
    x, z = torch.randn(12, 3, 2, dtype=torch.float64), torch.randn(12, 5, dtype=torch.float64)
    z[:, 0] += x[:, 0, 0]

    def centred(rows):
        d = [[math.dist(p, q) for q in rows] for p in rows]
        mean = [sum(line) / 12 for line in d]
        grand = sum(mean) / 12
        return [[d[k][j] - mean[k] - mean[j] + grand for j in range(12)] for k in range(12)]

    def covariance(a, b):
        return (
            sum(
                p * q
                for one, other in zip(a, b, strict=True)
                for p, q in zip(one, other, strict=True)
            )
            / 144
        )

    a, b = (centred(t.flatten(1).tolist()) for t in (x, z))
    expected = math.sqrt(covariance(a, b) / math.sqrt(covariance(a, a) * covariance(b, b)))
    assert float(distance_correlation(x, z)) == pytest.approx(expected, rel=1e-4)
    assert float(distance_correlation(x, 2 * x + 1)) == pytest.approx(1, abs=1e-5)


def test_the_corrected_covariance_of_independent_data_averages_to_zero():
    """Within three standard errors over 400 batches, while the biased correlation is near 1."""
    torch.manual_seed(0)
    batches = [(torch.randn(10, 30), torch.randn(10, 40)) for _ in range(400)]
    values = torch.stack([corrected_covariance(x, z) for x, z in batches])
    assert abs(float(values.mean())) < 3 * float(values.std()) / 20
    biased = torch.stack([distance_correlation(x, z) for x, z in batches[:20]])
    assert float(biased.mean()) > 0.8
    x = torch.randn(10, 30)
    assert float(corrected_distance_correlation(x, 3 * x)) == pytest.approx(1, abs=1e-4)


def test_gradients_are_finite_where_images_or_features_are_equal():
    """Distances of 0, and a batch of one image after another."""
    v = torch.zeros(6, 4, requires_grad=True)
    y = torch.tensor([0, 0, 1, 1, 2, 2])
    loss = distance_correlation(torch.zeros(6, 3), v) + contrastive(v, y, 1.0)
    assert bool(torch.autograd.grad(loss, v)[0].isfinite().all())
    assert float(corrected_covariance(torch.rand(3, 2), torch.rand(3, 2))) == 0


def test_the_contrastive_loss_counts_each_kind_of_pair_by_itself():
    v = torch.tensor([[0.0, 0.0], [2.0, 2.0], [10.0, 10.0]])
    y = torch.tensor([0, 0, 1])
    assert float(contrastive(v, y, 1.0)) == pytest.approx(2.0, abs=1e-4)
    # distances per entry of two classes: 10 and 8, each counted twice
    assert float(contrastive(v, y, 9.0)) == pytest.approx(2.0 + (0 + 1) / 2, abs=1e-4)


def test_the_squared_radius_is_the_variance_within_the_classes():
    v = torch.tensor([[0.0], [2.0], [5.0], [5.0]])
    assert float(squared_radius(v, torch.tensor([0, 0, 1, 1]))) == 1.0
    assert float(squared_radius(v, torch.tensor([0, 0, 3, 4]))) == 2.0, "of two, and of one none"
    y = torch.arange(2000) % 500
    of_few = squared_radius(torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)), y)
    assert float(of_few) == pytest.approx(3, rel=0.1), "of four each: three variances of 1"


@pytest.fixture(scope="module")
def trained():
    """Images of two classes, their features and labels, and the answers of a trained defense."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(64) % 2
    noise = torch.rand(64, 1, SIDE, SIDE, generator=generator)
    data = SmallData(((y.view(-1, 1, 1, 1) + noise) * 127).byte(), y)
    torch.manual_seed(0)
    edge = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(SIDE**2, 8))
    victim = SplitVictim(edge, nn.Sequential(nn.Linear(8, 2)), (1, SIDE, SIDE))

    def features(defense):
        deployment = defense.fit(victim, data, FitAlways())
        x = data.pixels / 255
        v = deployment.transmit(x, RandomStreams(0, "test", range(64)))
        return x, v[:, 0], y, deployment.predict(v)[:, 0].softmax(1)

    return features


@pytest.fixture(scope="module")
def losses():
    """The losses of a defense on a batch of two classes, with its features and logits."""
    torch.manual_seed(0)
    edge = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(SIDE**2, 8))
    cloud = nn.Sequential(nn.Linear(8, 2))
    halves = (half.requires_grad_(False) for half in (edge, cloud))
    victim = SplitVictim(*halves, (1, SIDE, SIDE))
    x, y = torch.rand(24, 1, SIDE, SIDE), torch.arange(24) % 2

    def evaluated(defense):
        deployment = defense.build(victim)
        v = deployment.edge(x)
        found = defense.losses(deployment, x, y, RandomStreams(0, "test", range(24)))
        return {name: float(value) for name, value in found.items()}, x, v, y, deployment.cloud(v)

    return evaluated


def test_nopeek_adds_the_biased_correlation_and_reports_the_corrected_one(losses):
    found, x, v, y, logits = losses(NoPeek(weight=3.0))
    biased, corrected = (
        float(f(x, v)) for f in (distance_correlation, corrected_distance_correlation)
    )
    assert abs(biased - corrected) > 0.05, "the two estimates differ"
    assert found["distance_correlation_corrected"] == pytest.approx(corrected, rel=1e-4)
    task = float(nn.functional.cross_entropy(logits, y))
    assert found["loss"] == pytest.approx(task + 3 * biased, rel=1e-5)


def test_siamese_weighs_the_contrastive_loss_against_the_task(losses):
    found, _, v, y, logits = losses(Siamese(weight=0.8, margin=2.0))
    task, pairs = float(nn.functional.cross_entropy(logits, y)), float(contrastive(v, y, 2.0))
    assert found["loss"] == pytest.approx(0.2 * task + 0.8 * pairs, rel=1e-5)


def test_label_smoothing_shares_the_label_and_reports_the_radius_within_classes(losses):
    found, _, v, y, logits = losses(LabelSmoothing(weight=0.4))
    logs = logits.log_softmax(1)
    own = logs[torch.arange(24), y]
    assert found["loss"] == pytest.approx(float(-(0.6 * own + 0.4 * logs.mean(1)).mean()), rel=1e-5)
    classes = [v[y == c] for c in (0, 1)]
    within = sum(len(one) * float(one.var(0).sum()) for one in classes) / 24
    assert found["squared_radius"] == pytest.approx(within, rel=1e-4)
    assert found["radius_share"] == pytest.approx(within / float(v.var(0).sum()), rel=1e-4)
    assert found["radius_share"] < 1


def _radius_share(x, v, y, answers):
    return squared_radius(v, y) / squared_radius(v, torch.zeros_like(y))


@pytest.mark.parametrize(
    ("defense", "weights", "measure"),
    [
        (NoPeek, (0.01, 10.0), lambda x, v, *_: corrected_distance_correlation(x, v)),
        (Siamese, (0.01, 0.99), _radius_share),
        (LabelSmoothing, (0.001, 0.9), lambda x, v, y, answers: answers.amax(1).mean()),
    ],
)
def test_the_trained_quantity_falls_with_the_strength(defense, weights, measure, trained):
    """On a tiny linear edge, in sixty steps."""
    kinds = [defense(weight=weight, min_steps=60, lr=1e-2) for weight in weights]
    weak, strong = (float(measure(*trained(kind))) for kind in kinds)
    assert strong < 0.8 * weak
