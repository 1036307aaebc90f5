"""Graphs of networks: traced by torch.fx, cut at the nodes that every path passes."""

import operator
from collections.abc import Iterable

import torch
from torch import Tensor, fx, nn

IN_PLACE = {
    getattr(operator, f"i{name}"): getattr(operator, name)
    for name in ("add", "sub", "mul", "truediv", "pow", "floordiv", "mod")
}
"""Operators that overwrite their first operand, and those that do not."""
BATCH = 3
"""Images that a network is tried with."""


def traced(network: nn.Module) -> fx.GraphModule:
    """Return the graph of a network in evaluation mode, in which nothing works in place.

    It shares the network's layers.

    Raises:
        ValueError: where torch.fx cannot trace the network.
    """
    for layer in network.modules():
        if getattr(layer, "inplace", False):
            layer.__dict__["inplace"] = False
    try:
        graph = fx.Tracer().trace(network.eval())
    except Exception as error:  # whatever the network's own code raises for a proxy
        reason = " ".join(str(error).split())
        raise ValueError(
            f"torch.fx cannot trace {type(network).__name__} ({reason}): choose a network whose "
            "control flow does not depend on its input, or write it as a ChainModel"
        ) from error
    for node in list(graph.nodes):
        _replace_in_place(node)
        if node.target is torch._assert:  # on shapes; a half would lack its operands
            graph.erase_node(node)
    module = fx.GraphModule(network, graph)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _replace_in_place(node: fx.Node) -> None:
    """Replace an operation on a node's input by the one that leaves the input unchanged."""
    target = node.target
    if node.op == "call_function":
        node.target = IN_PLACE.get(target, target)
    if node.op == "call_method" and isinstance(target, str):
        plain = target.removesuffix("_")
        if target.endswith("_") and not target.endswith("__") and hasattr(Tensor, plain):
            node.target = plain
        if plain == "view":
            node.target = "reshape"  # channels last, a view may not exist
    if node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}


class _Recorder(fx.Interpreter):
    """Runs a graph and records the nodes whose values are features: one tensor for each image."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.features: set[str] = set()

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        tensor = isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 1
        if tensor and len(value) == BATCH:
            self.features.add(n.name)
        return value


@torch.no_grad()
def try_out(module: fx.GraphModule, x: Tensor) -> tuple[Tensor, set[str]]:
    """Return the output for images ``(BATCH, C, H, W)``, and the names of nodes with features."""
    recorder = _Recorder(module)
    return recorder.run(x), recorder.features


def cut_points(graph: fx.Graph, features: set[str]) -> list[str]:
    """Return the nodes with features that every path from input to output passes, in order.

    The node that the output returns is none: nothing would remain behind it.
    """
    nodes = list(graph.nodes)
    position = {node: number for number, node in enumerate(nodes)}
    source, output = _source(graph), nodes[-1]
    live = _ancestors([output]) & _descendants(source)
    furthest, found = 0, []
    for node in nodes:
        if node not in live or node is output:
            continue
        ends = max(position[user] for user in node.users if user in live)
        if node is not source and furthest <= position[node] and output not in node.users:
            found.append(node.name)
        furthest = max(furthest, ends)
    return [name for name in found if name in features]


def module_ends(graph: fx.Graph) -> dict[str, str]:
    """Return the name of the last node within each submodule, by the submodule's dotted path."""
    ends = {}
    for node in graph.nodes:
        for path, _ in node.meta.get("nn_module_stack", {}).values():
            if path:
                ends[path] = node.name
    return ends


def halves(module: fx.GraphModule, name: str) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Return the graph up to and including a cut point, and the rest; both share the layers."""
    nodes = list(module.graph.nodes)
    cut = next(node for node in nodes if node.name == name)
    before = _ancestors([cut])
    edge, cloud = fx.Graph(), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in (node for node in nodes if node in before):
        copies[node] = edge.node_copy(node, copies.__getitem__)
    edge.output(copies[cut])
    copies = {cut: cloud.placeholder("v")}
    behind = _ancestors([nodes[-1]], stop=cut)
    for node in (node for node in nodes if node in behind and node is not cut):
        copies[node] = cloud.node_copy(node, copies.__getitem__)
    return fx.GraphModule(module, edge), fx.GraphModule(module, cloud)


def _source(graph: fx.Graph) -> fx.Node:
    found: fx.Node = next(node for node in graph.nodes if node.op == "placeholder")
    return found


def _ancestors(nodes: Iterable[fx.Node], stop: fx.Node | None = None) -> set[fx.Node]:
    """Return nodes and all that they are computed from, not searching beyond ``stop``."""
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [] if node is stop else node.all_input_nodes
    return found


def _descendants(node: fx.Node) -> set[fx.Node]:
    """Return a node and all that is computed from it."""
    found: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.users
    return found
