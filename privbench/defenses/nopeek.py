"""NoPeek: features of small distance correlation with the images (Vepakomma et al., ICDMW 2020)."""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from privbench.defenses.deployment import Deployment
from privbench.defenses.fine_tuned import FineTuned
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED, NonNegativeFloat

EPSILON = 1e-7
"""Added to what a square root is taken of or divides by, near which slopes are infinite."""


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class NoPeek(FineTuned):
    """Train both halves by cross-entropy + weight * dCor(x, v), v as it is transmitted.

    The biased estimate that is minimised tends to 1 as the dimension grows at a fixed batch
    (Székely and Rizzo, 2013), so the bias-corrected one is logged, and noted in the record, too.
    A deterministic v keeps all that can be computed from it: a small correlation does not make it
    hard to invert, and a fresh inverse network is the attack to compare with.

    Attributes:
        weight: Of the distance correlation.
    """

    version: ClassVar[str] = "nopeek-1"

    weight: NonNegativeFloat = 2.0

    @property
    def strength(self) -> float:
        """Weight of the distance correlation."""
        return float(self.weight)

    def losses(
        self, deployment: Deployment, x: Tensor, y: Tensor, draws: RandomStreams
    ) -> dict[str, Tensor]:
        """Compute the loss, and the bias-corrected squared distance correlation to log."""
        v = deployment.send(x, draws)
        task, correlation = F.cross_entropy(deployment.cloud(v), y), distance_correlation(x, v)
        corrected = corrected_distance_correlation(x, v.detach())
        return {
            "loss": task + self.weight * correlation,
            "task": task,
            "distance_correlation": correlation,
            "distance_correlation_corrected": corrected,
        }


def distances(t: Tensor) -> Tensor:
    """Return the Euclidean distances ``(N, N)`` of the rows of ``(N, ...)``."""
    flat = t.flatten(1)
    # without matrix products, which lose the small distances to rounding
    exact = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    return (exact.square() + EPSILON).sqrt()


def distance_correlation(x: Tensor, z: Tensor) -> Tensor:
    """Return the distance correlation of a batch, Székely et al. (2007), in [0, 1].

    dCov² is the mean of A * B, the doubly centred distance matrices; dCor the root of
    dCov²(x, z) / sqrt(dCov²(x, x) dCov²(z, z)).

    Args:
        x: ``(N, ...)``.
        z: ``(N, ...)``.
    """
    a, b = (_centred(distances(t)) for t in (x, z))
    covariance, variances = (a * b).mean(), (a * a).mean() * (b * b).mean()
    squared = covariance / (variances.sqrt() + EPSILON)
    return (squared.clamp_min(0) + EPSILON).sqrt()


def corrected_distance_correlation(x: Tensor, z: Tensor) -> Tensor:
    """Return the bias-corrected squared distance correlation, Székely and Rizzo (2014).

    Its U-centred covariance averages to 0 for independent data, and so it may be negative.

    Args:
        x: ``(N, ...)``, N >= 4.
        z: ``(N, ...)``.
    """
    x_z, x_x, z_z = (corrected_covariance(*pair) for pair in ((x, z), (x, x), (z, z)))
    return x_z / ((x_x * z_z).clamp_min(0).sqrt() + EPSILON)


def corrected_covariance(x: Tensor, z: Tensor) -> Tensor:
    """Return the U-centred squared distance covariance, unbiased; 0 under 4 rows."""
    count = len(x)
    if count < 4:
        return x.new_zeros(())
    a, b = (_u_centred(distances(t)) for t in (x, z))
    return (a * b).sum() / (count * (count - 3))


def _centred(d: Tensor) -> Tensor:
    """Subtract the means of rows and columns, and add the mean of all."""
    return d - d.mean(0, keepdim=True) - d.mean(1, keepdim=True) + d.mean()


def _u_centred(d: Tensor) -> Tensor:
    """Centre without bias: sums over n - 2 and (n - 1)(n - 2), and a diagonal of zeros."""
    count = len(d)
    off = d - d.diag().diag()
    rows = off.sum(1) / (count - 2)
    centred = off - rows[:, None] - rows[None] + off.sum() / ((count - 1) * (count - 2))
    return centred - centred.diag().diag()
