"""Training mode of traced networks: calls whose constants it changes, as those of ``F.dropout``."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from privbench.victims import graph

Place = int | str
"""Position or keyword of an argument."""
Differing = dict[Place, tuple[Any, Any]]
"""Values of arguments in evaluation and in training mode."""


class CallByMode(nn.Module):
    """A function some of whose arguments are others in training mode.

    A graph that was traced in one mode would keep the constants of that mode.

    Args:
        function: The function.
        arguments: Those that differ, by position or keyword: the value in evaluation mode and the
            one in training mode.
    """

    def __init__(self, function: Callable[..., Any], arguments: Mapping[Place, Any]) -> None:
        super().__init__()
        self.function, self.arguments = function, dict(arguments)

    def forward(self, *given: Any, **named: Any) -> Any:
        """Call the function with the arguments of the mode in place of those given."""
        mode = {place: pair[self.training] for place, pair in self.arguments.items()}
        positional = (mode.get(place, value) for place, value in enumerate(given))
        return self.function(*positional, **{n: mode.get(n, value) for n, value in named.items()})

    def extra_repr(self) -> str:
        """Return what it computes, which keys of networks contain."""
        return f"{getattr(self.function, '__name__', self.function)}, {self.arguments}"


def follow(module: fx.GraphModule, network: nn.Module) -> str:
    """Let a graph traced in evaluation mode compute in training mode what the network does.

    Calls of functions whose constants differ between the modes become modules. Of a network that
    returns auxiliary logits in training mode the first result counts.

    Args:
        module: Graph of the network, changed in place; names of nodes stay.
        network: The network; it is in evaluation mode afterwards.

    Returns:
        What differs otherwise, in words: the graph stays as it is then. Empty where nothing does.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # a network may draw while it is traced
            other = graph.trace(network.train())
    except Exception as error:  # whatever the network's own code raises for a proxy
        return f"torch.fx cannot trace it: {' '.join(str(error).split())}"
    finally:
        network.eval()
    try:
        differing = list(_differing(network, module.graph, other))
    except ValueError as error:
        return str(error)
    for node, arguments in differing:
        name = f"by_mode_{node.name}"
        assert callable(node.target)
        module.add_module(name, CallByMode(node.target, arguments).eval())
        node.op, node.target = "call_module", name
    module.recompile()
    return ""


def _differing(
    network: nn.Module, evaluation: fx.Graph, training: fx.Graph
) -> Iterator[tuple[fx.Node, Differing]]:
    """Yield nodes of the first graph whose constants differ in the second.

    Raises:
        ValueError: naming the first node that differs in anything else.
    """
    mine, theirs = graph.computed(evaluation), graph.computed(training)
    partner = dict(zip(theirs, mine, strict=False))
    for node, other in zip(mine, theirs, strict=False):
        if node.op != other.op or not _same_target(network, node, other):
            raise ValueError(f"{node.name} differs")
        found = _constants(_arguments(node), _arguments(other), partner)
        if found is None or (found and node.op != "call_function"):
            raise ValueError(f"{node.name} differs")
        if found:
            yield node, found
    if len(mine) != len(theirs):
        raise ValueError(f"{len(mine)} operations are {len(theirs)}")


def _same_target(network: nn.Module, node: fx.Node, other: fx.Node) -> bool:
    if node.target == other.target or node.op != "get_attr":
        return node.target == other.target
    # each tracing keeps a constant tensor under another name
    mine, theirs = (getattr(network, str(one.target), None) for one in (node, other))
    if not (isinstance(mine, Tensor) and isinstance(theirs, Tensor)):
        return False
    return mine.shape == theirs.shape and (mine.is_meta or torch.equal(mine, theirs))


def _arguments(node: fx.Node) -> dict[Place, Any]:
    arguments: dict[Place, Any] = dict(enumerate(node.args))
    return arguments | node.kwargs


def _constants(
    mine: Mapping[Place, Any], theirs: Mapping[Place, Any], partner: Mapping[fx.Node, fx.Node]
) -> Differing | None:
    """Return the arguments that differ; null where one of them is computed by another node."""
    if mine.keys() != theirs.keys():
        return None
    found: Differing = {}
    for place, value in mine.items():
        other = fx.node.map_arg(theirs[place], lambda node: partner.get(node, node))
        if value != other:
            found[place] = value, other
    return None if any(map(_has_node, found.values())) else found


def _has_node(pair: tuple[Any, Any]) -> bool:
    nodes: set[fx.Node] = set()

    def note(node: fx.Node) -> fx.Node:
        nodes.add(node)
        return node

    fx.node.map_arg(pair, note)
    return bool(nodes)
