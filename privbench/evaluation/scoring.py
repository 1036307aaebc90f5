"""Scores of reconstructions, image by image, by any list of metrics."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from privbench.evaluation.metrics import PAPER_THRESHOLDS, RECONSTRUCTION_METRICS
from privbench.evaluation.metrics.base import Metric
from privbench.evaluation.reference import Reference

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """Scores of reconstructions, a value per image.

    Attributes:
        per_image: Values by metric.
        failed: True where the reconstruction was not finite.
    """

    per_image: Mapping[str, list[float]]
    failed: list[bool]

    def means(self) -> dict[str, float]:
        """Return the mean over images of each score."""
        return {name: math.fsum(v) / len(v) for name, v in self.per_image.items()}

    def share_above(self) -> dict[str, float]:
        """Return the shares of images above ``PAPER_THRESHOLDS``."""
        return {
            name: sum(value > threshold for value in self.per_image[name]) / len(self.failed)
            for name, threshold in PAPER_THRESHOLDS.items()
            if name in self.per_image
        }


@torch.no_grad()
def score(
    x_hat: Tensor,
    reference: Reference,
    constants: Sequence[Tensor],
    metrics: Sequence[Metric] = RECONSTRUCTION_METRICS,
) -> Scores:
    """Score every reconstruction; one that is not finite scores as the worst constant image.

    A metric that fails is left out with a warning: the reconstructions may have taken hours.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)``.
        reference: True images and the evaluation classifier.
        constants: Reconstructions of the same shape that ignore the features.
        metrics: Of reconstructions; those whose images are too small have no score.
    """
    failed = ~x_hat.isfinite().flatten(1).all(1)
    finite = torch.where(failed.view(-1, 1, 1, 1), torch.zeros_like(x_hat), x_hat)
    found = {}
    for metric in applicable(metrics, reference.x):
        try:
            values = _column(metric, finite, reference, failed, constants).double()
            found[metric.name] = _checked(values, len(x_hat)).tolist()
        except Exception as error:  # a metric of a user may raise anything
            if metric in RECONSTRUCTION_METRICS:
                raise
            LOG.warning("no %s: %s", metric.name, " ".join(str(error).split()))
    return Scores(found, failed.tolist())


def applicable(metrics: Sequence[Metric], x: Tensor) -> list[Metric]:
    """Return the metrics that images ``(N, C, H, W)`` of this shape have."""
    shape = (x.shape[1], x.shape[2], x.shape[3])
    return [metric for metric in metrics if not metric.requires(shape)]


def _column(
    metric: Metric,
    x_hat: Tensor,
    reference: Reference,
    failed: Tensor,
    constants: Sequence[Tensor],
) -> Tensor:
    """Compute a metric ``(N,)``, with the score that it states for a failed image."""
    values: Tensor = metric.compute(x_hat, reference)
    if not failed.any() or metric.failed_as == "black":  # which x_hat is, where it failed
        return values
    if metric.failed_as == "miss":
        return torch.where(failed, torch.zeros_like(values), values)
    answers = torch.stack([metric.compute(constant, reference) for constant in constants])
    worst = answers.amin(0) if metric.higher_leaks else answers.amax(0)
    return torch.where(failed, worst, values)


def _checked(values: Tensor, images: int) -> Tensor:
    """Return a metric's values.

    Raises:
        ValueError: unless there is a finite one for each image.
    """
    if values.shape != (images,) or not values.isfinite().all():
        raise ValueError(f"got {tuple(values.shape)} values, or NaN, of {images} images")
    return values
