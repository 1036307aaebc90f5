"""Label smoothing: features of small radius within a class."""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from privbench.defenses.deployment import Deployment
from privbench.defenses.fine_tuned import FineTuned
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED, Fraction


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class LabelSmoothing(FineTuned):
    """Train both halves by cross-entropy with smoothed labels.

    The label is (1 - weight) onehot + weight / classes. *Partitioning for Intrinsic Model
    Inversion Resistance in Collaborative Inference* (ICML 2026) holds that it shrinks the mean
    squared radius R_c² of the features of a class, and that this radius governs how well images
    are recovered; R_c² is logged, and noted in the record, also as a share of the variance.

    Attributes:
        weight: Share of the label that all classes get, in [0, 1].
    """

    version: ClassVar[str] = "label_smoothing-2"

    weight: Fraction = 0.3

    @property
    def strength(self) -> float:
        """Share of the label that all classes get."""
        return float(self.weight)

    def losses(
        self, deployment: Deployment, x: Tensor, y: Tensor, draws: RandomStreams
    ) -> dict[str, Tensor]:
        """Compute the loss, and the radius within the classes to log."""
        v = deployment.send(x, draws)
        loss = F.cross_entropy(deployment.cloud(v), y, label_smoothing=self.weight)
        radius = squared_radius(v.detach(), y)
        spread = squared_radius(v.detach(), torch.zeros_like(y))
        return {"loss": loss, "squared_radius": radius, "radius_share": radius / (spread + 1e-12)}


def squared_radius(v: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared distance of features from the mean of their class in a batch.

    Unbiased: of n features of a class times n / (n - 1), and of classes with several alone.

    Args:
        v: Features ``(B, ...)``.
        y: Labels ``(B,)``.
    """
    flat = v.flatten(1)
    member = F.one_hot(y).to(flat)
    means, count = member.T @ flat / member.sum(0).clamp_min(1)[:, None], member.sum(0)[y]
    square = (flat - means[y]).square().sum(1) * count / (count - 1).clamp_min(1)
    several = count > 1
    return (square * several).sum() / several.sum().clamp_min(1)
