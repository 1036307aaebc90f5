"""Graphs of networks: traced by torch.fx, cut at the nodes that every path passes."""

import operator
from collections.abc import Collection, Iterable

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
        graph = trace(network.eval())
    except Exception as error:  # whatever the network's own code raises for a proxy
        reason = " ".join(str(error).split())
        raise ValueError(
            f"torch.fx cannot trace {type(network).__name__} ({reason}): choose a network whose "
            "control flow does not depend on its input, or write it as a ChainModel"
        ) from error
    module = fx.GraphModule(network, graph)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def trace(network: nn.Module) -> fx.Graph:
    """Return the graph of a network in its present mode, without operations in place."""
    graph = fx.Tracer().trace(network)
    for node in list(graph.nodes):
        _replace_in_place(node)
        if node.target is torch._assert:  # on shapes; a half would lack its operands
            graph.erase_node(node)
    return graph


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
    """Runs a graph and records nodes whose values belong to the images one by one.

    Attributes:
        features: Shape of an image's part of each node whose values are one tensor for each image.
        sizes: Nodes that read the first dimension of a tensor, where it is the number of images.
    """

    def __init__(self, module: fx.GraphModule, images: int) -> None:
        super().__init__(module)
        self.images = images
        self.features: dict[str, tuple[int, ...]] = {}
        self.sizes: set[str] = set()

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        tensor = isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 1
        if tensor and len(value) == self.images:
            self.features[n.name] = tuple(value.shape[1:])
        if _reads_length(n) and value == self.images:
            self.sizes.add(n.name)
        return value


def _reads_length(node: fx.Node) -> bool:
    """Return whether a node is ``x.size(0)``, ``x.size()[0]`` or ``x.shape[0]``."""
    if node.op == "call_method" and node.target == "size":
        return [*node.args[1:], *node.kwargs.values()] == [0]
    if node.target is not operator.getitem or node.args[1:] != (0,):
        return False
    shape = node.args[0]
    if not isinstance(shape, fx.Node):
        return False
    if shape.target is getattr:
        return bool(shape.args[1] == "shape")
    return shape.op == "call_method" and shape.target == "size" and len(shape.args) == 1


@torch.no_grad()
def try_out(
    module: fx.GraphModule, x: Tensor
) -> tuple[Tensor, dict[str, tuple[int, ...]], set[str]]:
    """Try a network with images ``(BATCH, C, H, W)``.

    Returns:
        The output, the shape of an image's features by node, and the names of nodes that read the
        batch size.
    """
    recorder = _Recorder(module, len(x))
    output, sizes = recorder.run(x), recorder.sizes
    if sizes:  # channels may be as many as the images
        fewer = _Recorder(module, len(x) - 1)
        fewer.run(x[:-1])
        sizes &= fewer.sizes
    return output, recorder.features, sizes


def cut_points(graph: fx.Graph, features: Collection[str], sizes: set[str]) -> list[str]:
    """Return the nodes with features that every path from input to output passes, in order.

    A path through a node that reads the batch size is none: the cloud reads it off the features.
    The node that the output returns is no cut point: nothing would remain behind it.
    """
    nodes = list(graph.nodes)
    position = {node: number for number, node in enumerate(nodes)}
    source, output = _source(graph), nodes[-1]
    read = {node for node in nodes if node.name in sizes}
    live = _ancestors([output], stop=read) & _descendants(source, without=read)
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


def halves(
    module: fx.GraphModule, name: str, sizes: set[str]
) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Return the graph up to and including a cut point, and the rest; both share the layers.

    Nodes of ``sizes``, in front of the cut and used behind it, read the features in the cloud.
    """
    nodes = list(module.graph.nodes)
    cut = next(node for node in nodes if node.name == name)
    before = _ancestors([cut])
    edge, cloud = fx.Graph(), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in (node for node in nodes if node in before):
        copies[node] = edge.node_copy(node, copies.__getitem__)
    edge.output(copies[cut])
    v = cloud.placeholder("v")
    copies = {cut: v}
    read = {node for node in nodes if node.name in sizes} - _descendants(cut)
    behind = _ancestors([nodes[-1]], stop={cut, *read})
    for node in (node for node in nodes if node in behind and node is not cut):
        if node in read:
            copies[node] = cloud.create_node("call_method", "size", (v, 0), name=node.name)
        else:
            copies[node] = cloud.node_copy(node, copies.__getitem__)
    return fx.GraphModule(module, edge), fx.GraphModule(module, cloud)


def computed(graph: fx.Graph) -> list[fx.Node]:
    """Return the nodes that the output, or the first of several, is computed from, in order."""
    nodes = list(graph.nodes)
    before = _ancestors(_first(nodes[-1].args[0]))
    return [node for node in nodes if node in before]


def _first(returned: object) -> list[fx.Node]:
    """Return the node of the first result, or nothing where it is none."""
    if isinstance(returned, fx.Node) and isinstance(returned.target, type):
        returned = returned.args  # a named tuple
    while isinstance(returned, tuple | list) and returned:
        returned = returned[0]
    return [returned] if isinstance(returned, fx.Node) else []


def _source(graph: fx.Graph) -> fx.Node:
    found: fx.Node = next(node for node in graph.nodes if node.op == "placeholder")
    return found


def _ancestors(nodes: Iterable[fx.Node], stop: Collection[fx.Node] = ()) -> set[fx.Node]:
    """Return nodes and all that they are computed from, not searching beyond those in ``stop``."""
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [] if node in stop else node.all_input_nodes
    return found


def _descendants(node: fx.Node, without: Collection[fx.Node] = ()) -> set[fx.Node]:
    """Return a node and all that is computed from it, not through those in ``without``."""
    found: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node not in found and node not in without:
            found.add(node)
            waiting += node.users
    return found
