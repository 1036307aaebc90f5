"""Surrogate edges: the shadow networks of an adversary who does not know the edge's layers.

Built from image and feature shape, He et al. 2019 table 5: pairs of 3x3 convolutions without
an activation in between, a pooling wherever the features' grid halves, one activation at the end.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from privbench.attacks.components.decoders import Shape, spatial, stride

TRUNK = 16
"""Channels in front of the linear layer of a surrogate with fully connected features."""
WIDEST = 128
"""Channels in front of the last convolution, at most."""
PAIR = 4
"""Rows and columns that two 3x3 convolutions without padding take off an image."""


class Centred(nn.Module):
    """Map from [0, 1] to [-1, 1], in place of the edge's normalisation, which is unknown."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same shape."""
        return 2 * x - 1


class Tokens(nn.Module):
    """Lay a grid ``(N, D, h, w)`` out as tokens ``(N, T, D)``.

    Args:
        class_token: Put the mean of all tokens in front.
    """

    def __init__(self, *, class_token: bool) -> None:
        super().__init__()
        self.class_token = class_token

    def forward(self, t: Tensor) -> Tensor:
        """``(N, D, h, w)`` to ``(N, T, D)``."""
        tokens = t.flatten(2).transpose(1, 2)
        return torch.cat([tokens.mean(1, keepdim=True), tokens], 1) if self.class_token else tokens


def surrogate_edge(
    image_shape: tuple[int, int, int], feature_shape: Shape, cloud: nn.Sequential
) -> nn.Sequential:
    """Build an untrained edge of another architecture.

    Args:
        image_shape: ``(C, H, W)``.
        feature_shape: ``(C, h, w)``, tokens ``(T, D)`` or ``(n,)``.
        cloud: Its first layer shows whether the features come after an activation; a graph shows
            nothing, and no activation ends the surrogate.
    """
    published = PUBLISHED.get((image_shape, feature_shape))
    if published:
        layers = published()
    elif len(feature_shape) == 3:
        layers = _convolutions(image_shape, feature_shape)
    elif len(grid := spatial(feature_shape, image_shape)) == 3:
        class_token = feature_shape[0] > grid[1] * grid[2]
        layers = [*_convolutions(image_shape, grid), Tokens(class_token=class_token)]
    else:
        grid = (TRUNK, *(side // 4 for side in image_shape[1:]))
        layers = [
            *_convolutions(image_shape, grid),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(math.prod(grid), math.prod(feature_shape)),
            *([nn.Unflatten(1, feature_shape)] if len(feature_shape) > 1 else []),
        ]
    if image_shape != feature_shape and isinstance(next(iter(cloud)), AFTER_ACTIVATION):
        layers.append(nn.ReLU())
    return nn.Sequential(Centred(), *layers)


def _convolutions(image_shape: Shape, feature_shape: Shape) -> list[nn.Module]:
    """Linear pairs and poolings from ``(C, H, W)`` to ``(c, h, w)``."""
    channels, *sides = image_shape
    out, *target = feature_shape
    layers: list[nn.Module] = []
    step, wide = stride(feature_shape, image_shape), min(out, WIDEST)
    # pixels of the full image that convolutions without padding must remove
    excess = [side - step * aim for side, aim in zip(sides, target, strict=True)]
    at = 1
    while True:
        shrinks = [rest >= PAIR * at for rest in excess]
        excess = [rest - PAIR * at * shrunk for rest, shrunk in zip(excess, shrinks, strict=True)]
        pads = (int(not shrinks[0]), int(not shrinks[1]))
        first = max(8, wide // 4) if at == 1 else wide
        layers += [
            nn.Conv2d(channels, first, 3, padding=pads),
            nn.Conv2d(first, out if at == step else wide, 3, padding=pads),
        ]
        channels = wide
        if at == step:
            break
        layers.append(nn.MaxPool2d(2))
        at *= 2
    if any(excess):
        layers.append(nn.AdaptiveMaxPool2d(tuple(target)))
    return layers


AFTER_ACTIVATION = (
    nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten
)  # fmt: skip
"""Layers that usually follow a ReLU; in front of others, a norm or a map, features are signed."""
PUBLISHED: dict[tuple[Shape, Shape], Callable[[], list[nn.Module]]] = {
    ((3, 32, 32), (128, 16, 16)): lambda: [
        nn.Conv2d(3, 64, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 5, padding=2),
    ]
}
"""CIFAR-10 at relu22; LeNet-5's surrogates follow from the general rule."""
