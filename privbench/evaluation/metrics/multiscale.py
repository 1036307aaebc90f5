"""Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003).

The five scales of the paper need images of 176 pixels. Smaller images have as many of its scales as
their window fits, the weights of those scaled to the sum 1: two from 22 pixels on, three from 44,
four from 99. Smaller than that no second scale is left and there is no such score.
"""

from functools import partial
from typing import TYPE_CHECKING

from privbench.evaluation.metrics.base import Metric, Shape, requires_side

if TYPE_CHECKING:
    from torch import Tensor

    from privbench.evaluation.reference import Reference

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, fine to coarse."""
WINDOW = 11
"""Side of the Gaussian window in pixels, sigma 1.5."""


def scales(shape: Shape) -> int:
    """Return the number of scales of images: those at which the window fits.

    >>> [scales((1, side, side)) for side in (21, 28, 32, 64, 99, 224)]
    [1, 2, 2, 3, 4, 5]
    """
    side = min(shape[1:])
    # the first condition is the window's at the coarsest scale, the second is torchmetrics'
    fitting = [
        count
        for count in range(1, len(WEIGHTS) + 1)
        if side >= WINDOW * 2 ** (count - 1) and side // max(1, count - 1) ** 2 >= WINDOW
    ]
    return max(fitting, default=1)


def ms_ssim(x_hat: "Tensor", x: "Tensor") -> "Tensor":
    """Compute the multi-scale structural similarity of each image.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)`` in [0, 1].
        x: Images of the same shape.

    Returns:
        Values ``(N,)`` in [0, 1]: a scale of negative similarity counts as 0.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    weights = WEIGHTS[: scales((x.shape[1], x.shape[2], x.shape[3]))]
    return multiscale_structural_similarity_index_measure(
        x_hat,
        x,
        data_range=1.0,
        reduction="none",
        betas=tuple(weight / sum(weights) for weight in weights),
        normalize="relu",
    )


def _compute(x_hat: "Tensor", reference: "Reference") -> "Tensor":
    return ms_ssim(x_hat, reference.x)


MS_SSIM = Metric(
    name="ms_ssim",
    label="MS-SSIM",
    show=("run", "table"),
    compute=_compute,
    requires=partial(requires_side, 2 * WINDOW),  # of a second scale
)
