"""The one base class: a defense perturbs a tensor with draws that it is handed."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from privbench import checks
from privbench.draws import Draws

SITES = ("features", "input")


@dataclass(frozen=True, kw_only=True)
class Defense(ABC):
    """A random map of features, or of the normalised input, with one strength.

    Attributes:
        site: ``"features"``, what is sent; or ``"input"``, after the layer of that name, so in the
            network's own units (``[-1, 1]`` for LeNet-5; He et al. section IV).
    """

    site: str = "features"

    def __post_init__(self) -> None:
        """Refuse what is out of range, before anything is computed."""
        checks.choice("defense.site", self.site, SITES)

    @property
    @abstractmethod
    def strength(self) -> float:
        """The sweep axis; 0 leaves the tensor untouched, bit for bit."""

    def perturb(self, t: Tensor, draws: Draws) -> Tensor:
        """What leaves the edge for ``t`` ``(N, ...)``: same shape, same units."""
        return t if self.strength == 0 else self.disturb(t, draws)

    @abstractmethod
    def disturb(self, t: Tensor, draws: Draws) -> Tensor:
        """``perturb`` at a strength above 0."""
