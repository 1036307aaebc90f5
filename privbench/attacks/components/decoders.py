"""Inverse networks: from one transmission's features to an image, built from the two shapes.

A black-box adversary knows no more than these. From them follows the stride: the largest power of
two by which the features' sides still fit the image's. Features of layers
without padding are smaller than the image over the stride, and lie in its middle. Tokens
``(T, D)`` are laid out on a grid of the image's proportions; where they form none, a linear layer
spreads them.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from privbench.runtime.code_identity import described

Shape = tuple[int, ...]
Build = Callable[[Shape, tuple[int, int, int]], nn.Module]
"""Feature shape and image shape to a network: the signature of an out-of-tree decoder."""

LEAK = 0.01
"""Slope of the output beyond [0, 1], so that out-of-range values keep a gradient."""


def stride(feature_shape: Shape, image_shape: Shape) -> int:
    """Return the power of two between the grids of features ``(C, h, w)`` and image ``(C, H, W)``.

    Vectors ``(n,)`` have no grid; their decoders start from a quarter of the image's, of images
    above 64x64 from one of at most 8 rows: the linear layer onto it would outgrow the memory.

    >>> [stride(features, (1, 28, 28)) for features in ((16, 8, 8), (8, 24, 24), (120,))]
    [2, 1, 4]
    >>> [stride((4096,), (3, side, side)) for side in (64, 65, 224)]
    [4, 16, 32]
    """
    if len(feature_shape) != 3:
        side = max(image_shape[1:])
        return 4 if side <= 64 else 1 << math.ceil(math.log2(side / 8))
    ratio = min(image_shape[1] / feature_shape[1], image_shape[2] / feature_shape[2])
    return 1 << max(0, math.floor(math.log2(ratio)))


def spatial(feature_shape: Shape, image_shape: Shape) -> Shape:
    """Return the shape ``(D, h, w)`` of tokens ``(T, D)`` on a grid; other shapes as given.

    The grid is that of square patches, of the image's proportions. A token in front of the grid's
    is the class token.

    >>> [spatial((count, 96), (3, 32, 32)) for count in (64, 65, 60)]
    [(96, 8, 8), (96, 8, 8), (60, 96)]
    >>> [spatial((count, 96), (3, 16, 64)) for count in (64, 65, 60)]
    [(96, 4, 16), (96, 4, 16), (60, 96)]
    >>> spatial((16, 8, 8), (1, 28, 28))
    (16, 8, 8)
    """
    if len(feature_shape) != 2:
        return feature_shape
    count, width = feature_shape
    common = math.gcd(*image_shape[1:])
    height, breadth = (side // common for side in image_shape[1:])
    # patches along a side of the largest square that tiles the image
    patches = math.isqrt(count // (height * breadth))
    grid = patches * height, patches * breadth
    return (width, *grid) if patches and count - math.prod(grid) in (0, 1) else feature_shape


def on_grid(v: Tensor, image_shape: Shape) -> Tensor:
    """Lay tokens ``(N, T, D)`` out on their grid ``(N, D, h, w)``, without the class token."""
    if v.dim() != 3 or len(shape := spatial(tuple(v.shape[1:]), image_shape)) != 3:
        return v
    tokens = v[:, v.shape[1] - shape[1] * shape[2] :]
    grid: Tensor = tokens.transpose(1, 2).unflatten(2, shape[1:])
    return grid


def _grid(feature_shape: Shape, image_shape: Shape) -> tuple[int, int]:
    """Return the sides of the features' grid once it spans the whole image."""
    step = stride(feature_shape, image_shape)
    height, width = (-(-side // step) for side in image_shape[1:])
    if len(feature_shape) == 3:
        return max(height, feature_shape[1]), max(width, feature_shape[2])
    return height, width


def _centred(t: Tensor, height: int, width: int) -> Tensor:
    """Pad with zeros or crop ``(N, C, h, w)`` to a height and width, keeping the middle."""
    down, right = height - t.shape[2], width - t.shape[3]
    return F.pad(t, (right // 2, right - right // 2, down // 2, down - down // 2))


class PaperDecoder(nn.Module):
    """The published inverse networks where they fit, elsewhere networks of the same kind.

    A transposed convolution spreads the features over the image's grid, another for each doubling,
    ReLU between: at conv1 of LeNet-5 this *is* the published 5x5 convolution with padding 4. Fully
    connected features are first spread by a linear layer.

    Args:
        feature_shape: ``(C, h, w)``, ``(T, D)`` or ``(n,)``.
        image_shape: ``(C, H, W)``.
    """

    def __init__(self, feature_shape: Shape, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.image_shape, feature_shape = image_shape, spatial(feature_shape, image_shape)
        published = PUBLISHED.get((feature_shape, image_shape))
        self.layers = published() if published else self._same_kind(feature_shape)

    def _same_kind(self, feature_shape: Shape) -> nn.Sequential:
        grid = _grid(feature_shape, self.image_shape)
        doublings = stride(feature_shape, self.image_shape).bit_length() - 1
        layers: list[nn.Module] = []
        if len(feature_shape) == 3:
            width = feature_shape[0]
            down, right = feature_shape[1:]
            spread = (max(3, grid[0] - down + 1), max(3, grid[1] - right + 1))
        else:
            width, spread = 16, (3, 3)
            layers += [
                nn.Flatten(),
                nn.Linear(math.prod(feature_shape), width * math.prod(grid)),
                nn.ReLU(),
                nn.Unflatten(1, (width, *grid)),
            ]
        for doubling in range(doublings + 1):
            last = doubling == doublings
            out = self.image_shape[0] if last else max(8, width // 2)
            if doubling == 0:
                layers.append(nn.ConvTranspose2d(width, out, spread))
            else:
                layers.append(nn.ConvTranspose2d(width, out, 4, stride=2, padding=1))
            if not last:
                layers.append(nn.ReLU())
            width = out
        return nn.Sequential(*layers)

    def forward(self, v: Tensor) -> Tensor:
        """Features ``(N, *feature_shape)`` to images ``(N, C, H, W)``, not clamped."""
        # the layers give the units of the published input, [-1, 1]
        return (1 + _centred(self.layers(on_grid(v, self.image_shape)), *self.image_shape[1:])) / 2


PUBLISHED: dict[tuple[Shape, Shape], Callable[[], nn.Sequential]] = {
    ((16, 8, 8), (1, 28, 28)): lambda: nn.Sequential(
        nn.ConvTranspose2d(16, 8, 5),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 1, 5, stride=2, output_padding=1),
    ),
    ((128, 16, 16), (3, 32, 32)): lambda: nn.Sequential(
        nn.ConvTranspose2d(128, 64, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 3, 3, padding=1),
    ),
}
"""He et al. 2019, section 5.2; conv1's single convolution follows from the general rule."""


class ResidualDecoder(nn.Module):
    """Residual blocks at the features' stride, then up to the image by sub-pixel convolutions.

    Features are standardised by statistics of those that the adversary has received, and are given
    with the mask of their zeros: behind dropout a zero means "dropped", not "dark". The
    output is clamped to the range of pixels, with a leak for the gradient.

    Args:
        feature_shape: ``(C, h, w)``, ``(T, D)`` or ``(n,)``.
        image_shape: ``(C, H, W)``.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, feature_shape: Shape, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        feature_shape = spatial(feature_shape, image_shape)
        self.image_shape, self.grid = image_shape, _grid(feature_shape, image_shape)
        doublings = stride(feature_shape, image_shape).bit_length() - 1
        # as many operations a block at each grid: 64 channels at 14x14
        width = 16 * min(8, max(2, round(56 / max(self.grid))))
        self.register_buffer("mean", torch.zeros(feature_shape))
        self.register_buffer("scale", torch.ones(feature_shape))
        self.stem: nn.Module
        if len(feature_shape) == 3:
            self.stem = nn.Conv2d(2 * feature_shape[0], width, 3, padding=1)
        else:
            self.stem = nn.Sequential(
                nn.Flatten(),
                nn.Linear(2 * math.prod(feature_shape), width * math.prod(self.grid)),
                nn.Unflatten(1, (width, *self.grid)),
            )
        layers: list[nn.Module] = [Residual(width), Residual(width)]
        for doubling in range(doublings):
            last = doubling == doublings - 1
            out = 16 if last else width // 2
            layers += [*_convolution(width, 4 * out), nn.PixelShuffle(2)]
            if not last:
                layers.append(Residual(out))
            width = out
        self.layers = nn.Sequential(*layers, *_convolution(width, image_shape[0]))

    def calibrate(self, v: Tensor) -> None:
        """Set the mean and scale of the input from features ``(M, *feature_shape)``.

        A channel has one of each for all of its positions.
        """
        v = on_grid(v, self.image_shape)
        over = (0, 2, 3) if v.dim() == 4 else (0,)
        spread, mean = torch.std_mean(v, over, keepdim=True, correction=int(len(v) > 1))
        self.mean.copy_(mean[0].expand_as(self.mean))
        # a constant entry must not become huge when it first varies
        self.scale.copy_(
            spread[0].clamp_min(1e-6 + 1e-3 * float(v.std(correction=0))).expand_as(self.scale)
        )

    def forward(self, v: Tensor, zeros: Tensor | None = None) -> Tensor:
        """Features ``(N, *feature_shape)`` to images ``(N, C, H, W)``, about [0, 1].

        Args:
            v: Features.
            zeros: Share of zeros in each entry; null for the zeros of ``v``.
        """
        return self.decode(v, (v == 0).to(v) if zeros is None else zeros)

    def decode(self, v: Tensor, zeros: Tensor) -> Tensor:
        """Features and the share of zeros in each of their entries to images ``(N, C, H, W)``."""
        return self.finish(self.layers(self.begin(v, zeros)))

    def begin(self, v: Tensor, zeros: Tensor) -> Tensor:
        """Return what the stem makes of standardised features and shares of zeros."""
        v, zeros = (on_grid(t, self.image_shape) for t in (v, zeros))
        standardised = torch.cat([(v - self.mean) / self.scale, zeros], 1)
        if standardised.dim() == 4:
            standardised = _centred(standardised, *self.grid).contiguous(
                memory_format=torch.channels_last
            )
        started: Tensor = self.stem(standardised)
        return started

    def finish(self, t: Tensor) -> Tensor:
        """Return the images that the last layer's output stands for."""
        x = _centred(t.float(), *self.image_shape[1:])
        clamped: Tensor = x.clamp(0, 1)
        return clamped + LEAK * (x - clamped)


class Residual(nn.Module):
    """Two convolutions parallel to a shortcut, normalised before each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_convolution(width, width), *_convolution(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """``(N, width, h, w)`` to the same shape."""
        added: Tensor = self.layers(t)
        return t + added


def _convolution(width: int, out: int) -> tuple[nn.Module, ...]:
    return nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, out, 3, padding=1)


class MultiTransmissionDecoder(nn.Module):
    """A residual decoder of an image's K transmissions together, ``(N, K, *feature_shape)``.

    Its input are the statistics that the likelihoods need: the mean of the non-zero entries, and
    the share of zeros.

    Args:
        feature_shape: ``(C, h, w)``, ``(T, D)`` or ``(n,)``.
        image_shape: ``(C, H, W)``.
    """

    def __init__(self, feature_shape: Shape, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.decoder = ResidualDecoder(feature_shape, image_shape)

    def forward(self, v: Tensor) -> Tensor:
        """Transmissions ``(N, K, *feature_shape)`` to images ``(N, C, H, W)``, about [0, 1]."""
        image: Tensor = self.decoder.decode(*self.statistics(v))
        return image

    @staticmethod
    def statistics(v: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean of non-zero entries, and share of zeros, of ``(N, K, *feature_shape)``."""
        nonzero = (v != 0).to(v)
        mean = v.sum(1) / nonzero.sum(1).clamp_min(1)
        return mean, 1 - nonzero.mean(1)


DECODERS: dict[str, Build] = {"large": ResidualDecoder, "paper": PaperDecoder}


def named(decoder: Any) -> Any:
    """Return a decoder as a key holds it: its name, or its function's source and arguments.

    Raises:
        ValueError: in one line, where the function has no source.
    """
    return described(decoder)


def build(decoder: Any, feature_shape: Shape, image_shape: tuple[int, int, int]) -> nn.Module:
    """Build a decoder by name, or an out-of-tree one, and check its shapes.

    Raises:
        ValueError: where it does not map such features to such images.
    """
    network = (DECODERS[decoder] if isinstance(decoder, str) else decoder)(
        feature_shape, image_shape
    )
    try:
        with torch.no_grad():
            made = tuple(network.eval()(torch.zeros(2, *feature_shape)).shape[1:])
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"attack.decoder={decoder} cannot take features of shape {feature_shape} ({reason}): "
            f"choose from {', '.join(DECODERS)}, or another split"
        ) from error
    if made != tuple(image_shape):
        raise ValueError(
            f"attack.decoder={decoder} returns images of shape {made}, expected "
            f"{tuple(image_shape)}: choose from {', '.join(DECODERS)}"
        )
    return network.train().to(memory_format=torch.channels_last)
