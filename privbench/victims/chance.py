"""Warning of a classifier that is no better than a guess of the most frequent class."""

import math
from statistics import NormalDist

from torch import Tensor

Z = NormalDist().inv_cdf(0.975)
"""Standard deviations of a two-sided test at 5 %."""


def chance_warning(accuracy: float, labels: Tensor, who: str, images: str, advice: str) -> str:
    """Describe a classifier that is not better than its most frequent class; empty if it is.

    It is better where the score test rejects the share of that class, which is where Wilson's 95 %
    interval of the accuracy lies above it.

    Args:
        accuracy: Share of the images that it classifies correctly.
        labels: Of the images ``(M,)``.
        who: Name of the classifier.
        images: Words for the images.
        advice: Last words of the warning.
    """
    chance = float(labels.bincount().max()) / len(labels)
    if accuracy > chance + Z * math.sqrt(chance * (1 - chance) / len(labels)):
        return ""
    return (
        f"{who} classifies {accuracy:.1%} of {images} right, not significantly more than the most "
        f"frequent class holds ({chance:.1%}): {advice}"
    )
