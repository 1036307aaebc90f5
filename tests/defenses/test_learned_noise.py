"""Shredder and Cloak: noise that a frozen victim learns to bear, and what is known of it."""

import pytest
import torch
from torch import nn

from privbench.defenses.cloak import Cloak, PixelNoise
from privbench.defenses.deployment import SplitVictim
from privbench.defenses.shredder import NoiseTensors, Shredder
from privbench.runtime.random import RandomStreams
from privbench.testing import FitAlways, SmallData

SIDE = 4


class Reporting(FitAlways):
    """Services that keep the metrics of all epochs."""

    def fit_or_load(self, part, module, train):
        self.epochs = []
        train(lambda epoch, metrics: self.epochs.append(metrics))


@pytest.fixture(scope="module")
def setting():
    """A linear victim of two classes that differ in the brightness of the left half alone."""
    y = torch.arange(64) % 2
    x = torch.rand(64, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    x[..., : SIDE // 2] = (x[..., : SIDE // 2] + y.view(-1, 1, 1, 1)) / 2
    edge = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(SIDE**2, 8))
    cloud = nn.Sequential(nn.Linear(8, 2))
    torch.manual_seed(0)
    left = torch.zeros(SIDE, SIDE)
    left[:, : SIDE // 2] = 1.0
    edge[2].weight.data = torch.cat([left.flatten()[None], 0.3 * torch.randn(7, SIDE**2)])
    edge[2].bias.data = torch.tensor([-4.0, *[0.0] * 7])
    cloud[0].weight.data = torch.tensor([[-4.0, *[0.0] * 7], [4.0, *[0.0] * 7]])
    cloud[0].bias.data.zero_()
    halves = (half.requires_grad_(False) for half in (edge, cloud))
    return SplitVictim(*halves, (1, SIDE, SIDE)), SmallData((255 * x).byte(), y)


@pytest.fixture(scope="module")
def shredded(setting):
    services = Reporting()
    defense = Shredder(weight=0.01, tensors=3, min_steps=80, lr=0.1)
    return defense.fit(*setting, services), services.epochs


def test_the_noise_grows_while_it_trains_and_the_victim_stays_as_it_is(shredded, setting):
    """More on the features that the answer does not need, so that accuracy is kept."""
    deployment, epochs = shredded
    magnitudes = [metrics["noise_magnitude"] for metrics in epochs]
    assert magnitudes[-1] > 1.5 * magnitudes[0]
    assert magnitudes == sorted(magnitudes)
    victim, data = setting
    assert (deployment.edge, deployment.cloud) == (victim.edge, victim.cloud)
    v = deployment.transmit(data.pixels / 255, RandomStreams(0, "test", range(64)))
    assert float((deployment.predict(v)[:, 0].argmax(1) == data.labels).float().mean()) > 0.7
    assert deployment.signal_to_noise_db(data.pixels / 255) < 3


def tensors(count, entries, scale=1.0):
    torch.manual_seed(0)
    return NoiseTensors((count, entries), scale, 1.0).eval().requires_grad_(False)


def test_drawn_noise_has_the_moments_that_its_likelihood_uses():
    """Of the rank order of one tensor; an entry varies far less than entries differ."""
    channel = tensors(1, 201)
    draws = channel.perturb(torch.zeros(2000, 201), RandomStreams(0, "test", range(2000)))
    mean, variance = (moment[0] for moment in channel.moments())
    middle = (mean - mean.median()).abs() < 2
    assert torch.allclose(draws.mean(0)[middle], mean[middle], atol=0.05)
    assert torch.allclose(draws.var(0)[middle], variance[middle], rtol=0.35)
    assert float(variance[middle].mean()) < 0.05 * float(mean.var())
    order = channel.noise[0].argsort()
    assert bool((draws[:, order].diff(dim=1) >= 0).all())


def test_the_joint_likelihood_of_the_tensors_sums_to_one():
    """A mixture over the tensors, which are one for both entries."""
    channel = tensors(3, 2).double()
    axis = torch.linspace(-12, 12, 481, dtype=torch.float64)
    observed = torch.cartesian_prod(axis, axis)
    clean, variance = torch.tensor([0.3, -0.5]).double(), torch.tensor(0.2).double()
    density = channel.log_likelihood(observed, clean, variance).sum(1).exp()
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=1e-3)


def test_the_likelihood_finds_the_tensor_and_what_is_left_is_its_jitter():
    """Over transmissions ``(N, K, m)``; the naive difference is that of the whole noise."""
    channel, clean = tensors(4, 300, scale=5.0), torch.randn(6, 300)
    sent = torch.stack(
        [channel.perturb(clean, RandomStreams(0, "t", range(6)).for_draw(k)) for k in range(2)], 1
    )
    variance, shifted = torch.tensor(0.01), (clean + 0.1).requires_grad_(True)
    whole = channel.log_likelihood(sent, clean.unsqueeze(1), variance)
    assert whole.shape == sent.shape
    # the slope of a Gaussian around the drawn tensor's mean leads back
    total = channel.log_likelihood(sent, shifted.unsqueeze(1), variance).sum()
    (slope,) = torch.autograd.grad(total, shifted)
    assert float(whole.sum()) > float(total.detach())
    assert float((slope < 0).float().mean()) > 0.6
    assert bool(slope.isfinite().all())


@pytest.mark.parametrize("count", [4, 1])
def test_transmissions_are_averaged_as_if_one_tensor_had_been_drawn(count):
    """Their differences tell the tensors; precisions add up, also where all are of one tensor."""
    channel, clean = tensors(count, 300, scale=5.0), torch.randn(50, 300)
    draws = RandomStreams(0, "t", range(50))
    sent = torch.stack([channel.perturb(clean, draws.for_draw(k)) for k in range(8)], 1)
    pooled, known = channel.pool(sent)
    assert pooled.shape == (50, 1, 300) and channel.averaged == 1
    (means, once), (_, often) = channel.moments(), known.moments()
    torch.testing.assert_close(often, (8 * (1 / once).mean(0)).reciprocal().expand_as(once))
    jitter = (pooled - clean.unsqueeze(1) - means).square()  # (images, tensors, entries)
    each = torch.arange(50), jitter.mean(2).argmin(1)
    assert float((jitter[each] / often[each[1]]).median()) == pytest.approx(0.455, abs=0.15)


def test_cloak_noises_the_pixels_that_the_answer_does_not_need_and_suppresses_the_noisiest(setting):
    victim, data = setting
    defense = Cloak(weight=0.3, threshold=2.0, min_steps=150, lr=0.2)
    deployment = defense.fit(victim, data, FitAlways())
    channel, x = deployment.channel, data.pixels / 255
    deviation = channel.deviation().detach()[0]
    left, right = deviation[:, : SIDE // 2], deviation[:, SIDE // 2 :]
    assert float(right.mean()) > 2 * float(left.mean())
    draws = RandomStreams(0, "test", range(64))
    u = channel.perturb(x, draws)
    hidden = ~channel.sent
    assert 0 < int(hidden.sum()) < hidden.numel()
    assert bool((u[:, hidden] == u[:1, hidden]).all()), "constants reveal nothing"
    assert float(u[:, channel.sent].std(0).min()) > 0
    answers = deployment.predict(deployment.transmit(x, draws))[:, 0].argmax(1)
    assert float((answers == data.labels).float().mean()) > 0.8


def test_the_task_teaches_the_constants_of_suppressed_pixels_and_no_others(setting):
    """Their own gradient, beside a loss that rewards deviation; reported is that of sent pixels."""
    victim, data = setting
    defense, x = Cloak(weight=0.3), data.pixels / 255
    deployment = defense.build(victim)
    channel = deployment.channel
    with torch.no_grad():
        channel.rho[..., SIDE // 2 :] = 2.0  # the right half, of which the answer needs nothing
        channel.rho[:, 0, 0] = 2.0  # and a pixel that it needs
    channel.suppress(2.0)
    assert int(channel.sent.sum()) == SIDE * SIDE // 2 - 1
    found = defense.losses(deployment, x, data.labels, RandomStreams(0, "test", range(64)))
    deviation = channel.deviation().detach()
    assert float(found["mean_deviation"]) == pytest.approx(float(deviation[channel.sent].mean()))
    task = float(found["task"].detach())
    assert float(found["loss"].detach()) == pytest.approx(
        task - 0.3 * float(deviation.mean().log())
    )
    found["task"].backward()
    assert not bool(channel.constant.grad[channel.sent].any())
    assert float(channel.constant.grad[0, 0, 0]) != 0
    assert not bool(channel.mean.grad[~channel.sent].any())


def test_the_likelihood_of_a_sent_pixel_sums_to_one_and_a_suppressed_one_says_nothing():
    channel = PixelNoise((2,), 5.0, 1.0).double().requires_grad_(False)
    channel.rho.copy_(torch.tensor([-1.0, 3.0]))
    channel.mean.fill_(0.4)
    channel.suppress(2.0)
    assert channel.sent.tolist() == [True, False]
    axis = torch.linspace(-15, 15, 3001, dtype=torch.float64)
    observed = torch.stack([axis, axis], 1)
    variance = torch.tensor(0.05).double()
    one, other = (
        channel.log_likelihood(observed, torch.full((2,), clean).double(), variance)
        for clean in (0.2, 0.9)
    )
    assert torch.trapezoid(one.exp(), axis, dim=0).tolist() == pytest.approx([1, 1], abs=1e-4)
    assert not torch.equal(one[:, 0], other[:, 0]) and torch.equal(one[:, 1], other[:, 1])
