"""How far an image's features are from the received ones: what an adversary takes the defense for.

All are in units of the received features' mean square, and agree at strength 0.
"""

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from privbench.defenses.base import Defense

FLOOR = 1e-9
"""Least variance of a receiver, as a share of the features' mean square."""
LEAST = 1e-12
"""And in their own units, where all of them are zero."""
FIRST_STEPS = 10
"""Of the variance, before the first image is judged by it."""
INPUT_RESOLUTION = 1e-2
"""Least variance at which a disturbed image is told from an undisturbed one, in the network's
units: the density of meeting a pixel exactly has no bound, and an image that never moved from its
start would be the likeliest of all."""


class DataTerm(Protocol):
    """Images ``(N, C, H, W)`` and a resolution s² to each one's mismatch and penalty ``(N,)``."""

    free: list[Tensor]
    """What is to be found besides the images, of the same units."""
    unit: Tensor
    """Mismatch that equals the features' mean square ``(N,)``: that of an image without any."""

    def __call__(self, x: Tensor, resolution: Tensor) -> tuple[Tensor, Tensor]:
        """Mismatch, and what the defense's likelihood adds to the prior."""


def power(received: Tensor) -> Tensor:
    """Mean square of each image's features ``(N, K, *feature_shape)``: ``(N,)``."""
    return received.flatten(1).square().mean(1).clamp_min(1e-12)


class SquaredError:
    """ED, Eq. (1a), of the mean over transmissions: as if nothing stood between.

    Args:
        edge: White-box.
        received: ``(N, K, *feature_shape)``.
        relative: Whether it is a share of the features' mean square.
    """

    def __init__(self, edge: nn.Module, received: Tensor, relative: bool) -> None:
        self.edge, self.received = edge, received.mean(1)
        square = power(self.received)
        self.scale = square if relative else torch.ones_like(square)
        self.unit = square / self.scale
        self.none = torch.zeros_like(self.scale)
        self.free: list[Tensor] = []

    def __call__(self, x: Tensor, resolution: Tensor) -> tuple[Tensor, Tensor]:
        """Squared difference as a mean over features."""
        difference = self.edge(x) - self.received
        return difference.flatten(1).square().mean(1) / self.scale, self.none


class FeatureLikelihood:
    """What ED is to a Gaussian of unknown variance, for any likelihood of what was received.

    The logarithm of ED is that likelihood, maximised over the receiver's variance s²: up to
    constants, minus twice its mean logarithm. The same of the defense's likelihood is a mismatch
    for it, and at strength 0 is ED. The variance follows the image by the EM step
    s² + 2 s⁴ d(log p)/d(s²), which at strength 0 is exact and elsewhere never loses; it moves with
    the descent alone, so that nobody who only looks changes anything.

    Args:
        edge: White-box.
        received: Independent observations ``(N, K, *feature_shape)``, as ``Defense.pool`` leaves
            them.
        defense: States the likelihood of each.
    """

    def __init__(self, edge: nn.Module, received: Tensor, defense: Defense) -> None:
        self.edge, self.received, self.defense = edge, received, defense
        self.scale = power(received)
        self.variance = self.scale.clone()
        self.unit = torch.ones_like(self.scale)
        self.begun = False
        self.none = torch.zeros_like(self.scale)
        self.free: list[Tensor] = []

    def __call__(self, x: Tensor, resolution: Tensor) -> tuple[Tensor, Tensor]:
        """The mismatch of each image's K observations together, as a mean over them."""
        clean = self.edge(x).unsqueeze(1)
        if not self.begun:
            for _ in range(FIRST_STEPS):
                self._follow(clean.detach())
            self.begun = True
        elif torch.is_grad_enabled():
            self._follow(clean.detach())
        unlikely = -2 * self._log_likelihood(clean, self.variance)
        return torch.exp(unlikely - 1 - math.log(2 * math.pi)) / self.scale, self.none

    def _follow(self, clean: Tensor) -> None:
        """One EM step of the variance."""
        with torch.enable_grad():
            variance = self.variance.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self._log_likelihood(clean, variance).sum(), variance)
        with torch.no_grad():
            better = variance + 2 * variance.square() * slope
            self.variance.copy_(better.maximum(FLOOR * self.scale).clamp_min(LEAST))

    def _log_likelihood(self, clean: Tensor, variance: Tensor) -> Tensor:
        """Mean over entries and observations ``(N,)``."""
        spread = variance.view(-1, *[1] * (self.received.dim() - 1))
        return self.defense.log_likelihood(self.received, clean, spread).flatten(1).mean(1)


class InputLikelihood:
    """A defense behind the layer ``input``: every transmission is of a disturbed image of its own.

    The disturbed images u_k are found beside x: their features are to be the received ones, and
    they are to be likely under x. u_k is held in the units of x, and disturbed in the network's.

    Args:
        edge: White-box; its first layer is ``input``.
        received: ``(N, K, *feature_shape)``.
        defense: States its likelihood.
        start: ``(N, C, H, W)``.
    """

    def __init__(
        self, edge: nn.Sequential, received: Tensor, defense: Defense, start: Tensor
    ) -> None:
        self.entry, self.rest, self.received, self.defense = edge[0], edge[1:], received, defense
        self.scale = power(received)
        self.unit = torch.ones_like(self.scale)
        disturbed = start.unsqueeze(1).repeat(1, received.shape[1], 1, 1, 1)
        self.disturbed = disturbed.requires_grad_()
        self.free = [self.disturbed]

    def __call__(self, x: Tensor, resolution: Tensor) -> tuple[Tensor, Tensor]:
        """ED of the disturbed images, and how unlikely they are, a feature and transmission."""
        shape = self.disturbed.shape
        u = self.entry(self.disturbed.flatten(0, 1))
        difference = self.rest(u).view_as(self.received) - self.received
        mismatch = difference.flatten(1).square().mean(1) / self.scale
        log_likelihood = self.defense.log_likelihood(
            u.view(shape),
            self.entry(x).unsqueeze(1),
            resolution.view(1).clamp_min(INPUT_RESOLUTION),
        )
        unlikely = -2 * log_likelihood.flatten(1).sum(1) / self.received[0].numel()
        return mismatch, unlikely
