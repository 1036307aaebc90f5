"""UnSplit: clones and images, each target of its own."""

import dataclasses

import pytest
import torch

from privbench.attacks.components.priors import total_variation
from privbench.attacks.unsplit import Search, UnSplit
from privbench.defenses.deployment import Deployment
from privbench.defenses.none import NoDefense
from privbench.evaluation import metrics
from privbench.runtime.random import RandomStreams
from privbench.victims.lenet5 import LeNet5
from tests.support import granted, instantiated, scenes

ATTACK = UnSplit(
    rounds=2, steps=5, lr=1e-2, clone_lr=1e-3, tv_weight=0.1, tv_beta=2.0, square_weight=0.0
)


def _attacked(split, **changes):
    torch.manual_seed(3)
    edge, cloud = LeNet5((1, 28, 28), 10).eval().split(split)
    deployment, x = Deployment(edge, NoDefense(), cloud), scenes(3)
    v = deployment.transmit(x, RandomStreams(0, "transmission", range(3)))
    attack = dataclasses.replace(ATTACK, **changes)
    return attack.fit(granted(deployment, x, attack.access)), v, x


def test_an_edge_without_weights_is_inverted():
    """Its clone is the edge itself, so the image is the only unknown."""
    reconstruct, v, x = _attacked("input", tv_weight=0.0, rounds=3, steps=40)
    assert float(metrics.psnr_db(reconstruct(v), x).min()) > 40


def test_a_targets_clone_is_its_own():
    """Its image does not depend on the others; the clone changes what is found."""
    reconstruct, v, _ = _attacked("relu1")
    together = reconstruct(v)
    torch.testing.assert_close(reconstruct(v[1:2]), together[1:2], atol=1e-4, rtol=0)
    kept, v, _ = _attacked("relu1", clone_lr=1e-12)
    assert float((kept(v) - together).abs().max()) > 1e-3


@pytest.mark.parametrize("victim", ["resnet18", "vit_small"])
def test_any_victims_layers_can_be_cloned(victim):
    """Normalisation and attention too: every weight and every pixel has a finite gradient."""
    model = instantiated("victim", victim).build((3, 32, 32), 10, 0).eval()
    edge = model.split(model.split_points[2])[0]
    start = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    v = edge(1 - start[None]).detach().repeat(2, *[1] * (edge(start[None]).dim() - 1))
    search = Search(edge.rebuild(1).eval(), v, start, 0.1, 2.0, 1.0)
    search.set_image_gradient()
    search.set_weight_gradients()
    assert search.x.grad.isfinite().all() and search.x.grad.any()
    assert all(weight.grad.isfinite().all() for weight in search.weights.values())


def test_total_variation_makes_the_answer_smoother():
    """Of noisy pixels, with a large lambda."""
    found = []
    for weight in (0.0, 10.0):
        reconstruct, v, _ = _attacked("input", tv_weight=weight, rounds=2, steps=40)
        noise = torch.randn(v.shape, generator=torch.Generator().manual_seed(1))
        found.append(float(total_variation(reconstruct(v + 0.3 * noise), 1.0).mean()))
    assert found[1] < 0.5 * found[0], found


def test_the_mean_square_prefers_the_darker_of_image_and_negative():
    """Both explain the features of a layer whose signs are unknown."""
    found = []
    for weight in (0.0, 1.0):
        reconstruct, v, x = _attacked("conv1", square_weight=weight, rounds=10, steps=20)
        found.append(float(metrics.psnr_db(reconstruct(v), x).mean()))
    assert found[1] > found[0] + 3, found
