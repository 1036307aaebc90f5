"""Structural similarity, with the paper's window and with the usual one."""

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from privbench.evaluation.metrics.base import Metric, requires_side

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 7
GAUSSIAN_WINDOW = 11
# scikit-image divides the window's variances by n - 1, torchmetrics by n; in the quotient that is
# a smaller second constant, (K2 L)^2 (n - 1) / n
_K2 = 0.03 * math.sqrt((WINDOW**2 - 1) / WINDOW**2)


def ssim(x_hat: "Tensor", x: "Tensor") -> "Tensor":
    """Compute the structural similarity of each image as He et al. do: scikit-image's defaults.

    A 7x7 uniform window, sample covariance, data range 1, borders cropped.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)`` in [0, 1].
        x: Images of the same shape.

    Returns:
        Values ``(N,)`` in [-1, 1].
    """
    return _ssim(x_hat, x, WINDOW, {"gaussian_kernel": False, "k2": _K2})


def ssim_gaussian(x_hat: "Tensor", x: "Tensor") -> "Tensor":
    """Compute the structural similarity of Wang et al. (2004): 11x11 Gaussian window, sigma 1.5.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)`` in [0, 1].
        x: Images of the same shape.

    Returns:
        Values ``(N,)`` in [-1, 1].
    """
    return _ssim(x_hat, x, GAUSSIAN_WINDOW, {"gaussian_kernel": True, "sigma": 1.5})


def _ssim(x_hat: "Tensor", x: "Tensor", kernel_size: int, settings: dict[str, Any]) -> "Tensor":
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


SSIM = Metric(
    name="ssim",
    label="SSIM",
    show=("run", "summary", "table", "curves"),
    compute=lambda x_hat, reference: ssim(x_hat, reference.x),
    requires=partial(requires_side, WINDOW),
)
SSIM_GAUSSIAN = Metric(
    name="ssim_gaussian",
    label="SSIM (Gaussian)",
    show=(),
    compute=lambda x_hat, reference: ssim_gaussian(x_hat, reference.x),
    requires=partial(requires_side, GAUSSIAN_WINDOW),
)
