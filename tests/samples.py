"""Made-up scores of images, for the coverage of intervals."""

import numpy as np

SSIM = 1 - 0.8 / 3
"""The mean of ``skewed_scores``."""
TRIALS = 600
"""A coverage of .95 is simulated to .009, one standard deviation."""


def skewed_scores(draw: np.random.Generator, count: int) -> np.ndarray:
    """Images' scores, skewed to the left; their mean is ``SSIM``."""
    return 1 - 0.8 * draw.beta(2, 4, size=count)
