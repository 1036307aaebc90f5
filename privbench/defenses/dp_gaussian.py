"""Differential privacy by the analytic Gaussian mechanism (Balle and Wang, ICML 2018)."""

import math
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy.optimize import brentq
from scipy.special import log_ndtr

from privbench.defenses.base import Perturbation
from privbench.defenses.differential_privacy import DifferentialPrivacy
from privbench.defenses.gaussian import Gaussian
from privbench.runtime.validation import VALIDATED, expecting


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class DPGaussian(DifferentialPrivacy):
    """Clip the Euclidean norm and add Gaussian noise: (epsilon, delta)-DP of one transmission.

    The standard deviation is that of the analytic Gaussian mechanism (Balle and Wang, ICML 2018,
    theorem 8), the smallest one that suffices; the classical formula holds for epsilon <= 1 alone.
    K transmissions are one of deviation sigma / sqrt(K), whose epsilon follows from the same
    equation.

    Attributes:
        delta: Probability by which the bound may be missed.
    """

    version: ClassVar[str] = "dp_gaussian-1"
    channel_class: ClassVar[str] = "privbench.defenses.gaussian.Gaussian"
    order: ClassVar[int] = 2

    delta: Annotated[float, Field(gt=0, lt=1), expecting("a number above 0 and below 1")] = 1e-5

    def noise(self, sensitivity: float) -> Perturbation:
        """Return Gaussian noise."""
        assert self.epsilon is not None
        return Gaussian(sigma=gaussian_sigma(self.epsilon, self.delta, sensitivity))

    def epsilon_of(self, sensitivity: float, channel: Any, transmissions: int) -> float:
        """Return the epsilon of the mean of K transmissions, which is sufficient for all."""
        return gaussian_epsilon(channel.sigma / math.sqrt(transmissions), self.delta, sensitivity)


def gaussian_delta(sigma: float, epsilon: float, sensitivity: float) -> float:
    """Return the smallest delta of Gaussian noise at an epsilon, Balle and Wang, theorem 8.

    Phi(D/2s - es/D) - exp(e) Phi(-D/2s - es/D) for a sensitivity D in the Euclidean norm.
    """
    half, shift = sensitivity / (2 * sigma), epsilon * sigma / sensitivity
    # in logarithms, as exp(epsilon) may overflow where its factor underflows
    first, second = log_ndtr(half - shift), epsilon + log_ndtr(-half - shift)
    return float(np.exp(first) - np.exp(second))


def gaussian_sigma(epsilon: float, delta: float, sensitivity: float) -> float:
    """Return the smallest standard deviation that gives (epsilon, delta)-DP."""

    def excess(log_ratio: float) -> float:
        return gaussian_delta(sensitivity * math.exp(log_ratio), epsilon, sensitivity) - delta

    ratio = brentq(excess, -20, 20, xtol=1e-12)
    return sensitivity * math.exp(ratio)


def gaussian_epsilon(sigma: float, delta: float, sensitivity: float) -> float:
    """Return the smallest epsilon at which Gaussian noise gives (epsilon, delta)-DP."""

    def excess(epsilon: float) -> float:
        return gaussian_delta(sigma, epsilon, sensitivity) - delta

    if excess(0) <= 0:
        return 0.0
    highest = 1.0
    while excess(highest) > 0:
        highest *= 2
    return float(brentq(excess, 0, highest, xtol=1e-12))
