"""Peak signal-to-noise ratio."""

from typing import TYPE_CHECKING

from privbench.evaluation.metrics.base import Metric

if TYPE_CHECKING:
    from torch import Tensor

PSNR_CAP_DB = 100.0


def psnr_db(x_hat: "Tensor", x: "Tensor") -> "Tensor":
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


def squared_error(decibels: float) -> float:
    """Return the mean squared error of an image from its PSNR.

    >>> round(squared_error(20.0), 6)
    0.01
    """
    return float(10 ** (-decibels / 10))


PSNR = Metric(
    name="psnr_db",
    label="PSNR",
    unit="dB",
    decimals=2,
    show=("run", "summary", "table", "curves"),
    compute=lambda x_hat, reference: psnr_db(x_hat, reference.x),
)
