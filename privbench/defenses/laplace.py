"""Additive Laplacian noise, He et al. section IV-A."""

import math
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from privbench.defenses.base import Perturbation
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED, NonNegativeFloat

ASYMPTOTIC = 8.0
"""Argument above which three terms of the series of erfcx are exact to seven digits."""


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class Laplace(Perturbation):
    """Add Laplace(0, b) to every entry; its standard deviation is sqrt(2) b.

    K draws have no sufficient statistic smaller than themselves, so none of them are pooled.

    Attributes:
        scale: The paper's b, in the units of the perturbed tensor, >= 0.
    """

    version: ClassVar[str] = "laplace-1"
    exact_likelihood: ClassVar[bool] = True

    scale: NonNegativeFloat = 0.3

    @property
    def strength(self) -> float:
        """Laplace scale b."""
        return float(self.scale)

    def at_strength(self, strength: float) -> "Laplace":
        return replace(self, scale=strength)

    def _perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Return the tensor plus noise, by the inverse of its distribution function."""
        # half a step off both ends of the 24-bit grid, where the inverse is infinite
        u = draws.uniform(t).double() - 0.5 + 2.0**-25
        noise = -torch.sign(u) * torch.log1p(-2 * u.abs())
        return t + self.scale * noise.to(t.dtype)

    def _log_likelihood(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """Return log Laplace(observed - clean; b) convolved with N(0, s²), in closed form."""
        deviation, s = observed - clean, variance.sqrt()
        sides = (self._side(side * deviation / s, s / self.scale) for side in (1, -1))
        return torch.logaddexp(*sides) - math.log(2 * self.scale)

    @staticmethod
    def _side(z: Tensor, ratio: Tensor) -> Tensor:
        """Return the logarithm of exp(z r + r²/2) Phi(-z - r), one half of the convolution.

        It is exp(-z²/2) erfcx((z + r)/sqrt(2)) / 2 where z + r > 0: there the first form subtracts
        two large numbers, elsewhere the second one overflows.
        """
        end = z + ratio
        far = _log_erfcx(end.clamp_min(0) / math.sqrt(2)) - math.log(2)
        near = torch.special.log_ndtr(-end.clamp_max(0)) + ratio * z + ratio.square() / 2
        return torch.where(end > 0, far - z.square() / 2, near)


def _log_erfcx(x: Tensor) -> Tensor:
    """Return the logarithm of exp(x²) erfc(x) for x >= 0.

    Large x use the series: the derivative of torch's erfcx subtracts two equal numbers there.
    """
    inverse = x.clamp_min(ASYMPTOTIC).square().reciprocal()
    series = torch.log1p(inverse * (-0.5 + inverse * (0.75 - inverse * 1.875)))
    far = series - 0.5 * math.log(math.pi) - x.clamp_min(ASYMPTOTIC).log()
    return torch.where(x > ASYMPTOTIC, far, torch.special.erfcx(x.clamp_max(ASYMPTOTIC)).log())
