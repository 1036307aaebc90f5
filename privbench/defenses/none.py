"""No defense: the point that every curve starts from."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from privbench.defenses.base import Defense
from privbench.runtime.random import RandomStreams


@dataclass(frozen=True, kw_only=True)
class NoDefense(Defense):
    """The identity."""

    version: ClassVar[str] = "none-1"

    @property
    def strength(self) -> float:
        """Always 0."""
        return 0.0

    def disturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Never reached: the strength is 0."""
        return t
