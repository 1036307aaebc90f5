"""Uniform quantisation, with or without subtractive dither."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from privbench.defenses.base import FitServices, Perturbation, TrainingImages, sample_outputs
from privbench.defenses.deployment import SplitVictim
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED, FiniteFloat, NonNegativeInt
from privbench.training.loop import EpochLogger
from privbench.training.stored_numbers import StoredNumbers

NARROW = 1e-2
"""Width of a cell, in deviations, under which its probability is density times width."""


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class Quantize(Perturbation):
    """Round every entry to the nearest of ``levels`` values, evenly over the range of the features.

    With subtractive dither (Schuchman 1964) a uniform draw, which the receiver knows, is added
    before rounding and subtracted behind it: within the range the error is then uniform over a cell
    and independent of the entry.

    Attributes:
        levels: Number of values, from 2; 0 for none of it.
        dither: Subtract a dither.
        low: Smallest value; null until it is measured on training images.
        high: Largest value; null likewise.
    """

    version: ClassVar[str] = "quantize-4"
    exact_likelihood: ClassVar[bool] = True
    strengths: ClassVar[tuple[float, float] | None] = (0.0, 0.5)

    levels: NonNegativeInt = 16
    dither: bool = False
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None

    def __post_init__(self) -> None:
        """Refuse a single level, and a range of no width."""
        super().__post_init__()
        if self.levels == 1:
            raise ValueError("defense.levels=1 is out of range: choose 0, or a whole number from 2")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"defense.low={self.low} is out of range: choose less than high")

    @property
    def strength(self) -> float:
        """Inverse of the number of levels; 0 where there are none."""
        return 1 / self.levels if self.levels else 0.0

    def at_strength(self, strength: float) -> "Quantize":
        return replace(self, levels=round(1 / strength) if strength else 0)

    def calibrate(
        self, victim: SplitVictim, data: TrainingImages, services: FitServices
    ) -> "Quantize":
        """Measure a range that is not given, on the features of 1,024 training images."""
        if self.low is not None and self.high is not None:
            return self
        entry = victim.edge[:1] if self.site == "input" else victim.edge
        measured = StoredNumbers("low", "high")

        def measure(report: EpochLogger) -> Mapping[str, Any]:
            parts = sample_outputs(entry, data, services)
            low = min(float(part.min()) for part in parts)
            measured.set(low=low, high=max(float(part.max()) for part in parts))
            return {"images": sum(map(len, parts))}

        services.fit_or_load("range", measured, measure)
        low, high = measured["low"], measured["high"]
        low = low if self.low is None else self.low
        high = high if self.high is None else self.high
        # dead features have one value, which a range of any width represents
        return replace(self, low=low, high=high if high > low else low + 1.0)

    @property
    def _range(self) -> tuple[float, float]:
        """Smallest value and distance of two, of the unit range before it is measured."""
        low = 0.0 if self.low is None else self.low
        high = low + 1.0 if self.high is None else self.high
        return low, (high - low) / (self.levels - 1)

    def _perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Return the nearest values; the gradient is that of the identity (straight through)."""
        low, step = self._range
        shift = (draws.uniform(t) - 0.5) * step if self.dither else torch.zeros_like(t)
        index = ((t + shift - low) / step).round().clamp(0, self.levels - 1)
        rounded = low + step * index - shift
        return t + (rounded - t).detach() if t.requires_grad else rounded

    def payload_bits(self, v: Tensor) -> int:
        """Return the bits of the indices of one image's values; the dither is a shared seed."""
        if not self.levels:
            return super().payload_bits(v)
        return math.ceil(math.log2(self.levels)) * v[0].numel()

    @property
    def repeats(self) -> bool:
        """True without dither, which is drawn anew."""
        return not self.dither or super().repeats

    def _log_likelihood(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """Return the log-probability that the entry plus N(0, s²) lies in the received cell.

        The outermost cells are open. With dither it is a density over the received values.
        """
        low, step = self._range
        deviation = variance.sqrt()
        below, above = ((observed - clean + side * step / 2) / deviation for side in (-1, 1))
        # dither moves a value by at most half a step, which does not hide its index
        index = ((observed - low) / step).round()
        below = torch.where(index <= 0, -torch.inf, below)
        above = torch.where(index >= self.levels - 1, torch.inf, above)
        return log_normal_mass(below, above) - (math.log(step) if self.dither else 0.0)


def log_normal_mass(below: Tensor, above: Tensor) -> Tensor:
    """Return the log-probability of an interval under N(0, 1), exact in both tails.

    Args:
        below: Lower end, -inf for none.
        above: Upper end, inf for none.
    """
    # in the lower tail both terms are small and exact
    flipped = below + above > 0
    low, high = torch.where(flipped, -above, below), torch.where(flipped, -below, above)
    width = high - low
    narrow = width < NARROW
    # each branch gets ends at which its gradient is finite, whichever is taken
    apart = torch.where(narrow, high - NARROW, low)
    ratio = torch.special.log_ndtr(apart) - torch.special.log_ndtr(high)
    wide = torch.special.log_ndtr(high) + torch.log1p(-ratio.exp())
    centre = torch.where(narrow, (low + high) / 2, 0.0)
    density = -0.5 * (centre.square() + math.log(2 * math.pi))
    return torch.where(narrow, density + torch.where(narrow, width, 1.0).log(), wide)
