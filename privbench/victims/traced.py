"""Traced models: any network that torch.fx traces, cut where every path passes."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from privbench.victims import graph, mode
from privbench.victims.split_model import INPUT, Normalize, SplitModel

DEPTHS = {"early": 1 / 4, "middle": 1 / 2, "late": 3 / 4}
"""Shares of the split points in front of the aliases, for a network that names none."""


class TracedModel(SplitModel):
    """A network with its preprocessing in front of it, the first layer of every edge.

    A split point is a node of the network's graph that every path from input to output passes. It
    is named by the node (``add_2``), or by the dotted path of a module whose last node it is
    (``layer2``, ``layer2.1``). Features ``(N, h, w, C)``, as those of Swin, leave the edge as
    ``(N, C, h, w)``, the order that attacks and defenses take.

    Args:
        build: Builds the network with random weights; called in any process.
        shape: Image shape ``(C, H, W)``.
        classes: Number of classes.
        mean: Mean of each channel; null for none to subtract.
        std: Standard deviation of each channel; null for none to divide by.
        depths: Split points of ``early``, ``middle`` and ``late``; null for those at a quarter,
            half and three quarters of the list.

    Raises:
        ValueError: for a network that cannot be traced, or does not map such images to logits.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        shape: tuple[int, int, int],
        classes: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        depths: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.input = Normalize(tuple(mean or (0.0,)), tuple(std or (1.0,)))
        network = build()
        self.known = frozenset(network.state_dict())
        self.network = graph.traced(network)
        self.other_in_training = mode.follow(self.network, network)
        features, self.sizes = self._try_out(network, shape, classes)
        self.cuts = graph.cut_points(self.network.graph, features, self.sizes)
        self.transposed = {name for name in self.cuts if is_channels_last(features[name], shape)}
        self.ends = {
            path: node
            for path, node in graph.module_ends(self.network.graph).items()
            if node in self.cuts
        }
        self.depths = depths or self._at_shares()

    def _at_shares(self) -> dict[str, str]:
        points = self.split_points
        return {name: points[int(share * len(points))] for name, share in DEPTHS.items()}

    def _try_out(
        self, network: nn.Module, shape: tuple[int, int, int], classes: int
    ) -> tuple[dict[str, tuple[int, ...]], set[str]]:
        """Run the network; return shapes of features by node, and nodes that read the batch size.

        Raises:
            ValueError: where it fails, where its answers are random, and where its graph gives
                another result.
        """
        name = type(network).__name__
        with torch.random.fork_rng(devices=[]):
            x = self.input(torch.rand(graph.BATCH, *shape))
            try:
                logits, features, sizes = graph.try_out(self.network, x)
                with torch.no_grad():
                    whole, again = network(x.clone()), network(x.clone())
            except Exception as error:  # whatever the network's layers raise
                reason = " ".join(str(error).split())
                raise ValueError(f"{name} takes no images of shape {shape}: {reason}") from error
        if not isinstance(logits, Tensor) or logits.shape != (graph.BATCH, classes):
            got = tuple(logits.shape[1:]) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"{name} returns {got} for an image, expected {classes} logits")
        if not logits.is_meta and not torch.equal(whole, again):
            raise ValueError(
                f"{name} gives random answers in evaluation mode: let its noise follow the mode, "
                "as F.dropout(x, training=self.training) does, or make it a defense"
            )
        if not logits.is_meta and not torch.equal(logits, whole):
            raise ValueError(f"{name} overwrites values that it uses later: copy them first")
        return features, sizes

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, C, H, W)`` in [0, 1] to logits ``(N, classes)``."""
        logits: Tensor = self.network(self.input(x))
        return logits

    @property
    def split_points(self) -> tuple[str, ...]:
        """The preprocessing, and the nodes that every path passes, but the last."""
        return (INPUT, *self.cuts)

    def names(self) -> dict[str, str]:
        """Return the split point of every node, module and alias."""
        known = {**self.ends, **{point: point for point in self.split_points}}
        return {**known, **{name: known[path] for name, path in self.depths.items()}}

    def choices(self) -> list[str]:
        """Return a name of each split point, that of a module where there is one, and aliases."""
        longest_first = sorted(self.ends, key=len, reverse=True)
        shortest = {self.ends[path]: path for path in longest_first}
        return [*(shortest.get(point, point) for point in self.split_points), *DEPTHS]

    def _halves(self, point: str) -> tuple[nn.Sequential, nn.Sequential]:
        if point == INPUT:
            return _sequential(input=self.input), _sequential(network=self.network)
        edge, cloud = graph.halves(self.network, point, self.sizes)
        if point not in self.transposed:
            return _sequential(input=self.input, network=edge), _sequential(network=cloud)
        return (
            _sequential(input=self.input, network=edge, features=Transpose(CHANNELS_FIRST)),
            _sequential(features=Transpose(CHANNELS_LAST), network=cloud),
        )


def _sequential(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


class Transpose(nn.Module):
    """Exchange the order of features' dimensions.

    Args:
        order: Of the dimensions, as ``Tensor.permute`` takes it.
    """

    def __init__(self, order: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.order = order

    def extra_repr(self) -> str:
        """Return the order, for fingerprints of an edge."""
        return str(self.order)

    def forward(self, v: Tensor) -> Tensor:
        """Features ``(N, ...)`` to the same entries in another order."""
        return v.permute(self.order)


def is_channels_last(feature_shape: Sequence[int], image_shape: tuple[int, int, int]) -> bool:
    """Return whether features are ``(h, w, C)`` by the proportions of the image.

    Their first two sides are then the image's over a stride, rounded, and nearer to the image's
    proportions than the last two, which are not.

    >>> [is_channels_last(shape, (3, 64, 64)) for shape in ((16, 16, 96), (96, 16, 16), (9, 9, 9))]
    [True, False, False]
    >>> [is_channels_last(shape, (3, 16, 64)) for shape in ((4, 16, 96), (96, 4, 16), (4, 12, 60))]
    [True, False, False]
    >>> [is_channels_last((*sides, 96), (3, 218, 178)) for sides in ((54, 44), (27, 22), (7, 6))]
    [True, True, True]
    """
    if len(feature_shape) != 3:
        return False
    sides, shape = image_shape[1:], tuple(feature_shape)
    if not _fits(shape[:2], sides) or _fits(shape[1:], sides):
        return False
    return _distortion(shape[:2], sides) < _distortion(shape[1:], sides)


def _fits(grid: tuple[int, ...], sides: tuple[int, int]) -> bool:
    """Return whether a grid has an image's sides over one stride, rounded up or down."""
    return any(
        all(
            count in (side // step, -(-side // step))
            for count, side in zip(grid, sides, strict=True)
        )
        for step in range(1, max(sides) + 1)
    )


def _distortion(grid: tuple[int, ...], sides: tuple[int, int]) -> float:
    """Return how far a grid's proportions are from an image's."""
    return abs(math.log(grid[0] * sides[1] / (grid[1] * sides[0])))
