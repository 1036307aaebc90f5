"""Top-k sparsification: the largest entries of each image are sent, the others are zero."""

import math
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from privbench.defenses.base import Perturbation, log_normal
from privbench.defenses.deployment import FLOAT_BITS
from privbench.defenses.quantize import log_normal_mass
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED, Fraction

SMALLEST = 1e-12
"""Smallest threshold, in the tensor's units, where entries of 0 are among the kept ones."""


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class TopK(Perturbation):
    """Keep the k entries of largest magnitude of each image, and set the others to zero.

    The selection is made image by image: one over a whole batch, as in a published code, would
    depend on the other images (Li et al., ResSFL, CVPR 2022, compares rates of .5 to .7).

    Attributes:
        rate: Share of the m entries that become zero, 1 - k/m; at least one entry is kept.
    """

    version: ClassVar[str] = "topk-3"
    exact_likelihood: ClassVar[bool] = True
    strengths: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    rate: Fraction = 0.9

    @property
    def strength(self) -> float:
        """Share of the entries that become zero."""
        return float(self.rate)

    def _kept(self, entries: int) -> int:
        """Return k."""
        return max(1, round((1 - self.rate) * entries))

    def at_strength(self, strength: float) -> "TopK":
        return replace(self, rate=strength)

    def _perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Return the tensor with zeros for all but k entries of each image; of ties, any k."""
        flat = t.flatten(1)
        rows = flat.abs().topk(self._kept(flat.shape[1]), dim=1).indices
        return torch.zeros_like(flat).scatter(1, rows, flat.gather(1, rows)).view_as(t)

    def payload_bits(self, v: Tensor) -> int:
        """Return the bits of k values and of their places: k indices, or a bit for each entry."""
        entries = v[0].numel()
        if self.rate == 0:
            return FLOAT_BITS * entries
        kept = self._kept(entries)
        index = max(1, math.ceil(math.log2(entries)))
        return FLOAT_BITS * kept + min(kept * index, entries)

    @property
    def repeats(self) -> bool:
        """Always true."""
        return True

    def _log_likelihood(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """Return the log-density of kept entries, and the log-probability of the others' interval.

        The receiver's noise N(0, s²) is part of what is sorted. A kept entry is exact; one that is
        not lies between minus and plus the smallest kept magnitude of its image. Where fewer than
        k entries differ from zero, zeros are among the kept ones, and all of them are exact.
        """
        observed, clean = torch.broadcast_tensors(observed, clean)
        magnitudes = observed.abs().flatten(1)
        kept = magnitudes > 0
        entries = magnitudes.shape[1]
        least = torch.where(kept, magnitudes, torch.inf).amin(1)
        exact = kept.sum(1) < self._kept(entries)
        shape = (-1, *(1,) * (observed.dim() - 1))
        least = torch.where(exact, torch.inf, least).clamp_min(SMALLEST).view(shape)
        deviation = variance.sqrt()
        # an infinite interval would give its branch no finite gradient
        bound = torch.where(least.isinf(), 1.0, least)
        inside = log_normal_mass((-bound - clean) / deviation, (bound - clean) / deviation)
        hidden = (observed == 0) & ~exact.view(shape)
        return torch.where(hidden, inside, log_normal(observed - clean, variance))
