"""Defenses that train against a proxy decoder: whose weights follow which loss, and the effect."""

import pytest
import torch
from torch import nn

from privbench.defenses.adversarial import Adversarial
from privbench.defenses.deployment import SplitVictim
from privbench.defenses.disco import Disco, DiscoTask, Pruner
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.proxy import ProxyDecoder, reconstruction_loss, ssim
from privbench.evaluation import metrics
from privbench.runtime.random import RandomStreams
from privbench.testing import FitAlways, SmallData

SIDE = 8
DRAWS = RandomStreams(0, "test", range(64))


def images(seed):
    """Images of two patterns: a faint one for the class, a strong one of any sign and size."""
    y, sides = torch.arange(64) % 2, torch.where(torch.arange(SIDE) % 2 == 0, 1.0, -1.0)
    size = 2 * torch.rand(64, generator=torch.Generator().manual_seed(seed)) - 1
    labels, strong = (t.view(-1, 1, 1, 1) for t in (2 * y - 1, size))
    x = 0.5 + 0.1 * labels * sides.view(1, 1, -1, 1) + 0.35 * strong * sides
    return SmallData((x * 255).byte(), y)


@pytest.fixture(scope="module")
def data():
    return images(0)


@pytest.fixture(scope="module")
def victim():
    """A linear edge that sends one feature for each pattern, four times over."""
    sides = torch.where(torch.arange(SIDE) % 2 == 0, 1.0, -1.0)
    patterns = torch.stack([sides.view(-1, 1).expand(SIDE, SIDE), sides.expand(SIDE, SIDE)])
    linear = nn.Linear(SIDE**2, 8, bias=False)
    linear.weight.data = patterns.flatten(1).repeat(4, 1) / SIDE
    edge = nn.Sequential(nn.Identity(), nn.Flatten(), linear)
    torch.manual_seed(0)
    cloud = nn.Sequential(nn.Linear(8, 2))
    return SplitVictim(*(half.requires_grad_(False) for half in (edge, cloud)), (1, SIDE, SIDE))


def unexplained(deployment, data):
    """The share of the variance of new images that a fresh linear decoder of their features leaves."""
    (x, v), (new_x, new_v) = (_pairs(deployment, part) for part in (data, images(1)))
    solution = torch.linalg.solve(v.T @ v + 0.1 * torch.eye(v.shape[1]), v.T @ x)
    return float((new_v @ solution - new_x).square().mean() / new_x.var(0).mean())


def _pairs(deployment, data):
    x = data.pixels / 255
    v = deployment.transmit(x, DRAWS)[:, 0].flatten(1).double()
    return x.flatten(1).double(), torch.cat([v / v.std(), torch.ones(64, 1)], 1)


@pytest.fixture
def tasks(monkeypatch):
    """The training tasks that defenses make, each with its decoder."""
    made, make = [], Adversarial.task

    def kept(self, deployment, data, services):
        made.append(make(self, deployment, data, services))
        return made[-1]

    monkeypatch.setattr(Adversarial, "task", kept)
    return made


def failure(task, deployment):
    """The loss of the defender's own decoder on images that it was not trained on."""
    x = images(1).pixels / 255
    v = deployment.transmit(x, DRAWS)[:, 0]
    with torch.no_grad():
        return float(reconstruction_loss(task.hyper.loss, task.decoder.eval()(v), x))


@pytest.mark.long
@pytest.mark.parametrize("bottleneck", [0.0, 0.5])
def test_the_decoder_and_a_fresh_one_recover_less_at_a_larger_weight(
    bottleneck, victim, data, tasks
):
    """Through noise: without it a linear decoder amplifies whatever is left."""
    options = {"loss": "mse", "bottleneck": bottleneck, "min_steps": 80, "lr": 1e-2}
    found = []
    for weight in (1e-3, 1.0, 30.0):
        defense = Adversarial(weight=weight, channel=Gaussian(sigma=0.5), **options)
        deployment = defense.fit(victim, data, FitAlways())
        found.append((failure(tasks[-1], deployment), unexplained(deployment, data)))
    (proxy, fresh), (_, fresh_medium), (proxy_strong, fresh_strong) = found
    assert proxy_strong > 1.2 * proxy
    assert fresh_strong > 1.5 * fresh
    assert fresh < fresh_medium < 1.05 * fresh_strong, found
    v = deployment.transmit(data.pixels / 255, DRAWS)
    assert v.shape[2] == (4 if bottleneck else 8)


@pytest.mark.parametrize("loss", ["mse", "l1", "ssim"])
def test_each_loss_trains_an_edge_that_its_decoder_decodes_worse(loss, victim, data, tasks):
    """On new images; the same seed and steps, with the weight alone larger."""
    failures = []
    for weight in (1e-3, 30.0):
        defense = Adversarial(
            weight=weight, loss=loss, threshold=0.0, channel=Gaussian(sigma=0.5), min_steps=80,
            lr=1e-2,
        )  # fmt: skip
        deployment = defense.fit(victim, data, FitAlways())
        failures.append(failure(tasks[-1], deployment))
    assert failures[1] > 1.15 * failures[0], failures


def test_the_penalty_falls_as_the_decoder_fails_and_ssim_counts_above_the_threshold_alone():
    """Values by hand of a perfect, a middling and a worthless reconstruction."""
    x = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    assert float(Adversarial(loss="mse").penalty(x + 0.5, x)) == pytest.approx(-0.25)
    assert float(Adversarial(loss="l1").penalty(x + 0.5, x)) == pytest.approx(-0.5)
    middling = 0.9 * x + 0.1 * x.mean()
    similar = float(ssim(middling, x))
    assert 0.6 < similar < 1
    for threshold in (0.5, 0.0):
        defense = Adversarial(loss="ssim", threshold=threshold)
        assert float(defense.penalty(x, x)) == pytest.approx(1 - threshold)
        assert float(defense.penalty(middling, x)) == pytest.approx(similar - threshold)
    assert float(Adversarial(loss="ssim", threshold=0.5).penalty(1 - x, x)) == 0
    assert (Adversarial().loss, Adversarial().weight, Adversarial().threshold) == ("ssim", 0.3, 0.5)


def test_ssim_is_the_metrics_and_has_a_gradient():
    x, x_hat = torch.rand(2, 3, 20, 20), torch.rand(2, 3, 20, 20)
    assert float(ssim(x_hat, x)) == pytest.approx(float(metrics.ssim(x_hat, x).mean()), abs=1e-5)
    flat = torch.zeros(1, 1, 5, 5, requires_grad=True)
    ssim(flat, torch.zeros(1, 1, 5, 5)).backward()
    assert bool(flat.grad.isfinite().all())


@pytest.mark.parametrize("shape", [(4, 3, 3), (9, 6), (12,)])
def test_a_proxy_decodes_any_features_and_its_weights_can_stand_still(shape):
    decoder = ProxyDecoder(shape, (3, 20, 24))
    v = torch.rand(2, *shape, requires_grad=True)
    x_hat = decoder.with_fixed_weights(v)
    assert torch.equal(x_hat, decoder(v)) and x_hat.shape == (2, 3, 20, 24)
    x_hat.square().sum().backward()
    assert bool(v.grad.any())
    assert all(weight.grad is None for weight in decoder.parameters())


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_edge_and_cloud_of_disco_follow_the_task_alone_and_the_pruner_the_decoder(
    weight, victim, data
):
    """At a weight of 1 only the pruner and the decoder learn; the signs are the published ones."""
    defense = Disco(rate=0.5, weight=weight)
    deployment = defense.build(victim)
    deployment.edge.requires_grad_(True), deployment.cloud.requires_grad_(True)
    task = DiscoTask(defense, deployment, data, FitAlways())
    losses = task.batch_losses(data.pixels / 255, data.labels, DRAWS)
    losses["loss"].backward()
    moved = {
        name: any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())
        for name, part in (("edge", task.edge), ("cloud", deployment.cloud), ("pruner", task.pruner), ("decoder", task.decoder))
    }  # fmt: skip
    learns = weight == 0
    assert moved == {"edge": learns, "cloud": learns, "pruner": True, "decoder": True}
    if weight:
        assert float(losses["loss"].detach()) == pytest.approx(
            0, abs=1e-6
        )  # -MSE + MSE of the same images


@pytest.mark.parametrize("site", ["features", "input"])
def test_disco_trains_on_what_its_deployment_sends(site, victim, data):
    """Noise where it is deployed, on the image or behind the pruner."""
    defense = Disco(rate=0.5, channel=Gaussian(sigma=0.5, site=site))
    deployment = defense.build(victim)
    task = DiscoTask(defense, deployment, data, FitAlways())
    x = data.pixels / 255
    sent = task._sent(task.pruner(task._scored(x, DRAWS)), DRAWS)
    assert torch.equal(sent, deployment.send(x, DRAWS))


@pytest.mark.parametrize("shape", [(10, 3, 3), (5, 10), (10,)])
def test_a_pruner_keeps_the_share_of_channels_that_it_scores_highest(shape):
    torch.manual_seed(0)
    pruner, v = Pruner(shape, 0.7, 1e-5), torch.rand(4, *shape)
    mask = pruner.mask(v)
    assert mask.shape == (4, 10)
    assert (mask > 0.5).sum(1).tolist() == [3] * 4
    axis = 1 if len(shape) == 3 else -1
    pruned, whole = (t.movedim(axis, 1).reshape(4, 10, -1) for t in (pruner(v), v))
    assert torch.allclose(pruned, whole * mask[:, :, None])
    assert (Pruner(shape, 1.0, 1e-5).mask(v) > 0.5).sum(1).tolist() == [1] * 4


def test_a_pruner_cannot_keep_every_channel_by_nearly_equal_scores():
    torch.manual_seed(0)
    pruner, v = Pruner((10, 3, 3), 0.7, 1 / 30), torch.rand(4, 10, 3, 3)
    mask = pruner.mask(v)
    last = pruner.scores[-1]
    last.weight.data.mul_(1e-2), last.bias.data.mul_(1e-2)
    assert torch.allclose(pruner.mask(v), mask, atol=0.02)
