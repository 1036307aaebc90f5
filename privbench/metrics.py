"""What was recovered and what still works: per-image scores, tensors in and tensors out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from privbench.deployment import images_at_once

VERSION = "metrics-1"
PSNR_CAP_DB = 100.0
GOOD = {"psnr_db": 10.0, "ssim": 0.3}
WINDOW = 7
# scikit-image divides the window's variances by n - 1, torchmetrics by n; in the quotient that is
# a smaller second constant, (K2 L)^2 (n - 1) / n
_K2 = 0.03 * math.sqrt((WINDOW**2 - 1) / WINDOW**2)


def psnr_db(x_hat: Tensor, x: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image, peak 1.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)`` in [0, 1].
        x: Images of the same shape.

    Returns:
        Decibels ``(N,)``, at most 100 (equal images have no ratio).
    """
    ratio = peak_signal_noise_ratio(x_hat, x, data_range=1.0, dim=(1, 2, 3), reduction="none")
    return ratio.clamp(max=PSNR_CAP_DB)


def ssim(x_hat: Tensor, x: Tensor) -> Tensor:
    """Structural similarity of each image as the paper computes it: scikit-image's defaults.

    A 7x7 uniform window, sample covariance, data range 1, borders cropped (see ``psnr_db``).
    """
    return _ssim(x_hat, x, WINDOW, {"gaussian_kernel": False, "k2": _K2})


def ssim_gaussian(x_hat: Tensor, x: Tensor) -> Tensor:
    """Structural similarity as Wang et al. (2004): an 11x11 Gaussian window, sigma 1.5."""
    return _ssim(x_hat, x, 11, {"gaussian_kernel": True, "sigma": 1.5})


def _ssim(x_hat: Tensor, x: Tensor, kernel_size: int, settings: dict[str, Any]) -> Tensor:
    _, full = structural_similarity_index_measure(
        x_hat,
        x,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
        kernel_size=kernel_size,
        **settings,
    )
    rim = kernel_size // 2  # torchmetrics reflects the image there, scikit-image leaves it out
    return full[..., rim:-rim, rim:-rim].flatten(1).mean(1)


@dataclass(frozen=True)
class Truth:
    """What reconstructions are held against.

    Attributes:
        x: The targets ``(N, C, H, W)``.
        rows: Their numbers in the gallery.
        gallery: The whole test set ``(M, C, H, W)``.
        labels: Its labels ``(M,)``.
        judge: An independent classifier: images ``(N, C, H, W)`` to logits.
        judge_accuracy: Of that one on the gallery.
    """

    x: Tensor
    rows: Sequence[int]
    gallery: Tensor
    labels: Tensor
    judge: Callable[[Tensor], Tensor]
    judge_accuracy: float = 1.0

    @cached_property
    def directions(self) -> Tensor:
        """The gallery centred, for ``identified``."""
        return centred(self.gallery)


@dataclass(frozen=True)
class Scores:
    """Per-image scores of a set of reconstructions.

    Attributes:
        psnr_db: Decibels.
        ssim: 7x7 uniform window.
        ssim_gaussian: 11x11 Gaussian window.
        identification: Whether the true image is the nearest of the whole test set.
        identification_class: Whether it is the nearest of those of its class.
        semantic_accuracy: Whether the judge reads the true label.
        failed: Whether the reconstruction was not finite.
    """

    psnr_db: list[float]
    ssim: list[float]
    ssim_gaussian: list[float]
    identification: list[float]
    identification_class: list[float]
    semantic_accuracy: list[float]
    failed: list[bool]

    def means(self) -> dict[str, float]:
        """The mean over images of each score."""
        return {
            name: math.fsum(values) / len(values)
            for name, values in vars(self).items()
            if name != "failed"
        }

    def above(self) -> dict[str, float]:
        """Share of images above what He et al. call good: PSNR > 10 dB, SSIM > 0.3."""
        return {
            name: sum(value > bar for value in getattr(self, name)) / len(self.failed)
            for name, bar in GOOD.items()
        }


@torch.no_grad()
def score(x_hat: Tensor, truth: Truth, constants: Sequence[Tensor]) -> Scores:
    """Every score of every image; one that is not finite is scored as the worst constant answer.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)``.
        truth: What they are held against.
        constants: Answers of the same shape that looked at nothing.
    """
    x = truth.x
    failed = ~x_hat.isfinite().flatten(1).all(1)
    shown = torch.where(failed.view(-1, 1, 1, 1), torch.zeros_like(x_hat), x_hat)
    columns = {}
    for name, metric in {"psnr_db": psnr_db, "ssim": ssim, "ssim_gaussian": ssim_gaussian}.items():
        worst = torch.stack([metric(answer, x) for answer in constants]).amin(0)
        columns[name] = torch.where(failed, worst, metric(shown, x))
    rows = torch.as_tensor(truth.rows, device=truth.labels.device)
    labels = truth.labels[rows]
    alike = centred(shown) @ truth.directions.T
    strangers = labels[:, None] != truth.labels
    columns |= {
        "identification": identified(alike, rows),
        "identification_class": identified(alike.masked_fill(strangers, -torch.inf), rows),
        "semantic_accuracy": (truth.judge(shown).argmax(1) == labels) & ~failed,
    }
    lists = {name: values.double().tolist() for name, values in columns.items()}
    return Scores(**lists, failed=failed.tolist())


TIE = 1e-6
"""Correlations closer than this are equal: sums in another order differ by as much."""
FLAT = 1e-5
"""Images of less contrast, as the norm of their centred pixels, have none."""


def identified(alike: Tensor, rows: Tensor) -> Tensor:
    """Rank-1 identification: is the true image the nearest one to its reconstruction?

    Nearest by centred cosine (Pearson's correlation of the pixels), which neither brightness nor
    contrast moves. Images that tie share the one hit, and what has no contrast ties with all.

    Args:
        alike: Each reconstruction's likeness to each image of the gallery ``(N, M)``, the product
            of both ``centred``.
        rows: The number in the gallery of each one's true image ``(N,)``.

    Returns:
        ``(N,)`` in [0, 1].
    """
    own = alike.gather(1, rows[:, None])
    nearer, level = alike > own + TIE, (alike - own).abs() <= TIE
    return torch.where(nearer.any(1), 0.0, 1.0 / level.sum(1))


def centred(images: Tensor) -> Tensor:
    """Pixels ``(N, C*H*W)`` less their mean, of norm 1; of norm 0 where all are equal."""
    pixels = images.flatten(1)
    pixels = pixels - pixels.mean(1, keepdim=True)
    norm = pixels.norm(dim=1, keepdim=True)
    return torch.where(norm > FLAT, pixels / norm.clamp_min(FLAT), torch.zeros_like(pixels))


def correct(classify: Callable[[Tensor, range], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """Share of right answers for each image.

    Args:
        classify: Images ``(B, C, H, W)`` and their numbers to logits ``(B, K, classes)``.
        images: ``(N, C, H, W)``.
        labels: ``(N,)``.

    Returns:
        ``(N,)`` in [0, 1]: over the K answers of an image.
    """
    shares = []
    batch = images_at_once(images)
    for begin in range(0, len(images), batch):
        rows = range(begin, min(begin + batch, len(images)))
        answers = classify(images[begin : rows.stop], rows).argmax(2)
        shares.append((answers == labels[begin : rows.stop, None]).double().mean(1))
    return torch.cat(shares)
