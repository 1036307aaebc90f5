"""Additive Gaussian noise, He et al. section IV-A."""

import math
from dataclasses import replace
from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from privbench.defenses.base import Perturbation, log_normal
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED, NonNegativeFloat


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class Gaussian(Perturbation):
    """Add N(0, sigma²) to every entry.

    Attributes:
        sigma: Standard deviation, in the units of the perturbed tensor, >= 0.
    """

    version: ClassVar[str] = "gaussian-1"
    exact_likelihood: ClassVar[bool] = True

    sigma: NonNegativeFloat = 0.4

    @property
    def strength(self) -> float:
        """Standard deviation."""
        return float(self.sigma)

    def at_strength(self, strength: float) -> "Gaussian":
        return replace(self, sigma=strength)

    def _perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Return the tensor plus noise."""
        return t + self.sigma * draws.normal(t)

    def _pool(self, received: Tensor) -> tuple[Tensor, Perturbation]:
        """Return the mean, a sufficient statistic, whose noise has deviation sigma / sqrt(K)."""
        mean = received.mean(1, keepdim=True)
        return mean, replace(self, sigma=self.sigma / math.sqrt(received.shape[1]))

    def _log_likelihood(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """Return log N(observed; clean, sigma² + s²)."""
        return log_normal(observed - clean, variance + self.sigma**2)
