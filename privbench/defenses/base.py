"""The base classes of defenses: any, and those that perturb a tensor and train nothing."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from privbench.defenses.deployment import FLOAT_BITS, Deployment, SplitVictim
from privbench.runtime.device import DeviceConfig
from privbench.runtime.pixels import in_unit_range
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import require_choice
from privbench.training.loop import EpochLogger

SITES = ("features", "input")
IMAGES = 1024
"""Training images on which a defense measures a scale or a range."""


class TrainingImages(Protocol):
    """Images that a defense is fitted on."""

    @property
    def pixels(self) -> Tensor:
        """8-bit images ``(N, C, H, W)``."""

    @property
    def labels(self) -> Tensor:
        """Labels ``(N,)``."""


class FitServices(Protocol):
    """Services of a defense's ``fit``: a device, a seed, and a store that keeps what it fitted."""

    @property
    def device(self) -> torch.device:
        """Device of the victim."""

    @property
    def device_config(self) -> DeviceConfig:
        """Device and precision of trainings."""

    @property
    def seed(self) -> int:
        """Seed of every draw of the training."""

    def fit_or_load(
        self, part: str, module: nn.Module, train: Callable[[EpochLogger], Mapping[str, Any]]
    ) -> None:
        """Train a module once for this victim, split, defense, data and seed; load it else.

        Args:
            part: Name of the module among those that the defense keeps.
            module: Trained or loaded in place.
            train: Trains it, reporting epochs, and returns facts that JSON can hold.
        """


@torch.no_grad()
def sample_outputs(network: nn.Module, data: TrainingImages, services: FitServices) -> list[Tensor]:
    """Return what a network computes for the first 1,024 training images, in parts ``(n, ...)``."""
    images = in_unit_range(data.pixels[:IMAGES].to(services.device))
    return [network(part) for part in images.split(128)]


class BaseChannel(ABC):
    """A channel with all that attacks ask of it: payload, pooling, and a likelihood if it has one.

    A defense that trains nothing is one itself (``Perturbation``); a learned one is a module too.
    """

    exact_likelihood: ClassVar[bool] = False
    """True where ``log_likelihood``, summed over entries, is exact as s² goes to 0."""

    @property
    @abstractmethod
    def site(self) -> str:
        """Tensor that it acts on, ``"features"`` or ``"input"``."""

    @property
    @abstractmethod
    def strength(self) -> float:
        """Strength, which grows with the protection; at 0 the tensor stays as it is."""

    def payload_bits(self, v: Tensor) -> int:
        """Return the bits of one transmission of one image: by default 32 for each entry."""
        return FLOAT_BITS * v[0].numel()

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

    @property
    def repeats(self) -> bool:
        """True where all transmissions of an image are equal, so that one says everything."""
        return self.strength == 0

    def pool(self, received: Tensor) -> tuple[Tensor, "BaseChannel"]:
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
        return (received[:, :1], self) if self.repeats else self._pool(received)

    def _pool(self, received: Tensor) -> tuple[Tensor, "BaseChannel"]:
        """Pool at a strength above 0 and K > 1; by default every draw stays an observation."""
        return received, self

    strengths: ClassVar[tuple[float, float] | None] = None
    """Lowest and highest strength; null where there is no highest."""

    def at_strength(self, strength: float) -> "BaseChannel":
        """Return the channel at another strength; optional, needed by one network for all of them.

        Raises:
            NotImplementedError: for a channel that has a single strength.
        """
        raise NotImplementedError(f"{type(self).__name__} has no at_strength")

    @property
    def has_likelihood(self) -> bool:
        """True if the defense defines a likelihood, which an adaptive rMLE maximises."""
        return type(self)._log_likelihood is not BaseChannel._log_likelihood

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


class Defense(ABC):
    """A defense: makes a deployment of a trained victim. A dataclass of hyper-parameters."""

    channel_class: ClassVar[str] = ""
    """Dotted name of its channel's class, where that is neither an option nor the defense."""

    @property
    @abstractmethod
    def site(self) -> str:
        """Tensor that its channel acts on, ``"features"`` or ``"input"``."""

    @property
    @abstractmethod
    def strength(self) -> float:
        """Strength, which grows with the protection; 0 is the undefended victim, bit for bit."""

    @abstractmethod
    def build(self, victim: SplitVictim) -> Deployment:
        """Return the deployment before anything is trained; ``victim`` keeps its weights."""

    @abstractmethod
    def fit(self, victim: SplitVictim, data: TrainingImages, services: FitServices) -> Deployment:
        """Return the deployment, trained where the defense trains.

        Args:
            victim: Keeps its weights.
            data: The victim's training images.
            services: Device, seed, and the store that keeps what is trained.
        """

    def facts(self, deployment: Deployment, transmissions: int) -> Mapping[str, Any]:
        """Return facts for the record that no metric is, such as a privacy budget; by default none.

        Args:
            deployment: The fitted one, at a strength above 0.
            transmissions: How often each image is sent, K.
        """
        return {}


CHANNELS = (
    "a defense that trains no network, by defense@defense.channel=NAME: "
    "dropout, gaussian, laplace, none, quantize, topk"
)
"""Choices of a defense's channel, as errors name them."""


@dataclass(frozen=True, kw_only=True)
class Perturbation(BaseChannel, Defense):
    """A defense that trains no network: a map of the features, or of the normalised input.

    Subclasses may be plain dataclasses, or pydantic ones as those of the package are.

    Attributes:
        site: ``"features"``, the transmitted tensor; or ``"input"``, the tensor after the layer
            of that name, in the network's units (``[-1, 1]`` for LeNet-5; He et al. section IV).
    """

    site: str = "features"

    def __post_init__(self) -> None:
        """Refuse an unknown site."""
        require_choice("defense.site", self.site, SITES)

    def build(self, victim: SplitVictim) -> Deployment:
        """Put the defense, as it is, between the victim's halves."""
        return victim.deploy(self)

    def fit(self, victim: SplitVictim, data: TrainingImages, services: FitServices) -> Deployment:
        """Return the victim with this defense as its channel."""
        return victim.deploy(self.calibrate(victim, data, services) if self.strength else self)

    def calibrate(
        self, victim: SplitVictim, data: TrainingImages, services: FitServices
    ) -> "Perturbation":
        """Return the defense with what it measures on the victim's features; by default itself."""
        return self


def log_normal(deviation: Tensor, variance: Tensor) -> Tensor:
    """Return the log-density of N(0, variance) at a deviation."""
    return -0.5 * (deviation.square() / variance + variance.log() + math.log(2 * math.pi))
