"""Additive Laplacian noise, He et al. section IV-A."""

import math
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.autograd.function import once_differentiable

from privbench.defenses.base import Perturbation
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED, NonNegativeFloat

ASYMPTOTIC = 12.0
"""Argument above which four terms of the series of the inverse Mills ratio have six digits."""


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class Laplace(Perturbation):
    """Add Laplace(0, b) to every entry; its standard deviation is sqrt(2) b.

    K draws have no sufficient statistic smaller than themselves, so none of them are pooled.

    Attributes:
        scale: The paper's b, in the units of the perturbed tensor, >= 0.
    """

    version: ClassVar[str] = "laplace-2"
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
        return t + self.scale * laplacian(draws.uniform(t))

    def _log_likelihood(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """Return log Laplace(observed - clean; b) convolved with N(0, s²), in closed form."""
        deviation = observed - clean
        shape = torch.broadcast_shapes(deviation.shape, variance.shape)
        density: Tensor = _LogDensity.apply(
            deviation.expand(shape), variance.sqrt().expand(shape), float(self.scale)
        )
        return density


def laplacian(uniform: Tensor) -> Tensor:
    """Return the value of Laplace(0, 1) below which a share of it lies.

    Args:
        uniform: Shares in [0, 1), on the 24-bit grid of a float32.
    """
    # half a step off both ends of the grid, where it is infinite
    u = uniform.double() - 0.5 + 2.0**-25
    return (-torch.sign(u) * torch.log1p(-2 * u.abs())).to(uniform.dtype)


class _LogDensity(torch.autograd.Function):
    """Logarithm of Laplace(0, b) convolved with N(0, s²), with its slopes in closed form.

    Automatic differentiation takes several times as long, and subtracts almost equal numbers.
    """

    @staticmethod
    def forward(ctx: Any, deviation: Tensor, s: Tensor, scale: float) -> Tensor:
        """Return the density of deviations, and keep its slopes; both tensors have one shape."""
        density, by_deviation, by_s = _density(deviation, s, scale, ctx.needs_input_grad[:2])
        ctx.save_for_backward(by_deviation, by_s)
        return density

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the slopes by deviation and s."""
        by_deviation, by_s = (None if t is None else slope * t for t in ctx.saved_tensors)
        return by_deviation, by_s, None


def _density(
    d: Tensor, s: Tensor, scale: float, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the log density of deviations, and its wanted slopes by the deviation and by s.

    With a = |d|/s and r = s/b it is log(P + M) - log 2b, where P = exp(a r + r²/2) Phi(-r - a) and
    M is the same with -a. Each is exp(-a²/2) erfcx(e/sqrt(2)) / 2 with e = r + a and e = r - a;
    where that e is negative, M's first form does not overflow.
    """
    a, r = d.abs() / s, s / scale
    far, near = r + a, r - a
    half, bell, beyond = a.square() / 2, (near.square() / -2).exp(), near > 0
    outer, inner = (torch.special.erfcx(e / math.sqrt(2)) for e in (far, near.abs()))
    tail = bell * inner / 2  # Phi(-|e|)
    log_p = (outer / 2).log() - half
    log_m = torch.where(beyond, (inner / 2).log() - half, (1 - tail).log() + r * (r / 2 - a))
    odds = (log_p - log_m).exp()  # at most 1
    density = log_m + (1 + odds).log() - math.log(2 * scale)
    if not any(wanted):
        return density, None, None
    p = odds / (1 + odds)
    m = 1 - p
    over_p, over_m = p * _excess(far, outer), m * _excess(near, inner)
    by_size = torch.where(beyond, (over_m - over_p - a) / s, (p - m) / scale)
    by_s = None
    if wanted[1]:
        mills = m * bell / (1 - tail) / math.sqrt(2 * math.pi)  # M's ratio where e is negative
        of_m = torch.where(beyond, m * a.square() - over_m * far, m * r.square() - mills * far)
        by_s = (p * a.square() - over_p * near + of_m) / s
    return density, by_size * d.sign(), by_s


def _excess(e: Tensor, erfcx: Tensor) -> Tensor:
    """Return by how much the inverse Mills ratio of e >= 0 exceeds e.

    Large e use the series: there two almost equal numbers would be subtracted.
    """
    inverse = e.clamp_min(ASYMPTOTIC).reciprocal()
    square = inverse.square()
    series = inverse * (1 + square * (-2 + square * (10 - square * 74)))
    return torch.where(e > ASYMPTOTIC, series, math.sqrt(2 / math.pi) / erfcx - e)
