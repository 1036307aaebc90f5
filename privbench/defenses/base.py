"""The one base class: a defense perturbs a tensor with draws that it is handed."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from privbench.runtime import checks
from privbench.runtime.random import RandomStreams

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

    def perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """What leaves the edge for ``t`` ``(N, ...)``: same shape, same units."""
        return t if self.strength == 0 else self.disturb(t, draws)

    @abstractmethod
    def disturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """``perturb`` at a strength above 0."""

    def pool(self, received: Tensor) -> tuple[Tensor, "Defense"]:
        """Reduce K transmissions of the same tensor to as few observations as say the same.

        For a receiver who resolves everything (s² towards 0), the product of the likelihoods of the
        observations that remain is that of all transmissions, up to a factor that does not depend
        on the clean tensor. So evidence adds up over the observations, not over transmissions.

        Args:
            received: K independent draws of this defense ``(N, K, *shape)``.

        Returns:
            Observations ``(N, K', *shape)``, 1 <= K' <= K, independent given the clean tensor; and
            the defense under which each of them has its likelihood.
        """
        if received.shape[1] == 1:
            return received, self
        # an untouched tensor is the same each time
        return (received[:, :1], self) if self.strength == 0 else self._pool(received)

    def _pool(self, received: Tensor) -> tuple[Tensor, "Defense"]:
        """``pool`` at a strength above 0 and K > 1; by default every draw stays an observation."""
        return received, self

    @property
    def has_likelihood(self) -> bool:
        """Whether ``log_likelihood`` is there for an adversary who knows of the defense."""
        return type(self).log_density is not Defense.log_density

    def log_likelihood(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """Log-density of each observed entry, given what it was before the defense.

        A normalised density: of what leaves the defense, seen by a receiver who resolves s, that
        is, with a noise N(0, s²) of the receiver's own. At strength 0 nothing else is left, and its
        negative is Eq. (1a) over 2 s², up to a constant.

        Args:
            observed: What was received ``(N, ...)``, in the units of the perturbed tensor.
            clean: What it may have been, of a shape that broadcasts with it.
            variance: s² > 0, likewise.

        Raises:
            NotImplementedError: for a defense that states none.
        """
        if self.strength == 0:
            return log_normal(observed - clean, variance)
        return self.log_density(observed, clean, variance)

    def log_density(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """``log_likelihood`` at a strength above 0; a defense without one has no adaptive rMLE."""
        raise NotImplementedError(f"{type(self).__name__} states no likelihood")


def log_normal(deviation: Tensor, variance: Tensor) -> Tensor:
    """Log-density of N(0, variance) at a deviation."""
    return -0.5 * (deviation.square() / variance + variance.log() + math.log(2 * math.pi))
