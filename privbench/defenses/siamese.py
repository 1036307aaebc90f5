"""Siamese training: features that are close within a class (Osia et al., IEEE IoT-J 2020)."""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from privbench.defenses.deployment import Deployment
from privbench.defenses.fine_tuned import FineTuned
from privbench.defenses.nopeek import distances
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED, Fraction, PositiveFloat


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class Siamese(FineTuned):
    """Train both halves by (1 - weight) cross-entropy + weight * contrastive loss of the features.

    The contrastive loss (Hadsell et al., 2006, with distances in place of their squares) is the
    distance of pairs of one class, and what pairs of two classes lack to ``margin``. Each kind of
    pair is averaged by itself: over all pairs of a batch, those of two classes, nine in ten of
    them, would leave little of the first term. Distances are Euclidean, divided by the root of the
    number of entries, so that one margin serves every split.

    Attributes:
        weight: Of the contrastive loss, in [0, 1].
        margin: Distance from which pairs of two classes cost nothing.
    """

    version: ClassVar[str] = "siamese-1"

    weight: Fraction = 0.5
    margin: PositiveFloat = 1.0

    @property
    def strength(self) -> float:
        """Weight of the contrastive loss."""
        return float(self.weight)

    def losses(
        self, deployment: Deployment, x: Tensor, y: Tensor, draws: RandomStreams
    ) -> dict[str, Tensor]:
        """Compute the loss and its parts."""
        v = deployment.send(x, draws)
        task, pairs = F.cross_entropy(deployment.cloud(v), y), contrastive(v, y, self.margin)
        loss = (1 - self.weight) * task + self.weight * pairs
        return {"loss": loss, "task": task, "contrastive": pairs}


def contrastive(v: Tensor, y: Tensor, margin: float) -> Tensor:
    """Return the contrastive loss of all pairs of a batch.

    Args:
        v: Features ``(B, ...)``.
        y: Labels ``(B,)``.
        margin: Of pairs of two classes.
    """
    apart = distances(v) / v[0].numel() ** 0.5
    same = y[:, None] == y[None]
    pairs = ~torch.eye(len(y), dtype=torch.bool, device=y.device)
    near = _mean(apart, same & pairs)
    return near + _mean((margin - apart).clamp_min(0), ~same)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of chosen values; 0 where there is none."""
    return (values * chosen).sum() / chosen.sum().clamp_min(1)
