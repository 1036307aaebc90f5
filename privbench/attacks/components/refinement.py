"""Parts of a refinement: combinations of network and likelihood, and how they are judged."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privbench.attacks.components.class_images import LocalSsim
from privbench.attacks.components.priors import ResidualPrior

NOISES = (0.01, 0.1, 1.0, 10.0)
"""Variances of noise under which a naive adversary chooses a combination besides, in units of the
features' mean square."""
TINY = 1e-12
"""Smallest loss or length that is divided by."""


@dataclass(frozen=True)
class Mixture:
    """One way to combine network and likelihood.

    Attributes:
        network: Weight of the prior around the network's answer.
        tv: Weight of the total variation.
        descend: False leaves the network's answer as it is.
    """

    network: float = 0.0
    tv: float = 0.0
    descend: bool = True


class Calibration(nn.Module):
    """What held-out images decided, as the store keeps it.

    Attributes:
        prior: The prior around the network's answer.
        choice: Index of the chosen combination.
        unexplained: Largest share of the features that it left unexplained.
        choices: The same under each noise of ``NOISES``; 0 of an adaptive adversary.
        shares: Median share that ``choice`` leaves unexplained under each of them.
    """

    choice: Tensor
    unexplained: Tensor
    choices: Tensor
    shares: Tensor

    def __init__(self, prior: ResidualPrior) -> None:
        super().__init__()
        self.prior = prior
        self.register_buffer("choice", torch.zeros((), dtype=torch.int64))
        self.register_buffer("unexplained", torch.zeros(()))
        self.register_buffer("choices", torch.zeros(len(NOISES), dtype=torch.int64))
        self.register_buffer("shares", torch.zeros(len(NOISES)))


def losses_of(x_hat: Tensor, x: Tensor) -> tuple[float, float]:
    """Return the mean squared error of images, and one minus their mean SSIM."""
    ssim = [float(LocalSsim(one[None])(image).mean()) for image, one in zip(x_hat, x, strict=True)]
    return float((x_hat - x).square().mean()), 1 - sum(ssim) / len(ssim)


def correlation_of_rows(a: Tensor, b: Tensor) -> Tensor:
    """Return the correlation ``(N,)`` of the rows of two tensors ``(N, m)``; 0 of a constant."""
    a, b = (t - t.mean(1, keepdim=True) for t in (a, b))
    lengths = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    found: Tensor = (a * b).sum(1) / lengths.clamp_min(TINY)
    return found


def excess_losses(losses: Sequence[tuple[float, float]]) -> list[float]:
    """Return how much worse each combination is than the better of its two parts.

    Args:
        losses: Losses of each combination by every measure; the first two are the parts, which are
            the network's answer and the descent without its prior.

    Returns:
        The largest ratio, over the measures, of its loss to the lower one of the parts; at most 1
        where it is as good as both.

    >>> excess_losses([(4.0, 0.1), (1.0, 0.2), (2.0, 0.1)])
    [4.0, 2.0, 2.0]
    """
    best = [max(min(parts), TINY) for parts in zip(*losses[:2], strict=True)]
    return [max(loss / low for loss, low in zip(one, best, strict=True)) for one in losses]
