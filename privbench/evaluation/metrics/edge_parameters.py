"""Size of the edge."""

from typing import TYPE_CHECKING

from privbench.evaluation.metrics.base import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from privbench.defenses.deployment import Deployment


def edge_parameters(deployment: "Deployment", _x: "Tensor") -> float:
    """Return the number of trained values in the edge; a tensor that layers share counts once."""
    return float(sum(parameter.numel() for parameter in deployment.edge.parameters()))


EDGE_PARAMETERS = Metric(
    name="edge_parameters",
    label="edge parameters",
    interval=None,
    decimals=0,
    show=("run", "table"),
    compute=edge_parameters,
)
