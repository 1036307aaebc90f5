"""Split models: chains of named layers, divided after any layer but the last."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Layer ``input``: standardises images in [0, 1] channel by channel.

    Args:
        mean: Mean of each channel.
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


class FlattenLinear(nn.Linear):
    """Fully connected layer that flattens its input; features before it keep their shape."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, ...)`` to ``(N, out)``."""
        return super().forward(input.flatten(1))


class SplitModel(nn.Module):
    """A chain of layers, the first of which is named ``input``.

    ``split`` divides it in two after any layer but the last.

    Args:
        layers: Every layer by its name, from the images to the logits. No layer works in place:
            the adversary receives the features that are the next layer's input.
    """

    aliases: ClassVar[Mapping[str, str]] = {}
    """Split points for ``early``, ``middle`` (the default) and ``late``, shared by all victims."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for name, layer in layers.items():
            self.layers.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, C, H, W)`` in [0, 1] to logits ``(N, classes)``."""
        logits: Tensor = self.layers(x)
        return logits

    @property
    def split_points(self) -> tuple[str, ...]:
        """Names of all layers but the last; at ``input`` the cloud computes the whole network."""
        return tuple(name for name, _ in self.layers.named_children())[:-1]

    def resolve(self, point: str) -> str:
        """Return the layer of a name or an alias.

        Raises:
            ValueError: listing the split points.
        """
        name = self.aliases.get(point, point)
        if name not in self.split_points:
            choices = ", ".join((*self.split_points, *self.aliases))
            raise ValueError(f"split={point} is not known: choose from {choices}")
        return name

    def split(self, point: str) -> tuple[nn.Sequential, nn.Sequential]:
        """Return edge (up to and including the layer) and cloud (the rest), which share the layers.

        Raises:
            ValueError: listing the split points.
        """
        cut = self.split_points.index(self.resolve(point)) + 1
        return self.layers[:cut], self.layers[cut:]


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
