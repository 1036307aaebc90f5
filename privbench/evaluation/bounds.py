"""Bounds on the error of attacks that follow from a deployment alone."""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from privbench.defenses.cloak import PixelNoise
from privbench.defenses.deployment import Deployment
from privbench.defenses.fisher import mean_squared_jacobian
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.laplace import Laplace
from privbench.runtime.random import generator_without_seed

SEED = 0
"""Of the probes of a trace: the same for every deployment."""
BATCH = 64
"""Gradients that are computed at once."""
MOST_PIXELS = 8192
"""Values of an image up to which the rank is computed, of a matrix as wide: half a gigabyte."""
SPARE = 8
"""Random mixtures beyond the number of pixels."""


def dfil(
    deployment: Deployment, x: Tensor, transmissions: int = 1, probes: int | None = None
) -> float:
    """Return the diagonal Fisher information leakage of K transmissions, a mean over images.

    tr(I(x)) / d with I(x) = K JᵀJ / sigma² for Gaussian and K JᵀJ / b² for Laplacian noise (Maeng
    et al., arXiv 2209.10119); where sigma differs between pixels, each row of J is divided by its
    own, and a pixel that is replaced by a constant has a row of zeros. An **unbiased** estimate of
    x has a mean squared error of at least 1/dFIL; biased ones, as all practical attacks are, may
    have less. Dropout, top-k and quantisation leave some entry exact with positive probability, or
    all; Shredder's mixture has no closed form: their dFIL is given as infinite, and the bound as 0.
    Noise on the input bounds what any features computed from it leak (data processing).

    Args:
        deployment: Edge, channel and cloud.
        x: Images ``(N, C, H, W)`` in [0, 1], whose units are those of 1/dFIL.
        transmissions: How often each image is sent, K.
        probes: Random probes of each image's trace; null for the exact trace, by a gradient for
            each entry of the features.
    """
    channel = deployment.channel
    entry: nn.Module = deployment.edge[0] if channel.site == "input" else deployment.edge
    variance = _noise_square(channel)
    if isinstance(channel, PixelNoise):
        entry, variance = PerDeviation(entry, channel), 1.0
    if variance == 0:
        return math.inf
    trace = (
        exact_squared_jacobian(entry, x)
        if probes is None
        else mean_squared_jacobian(entry, x, SEED, probes)
    )
    return transmissions * trace / (x[0].numel() * variance)


class PerDeviation(nn.Module):
    """The normalised image in units of each pixel's own noise; 0 where a constant is sent.

    Args:
        entry: The layer ``input``.
        channel: The noise.
    """

    def __init__(self, entry: nn.Module, channel: PixelNoise) -> None:
        super().__init__()
        self.entry, self.channel = entry, channel

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, C, H, W)``."""
        scaled = self.entry(x) / self.channel.deviation()
        return torch.where(self.channel.sent, scaled, 0.0)


def _noise_square(channel: object) -> float:
    """Return sigma² of Gaussian noise, b² of Laplacian; 0 for any other channel."""
    if isinstance(channel, Gaussian):
        return channel.sigma**2
    return channel.scale**2 if isinstance(channel, Laplace) else 0.0


def exact_squared_jacobian(network: nn.Module, x: Tensor) -> float:
    """Return tr(JᵀJ) of a network as a mean over images ``(N, C, H, W)``."""
    inputs = x.detach().requires_grad_(True)
    with torch.enable_grad():
        flat = network(inputs).flatten(1)
        # images do not mix, so a sum over them has the gradient of each
        slopes = (
            torch.autograd.grad(entry, inputs, retain_graph=True)[0]
            for entry in flat.sum(0).unbind()
        )
        squares = sum(float(slope.double().square().sum()) for slope in slopes)
    return squares / len(x)


def rank_deficient_share(edge: nn.Module, x: Tensor) -> float | None:
    """Return the share of images at which the edge's Jacobian has a rank below their pixels.

    Null for images of more than ``MOST_PIXELS`` where it takes the rank itself to tell.

    No estimate of such an image from the features is unbiased with a finite variance, whatever
    the noise.

    Args:
        edge: In evaluation mode.
        x: Images ``(N, C, H, W)``.
    """
    exact = copy.deepcopy(edge).double()
    found = [_rank_deficient(exact, image[None].double()) for image in x]
    return None if None in found else sum(map(bool, found)) / len(x)


def _rank_deficient(edge: nn.Module, image: Tensor) -> bool | None:
    """Decide by pixels that move no entry where there are any, and by the rank itself elsewhere.

    Null where the rank would need a matrix of more than ``MOST_PIXELS`` columns.
    """
    pixels = image.numel()
    # attention has gradients of many entries at once in this implementation alone
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        inputs = image.detach().requires_grad_(True)
        flat = edge(inputs).flatten()
        if len(flat) < pixels:
            return True
        generator = generator_without_seed(SEED)
        (slope,) = torch.autograd.grad(flat, inputs, _mixtures(1, flat, generator)[0], True)
        if int(slope.count_nonzero()) < pixels:
            return True
        if pixels > MOST_PIXELS:
            return None
        rows = [
            torch.autograd.grad(
                flat, inputs, _mixtures(count, flat, generator), True, is_grads_batched=True
            )[0]
            for count in _parts(pixels + SPARE)
        ]
    return int(torch.linalg.matrix_rank(torch.cat(rows).flatten(1))) < pixels


def _mixtures(count: int, flat: Tensor, generator: torch.Generator) -> Tensor:
    """Return random weights of the entries: as many rows as pixels keep the rank."""
    drawn = torch.randn(count, len(flat), generator=generator, dtype=torch.float64)
    return drawn.to(flat)


def _parts(rows: int) -> list[int]:
    """Divide rows into parts that are in memory at once."""
    return [min(BATCH, rows - begin) for begin in range(0, rows, BATCH)]
