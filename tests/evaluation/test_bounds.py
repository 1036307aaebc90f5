"""Bounds: dFIL and the Bayes floor against closed forms, brute force and attacks."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from privbench.defenses.cloak import PixelNoise
from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.laplace import Laplace
from privbench.defenses.none import NoDefense
from privbench.defenses.quantize import Quantize
from privbench.defenses.shredder import NoiseTensors
from privbench.defenses.topk import TopK
from privbench.evaluation import bounds, finite_set
from privbench.evaluation.bounds import dfil, rank_deficient_share
from privbench.evaluation.finite_set import floor
from privbench.evaluation.metrics import BAYES_FLOOR, DFIL
from privbench.evaluation.metrics.bayes_floor import below
from privbench.evaluation.metrics.dfil import spaced
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


def test_dfil_of_noise_that_differs_between_pixels_is_its_closed_form(linear):
    """Slope² / sigma² of each pixel, and nothing of one that is a constant."""
    noise = PixelNoise((1, 4, 4), 5.0, 1.0).requires_grad_(False)
    noise.rho[:] = torch.linspace(-0.5, 0.5, 16).view(1, 4, 4)
    deviation = noise.deviation()
    deployment = Deployment(linear, noise, nn.Sequential())
    assert dfil(deployment, X, 4) == pytest.approx(4 * float((4 / deviation**2).mean()), rel=1e-5)
    noise.suppress(float(deviation.median()))
    kept = deviation[noise.sent]
    assert 0 < len(kept) < 16
    assert dfil(deployment, X) == pytest.approx(float((4 / kept**2).sum()) / 16, rel=1e-5)


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


def test_the_share_of_images_without_an_unbiased_attacker():
    """Fewer features than pixels, dead units, repeated rows; a full rank however ill-conditioned."""
    wide = nn.Sequential(nn.Flatten(), nn.Linear(16, 40).double().float())
    assert rank_deficient_share(wide, X) == 0
    assert rank_deficient_share(nn.Sequential(nn.Flatten(), nn.Linear(16, 15)), X) == 1
    blur = nn.Sequential(nn.Flatten(), nn.Linear(16, 32, bias=False))
    repeated = torch.cat([torch.eye(16)[:15], torch.ones(1, 16) * torch.eye(16)[:1]]).repeat(2, 1)
    blur[1].weight.data = repeated @ torch.linalg.qr(torch.randn(16, 16))[0]
    assert rank_deficient_share(blur, X) == 1
    blur[1].weight.data = torch.diag(torch.logspace(0, -6, 16)).repeat(2, 1)
    assert rank_deficient_share(blur, X) == 0
    dead = nn.Sequential(nn.Flatten(), nn.Linear(16, 16, bias=False), nn.ReLU())
    dead[1].weight.data = torch.eye(16)
    signs = torch.ones(4, 1, 4, 4)
    signs[:3, 0, 0, 0] = -1
    assert rank_deficient_share(dead, signs) == 0.75


PAIR = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2) * 0.6])
FLAT = nn.Sequential(nn.Identity(), nn.Flatten())


def _two(channel, transmissions, draws=4000):
    found = floor(Deployment(FLAT, channel, nn.Sequential()), PAIR, transmissions, draws)
    assert (found.images, found.draws, found.transmissions) == (2, draws, transmissions)
    return found


@pytest.mark.parametrize("transmissions", [1, 4])
def test_the_floor_of_two_images_is_its_closed_form(transmissions):
    """Gaussian: the posterior is logistic in the projection on their difference, a normal value."""
    sigma, distance = 1.0, 0.6 * 2 * math.sqrt(transmissions)  # of features, K pooled
    t = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    density = (-((t - distance / sigma / 2) ** 2) / 2).exp() / math.sqrt(2 * math.pi)
    posterior = torch.sigmoid(t * distance / sigma)  # of the true one, t from the midpoint
    error = 0.36 * float(torch.trapezoid(density * posterior * (1 - posterior), t))
    found = _two(Gaussian(sigma=sigma), transmissions)
    assert abs(found.error - error) < 4 * found.error_deviation < 0.2 * error
    right = 0.5 * (1 + math.erf(distance / sigma / 2 / math.sqrt(2)))
    assert found.identified == pytest.approx(right, abs=0.02)
    assert found.identified_by_two == 1


def test_repeated_laplacian_noise_has_the_product_of_likelihoods():
    """One pixel that differs, sent twice: two densities multiplied, by quadrature."""
    images = torch.zeros(2, 1, 1, 2)
    images[1, 0, 0, 0] = 1.0
    found = floor(Deployment(FLAT, Laplace(scale=0.8), nn.Sequential()), images, 2, 4000)
    t = torch.linspace(-15, 15, 1201, dtype=torch.float64)
    one, other = ((-(t - at).abs() / 0.8).exp() / 1.6 for at in (0.0, 1.0))
    p, q = (side[:, None] * side[None] for side in (one, other))
    error = float((p * q / (p + q)).sum() * (t[1] - t[0]) ** 2) / 4  # the other pixel is known
    assert abs(found.error - error) < 4 * found.error_deviation < 0.1 * error


def _brute_force(deployment, x, transmissions, seed=1, rounds=400):
    """Error of the posterior mean by an own simulation, image by image and draw by draw."""
    torch.manual_seed(seed)
    f = deployment.edge(x).flatten(1).double()
    total, hits = 0.0, 0
    for _ in range(rounds):
        true = int(torch.randint(len(x), ()))
        scores = torch.zeros(len(x), dtype=torch.float64)
        for _ in range(transmissions):
            kept = torch.rand(f.shape[1]) >= deployment.channel.rate
            v = torch.where(kept, f[true], 0.0)
            fits = torch.where(v == 0, torch.where(f == 0, 1.0, deployment.channel.rate),
                               (f == v) * (1 - deployment.channel.rate))  # fmt: skip
            scores += fits.log().sum(1)
        posterior = scores.softmax(0)
        mean = posterior @ x.flatten(1).double()
        total += float((mean - x[true].flatten()).square().mean())
        hits += int(posterior.argmax()) == true
    return total / rounds, hits / rounds


@pytest.mark.parametrize("transmissions", [1, 2])
def test_the_floor_of_dropout_is_that_of_a_simulation(transmissions):
    """Of twelve images whose features agree in many entries, some of them zero."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(0, 3, (12, 1, 2, 3), generator=generator).float() / 2
    deployment = Deployment(FLAT, Dropout(rate=0.6), nn.Sequential())
    found = floor(deployment, x, transmissions, 1000)
    error, hits = _brute_force(deployment, x, transmissions)
    assert found.error > 0.01
    assert found.error == pytest.approx(error, rel=0.15)
    assert found.identified == pytest.approx(hits, abs=0.07)


def test_channels_without_noise_are_seen_through_but_for_equal_features():
    """Two images of equal features share their posterior; a likelihood that is no density has none."""
    x = torch.rand(10, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    x[1] = x[0]
    x[1, 0, 1, 2] += 0.5  # seen by no feature
    edge = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(6, 5, bias=False))
    edge[2].weight.data = torch.eye(6)[:5]
    for channel in (NoDefense(), TopK(rate=0.0), Quantize(levels=4096, low=0.0, high=1.0)):
        found = floor(Deployment(edge, channel, nn.Sequential()), x, 2, 10)
        assert found.error == pytest.approx(0.2 * 0.25**2 / 6, rel=1e-3)
        assert found.identified == pytest.approx(0.9)
    coarse = Deployment(edge, Quantize(levels=2, low=0.0, high=1.0), nn.Sequential())
    assert floor(coarse, x, 1, 20).error > found.error
    sparse = Deployment(edge, TopK(rate=0.6), nn.Sequential())
    assert 0.79 < floor(sparse, x, 1, 20).identified <= 0.9
    assert floor(Deployment(edge, NoiseTensors((2, 5), 1.0, 1.0), nn.Sequential()), x) is None
    noise = PixelNoise((1, 2, 3), 2.0, 1.0)
    noise.rho.data.zero_()
    found = floor(Deployment(edge, noise, nn.Sequential()), x, 1, 50)
    assert 0 < found.error < float(x.var(0).mean())


def test_noise_on_the_input_is_that_of_the_disturbed_image_whatever_the_edge():
    """Whoever sees the features sees less, so the floor may not use them."""
    channel = Gaussian(sigma=0.8, site="input")
    constant = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(4, 2))
    found = floor(Deployment(constant, channel, nn.Sequential()), PAIR, 1, 500)
    same = floor(Deployment(FLAT, Gaussian(sigma=0.8), nn.Sequential()), PAIR, 1, 500)
    assert found.error == pytest.approx(same.error)
    smaller = floor(Deployment(FLAT, Gaussian(sigma=0.8), nn.Sequential()), PAIR[:1], 1, 20)
    assert (smaller.error, smaller.identified) == (0, 1)


def _attacks(deployment, x, v):
    """The closest images, least squares, and its shrinkage towards the mean: some near the best."""
    f = deployment.edge(x).flatten(1)
    nearest = x[torch.cdist(v, f).argmin(1)].flatten(1)
    matrix = torch.linalg.pinv(deployment.edge[2].weight.T)
    linear = (v - deployment.edge[2].bias) @ matrix
    mean = x.flatten(1).mean(0)
    averages = [torch.softmax(-torch.cdist(v, f) ** 2 / (2 * s**2), 1) @ x.flatten(1) for s in (1.0, 1.7)]  # fmt: skip
    return [nearest, linear, mean.expand_as(nearest), (linear + mean) / 2, *averages]


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_no_attack_beats_the_floor_and_the_posterior_mean_meets_it(sigma):
    """On uniform targets, beyond the Monte-Carlo errors of both; nor does identification."""
    torch.manual_seed(0)
    x = torch.rand(60, 1, 3, 3)
    edge = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(9, 12))
    edge.requires_grad_(False)
    deployment = Deployment(edge, Gaussian(sigma=sigma), nn.Sequential())
    facts = BAYES_FLOOR.compute(deployment, x, 1).facts
    rows = torch.arange(3000) % 60
    v = deployment.transmit(x[rows], RandomStreams(5, "attack", range(3000)))[:, 0]
    for attack in _attacks(deployment, x, v):
        errors = (attack - x[rows].flatten(1)).square().mean(1).tolist()
        assert not below(facts["error"], facts["error_deviation"], errors)
        guesses = torch.cdist(attack, x.flatten(1)).argmin(1)
        assert float((guesses == rows).float().mean()) < facts["identified"] + 0.03
    best = torch.softmax(-(torch.cdist(v, edge(x)) ** 2) / (2 * sigma**2), 1) @ x.flatten(1)
    errors = (best - x[rows].flatten(1)).square().mean(1).tolist()
    assert sum(errors) / 3000 == pytest.approx(facts["error"], rel=0.1)
    assert below(facts["error"], facts["error_deviation"], [0.5 * error for error in errors])
    lines = BAYES_FLOOR.remarks(facts, errors)
    assert "N = 60 test images, K = 1" in lines[0]
    said = "nothing left to gain" if facts["error"] >= 1e-4 else "vacuous"
    assert said in lines[-1]
    cheat = BAYES_FLOOR.remarks({**facts, "error": 0.05, "error_deviation": 1e-4}, [0.01, 0.011])
    assert "BELOW the Bayes floor" in cheat[-1]
    far = BAYES_FLOOR.remarks({**facts, "error": 0.01}, [0.1])
    assert far[-1] == "this attack, 0.1, is 10.0 dB above the Bayes floor"


def test_what_a_table_says_of_bounds(linear):
    """dFIL binds unbiased attackers, of whom there may be none; an infinite one bounds none."""
    found = DFIL.compute(Deployment(linear, Gaussian(sigma=0.5), nn.Sequential()), X, 3)
    assert found.value == pytest.approx(3 * dfil(Deployment(linear, Gaussian(sigma=0.5), nn.Sequential()), X), rel=0.6)  # fmt: skip
    (line,) = DFIL.remarks(found.facts, [])
    assert "(K = 3) binds unbiased attackers only: mean squared error >= 1/dFIL" in line
    assert "on 0% of 6 images the edge's Jacobian has a rank below the 16 pixels" in line
    (line,) = DFIL.remarks({**found.facts, "dfil": 2e4}, [])
    assert "vacuous" in line
    dropped = DFIL.compute(Deployment(linear, Dropout(rate=0.9), nn.Sequential()), X, 1)
    assert dropped.value is None
    assert DFIL.remarks(dropped.facts, [])[0].startswith("dFIL infinite (K = 1)")
    none = BAYES_FLOOR.compute(
        Deployment(linear, NoiseTensors((2, 20), 1.0, 1.0), nn.Sequential()), X, 1
    )
    assert none.value is None
    assert "no exact likelihood" in BAYES_FLOOR.remarks(none.facts, [0.1])[0]


def test_of_large_images_whose_rank_it_would_take_nothing_is_said(monkeypatch):
    """Dead pixels are found all the same, and none of the memory is taken."""
    monkeypatch.setattr(bounds, "MOST_PIXELS", 8)
    wide = nn.Sequential(nn.Flatten(), nn.Linear(16, 40))
    assert rank_deficient_share(wide, X) is None
    dead = nn.Sequential(nn.Flatten(), nn.Linear(16, 40))
    dead[1].weight.data[:, 0] = 0
    assert rank_deficient_share(dead, X) == 1


@pytest.mark.parametrize("length", [1, 16, 17, 31, 255, 360])
def test_a_part_of_the_images_is_spread_over_all(length):
    """The first and the last are among them, each once, in equal distances."""
    rows = spaced(torch.arange(length), 16).tolist()
    assert rows[0] == 0 and rows[-1] == length - 1
    assert len(set(rows)) == len(rows) == min(16, length)
    steps = {after - before for before, after in itertools.pairwise(rows)}
    assert max(steps, default=0) - min(steps, default=0) <= 1


def test_laplacian_noise_on_many_values_is_drawn_less_often():
    """A thousand draws of sixteen transmissions of CIFAR-10's first layer would take hours."""
    parts = [torch.empty(10_000, 1, device="meta")]
    small, large = (SimpleNamespace(size=size, parts=parts) for size in (1024, 65_536))
    assert finite_set._draws(Laplace(scale=1.0), small, 1) == finite_set.DRAWS
    assert finite_set._draws(Laplace(scale=1.0), large, 16) == finite_set.FEWEST
    assert finite_set._draws(Gaussian(sigma=1.0), large, 16) == finite_set.DRAWS
