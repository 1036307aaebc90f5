"""Size of what the edge sends for an image."""

from typing import TYPE_CHECKING

from privbench.evaluation.metrics.base import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from privbench.deployment import Deployment


def payload_bits(deployment: "Deployment", x: "Tensor") -> float:
    """Return the bits of one transmission of one image, from the channel's ``payload_bits``."""
    import torch

    from privbench.evaluation.metrics.edge_flops import features_of

    v = features_of(deployment.edge, x)
    return float(deployment.channel.payload_bits(torch.zeros(v.shape)))


PAYLOAD_BITS = Metric(
    name="payload_bits",
    label="payload",
    unit="bit",
    interval=None,
    decimals=0,
    show=("run", "table"),
    compute=payload_bits,
)
