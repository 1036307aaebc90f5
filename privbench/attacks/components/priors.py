"""Image priors, which penalise unlikely images."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FLAT = 1e-8
"""Offset under the root of ``beta < 2``, whose gradient is not a number where an image is flat."""
SHRINKAGE = 0.1
"""Share of a covariance that is a multiple of the identity."""
CONTRASTS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
"""Limits between the classes of contrast, in units of the pixel range."""
RARE = 100
"""Pixels' worth of the overall mean that the mean of a class of contrast includes."""


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


class ResidualPrior(nn.Module):
    """The squared Mahalanobis distance of a deviation from an answer, by a sample of deviations.

    An answer errs at its edges and hardly where it is flat, so each deviation is first divided by
    the root mean square of those where the answer's contrast is similar. The covariance of the
    quotients is S = (1 - a) RᵀR / M + a s² I, of M quotients R with mean square s², shrunk towards
    a multiple of the identity (Ledoit and Wolf, 2004, with a fixed a). By Woodbury's identity the
    distance takes M products with vectors of an image's size, and no matrix of pixels by pixels.

    Args:
        count: Number of deviations, M.
        shape: Shape of one ``(C, H, W)``.
    """

    errors: Tensor
    floor: Tensor
    sizes: Tensor

    def __init__(self, count: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("errors", torch.zeros(count, *shape))
        self.register_buffer("floor", torch.ones(()))
        self.register_buffer("sizes", torch.ones(len(CONTRASTS) + 1))

    def set(self, deviations: Tensor, answers: Tensor) -> None:
        """Compute sizes and projection from deviations of answers, both ``(M, C, H, W)``."""
        self.sizes.copy_(_sizes(deviations, answers))
        rows = (deviations / self.size(answers)).flatten(1).double()
        floor = (SHRINKAGE * rows.square().mean()).clamp_min(1e-8)
        scaled = rows * ((1 - SHRINKAGE) / len(rows)) ** 0.5
        gram = scaled @ scaled.T
        gram.diagonal().add_(floor)
        factor = torch.linalg.cholesky(gram)
        projected = torch.linalg.solve_triangular(factor, scaled, upper=False)
        self.errors.copy_(projected.view_as(self.errors))
        self.floor.copy_(floor)

    def size(self, answer: Tensor) -> Tensor:
        """Return the typical deviation at each pixel of answers ``(N, C, H, W)``."""
        return self.sizes[_contrast_class(answer)]

    def forward(self, quotient: Tensor) -> Tensor:
        """Return the distance ``(N,)`` of deviations over their typical size ``(N, C, H, W)``."""
        rows = quotient.flatten(1)
        explained = (rows @ self.errors.flatten(1).T).square().sum(1)
        distance: Tensor = (rows.square().sum(1) - explained) / self.floor
        return distance


def _contrast_class(x: Tensor) -> Tensor:
    """Return the class of each pixel by the range of values of its 3x3 neighbourhood."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    contrast = F.max_pool2d(padded, 3, stride=1) + F.max_pool2d(-padded, 3, stride=1)
    return torch.bucketize(contrast, torch.tensor(CONTRASTS, device=x.device))


def _sizes(deviations: Tensor, answers: Tensor) -> Tensor:
    """Return the root mean square of deviations by the contrast of their answers."""
    classes, squares = _contrast_class(answers).flatten(), deviations.double().square().flatten()
    length = len(CONTRASTS) + 1
    count = torch.bincount(classes, minlength=length)
    total = torch.bincount(classes, squares, minlength=length)
    mean = squares.mean().clamp_min(1e-8)
    return ((total + RARE * mean) / (count + RARE)).sqrt().float()
