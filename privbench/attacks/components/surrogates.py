"""Surrogate edges: the shadow networks of an adversary who does not know the edge's layers.

Built from image and feature shape, He et al. 2019 table 5: pairs of 3x3 convolutions without
an activation in between, a pooling wherever the features' grid halves, one activation at the end.
"""

import math
from collections.abc import Callable

from torch import Tensor, nn

from privbench.attacks.components.decoders import Shape, stride

TRUNK = 16
"""Channels in front of the linear layer of a surrogate with fully connected features."""
PAIR = 4
"""Rows and columns that two 3x3 convolutions without padding take off an image."""


class Centred(nn.Module):
    """Map from [0, 1] to [-1, 1], in place of the edge's normalisation, which is unknown."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same shape."""
        return 2 * x - 1


def surrogate_edge(
    image_shape: tuple[int, int, int], feature_shape: Shape, cloud: nn.Sequential
) -> nn.Sequential:
    """Build an untrained edge of another architecture.

    Args:
        image_shape: ``(C, H, W)``.
        feature_shape: ``(C, h, w)`` or ``(n,)``.
        cloud: Its first layer shows whether the features come before or after an activation.
    """
    published = PUBLISHED.get((image_shape, feature_shape))
    if published:
        layers = published()
    elif len(feature_shape) == 3:
        layers = _convolutions(image_shape, feature_shape)
    else:
        grid = (TRUNK, *(side // 4 for side in image_shape[1:]))
        layers = [
            *_convolutions(image_shape, grid),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(math.prod(grid), math.prod(feature_shape)),
        ]
    if not _before_activation(image_shape, feature_shape, cloud):
        layers.append(nn.ReLU())
    return nn.Sequential(Centred(), *layers)


def _convolutions(image_shape: Shape, feature_shape: Shape) -> list[nn.Module]:
    """Linear pairs and poolings from ``(C, H, W)`` to ``(c, h, w)``."""
    channels, *sides = image_shape
    out, *target = feature_shape
    layers: list[nn.Module] = []
    step, narrow = stride(feature_shape, image_shape), max(8, out // 4)
    # pixels of the full image that convolutions without padding must remove
    excess = [side - step * aim for side, aim in zip(sides, target, strict=True)]
    at = 1
    while True:
        shrinks = [rest >= PAIR * at for rest in excess]
        excess = [rest - PAIR * at * shrunk for rest, shrunk in zip(excess, shrinks, strict=True)]
        pads = (int(not shrinks[0]), int(not shrinks[1]))
        first = narrow if at == 1 else out
        layers += [
            nn.Conv2d(channels, first, 3, padding=pads),
            nn.Conv2d(first, out, 3, padding=pads),
        ]
        channels = out
        if at == step:
            break
        layers.append(nn.MaxPool2d(2))
        at *= 2
    if any(excess):
        layers.append(nn.AdaptiveMaxPool2d(tuple(target)))
    return layers


def _before_activation(image_shape: Shape, feature_shape: Shape, cloud: nn.Sequential) -> bool:
    """Return True where features may be negative: before an activation, or the image itself."""
    first = next(iter(cloud))
    return isinstance(first, nn.ReLU | nn.Sigmoid | nn.Tanh) or image_shape == feature_shape


PUBLISHED: dict[tuple[Shape, Shape], Callable[[], list[nn.Module]]] = {
    ((3, 32, 32), (128, 16, 16)): lambda: [
        nn.Conv2d(3, 64, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 5, padding=2),
    ]
}
"""CIFAR-10 at relu22; LeNet-5's surrogates follow from the general rule."""
