"""Plug-and-play reconstruction: data steps and a denoiser in turns.

Venkatakrishnan et al., "Plug-and-play priors for model based reconstruction" (GlobalSIP 2013), with
the falling noise level of Zhang et al., "Plug-and-play image restoration with deep denoiser prior"
(TPAMI 2021).
"""

from collections.abc import Callable, Sequence

from torch import Tensor

DataStep = Callable[[Tensor, float, Tensor], Tensor]
"""Prior's image z, its level tau and the current image to argmin over x of
-log p(v | x) + |x - z|² / (2 tau²); all images ``(N, C, H, W)``."""
Denoise = Callable[[Tensor, float], Tensor]
"""Image with noise of a level to the mean of the images that it may show."""


def geometric(first: float, last: float, count: int) -> list[float]:
    """Return levels from first to last, each a fixed share of the one before.

    >>> geometric(1.0, 0.25, 3)
    [1.0, 0.5, 0.25]
    """
    return [first * (last / first) ** (n / max(1, count - 1)) for n in range(count)]


def require_falling(first: float, last: float) -> None:
    """Refuse noise levels that do not fall.

    Raises:
        ValueError: naming both options.
    """
    if last >= first:
        raise ValueError(
            f"attack.last_level={last} is out of range: choose a number below {first:g} "
            "(attack.first_level)"
        )


def plug_and_play(
    start: Tensor, levels: Sequence[float], data_step: DataStep, denoise: Denoise
) -> Tensor:
    """Return the image on which data step and denoiser agree, by ADMM.

    At level tau, with u the sum of what they disagreed about so far:

        z = D(x + u, tau),  x = argmin -log p(v | x) + |x - (z - u)|² / (2 tau²),  u = u + x - z.

    At a constant level, where D is the proximal map of a convex negative log-prior, x converges to
    the posterior's mode; D of a Gaussian prior is such a map, and the mode is the posterior mean.
    Where the level changes, u changes with its square, as its multiplier 1 / tau² does not.

    Args:
        start: Images ``(N, C, H, W)``.
        levels: Noise levels of the denoiser, one for each turn, in units of the pixel range.
        data_step: Solves the data's share.
        denoise: The prior's share.
    """
    x, u, before = start, start * 0, levels[0]
    for level in levels:
        u = u * (level / before) ** 2
        z = denoise(x + u, level)
        x = data_step(z - u, level, x)
        u, before = u + x - z, level
    return x
