"""Additive Laplacian noise, He et al. section IV-A."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from privbench import checks
from privbench.defenses.base import Defense
from privbench.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Laplace(Defense):
    """Adds Laplace(0, b) to every entry; its standard deviation is sqrt(2) b.

    Attributes:
        scale: The paper's b, in the units of the perturbed tensor, >= 0.
    """

    scale: float = 0.3

    def __post_init__(self) -> None:
        """Refuse a scale that is none."""
        super().__post_init__()
        checks.number("defense.scale", self.scale, 0)

    @property
    def strength(self) -> float:
        """The Laplace scale b."""
        return float(self.scale)

    def disturb(self, t: Tensor, draws: Draws) -> Tensor:
        """The tensor plus noise, by the inverse of its distribution function."""
        # half a step off both ends of the 24-bit grid, where the inverse is infinite
        u = (draws.uniform(t).double() - 0.5 + 2.0**-25).to(torch.float64)
        noise = -torch.sign(u) * torch.log1p(-2 * u.abs())
        return t + self.scale * noise.to(t.dtype)

    def log_density(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """Laplace(observed - clean; b) convolved with N(0, s²), in closed form."""
        deviation, s, b = observed - clean, variance.sqrt(), self.scale
        sides = (
            side * deviation / b + torch.special.log_ndtr(-side * deviation / s - s / b)
            for side in (1, -1)
        )
        return torch.logaddexp(*sides) + variance / (2 * b * b) - math.log(2 * b)
