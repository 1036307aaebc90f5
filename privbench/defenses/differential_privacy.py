"""The base class of differential privacy of one inference: clipped features, noise for a budget.

Any two images are neighbours (local differential privacy): features within a ball of radius C
differ by at most 2 C. Maps of the features, such as a trained cloud, keep the guarantee. It is one
of real-valued noise; 32-bit floats approximate it.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.defenses.base import FitServices, Perturbation, TrainingImages, sample_outputs
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.none import NoDefense
from privbench.defenses.trained import TrainedDefense, copied, extended
from privbench.runtime.validation import (
    VALIDATED,
    OptionalPositiveFloat,
)
from privbench.training.loop import EpochLogger
from privbench.training.stored_numbers import StoredNumbers


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class DifferentialPrivacy(TrainedDefense):
    """Clip each image's features, which the edge ends with, and add noise for a budget epsilon.

    Attributes:
        epsilon: Budget of one transmission; null for none of it.
        clip: Largest norm C of the features; null until it is measured: the median on training
            images, which are not private here.
        train: Both halves, or the ``cloud`` alone, or ``none``, further with clipping and noise on.
    """

    epsilon: OptionalPositiveFloat = 300.0
    clip: OptionalPositiveFloat = None
    train: Literal["both", "cloud", "none"] = "both"

    order: ClassVar[int]
    """Of the norm that is clipped."""

    @property
    def site(self) -> str:
        """Always ``features``."""
        return "features"

    @property
    def strength(self) -> float:
        """Inverse of the budget."""
        return 0.0 if self.epsilon is None else 1 / self.epsilon

    @abstractmethod
    def noise(self, sensitivity: float) -> Perturbation:
        """Return the noise for features that differ by at most ``sensitivity`` in the norm."""

    @abstractmethod
    def epsilon_of(self, sensitivity: float, channel: Any, transmissions: int) -> float:
        """Return what K transmissions of one image cost, at the same delta."""

    def build(self, victim: SplitVictim) -> Deployment:
        """Return the halves, copied where they are trained, with clipping and noise between."""
        if self.epsilon is None:
            return victim.deploy(NoDefense())
        # where the radius is not measured yet, the channel is one of its kind
        radius = self.clip or 1.0
        edge = copied(victim.edge) if self.train == "both" else victim.edge
        cloud = victim.cloud if self.train == "none" else copied(victim.cloud)
        clipped = extended(edge, partial(Clip, radius, self.order))
        return Deployment(clipped, self.noise(2 * radius), cloud, victim.edge)

    def trainable(self, deployment: Deployment) -> nn.Module:
        """Return both halves, or the cloud alone."""
        return deployment.cloud if self.train == "cloud" else super().trainable(deployment)

    def calibrate(self, victim: SplitVictim, data: TrainingImages, services: FitServices) -> Self:
        """Measure a radius that is not given, on the features of 1,024 training images."""
        if self.clip is not None:
            return self
        measured = StoredNumbers("radius")

        def measure(report: EpochLogger) -> Mapping[str, Any]:
            parts = sample_outputs(victim.edge, data, services)
            norms = torch.cat([part.flatten(1).norm(p=self.order, dim=1) for part in parts])
            measured.set(radius=float(norms.median()))
            return {"images": len(norms)}

        services.fit_or_load("clip", measured, measure)
        # dead features have no norm, and any radius holds them
        return replace(self, clip=measured["radius"] or 1.0)

    def fit(self, victim: SplitVictim, data: TrainingImages, services: FitServices) -> Deployment:
        """Return the deployment, trained unless ``train`` is ``none``."""
        if self.train == "none" and self.strength:
            return self.calibrate(victim, data, services).build(victim)
        return super().fit(victim, data, services)

    def facts(self, deployment: Deployment, transmissions: int) -> Mapping[str, Any]:
        """Return the budget, what it was computed from, and what all transmissions cost."""
        clip = deployment.edge[-1]
        assert isinstance(clip, Clip)
        total = self.epsilon_of(2 * clip.radius, deployment.channel, transmissions)
        return {
            "epsilon": self.epsilon,
            "delta": getattr(self, "delta", 0.0),
            "clip": clip.radius,
            "sensitivity": 2 * clip.radius,
            "noise": deployment.channel.strength,
            "epsilon_of_all_transmissions": total,
        }


class Clip(nn.Module):
    """Scale the features of an image down to a norm of at most a radius.

    Args:
        radius: Largest norm.
        order: Of the norm: 1, or 2 for the Euclidean one.
    """

    def __init__(self, radius: float, order: int) -> None:
        super().__init__()
        self.radius, self.order = radius, order

    def extra_repr(self) -> str:
        """Return what distinguishes one clipping from another, for fingerprints of an edge."""
        return f"radius={self.radius!r}, order={self.order}"

    def forward(self, v: Tensor) -> Tensor:
        """Features ``(N, *feature_shape)``."""
        # a ratio of at most 1, whose gradient is finite for a norm of 0
        factors = self.radius / v.flatten(1).norm(p=self.order, dim=1).clamp_min(self.radius)
        clipped: Tensor = v * factors.view(-1, *(1,) * (v.dim() - 1))
        return clipped
