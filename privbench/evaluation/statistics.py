"""Intervals of a mean, by bootstrap or Student's t, and Wilson's of a share (no torch).

All are of the nominal level 95 %. A mean of fewer than ``FEW_IMAGES`` has a t interval, whose label
names the number of values and no level: BCa, which the others have, covers too rarely there, as the
simulation in ``tests/evaluation/test_intervals.py`` shows.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
RESAMPLES = 10_000
AT_ONCE = 4_000_000
"""Draws that are in memory at once: 32 MB."""
LEVEL = 0.95
FEW_IMAGES = 20
"""Values under which an interval is Student's t and is not called a 95 % interval."""
FEW_VICTIMS = 3
"""Victims under which their means have no interval."""
ENOUGH_VICTIMS = 5
"""Victims from which on that interval is called one about victims."""
_NORMAL = NormalDist()


def mean_interval(values: Sequence[float] | NDArray[np.float64]) -> Interval | None:
    """Return the interval of a mean: BCa from 20 values on, Student's t under 20.

    Args:
        values: One value an image, the mean over its seeds.

    Returns:
        Low and high end; null (in JSON too) for a single value, which has no spread to judge by.

    Raises:
        ValueError: where there is no value.
    """
    if len(values) == 1:
        return None
    return bca(values) if len(values) >= FEW_IMAGES else student_t(values)


def student_t(values: Sequence[float] | NDArray[np.float64]) -> Interval:
    """Return Student's t interval of the mean of at least two values.

    >>> [round(end, 3) for end in student_t([1.0, 2.0, 3.0])]
    [-0.484, 4.484]
    """
    from scipy.special import stdtrit  # 0.2 s, which --help does not need

    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        raise ValueError(f"a t interval needs at least two values, got {len(x)}")
    half = float(stdtrit(len(x) - 1, (1 + LEVEL) / 2)) * float(x.std(ddof=1)) / math.sqrt(len(x))
    return float(x.mean()) - half, float(x.mean()) + half


def victim_interval(means: Sequence[float]) -> Interval | None:
    """Return the t interval over victims' means, a trained victim a value; null under three."""
    return student_t(means) if len(means) >= FEW_VICTIMS else None


def interval_label(images: int) -> str:
    """Return what a ``mean_interval`` of this many images is called.

    >>> interval_label(20), interval_label(10)
    ('95 %', 't, 10 images')
    """
    return "95 %" if images >= FEW_IMAGES else f"t, {images} images"


def victim_label(victims: int) -> str:
    """Return what a ``victim_interval`` is called: one about victims from five of them on.

    >>> victim_label(3), victim_label(5)
    ('t, 3 victims', 'interval about victims: t, 5 victims')
    """
    about = "interval about victims: " if victims >= ENOUGH_VICTIMS else ""
    return f"{about}t, {victims} victims"


def bca(values: Sequence[float] | NDArray[np.float64], seed: int = 0) -> Interval:
    """Return the bias-corrected and accelerated bootstrap interval of a mean (Efron 1987).

    Args:
        values: One value an image.
        seed: Of the resampling; its own, so that no other draw moves it.

    Returns:
        Low and high end. One value, or equal ones, give an interval of no width.

    Raises:
        ValueError: where there is no value.
    """
    # scipy.stats.bootstrap(method="BCa") equals this to 1e-14 for distinct values; it cannot draw
    # counts of tied ones as ``_resampled_means`` does, whose intervals stand in records
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 0:
        raise ValueError("an interval needs at least one value")
    mean, spread = float(x.mean()), float(x.std())
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return mean, mean
    means = _resampled_means(x, seed)
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


def _resampled_means(x: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Means of resamples; drawn as counts of the distinct values, where these are few."""
    distinct, counts = np.unique(x, return_counts=True)
    if len(distinct) < len(x) / 2:
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(len(x), counts / len(x), size=RESAMPLES)
        return np.asarray(drawn @ distinct / len(x))
    if len(x) * RESAMPLES <= AT_ONCE:
        return np.asarray(x[_drawn(len(x), seed)].mean(1))
    generator, at_once = np.random.default_rng(seed), max(1, AT_ONCE // len(x))
    means = [
        x[generator.integers(len(x), size=(min(at_once, RESAMPLES - begin), len(x)))].mean(1)
        for begin in range(0, RESAMPLES, at_once)
    ]
    return np.concatenate(means)


@lru_cache(maxsize=2)
def _drawn(count: int, seed: int) -> NDArray[np.int64]:
    """Return the values of each resample; a report asks for hundreds of intervals of one size."""
    return np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))


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
