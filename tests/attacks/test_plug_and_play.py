"""Plug-and-play by ADMM, its denoiser, and the attack made of them."""

import dataclasses

import pytest
import torch
from torch import nn

from privbench.attacks.components.data_terms import data_term_of
from privbench.attacks.components.denoiser import Denoiser, trained_denoiser
from privbench.attacks.components.plug_and_play import geometric, plug_and_play
from privbench.attacks.rmle_prior import Descent, RMLEPrior
from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.evaluation import metrics
from privbench.runtime.random import RandomStreams
from privbench.threat import Access
from tests.support import BRIEF_TRAINING, granted, lenet_edge, scenes

ATTACK = RMLEPrior(
    **BRIEF_TRAINING,
    steps=110,
    lr=4e-3,
    levels=20,
    first_level=0.5,
    last_level=0.02,
    updates=10,
    rate=0.3,
    inversion_steps=50,
    noise_variance=1e-3,
)


@pytest.mark.parametrize("levels", [[0.3] * 400, [*geometric(1.0, 0.2, 30), *[0.2] * 400]])
def test_an_exact_linear_gaussian_prior_gives_the_posterior_mean(levels):
    """At a constant level, and at one that falls first: x ~ N(m, C), v = A x + N(0, .04 I)."""
    generator = torch.Generator().manual_seed(0)
    a, root = (torch.randn(n, 4, generator=generator).double() for n in (3, 4))
    m, v = (torch.randn(n, generator=generator).double() for n in (4, 3))
    c, one = root @ root.T / 4 + 0.05 * torch.eye(4).double(), torch.eye(4).double()
    precision = a.T @ a / 0.04

    def data_step(aim, level, x):
        del x
        right = a.T @ v / 0.04 + aim.flatten() / level**2
        return torch.linalg.solve(precision + one / level**2, right).view(1, 1, 2, 2)

    def denoise(x, level):
        gain = c @ torch.linalg.inv(c + level**2 * one)
        return (m + gain @ (x.flatten() - m)).view(1, 1, 2, 2)

    x = plug_and_play(torch.zeros(1, 1, 2, 2).double(), levels, data_step, denoise)
    inverse = torch.linalg.inv(c)
    exact = torch.linalg.solve(precision + inverse, a.T @ v / 0.04 + inverse @ m)
    torch.testing.assert_close(x.flatten(), exact, atol=1e-5, rtol=0)


def test_the_attacks_own_data_step_leads_to_the_posterior_mean():
    """With the exact prior of four pixels and three features in noise of .2, run to convergence."""
    generator = torch.Generator().manual_seed(0)
    a, root = (torch.randn(n, 4, generator=generator) for n in (3, 4))
    m, level = 0.5 + 0.1 * torch.randn(4, generator=generator), 0.3
    c, one = 0.1 * root @ root.T / 4 + 0.01 * torch.eye(4), torch.eye(4)
    edge = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False)).requires_grad_(False)
    edge[1].weight.copy_(a)
    v = (a @ m + 0.2 * torch.randn(3, generator=generator)).view(1, 1, 3)
    term = data_term_of(edge, v, Gaussian(sigma=0.2), m.view(1, 1, 2, 2))
    attack = dataclasses.replace(ATTACK, updates=30, rate=0.1, noise_variance=1e-9)

    def denoise(x, level):
        gain = c @ torch.linalg.inv(c + level**2 * one)
        return (m + gain @ (x.flatten() - m)).view(1, 1, 2, 2)

    x = plug_and_play(m.view(1, 1, 2, 2), [level] * 100, Descent(attack, term, 3), denoise)
    precision, inverse = a.T @ a / 0.04, torch.linalg.inv(c)
    exact = torch.linalg.solve(precision + inverse, a.T @ v.flatten() / 0.04 + inverse @ m)
    doubled = torch.linalg.solve(
        precision + 2 * inverse, a.T @ v.flatten() / 0.04 + 2 * inverse @ m
    )
    assert float((exact - doubled).abs().max()) > 0.04, (
        "another weight of the prior gives another image"
    )
    torch.testing.assert_close(x.flatten(), exact, atol=0.01, rtol=0)


@pytest.mark.parametrize("copies", [1, 4])
def test_the_data_step_weighs_the_likelihood_in_full(copies):
    """An edge without change under noise .5: half its variance's inverse, times the copies."""
    x = 0.3 + 0.4 * scenes(2)
    edge, defense = nn.Sequential(nn.Identity()), Gaussian(sigma=0.5)
    pooled, known = defense.pool(x.unsqueeze(1).repeat(1, copies, 1, 1, 1))
    term = data_term_of(edge, pooled, known, x)
    term.variance.fill_(1e-9)
    term.initialised = True
    descent = Descent(ATTACK, term, pooled[0].numel())
    with torch.no_grad():
        near, far = descent._negative_log(x), descent._negative_log(x + 0.1)
    wanted = copies * 784 * 0.1**2 / (2 * 0.5**2)
    assert (far - near).tolist() == pytest.approx([wanted] * 2, rel=0.05)


@pytest.fixture(scope="module")
def view():
    """A view whose auxiliary images are scenes."""
    deployment = Deployment(lenet_edge("relu2"), Dropout(rate=0.4), nn.Sequential(nn.Flatten()))
    return granted(deployment, scenes(120), ATTACK.access, split="relu2")


@pytest.fixture(scope="module")
def denoiser(view):
    return trained_denoiser(ATTACK, view)


@pytest.mark.long
def test_a_denoiser_lowers_the_noise_at_every_level(denoiser):
    """By more than the scaling of its input alone does."""
    x = scenes(130)[120:]
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    for level in (0.1, 0.3, 1.0):
        levels = torch.full((len(x),), level)
        learned = denoiser(x + level * noise, levels)
        share = denoiser.spread**2 / (denoiser.spread**2 + level**2)
        scaled = denoiser.mean + share * (x + level * noise - denoiser.mean)
        error, plain = ((image - x).square().mean() for image in (learned, scaled))
        assert float(error) < 0.5 * float(plain)


def test_a_denoiser_takes_any_size_and_no_right_but_images(view):
    """Odd sides are padded; it is trained in a view that holds the images and nothing else."""
    network = Denoiser((3, 7, 10))
    assert network(torch.rand(2, 3, 7, 10), torch.tensor([0.1, 1.0])).shape == (2, 3, 7, 10)
    alone = trained_denoiser(
        RMLEPrior(**{**vars(ATTACK), "steps": 2}), view.restricted_to(Access.AUX_IMAGES)
    )
    assert not any(weight.requires_grad for weight in alone.parameters())


@pytest.mark.long
@pytest.mark.parametrize(
    ("defense", "seen"),
    [
        (Dropout(rate=0.4, site="input"), True),
        (Gaussian(sigma=1.0, site="input"), True),
        (Dropout(rate=1.0), False),
    ],
    ids=str,
)
def test_defenses_that_blind_a_plain_descent_are_seen_through(defense, seen, denoiser, monkeypatch):
    """By the prior; and where nothing is sent, no better than the best constant image."""
    monkeypatch.setattr("privbench.attacks.rmle_prior.trained_denoiser", lambda *_: denoiser)
    x = scenes(130)[120:126]
    deployment = Deployment(lenet_edge("relu2"), defense, nn.Sequential(nn.Flatten()))
    v = deployment.transmit(x, RandomStreams(0, "transmission", range(6)))
    x_hat = ATTACK.fit(granted(deployment, scenes(120), ATTACK.access, split="relu2"))(v)
    score = float(metrics.psnr_db(x_hat, x).mean())
    best = float(metrics.psnr_db(x.mean(0, keepdim=True).expand_as(x), x).mean())
    assert score > best + 3 if seen else score <= best + 1e-4
