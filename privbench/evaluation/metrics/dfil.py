"""Diagonal Fisher information leakage, a bound on unbiased attackers (Maeng et al. 2022)."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from privbench.evaluation.metrics.base import VACUOUS, Measured, Metric

if TYPE_CHECKING:
    from torch import Tensor

    from privbench.defenses.deployment import Deployment

VERSION = "dfil-3"
IMAGES, PROBES = 128, 4
"""Images over which the trace is a mean, and random probes of each."""
RANK_IMAGES, FEW_IMAGES = 16, 2
"""Images whose Jacobian's rank is computed, and of images of more than 1,024 pixels."""


def dfil(deployment: "Deployment", x: "Tensor", transmissions: int) -> Measured:
    """Return dFIL in units of [0, 1] pixels; null where it is infinite.

    Args:
        deployment: Edge, channel and cloud.
        x: Test images ``(N, C, H, W)``, of which some evenly spaced ones are used.
        transmissions: How often each image is sent, K: dFIL grows K-fold.
    """
    from privbench.evaluation import bounds

    found = bounds.dfil(deployment, spaced(x, IMAGES), transmissions, PROBES)
    facts: dict[str, Any] = {"transmissions": transmissions, "pixels": x[0].numel()}
    if math.isinf(found):
        return Measured(None, facts)
    some = spaced(x, RANK_IMAGES if x[0].numel() <= 1024 else FEW_IMAGES)
    share = bounds.rank_deficient_share(deployment.edge, some)
    facts |= {"dfil": found, "images": min(IMAGES, len(x))}
    return Measured(found, {**facts, "rank_deficient": share, "rank_images": len(some)})


def spaced(x: "Tensor", count: int) -> "Tensor":
    """Return at most ``count`` evenly spaced images, the first and the last among them."""
    import torch

    return x[torch.linspace(0, len(x) - 1, min(count, len(x))).round().long()]


def remarks(facts: Mapping[str, Any], errors: Sequence[float]) -> list[str]:
    """Say whom the bound binds, and on how many images there is such an attacker."""
    times = f"K = {facts['transmissions']}"
    found = facts.get("dfil")
    if found is None:
        return [f"dFIL infinite ({times}): the channel leaves entries exact, and there is no bound"]
    bound = 1 / found if found else math.inf
    least = f"mean squared error >= 1/dFIL = {bound:.2g}" if found else "no finite error"
    vacuous = ", vacuous" if bound < VACUOUS else ""
    pixels, share = facts["pixels"], facts["rank_deficient"]
    if share is None:
        where = f"whether the edge's Jacobian has a rank below the {pixels} pixels is not known"
    else:
        where = (
            f"on {share:.0%} of {facts['rank_images']} images the edge's Jacobian has a rank below "
            f"the {pixels} pixels, where there is no unbiased attacker"
        )
    return [f"dFIL {found:.4g} ({times}) binds unbiased attackers only: {least}{vacuous}; {where}"]


DFIL = Metric(
    name="dfil",
    label="dFIL",
    interval=None,
    decimals=1,
    show=("run", "table"),
    costly=True,
    compute=dfil,
    over="test",
    remarks=remarks,
)
