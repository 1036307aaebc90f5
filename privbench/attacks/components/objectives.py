"""How a mismatch and what else speaks for an image become one objective, He et al. Eq. (1c)."""

from typing import Protocol

import torch
from torch import Tensor


class Objective(Protocol):
    """Combines each image's mismatch and penalty; lower is better."""

    def value(self, mismatch: Tensor, penalty: Tensor, resolution: Tensor) -> Tensor:
        """What is descended, ``(N,)``."""

    def told(self, value: Tensor) -> Tensor:
        """The same as a number that cannot be negative, for journals and convergence."""

    def reduction(self, before: Tensor, after: Tensor) -> Tensor:
        """Share of an objective that is gone between two values ``(N,)``; negative if it grew."""


class Squared:
    """Eq. (1c): ED + lambda TV."""

    def value(self, mismatch: Tensor, penalty: Tensor, resolution: Tensor) -> Tensor:
        """The sum; a resolution has no part in it."""
        return mismatch + penalty

    def told(self, value: Tensor) -> Tensor:
        """As it is."""
        return value

    def reduction(self, before: Tensor, after: Tensor) -> Tensor:
        """1 - after / before."""
        return 1 - after / before.clamp_min(torch.finfo(before.dtype).tiny)


class Profile:
    """log(ED + s²) + lambda TV: Eq. (1c) where nobody says how exact the features are.

    A Gaussian likelihood of unknown variance, maximised over it, is the logarithm of the squared
    error; s² is the least variance believed in. Where the features can be met the prior's pull
    vanishes with the error; where they cannot (a defense disturbed them) it stays. And the
    gradient does not fade with the error, so that Adam's memory of the first steps does no harm.
    """

    def value(self, mismatch: Tensor, penalty: Tensor, resolution: Tensor) -> Tensor:
        """Log mismatch, never below the resolution's, plus the penalty."""
        return torch.log(mismatch + resolution) + penalty

    def told(self, value: Tensor) -> Tensor:
        """Back in the units of the mismatch."""
        return value.exp()

    def reduction(self, before: Tensor, after: Tensor) -> Tensor:
        """1 - after / before in the units of the mismatch, of which the objective is the log."""
        return -torch.expm1(after - before)
