"""The base class of defenses: a random perturbation of a tensor, from draws that are handed in."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import require_choice

SITES = ("features", "input")


@dataclass(frozen=True, kw_only=True)
class Defense(ABC):
    """A random map of features, or of the normalised input, with a scalar strength.

    Subclasses may be plain dataclasses, or pydantic ones as those of the package are.

    Attributes:
        site: ``"features"``, the transmitted tensor; or ``"input"``, the tensor after the layer
            of that name, in the network's units (``[-1, 1]`` for LeNet-5; He et al. section IV).
    """

    site: str = "features"

    def __post_init__(self) -> None:
        """Refuse an unknown site."""
        require_choice("defense.site", self.site, SITES)

    @property
    @abstractmethod
    def strength(self) -> float:
        """Strength, which grows with the protection; 0 leaves the tensor unchanged, bit for bit."""

    def perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Perturb a tensor.

        Args:
            t: Features or normalised inputs ``(N, ...)``.
            draws: One random stream per image.

        Returns:
            A tensor of the same shape and units.
        """
        return t if self.strength == 0 else self._perturb(t, draws)

    @abstractmethod
    def _perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Perturb a tensor at a strength above 0."""

    def pool(self, received: Tensor) -> tuple[Tensor, "Defense"]:
        """Reduce K transmissions of the same tensor to fewer observations of the same likelihood.

        For a receiver without noise (s² towards 0), the product of the likelihoods of the
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
        # an unperturbed tensor is the same each time
        return (received[:, :1], self) if self.strength == 0 else self._pool(received)

    def _pool(self, received: Tensor) -> tuple[Tensor, "Defense"]:
        """Pool at a strength above 0 and K > 1; by default every draw stays an observation."""
        return received, self

    @property
    def has_likelihood(self) -> bool:
        """True if the defense defines a likelihood, which an adaptive rMLE maximises."""
        return type(self)._log_likelihood is not Defense._log_likelihood

    def log_likelihood(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """Return the log-density of each observed entry, given its value before the defense.

        The density is normalised, and includes receiver noise N(0, s²) on top of the defense. At
        strength 0 its negative is Eq. (1a) over 2 s², up to a constant.

        Args:
            observed: Received tensor ``(N, ...)``, in the units of the perturbed tensor.
            clean: Candidate for the tensor before the defense, broadcast to ``observed``.
            variance: s² > 0, broadcast likewise.

        Raises:
            NotImplementedError: for a defense without a likelihood.
        """
        if self.strength == 0:
            return log_normal(observed - clean, variance)
        return self._log_likelihood(observed, clean, variance)

    def _log_likelihood(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """Return the log-density at a strength above 0; optional, needed by an adaptive rMLE."""
        raise NotImplementedError(f"{type(self).__name__} has no likelihood")


def log_normal(deviation: Tensor, variance: Tensor) -> Tensor:
    """Return the log-density of N(0, variance) at a deviation."""
    return -0.5 * (deviation.square() / variance + variance.log() + math.log(2 * math.pi))
