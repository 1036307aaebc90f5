"""Dropout of entries, He et al. Eq. (6)."""

import math
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from privbench.defenses.base import Perturbation, log_normal
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED, Fraction


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class Dropout(Perturbation):
    """Set each entry to zero with probability ``rate``, and keep the others unchanged.

    Eq. (6) does not rescale the kept entries, unlike ``torch.nn.functional.dropout``.

    Attributes:
        rate: The paper's r, in [0, 1].
    """

    version: ClassVar[str] = "dropout-1"
    exact_likelihood: ClassVar[bool] = True
    strengths: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    rate: Fraction = 0.1

    @property
    def strength(self) -> float:
        """Dropout rate."""
        return float(self.rate)

    def at_strength(self, strength: float) -> "Dropout":
        return replace(self, rate=strength)

    def _perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Return zeros where the draw falls under the rate."""
        # where, not a product: -1 * 0 is -0.0, and NaN * 0 is NaN
        return torch.where(draws.uniform(t) < self.rate, torch.zeros_like(t), t)

    def _pool(self, received: Tensor) -> tuple[Tensor, Perturbation]:
        """Return every entry that was kept at least once; all K drop it with probability rate**K.

        A kept entry is the same in each transmission, so its repetition adds nothing.
        """
        kept = received.abs().argmax(1, keepdim=True)
        # rate**K may be 0 in floating point: then no entry is hidden, as at strength 0
        return received.gather(1, kept), replace(self, rate=self.rate ** received.shape[1])

    def _log_likelihood(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """Return the log of the mixture r N(observed; 0, s²) + (1 - r) N(observed; clean, s²).

        Non-zero entries are exact; a zero is ambiguous behind a ReLU, where zeros are common, and
        means "dropped" in front of one.
        """
        kept = log_normal(observed - clean, variance) + math.log1p(-min(self.rate, 1 - 1e-12))
        return torch.logaddexp(log_normal(observed, variance) + math.log(self.rate), kept)
