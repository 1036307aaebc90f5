"""Image priors, which penalise unlikely images."""

from torch import Tensor
from torch.nn import functional as F

FLAT = 1e-8
"""Offset under the root of ``beta < 2``, whose gradient is not a number where an image is flat."""


def total_variation(x: Tensor, beta: float) -> Tensor:
    """Return the total variation of each image, He et al. Eq. (1b), as a mean over pixels.

    The paper sums over pixels; the mean keeps lambda's meaning when the image grows. At beta = 2
    this is the published code's mean of squared vertical plus horizontal differences.

    Args:
        x: Images ``(N, C, H, W)``.
        beta: Smoothness exponent, > 0; 1 keeps edges sharp, 2 smooths them.

    Returns:
        One value per image ``(N,)``.

    Raises:
        ValueError: if ``beta`` is not positive.

    >>> import torch
    >>> total_variation(torch.eye(2)[None, None], beta=2.0)
    tensor([2.])
    """
    if beta <= 0:
        raise ValueError(f"beta={beta} is out of range: choose a number above 0")
    down, right = x.diff(dim=2), x.diff(dim=3)
    differences = (down.shape[2:].numel() + right.shape[2:].numel()) / 2 * x.shape[1]
    if beta == 2:
        total = down.square().flatten(1).sum(1) + right.square().flatten(1).sum(1)
    else:
        squared = F.pad(down, (0, 0, 0, 1)).square() + F.pad(right, (0, 1)).square() + FLAT
        # a root costs a tenth of a power
        total = (squared.sqrt() if beta == 1 else squared.pow(beta / 2)).flatten(1).sum(1)
    return total / differences
