"""95 % intervals: the bootstrap over images, and Wilson's for a share (numpy, no torch)."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
RESAMPLES = 10_000
LEVEL = 0.95
_NORMAL = NormalDist()


def bca(values: Sequence[float] | NDArray[np.float64], seed: int = 0) -> Interval:
    """The bias-corrected and accelerated bootstrap interval of a mean (Efron 1987).

    Args:
        values: One value an image.
        seed: Of the resampling; its own, so that no other draw moves it.

    Returns:
        Low and high end. One value, or equal ones, give an interval of no width.

    Raises:
        ValueError: where there is no value.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 0:
        raise ValueError("an interval needs at least one value")
    mean, spread = float(x.mean()), float(x.std())
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return mean, mean
    means = _resampled_means(x, np.random.default_rng(seed))
    below = (means < mean).mean() + (means == mean).mean() / 2
    bias = _NORMAL.inv_cdf(float(np.clip(below, 0.5 / RESAMPLES, 1 - 0.5 / RESAMPLES)))
    # the jackknife's skewness in closed form: leaving out x_i moves the mean by -(x_i - mean)
    acceleration = float(((x - mean) ** 3).sum() / (6 * ((x - mean) ** 2).sum() ** 1.5))
    ends = []
    for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        z = bias + _NORMAL.inv_cdf(tail)
        ends.append(_NORMAL.cdf(bias + z / (1 - acceleration * z)))
    low, high = np.quantile(means, ends)
    return float(low), float(high)


def _resampled_means(x: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Means of resamples; drawn as counts of the distinct values, where these are few."""
    distinct, counts = np.unique(x, return_counts=True)
    if len(distinct) < len(x) / 2:
        drawn = generator.multinomial(len(x), counts / len(x), size=RESAMPLES)
        return np.asarray(drawn @ distinct / len(x))
    at_once = max(1, 4_000_000 // len(x))  # what fits a few MiB
    means = [
        x[generator.integers(len(x), size=(min(at_once, RESAMPLES - begin), len(x)))].mean(1)
        for begin in range(0, RESAMPLES, at_once)
    ]
    return np.concatenate(means)


def wilson(share: float, count: int) -> Interval:
    """Wilson's score interval of a share of ``count`` images: never empty at 0 or 1.

    Where each image's answer was averaged over several draws it is on the wide side.

    >>> [round(end, 3) for end in wilson(1.0, 360)]
    [0.989, 1.0]
    """
    z = _NORMAL.inv_cdf((1 + LEVEL) / 2)
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)
