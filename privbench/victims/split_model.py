"""Split models: networks that divide into an edge and a cloud at named points."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from privbench.runtime.errors import UserError
from privbench.runtime.random import torch_seed_hidden

INPUT = "input"
"""Name of the first layer of every edge; cut behind it, the cloud computes the whole network."""


class Normalize(nn.Module):
    """Layer ``input``: standardises images in [0, 1] channel by channel.

    Args:
        mean: Mean of each channel; three of them turn a grey image into three channels.
        std: Standard deviation of each channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise images ``(N, C, H, W)``."""
        return (x - self.mean) / self.std


class SplitModel(nn.Module):
    """A classifier of images ``(N, C, H, W)`` in [0, 1] that divides in two at named points.

    A subclass defines ``split_points`` and ``_halves``. Its constructor draws random weights and
    loads none: an adversary who knows the layers calls it again (``rebuild``).
    """

    aliases: ClassVar[Mapping[str, str]] = {}
    """Split points for ``early``, ``middle`` (the default) and ``late``, shared by all victims."""
    constructor: "partial[Self]"
    """Builds the network with other weights, in any process."""
    other_in_training: str = ""
    """What its training mode computes that this model cannot, in words; empty where it can all."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Keep the arguments of the constructor."""
        made = super().__new__(cls)
        made.__dict__["constructor"] = partial(cls, *args, **options)
        return made

    @property
    def split_points(self) -> tuple[str, ...]:
        """Names of all split points in the order of computation; the first is ``input``."""
        raise NotImplementedError

    def names(self) -> dict[str, str]:
        """Return the split point of every name that ``split`` accepts, listed ones first."""
        points = {point: point for point in self.split_points}
        return {**points, **self.aliases}

    def choices(self) -> list[str]:
        """Return the names that an error lists."""
        return [*self.split_points, *self.aliases]

    def resolve(self, point: str) -> str:
        """Return the split point of a name or an alias.

        Raises:
            ValueError: listing the split points.
        """
        names = self.names()
        if point not in names:
            listed = ", ".join(self.choices())
            raise ValueError(f"split={point} is not known: choose from {listed}")
        return names[point]

    def split(self, point: str) -> tuple[nn.Sequential, nn.Sequential]:
        """Return edge (up to and including the point) and cloud (the rest), which share the layers.

        The edge's first layer is ``input``; its attribute ``rebuild`` is an ``EdgeBuilder``.

        Raises:
            ValueError: listing the split points.
        """
        name = self.resolve(point)
        edge, cloud = self._halves(name)
        edge.__dict__["rebuild"] = EdgeBuilder(self.constructor, name)
        return edge, cloud

    def _halves(self, point: str) -> tuple[nn.Sequential, nn.Sequential]:
        """Return the halves at a split point."""
        raise NotImplementedError

    def rebuild(self, seed: int) -> Self:
        """Build the network anew by its constructor: the same layers, nothing of these weights."""
        with torch_seed_hidden(seed):
            return self.constructor()


@dataclass(frozen=True)
class EdgeBuilder:
    """Builder of an edge with new weights, which holds nothing of the victim's.

    Attributes:
        constructor: Builds the whole network.
        point: Split point.
    """

    constructor: "Callable[[], SplitModel]"
    point: str

    def __call__(self, seed: int) -> nn.Sequential:
        """Return the edge in training mode, newly initialised, the same for the same seed.

        Raises:
            UserError: where the constructor gives weights that are not random.
        """
        with torch_seed_hidden(seed + 1):  # other draws than those of the rebuilt network
            other = self.constructor()
        edge = other.rebuild(seed).split(self.point)[0]
        _require_random(edge, other.split(self.point)[0])
        return edge.requires_grad_(True).train()


def _require_random(first: nn.Module, second: nn.Module) -> None:
    """Refuse weights that two constructions share, unless all entries are one constant."""
    weights = dict(second.named_parameters())
    for name, weight in first.named_parameters():
        if weight.is_meta or not weight.requires_grad or not torch.equal(weight, weights[name]):
            continue
        if bool((weight != weight.flatten()[0]).any()):
            raise UserError(
                f"the victim's constructor loads {name}, so this adversary would hold the "
                "victim's weights: load them by victim.weights (victim=module)"
            )


def require_min_size(name: str, shape: tuple[int, int, int], smallest: int) -> None:
    """Refuse images that are smaller than the convolutions allow.

    Raises:
        ValueError: naming victim, shape and the smallest size.
    """
    if min(shape[1:]) < smallest:
        raise ValueError(
            f"victim={name} needs images of at least {smallest}x{smallest} pixels, these have "
            f"{shape[1]}x{shape[2]}: choose larger ones (dataset.shape, dataset.size) or "
            "another victim"
        )
