"""A classifier as a chain of named layers, to be cut after any of them but the last."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """The layer ``input``: images in [0, 1] to the network's own units, channel by channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` in [0, 1] to the same shape, centred and scaled."""
        return (x - self.mean) / self.std


class FlattenLinear(nn.Linear):
    """A fully connected layer that flattens whatever it is fed, so that a cut keeps the shape."""

    def forward(self, input: Tensor) -> Tensor:
        """``(N, ...)`` to ``(N, out)``."""
        return super().forward(input.flatten(1))


class SplitModel(nn.Module):
    """A chain of layers, the first named ``input``: ``split`` cuts it in two after any of them.

    Args:
        layers: Every layer by its name, from the images to the logits. No layer works in place:
            the adversary holds the features that the next layer is fed.
    """

    aliases: ClassVar[Mapping[str, str]] = {}
    """``early``, ``middle`` (the default) and ``late``, so that one sweep spans victims."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for name, layer in layers.items():
            self.layers.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, C, H, W)`` in [0, 1] to logits ``(N, classes)``."""
        logits: Tensor = self.layers(x)
        return logits

    @property
    def split_points(self) -> tuple[str, ...]:
        """Every layer's name but the last; the first is ``input``: everything in the cloud."""
        return tuple(name for name, _ in self.layers.named_children())[:-1]

    def resolve(self, point: str) -> str:
        """The layer that a name or an alias stands for.

        Raises:
            ValueError: listing the split points.
        """
        name = self.aliases.get(point, point)
        if name not in self.split_points:
            choices = ", ".join((*self.split_points, *self.aliases))
            raise ValueError(f"split={point} is not known: choose from {choices}")
        return name

    def split(self, point: str) -> tuple[nn.Sequential, nn.Sequential]:
        """Edge (up to and with the layer) and cloud (the rest); they share the layers.

        Raises:
            ValueError: listing the split points.
        """
        cut = self.split_points.index(self.resolve(point)) + 1
        return self.layers[:cut], self.layers[cut:]


def require_min_size(name: str, shape: tuple[int, int, int], least: int) -> None:
    """Refuse images that the convolutions would shrink to nothing.

    Raises:
        ValueError: naming victim, shape and the least size.
    """
    if min(shape[1:]) < least:
        raise ValueError(
            f"victim={name} needs images of at least {least}x{least} pixels, these have "
            f"{shape[1]}x{shape[2]}: choose larger ones (dataset.shape, dataset.size) or "
            "another victim"
        )
