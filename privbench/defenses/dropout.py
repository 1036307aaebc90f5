"""Dropout of entries, He et al. Eq. (6)."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from privbench.defenses.base import Defense, log_normal
from privbench.runtime import checks
from privbench.runtime.random import RandomStreams


@dataclass(frozen=True, kw_only=True)
class Dropout(Defense):
    """Each entry is set to zero with probability ``rate``, the rest are sent as they are.

    Eq. (6) does not rescale what is kept, unlike ``torch.nn.functional.dropout``.

    Attributes:
        rate: The paper's r, in [0, 1].
    """

    version: ClassVar[str] = "dropout-1"

    rate: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a rate that is no probability."""
        super().__post_init__()
        checks.number("defense.rate", self.rate, 0, 1)

    @property
    def strength(self) -> float:
        """The rate."""
        return float(self.rate)

    def disturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Zeros where the draw falls under the rate."""
        # where, not a product: -1 * 0 is -0.0, and NaN * 0 is NaN
        return torch.where(draws.uniform(t) < self.rate, torch.zeros_like(t), t)

    def _pool(self, received: Tensor) -> tuple[Tensor, Defense]:
        """Every entry that was kept at least once; it is zero in all K with probability rate**K.

        What is kept is the same in each transmission, so repeating it adds nothing.
        """
        kept = received.abs().argmax(1, keepdim=True)
        # rate**K may be 0 in floating point: then nothing was hidden, which strength 0 says
        return received.gather(1, kept), replace(self, rate=self.rate ** received.shape[1])

    def log_density(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """The mixture r N(observed; 0, s²) + (1 - r) N(observed; clean, s²).

        What is not zero is exact; a zero says little where zeros are common, behind a ReLU, and
        "dropped" in front of one.
        """
        kept = log_normal(observed - clean, variance) + math.log1p(-min(self.rate, 1 - 1e-12))
        return torch.logaddexp(log_normal(observed, variance) + math.log(self.rate), kept)
