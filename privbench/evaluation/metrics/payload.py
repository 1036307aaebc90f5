"""Size of what the edge sends for an image."""

from typing import TYPE_CHECKING

from privbench.evaluation.metrics.base import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from privbench.defenses.deployment import Deployment


def payload_bits(deployment: "Deployment", x: "Tensor") -> float:
    """Return the bits of one transmission of one image, from the channel's ``payload_bits``.

    Behind a channel at the input the edge sends floats, whatever the channel made of its input.
    """
    import torch

    from privbench.defenses.deployment import FLOAT_BITS
    from privbench.evaluation.metrics.edge_flops import features_of

    v, channel = features_of(deployment.edge, x), deployment.channel
    if channel.site == "input":
        return float(FLOAT_BITS * v.numel())
    return float(channel.payload_bits(torch.zeros(v.shape)))


PAYLOAD_BITS = Metric(
    name="payload_bits",
    label="payload",
    unit="bit",
    interval=None,
    decimals=0,
    show=("run", "table"),
    compute=payload_bits,
)
