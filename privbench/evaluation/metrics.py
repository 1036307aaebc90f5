"""Scores of reconstructions, image by image."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from privbench.evaluation.identification import Candidates, identified, identified_within_class

VERSION = "metrics-1"
PSNR_CAP_DB = 100.0
PAPER_THRESHOLDS = {"psnr_db": 10.0, "ssim": 0.3}
"""Scores above which He et al. call a reconstruction good."""
WINDOW = 7
# scikit-image divides the window's variances by n - 1, torchmetrics by n; in the quotient that is
# a smaller second constant, (K2 L)^2 (n - 1) / n
_K2 = 0.03 * math.sqrt((WINDOW**2 - 1) / WINDOW**2)


def psnr_db(x_hat: Tensor, x: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio of each image, peak 1.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)`` in [0, 1].
        x: Images of the same shape.

    Returns:
        Decibels ``(N,)``, at most 100 (the ratio of equal images is infinite).
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio  # takes seconds

    ratio = peak_signal_noise_ratio(x_hat, x, data_range=1.0, dim=(1, 2, 3), reduction="none")
    return ratio.clamp(max=PSNR_CAP_DB)


def ssim(x_hat: Tensor, x: Tensor) -> Tensor:
    """Compute the structural similarity of each image as He et al. do: scikit-image's defaults.

    A 7x7 uniform window, sample covariance, data range 1, borders cropped.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)`` in [0, 1].
        x: Images of the same shape.

    Returns:
        Values ``(N,)`` in [-1, 1].
    """
    return _ssim(x_hat, x, WINDOW, {"gaussian_kernel": False, "k2": _K2})


def ssim_gaussian(x_hat: Tensor, x: Tensor) -> Tensor:
    """Compute the structural similarity of Wang et al. (2004): 11x11 Gaussian window, sigma 1.5.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)`` in [0, 1].
        x: Images of the same shape.

    Returns:
        Values ``(N,)`` in [-1, 1].
    """
    return _ssim(x_hat, x, 11, {"gaussian_kernel": True, "sigma": 1.5})


def _ssim(x_hat: Tensor, x: Tensor, kernel_size: int, settings: dict[str, Any]) -> Tensor:
    from torchmetrics.functional.image import structural_similarity_index_measure

    _, full = structural_similarity_index_measure(
        x_hat,
        x,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
        kernel_size=kernel_size,
        **settings,
    )
    border = kernel_size // 2  # torchmetrics reflects the image there, scikit-image leaves it out
    return full[..., border:-border, border:-border].flatten(1).mean(1)


METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "psnr_db": psnr_db,
    "ssim": ssim,
    "ssim_gaussian": ssim_gaussian,
}
"""Scores of a reconstruction by its similarity to the image."""


@dataclass(frozen=True)
class Reference:
    """True images, and everything else that reconstructions are scored with.

    Attributes:
        x: Targets ``(N, C, H, W)``.
        target_indices: Indices of the targets within the gallery.
        gallery: All test images ``(M, C, H, W)``.
        labels: Labels of the gallery ``(M,)``.
        evaluator: Evaluation classifier: images ``(N, C, H, W)`` to logits ``(N, classes)``.
        evaluator_accuracy: Accuracy of the evaluation classifier on the gallery.
    """

    x: Tensor
    target_indices: Sequence[int]
    gallery: Tensor
    labels: Tensor
    evaluator: Callable[[Tensor], Tensor]
    evaluator_accuracy: float = 1.0

    @cached_property
    def candidates(self) -> Candidates:
        """The gallery, prepared for identification."""
        return Candidates.of(self.gallery)


@dataclass(frozen=True)
class Scores:
    """Scores of reconstructions, a value per image.

    Attributes:
        psnr_db: Peak signal-to-noise ratio in decibels.
        ssim: Structural similarity, 7x7 uniform window.
        ssim_gaussian: Structural similarity, 11x11 Gaussian window.
        identification: 1 where the true image is the most similar of all test images, see
            ``identified``.
        identification_class: 1 where it is the most similar of those of its class.
        semantic_accuracy: 1 where the evaluation classifier predicts the true label.
        failed: True where the reconstruction was not finite.
    """

    psnr_db: list[float]
    ssim: list[float]
    ssim_gaussian: list[float]
    identification: list[float]
    identification_class: list[float]
    semantic_accuracy: list[float]
    failed: list[bool]

    def means(self) -> dict[str, float]:
        """Return the mean over images of each score."""
        return {
            name: math.fsum(values) / len(values)
            for name, values in vars(self).items()
            if name != "failed"
        }

    def share_above(self) -> dict[str, float]:
        """Return the shares of images above ``PAPER_THRESHOLDS``."""
        return {
            name: sum(value > threshold for value in getattr(self, name)) / len(self.failed)
            for name, threshold in PAPER_THRESHOLDS.items()
        }


@torch.no_grad()
def score(x_hat: Tensor, reference: Reference, constants: Sequence[Tensor]) -> Scores:
    """Score every reconstruction; one that is not finite scores as the worst constant image.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)``.
        reference: True images and the evaluation classifier.
        constants: Reconstructions of the same shape that ignore the features.
    """
    failed = ~x_hat.isfinite().flatten(1).all(1)
    finite = torch.where(failed.view(-1, 1, 1, 1), torch.zeros_like(x_hat), x_hat)
    columns = _similarities(finite, reference.x, failed, constants)
    columns |= _recognition(finite, reference, failed)
    lists = {name: values.double().tolist() for name, values in columns.items()}
    return Scores(**lists, failed=failed.tolist())


def _similarities(
    x_hat: Tensor, x: Tensor, failed: Tensor, constants: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Compute ``METRICS``, ``(N,)`` each."""
    columns = {}
    for name, metric in METRICS.items():
        columns[name] = metric(x_hat, x)
        if failed.any():
            worst = torch.stack([metric(constant, x) for constant in constants]).amin(0)
            columns[name] = torch.where(failed, worst, columns[name])
    return columns


def _recognition(x_hat: Tensor, reference: Reference, failed: Tensor) -> dict[str, Tensor]:
    """Compute identification and semantic accuracy, ``(N,)`` each."""
    rows = torch.as_tensor(reference.target_indices, device=reference.labels.device)
    labels = reference.labels[rows]
    # a blind reconstruction takes few values, so each distinct image is classified once
    distinct, which = x_hat.unique(dim=0, return_inverse=True)
    among_all = identified(x_hat, rows, reference.candidates)
    return {
        "identification": among_all,
        "identification_class": identified_within_class(
            x_hat, rows, reference.labels, reference.candidates, among_all
        ),
        "semantic_accuracy": (reference.evaluator(distinct).argmax(1)[which] == labels) & ~failed,
    }
