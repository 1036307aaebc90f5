"""Walks through a network: from split point to split point in one pass."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx

from privbench.runtime.errors import UserError
from privbench.victims.chain import ChainModel
from privbench.victims.split_model import INPUT, SplitModel
from privbench.victims.traced import TracedModel

Visit = Callable[[str, Any], None]
"""Called with the name and the value of each layer or node that has just been computed."""


class _Visitor(fx.Interpreter):
    """Runs a graph node by node.

    Args:
        module: Of the graph.
        visit: Called behind each node.
    """

    def __init__(self, module: fx.GraphModule, visit: Visit) -> None:
        super().__init__(module)
        self.visit = visit

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.visit(n.name, value)
        return value


def walk(model: SplitModel, x: Tensor, visit: Visit) -> Tensor:
    """Return the logits of images ``(N, C, H, W)``, and call ``visit`` behind every layer or node.

    Raises:
        UserError: for a network that is neither a chain nor traced.
    """
    if isinstance(model, ChainModel):
        for name, layer in model.layers.named_children():
            x = layer(x)
            visit(name, x)
        return x
    if isinstance(model, TracedModel):
        x = model.input(x)
        visit(INPUT, x)
        logits: Tensor = _Visitor(model.network, visit).run(x)
        return logits
    raise UserError(
        f"{type(model).__name__} cannot be planned: choose a ChainModel, or a network that "
        "torch.fx traces"
    )
