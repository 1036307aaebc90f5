"""Bayes floor: the least expected squared error of any attack on a finite set of images.

For an image x drawn uniformly from N evaluation images, no estimator from what the channel sends,
even one that knows all N images, has a smaller expected squared error than the posterior mean,
and none identifies more. It is in squared units of [0, 1] pixels: errors are compared with it
before they become decibels, as a mean of PSNRs lies above the PSNR of the mean.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from privbench.evaluation.metrics.base import VACUOUS, Measured, Metric

if TYPE_CHECKING:
    from torch import Tensor

    from privbench.defenses.deployment import Deployment

VERSION = "bayes_floor-2"
NEAR_DB = 1.0
"""Distance from the floor within which an attack leaves nothing to gain."""
BEYOND = 3.0
"""Standard errors by which an attack may lie below the floor by chance."""


def bayes_floor(deployment: "Deployment", x: "Tensor", transmissions: int) -> Measured:
    """Return the floor of the mean squared error; null for a channel without an exact likelihood.

    Args:
        deployment: Edge, channel and cloud.
        x: The N evaluation images ``(N, C, H, W)``.
        transmissions: How often each image is sent, K.
    """
    from privbench.evaluation.finite_set import floor

    found = floor(deployment, x, transmissions)
    if found is None:
        return Measured(None, {"images": len(x), "transmissions": transmissions})
    return Measured(found.error, asdict(found))


def remarks(facts: Mapping[str, Any], errors: Sequence[float]) -> list[str]:
    """Say what the floor is, how far an attack is above it, and what no attack identifies."""
    size = f"N = {facts['images']:,} test images, K = {facts['transmissions']}"
    if "error" not in facts:
        return [f"no Bayes floor ({size}): the channel has no exact likelihood"]
    least, spread = facts["error"], facts["error_deviation"]
    vacuous = ", vacuous" if least < VACUOUS else ""
    lines = [
        f"Bayes floor ({size}): mean squared error >= {least:.2g} +- {spread:.1g} for any "
        f"attack{vacuous}; identified by two guesses <= {facts['identified_by_two']:.1%}"
    ]
    return [*lines, *_distance(least, spread, errors)] if errors and not vacuous else lines


def _distance(least: float, spread: float, errors: Sequence[float]) -> list[str]:
    mine = fmean(errors)
    if below(least, spread, errors):
        return [f"this attack, {mine:.2g}, lies BELOW the Bayes floor: one of both is wrong"]
    decibels = 10 * math.log10(max(mine, least) / least)
    if decibels <= NEAR_DB:
        return [f"this attack is within {NEAR_DB:g} dB of the Bayes floor: nothing left to gain"]
    return [f"this attack, {mine:.2g}, is {decibels:.1f} dB above the Bayes floor"]


def below(least: float, spread: float, errors: Sequence[float]) -> bool:
    """Return whether an attack beats a floor beyond the Monte-Carlo errors of both.

    Args:
        least: The floor.
        spread: Its standard error.
        errors: Mean squared error of each of the attack's images, drawn uniformly.
    """
    mine = stdev(errors) / math.sqrt(len(errors)) if len(errors) > 1 else math.inf
    return least - fmean(errors) > BEYOND * math.hypot(spread, mine)


BAYES_FLOOR = Metric(
    name="bayes_floor",
    label="Bayes floor",
    higher_leaks=False,
    interval=None,
    decimals=5,
    show=("run", "table"),
    costly=True,
    compute=bayes_floor,
    over="test",
    remarks=remarks,
)
