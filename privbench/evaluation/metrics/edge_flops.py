"""Floating-point operations of the edge."""

from typing import TYPE_CHECKING

from privbench.evaluation.metrics.base import Metric

if TYPE_CHECKING:
    from torch import Tensor, nn

    from privbench.defenses.deployment import Deployment


def features_of(edge: "nn.Module", x: "Tensor") -> "Tensor":
    """Return the features of one image ``(1, *feature_shape)`` without values, on the meta device.

    Only the shape of ``x`` ``(N, C, H, W)`` is read.
    Nothing is computed and the edge stays on its device.
    """
    import torch
    from torch.func import functional_call

    state = {**dict(edge.named_parameters()), **dict(edge.named_buffers())}
    meta = {name: tensor.to("meta") for name, tensor in state.items()}
    with torch.no_grad():
        features: Tensor = functional_call(
            edge, meta, (torch.empty(1, *x.shape[1:], device="meta"),)
        )
    return features


def edge_flops(deployment: "Deployment", x: "Tensor") -> float:
    """Return the floating-point operations that the edge takes for an image.

    Those of convolutions, matrix products and attention, a multiplication and an addition each
    counted; torch's counter leaves out elementwise operations. It counts on the meta device: on
    the CPU attention is one operation that it does not know, and would count as 0.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        features_of(deployment.edge, x)
    return float(counter.get_total_flops())


EDGE_FLOPS = Metric(
    name="edge_flops",
    label="edge FLOPs",
    interval=None,
    decimals=0,
    show=("run", "table"),
    compute=edge_flops,
)
