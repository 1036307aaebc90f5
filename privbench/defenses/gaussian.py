"""Additive Gaussian noise, He et al. section IV-A."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from privbench.defenses.base import Defense, log_normal
from privbench.runtime import checks
from privbench.runtime.random import RandomStreams


@dataclass(frozen=True, kw_only=True)
class Gaussian(Defense):
    """Adds N(0, sigma²) to every entry.

    Attributes:
        sigma: Standard deviation, in the units of the perturbed tensor, >= 0.
    """

    version: ClassVar[str] = "gaussian-1"

    sigma: float = 0.4

    def __post_init__(self) -> None:
        """Refuse a deviation that is none."""
        super().__post_init__()
        checks.number("defense.sigma", self.sigma, 0)

    @property
    def strength(self) -> float:
        """The standard deviation."""
        return float(self.sigma)

    def disturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """The tensor plus noise."""
        return t + self.sigma * draws.normal(t)

    def _pool(self, received: Tensor) -> tuple[Tensor, Defense]:
        """The mean, a sufficient statistic, whose noise has deviation sigma / sqrt(K)."""
        mean = received.mean(1, keepdim=True)
        return mean, replace(self, sigma=self.sigma / math.sqrt(received.shape[1]))

    def log_density(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """N(observed; clean, sigma² + s²)."""
        return log_normal(observed - clean, variance + self.sigma**2)
