"""Objectives: combinations of data term and penalty, He et al. Eq. (1c)."""

from typing import Protocol

import torch
from torch import Tensor


class Objective(Protocol):
    """Combination of each image's data term and penalty; lower is better."""

    def value(self, data_term: Tensor, penalty: Tensor, noise_variance: Tensor) -> Tensor:
        """Return the values that are minimised ``(N,)``."""

    def for_display(self, value: Tensor) -> Tensor:
        """Convert values to non-negative numbers, for logs and convergence."""

    def reduction(self, before: Tensor, after: Tensor) -> Tensor:
        """Return the relative decrease between two values ``(N,)``; negative if they grew."""


class Squared:
    """Eq. (1c): ED + lambda TV."""

    def value(self, data_term: Tensor, penalty: Tensor, noise_variance: Tensor) -> Tensor:
        """Return the sum; it does not depend on the noise variance."""
        return data_term + penalty

    def for_display(self, value: Tensor) -> Tensor:
        """Return the value unchanged."""
        return value

    def reduction(self, before: Tensor, after: Tensor) -> Tensor:
        """Return 1 - after / before."""
        return 1 - after / before.clamp_min(torch.finfo(before.dtype).tiny)


class Profile:
    """log(ED + s²) + lambda TV: Eq. (1c) for an unknown noise variance of the features.

    A Gaussian likelihood of unknown variance, maximised over it, is the logarithm of the squared
    error; s² is the smallest variance assumed. Where the features can be matched, the influence of
    the prior vanishes with the error; where a defense perturbed them, it stays. The gradient does
    not vanish with the error, so that Adam's averages over the first steps do no harm.
    """

    def value(self, data_term: Tensor, penalty: Tensor, noise_variance: Tensor) -> Tensor:
        """Return the logarithm of data term plus noise variance, plus the penalty."""
        return torch.log(data_term + noise_variance) + penalty

    def for_display(self, value: Tensor) -> Tensor:
        """Convert to the units of the data term."""
        return value.exp()

    def reduction(self, before: Tensor, after: Tensor) -> Tensor:
        """Return 1 - after / before in the units of the data term."""
        return -torch.expm1(after - before)


def annealed(first: float, last: float, progress: float) -> float:
    """Return a noise variance that falls geometrically, and reaches its end at 0.9.

    Args:
        first: Value at progress 0.
        last: Value from progress 0.9 on.
        progress: Between 0 and 1.
    """
    return float(first * (last / first) ** min(1, progress / 0.9))
