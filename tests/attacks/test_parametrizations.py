"""Parametrizations of the image optimiser: pixels, latent vectors, networks; and the attack dip."""

import pytest
import torch
from torch import nn

from privbench.attacks.components.data_terms import SquaredError
from privbench.attacks.components.image_optimizer import ImageOptimizer, Problem
from privbench.attacks.components.objectives import Profile, annealed
from privbench.attacks.components.parametrizations import DeepImagePrior, Latent, Pixels
from privbench.attacks.components.priors import total_variation
from privbench.attacks.dip import DIP
from privbench.defenses.deployment import Deployment
from privbench.defenses.none import NoDefense
from privbench.evaluation import metrics
from privbench.runtime.random import RandomStreams
from tests.support import RecordingLogger, granted, instantiated, lenet_edge, scenes


class Linear(nn.Module):
    """A generator of images in the span of eight orthonormal ones."""

    def __init__(self) -> None:
        super().__init__()
        self.basis = torch.linalg.qr(torch.randn(784, 8))[0].T

    def forward(self, z):
        return (0.5 + z @ self.basis).view(-1, 1, 28, 28)


class Orthogonal(nn.Module):
    """An edge that loses nothing."""

    def __init__(self, matrix) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, x):
        return x.flatten(1) @ self.matrix


def _fitted(edge, x, parametrize, lr, steps=120):
    """Images whose features are nearest to those of x, in some parametrization; and the facts."""
    received, logger = edge(x)[:, None], RecordingLogger()

    def pose(rows):
        data_term = SquaredError(edge, received[rows], relative=True)
        parametrization = parametrize(len(received[rows]))
        return Problem(data_term, parametrization, data_term.unit)

    optimizer = ImageOptimizer(steps, lr, 1e-8, False, "cosine")
    images = optimizer.minimise(
        pose, Profile(), lambda progress: annealed(1.0, 1e-6, progress), logger
    )
    return images, logger.facts


@pytest.mark.long
@pytest.mark.parametrize("edge", [nn.Flatten(), lenet_edge("relu2")], ids=["pixels", "relu2"])
def test_latent_vectors_of_targets_in_the_generators_range_are_found(edge):
    """A linear generator, whose images are the targets of latent vectors that are not known."""
    generator = Linear()
    x = generator(torch.randn(4, 8)).detach()
    assert 0 < float(x.min()) < float(x.max()) < 1
    images, facts = _fitted(edge, x, lambda count: Latent(generator, torch.zeros(count, 8)), lr=0.2)
    assert float(metrics.psnr_db(images, x).min()) > 50
    assert facts["converged"] == 1 and facts["never_moved"] == 0


def test_a_target_outside_the_range_is_projected_onto_it():
    """Least squares: the nearest image that the generator has."""
    generator, x = Linear(), 0.4 + 0.2 * torch.rand(3, 1, 28, 28)
    nearest = generator((x - 0.5).flatten(1) @ generator.basis.T)
    images, _ = _fitted(
        nn.Flatten(), x, lambda count: Latent(generator, torch.zeros(count, 8)), lr=0.2
    )
    torch.testing.assert_close(images, nearest, atol=1e-3, rtol=0)


def test_pixels_are_the_images_and_are_clamped_where_that_is_wanted():
    """The unknowns are a copy of the initial images."""
    start = torch.full((2, 1, 4, 4), 1.5)
    for clamp, expected in ((True, 1.0), (False, 1.5)):
        pixels = Pixels(start, clamp=clamp)
        with torch.no_grad():
            pixels.after_step()
        assert float(pixels.images().detach().max()) == expected
    assert float(start.max()) == 1.5


def _networks(count, shape, widths=(8, 12, 16)):
    return DeepImagePrior(
        count,
        shape,
        widths=widths,
        skip=2,
        generator=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 17, 23), (1, 28, 28), (3, 64, 40), (1, 5, 4)])
def test_networks_have_images_of_any_size(shape):
    """In (0, 1), not constant, with a finite gradient for every weight."""
    networks = _networks(2, shape)
    images = networks.images()
    assert images.shape == (2, *shape)
    assert 0 < float(images.detach().min()) < float(images.detach().max()) < 1
    gradients = torch.autograd.grad(images.square().sum(), networks.parameters())
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(len(weights) == 2 for weights in networks.parameters())


def test_a_network_moves_its_own_image_only():
    """Each image has weights of its own; all of them begin as the same image."""
    networks = _networks(3, (1, 16, 16))
    images = networks.images()
    torch.testing.assert_close(images[0], images[2])
    for gradient in torch.autograd.grad(images[1].sum(), networks.parameters()):
        assert not gradient[[0, 2]].any()


def _dip(**changes) -> DIP:
    return instantiated("attack", "dip", *[f"attack.{n}={value}" for n, value in changes.items()])


def _attacked(attack, edge, x, copies=1, silent=False):
    deployment = Deployment(nn.Sequential(nn.Identity(), edge), NoDefense(), nn.Flatten())
    v = deployment.transmit(x, RandomStreams(0, "transmission", range(len(x))), copies)
    logger = RecordingLogger()
    view = granted(deployment, x, attack.access, logger=logger)
    return attack.fit(view.without_logging() if silent else view), v, logger


@pytest.mark.long
def test_an_orthogonal_edge_costs_the_prior_nothing():
    """What the networks reach on the pixels themselves, they reach through an orthogonal edge."""
    x = scenes(2)
    attack = _dip(steps=50, widths="[8,16]")
    edges = nn.Flatten(), Orthogonal(torch.linalg.qr(torch.randn(784, 784))[0])
    ceiling, reached = (
        float(metrics.psnr_db(reconstruct(v), x).mean())
        for reconstruct, v, _ in (_attacked(attack, edge, x, silent=True) for edge in edges)
    )
    blind = float(metrics.psnr_db(x.mean(0, keepdim=True).expand_as(x), x).mean())
    assert reached > ceiling - 2, f"prior's ceiling {ceiling:.2f} dB, reached {reached:.2f} dB"
    assert reached > blind + 8


def test_total_variation_makes_the_answer_smoother():
    """Of noisy pixels, with a large lambda."""
    x, found = scenes(2), []
    noise = torch.randn((2, 1, 784), generator=torch.Generator().manual_seed(1))
    for weight in (0.0, 1000.0):
        attack = _dip(steps=25, widths="[8,16]", tv_weight=weight)
        reconstruct, v, _ = _attacked(attack, nn.Flatten(), x)
        found.append(float(total_variation(reconstruct(v + 0.3 * noise), 1.0).mean()))
    assert found[1] < 0.5 * found[0], found


def test_an_image_does_not_depend_on_its_batch():
    """Whole or in parts, as where memory does not suffice; the steps are few, for rounding grows."""
    x, attack = scenes(5), _dip(steps=4)
    reconstruct, v, _ = _attacked(attack, lenet_edge("conv1"), x)
    together = reconstruct(v)
    parts = torch.cat([reconstruct(v[:1]), reconstruct(v[1:3]), reconstruct(v[3:])])
    torch.testing.assert_close(together, parts, atol=1e-3, rtol=0)


class Tokens(nn.Module):
    """An edge whose features are tokens (N, T, D), of patches of four pixels."""

    def forward(self, x):
        return nn.functional.unfold(x, 4, stride=4).transpose(1, 2)


class Dead(nn.Module):
    """An edge none of whose units ever responds."""

    def forward(self, x):
        return torch.relu(x - 2)


@pytest.mark.parametrize("edge", [Tokens(), Dead()], ids=["tokens", "dead"])
@pytest.mark.parametrize("shape", [(3, 16, 20), (1, 32, 32)])
def test_it_takes_tokens_transmissions_and_features_that_are_all_zero(edge, shape):
    """And notes the convergence, as every attack of the image optimiser does."""
    x = torch.rand(2, *shape)
    reconstruct, v, logger = _attacked(_dip(steps=4), edge, x, copies=3)
    images = reconstruct(v)
    assert images.shape == x.shape and bool(images.isfinite().all())
    assert {"converged", "never_moved"} <= set(logger.facts)
    assert logger.steps[-1] == 4


def test_channels_that_are_none_are_refused_in_one_line():
    """Naming the value and an example."""
    for widths in ("[]", "[0]", "[8,x]"):
        with pytest.raises(Exception, match=r"attack.widths=.* such as \[16,32,64\]"):
            _dip(widths=widths)
