"""No defense: the undefended reference."""

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from privbench.defenses.base import Perturbation
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class NoDefense(Perturbation):
    """The identity."""

    version: ClassVar[str] = "none-1"
    exact_likelihood: ClassVar[bool] = True

    @property
    def strength(self) -> float:
        """Strength 0."""
        return 0.0

    def _perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Return the tensor; not reached, since the strength is 0."""
        return t
