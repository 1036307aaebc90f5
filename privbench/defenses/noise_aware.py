"""Noise-aware training: edge and cloud learn with the channel on."""

from dataclasses import field
from typing import Annotated, ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass as validated
from torch import Tensor, nn

from privbench.defenses.base import (
    CHANNELS,
    FitServices,
    Perturbation,
    TrainingImages,
    sample_outputs,
)
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.fine_tuned import FineTuned
from privbench.defenses.trained import copied, extended
from privbench.runtime.validation import (
    VALIDATED,
    expecting,
)

UNBOUNDED = torch.finfo(torch.float32).max


@validated(frozen=True, kw_only=True, config=VALIDATED)
class NoiseAware(FineTuned):
    """Train the victim further by cross-entropy, with noise, dropout or quantisation on.

    A trained edge could drown fixed noise by scaling its features, so that sigma would say nothing.
    ``bounded`` ends the edge with a layer that shrinks an image's features to at most the mean
    norm of the victim's own, which a white-box adversary sees as a part of the edge.

    Attributes:
        channel: The perturbation, which also gives site and strength.
        train: ``both`` halves, or the ``cloud`` alone, where edges in the field keep their weights.
        bounded: Bound the norm of the features; of no effect at the input or with ``train=cloud``.
    """

    version: ClassVar[str] = "noise_aware-1"

    channel: Annotated[Perturbation, expecting(CHANNELS)] = field()
    train: Literal["both", "cloud"] = "both"
    bounded: bool = True

    @property
    def strength(self) -> float:
        """Strength of the channel."""
        return self.channel.strength

    def build(self, victim: SplitVictim) -> Deployment:
        """Return copies of the halves that are trained, with the channel between them."""
        if self.train == "cloud":
            return Deployment(victim.edge, self.channel, copied(victim.cloud), victim.edge)
        edge = copied(victim.edge)
        if self.bounded and self.site == "features":
            edge = extended(edge, NormBound)
        return Deployment(edge, self.channel, copied(victim.cloud), victim.edge)

    def trainable(self, deployment: Deployment) -> nn.Module:
        """Return both halves, or the cloud alone."""
        return deployment.cloud if self.train == "cloud" else super().trainable(deployment)

    def prepare(self, deployment: Deployment, data: TrainingImages, services: FitServices) -> None:
        """Measure the mean norm of the features that the victim's own edge computes."""
        bound_by_victim(deployment, data, services)


@torch.no_grad()
def bound_by_victim(deployment: Deployment, data: TrainingImages, services: FitServices) -> None:
    """Set the norm that an edge is bounded by, if it is, to the mean norm of the victim's features.

    Args:
        deployment: Its edge may end with a ``NormBound``.
        data: The victim's training images.
        services: Device.
    """
    bound = deployment.edge[-1]
    if not isinstance(bound, NormBound):
        return
    parts = sample_outputs(deployment.undefended_edge, data, services)
    norms = torch.cat([part.flatten(1).norm(dim=1) for part in parts])
    bound.limit.fill_(float(norms.mean()))


class NormBound(nn.Module):
    """Shrink the features of an image to at most a norm; shorter ones stay as they are.

    Attributes:
        limit: Largest Euclidean norm; the largest float until it is measured.
    """

    limit: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("limit", torch.tensor(UNBOUNDED))

    def forward(self, v: Tensor) -> Tensor:
        """Features ``(N, *feature_shape)``."""
        # a ratio of at most 1, whose gradient is finite for a norm of 0 and for any limit
        factors = self.limit / v.flatten(1).norm(dim=1).maximum(self.limit)
        bounded: Tensor = v * factors.view(-1, *(1,) * (v.dim() - 1))
        return bounded
