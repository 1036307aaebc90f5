"""Ridge regression: exact where a linear map is the answer."""

import torch
from torch import nn

from privbench.attacks.ridge import LinearMap, Ridge
from privbench.defenses.deployment import Deployment
from privbench.defenses.gaussian import Gaussian
from privbench.runtime.random import RandomStreams
from tests.support import RecordingLogger, granted


def test_linear_gaussian_images_are_answered_by_their_posterior_mean():
    """Features are 2x + noise of variance .64 / K; x has variance .01: the mean is a shrinkage."""
    generator = torch.Generator().manual_seed(0)
    draw = 0.5 + 0.1 * torch.randn(6000, 1, 2, 3, generator=generator)
    aux, x = draw[:4000].clamp(0, 1), draw[5000:].clamp(0, 1)
    deployment = Deployment(
        nn.Sequential(Doubled()), Gaussian(sigma=0.8), nn.Sequential(nn.Flatten())
    )
    attack, copies, logger = Ridge(images=None), 4, RecordingLogger()
    view = granted(deployment, aux, attack.access, transmissions=copies, logger=logger)
    v = deployment.transmit(x, RandomStreams(0, "transmission", range(len(x))), copies)
    gain = 2 * 0.01 / (4 * 0.01 + 0.64 / copies)
    posterior_mean = (0.5 + gain * (v.mean(1) - 1.0)).clamp(0, 1)
    difference = (attack.fit(view)(v) - posterior_mean).square().mean().sqrt()
    assert float(difference) < 0.1 * float((posterior_mean - 0.5).square().mean().sqrt())
    assert logger.facts["queries"] == 4 * 4000


class Doubled(nn.Module):
    """An edge of one number."""

    def forward(self, x):
        return 2 * x


def test_either_system_of_equations_has_the_same_solution():
    """More features than pairs, or fewer: the penalised squared error has one minimum."""
    generator = torch.Generator().manual_seed(1)
    v, x = (torch.randn(20, *shape, generator=generator) for shape in ((30,), (1, 2, 2)))
    inverse = LinearMap((30,), (1, 2, 2), torch.device("cpu"))
    matrix = inverse.centre(v, x)(0.1)
    centred, wanted = v - v.mean(0), (x - x.mean(0)).flatten(1)
    scale = centred.square().sum() / 30
    direct = torch.linalg.solve(
        centred.T @ centred + 0.1 * scale * torch.eye(30), centred.T @ wanted
    )
    torch.testing.assert_close(matrix, direct, atol=1e-4, rtol=1e-3)
