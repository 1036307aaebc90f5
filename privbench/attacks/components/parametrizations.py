"""Parametrizations: the unknowns of an image optimisation, and the images that they stand for."""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
"""Of the leaky ReLU."""
NORM_EPS = 1e-5
"""Offset of the variance in a normalisation."""
SMALLEST_SIDE = 4
"""Pixels below which an image is not halved again: a normalisation needs some positions."""


class Parametrization(Protocol):
    """Images as a function of unknowns, each image of its own ones."""

    def parameters(self) -> Sequence[Tensor]:
        """Return the unknowns that an optimiser moves; the first dimension counts the images."""

    def images(self) -> Tensor:
        """Compute the images ``(N, C, H, W)``, differentiable in the unknowns."""

    def after_step(self) -> None:
        """Project the unknowns back to their range; called with gradients disabled."""


class Pixels:
    """The pixels themselves.

    Args:
        start: Initial images ``(N, C, H, W)``.
        clamp: Keep pixels in [0, 1] after each step.
    """

    def __init__(self, start: Tensor, *, clamp: bool) -> None:
        self.x, self.clamp = start.detach().clone().requires_grad_(), clamp

    def parameters(self) -> Sequence[Tensor]:
        """Return the images, which are the only unknowns."""
        return [self.x]

    def images(self) -> Tensor:
        """Return the images."""
        return self.x

    def after_step(self) -> None:
        """Clamp the pixels, where that is wanted."""
        if self.clamp:
            self.x.clamp_(0, 1)


class Latent:
    """Images of a generator that stays as it is; its inputs are the unknowns (Bora et al., 2017).

    Args:
        generator: Latent vectors ``(N, *latent_shape)`` to images ``(N, C, H, W)``; each image must
            depend on its own vector only.
        start: Initial latent vectors ``(N, *latent_shape)``.
    """

    def __init__(self, generator: nn.Module, start: Tensor) -> None:
        self.generator, self.z = generator, start.detach().clone().requires_grad_()

    def parameters(self) -> Sequence[Tensor]:
        """Return the latent vectors."""
        return [self.z]

    def images(self) -> Tensor:
        """Compute the generator's images."""
        x: Tensor = self.generator(self.z)
        return x

    def after_step(self) -> None:
        """Do nothing: latent vectors have no range."""


class DeepImagePrior:
    """Images of untrained hourglass networks with unknown weights (Ulyanov et al., CVPR 2018).

    Every image has a network of its own. All begin with the same weights and have the same input u,
    and their convolutions are groups of one convolution, so that no image depends on its batch.
    Batch normalisation of a single image, as published, is normalisation over its positions.

    A level computes convolution, mean pooling and convolution; the next level; nearest-neighbour
    upsampling, joined with a skip connection; and two convolutions. The last layer is a sigmoid.

    Args:
        count: Number of images, N.
        shape: Shape of an image ``(C, H, W)``, of any size.
        widths: Channels of each level; u has those of the first. Levels that would halve a side to
            fewer than 4 pixels are left out.
        skip: Channels of a skip connection.
        generator: Draws u and the initial weights, on the CPU.
        device: Where the networks compute.
    """

    def __init__(
        self,
        count: int,
        shape: tuple[int, int, int],
        *,
        widths: Sequence[int],
        skip: int,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.count = count
        channels, height, width = shape
        halvings = math.log2(min(height, width) / SMALLEST_SIDE)
        self.levels = min(len(widths), max(1, math.floor(halvings)))
        self.weights: dict[str, Tensor] = {}
        self.generator, self.device = generator, device
        self.u = torch.randn(1, widths[0], height, width, generator=generator).to(device)
        for level in range(self.levels):
            above, here = widths[max(0, level - 1)], widths[level]
            below = widths[level + 1] if level + 1 < self.levels else here
            self._add(f"skip{level}", above, skip, 1)
            self._add(f"down{level}", above, here, 3)
            self._add(f"deep{level}", here, here, 3)
            self._add(f"up{level}", skip + below, here, 3)
            self._add(f"mix{level}", here, here, 1)
        self._add("last", widths[0], channels, 1, normalised=False)

    def parameters(self) -> Sequence[Tensor]:
        """Return the weights of all networks, each with a first dimension of N."""
        return list(self.weights.values())

    def images(self) -> Tensor:
        """Compute the networks' images, in (0, 1)."""
        features = self._level(0, self.u.expand(self.count, *self.u.shape[1:]))
        return torch.sigmoid(self._convolve("last", features))

    def after_step(self) -> None:
        """Do nothing: weights have no range."""

    def _add(self, name: str, fan_in: int, out: int, side: int, *, normalised: bool = True) -> None:
        """Add a convolution with torch's default initialisation, and its normalisation."""
        bound = 1 / math.sqrt(fan_in * side * side)
        kernel = torch.empty(out, fan_in, side, side).uniform_(
            -bound, bound, generator=self.generator
        )
        self._keep(f"{name}.weight", kernel)
        if normalised:
            self._keep(f"{name}.scale", torch.ones(out, 1, 1))
        self._keep(f"{name}.bias", torch.zeros(out, 1, 1))

    def _keep(self, name: str, value: Tensor) -> None:
        repeated = value.to(self.device).expand(self.count, *value.shape)
        self.weights[name] = repeated.clone().requires_grad_()

    def _level(self, level: int, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        joined = self._layer(f"skip{level}", x)
        deep = self._layer(f"down{level}", x, pool=True)
        deep = self._layer(f"deep{level}", deep)
        if level + 1 < self.levels:
            deep = self._level(level + 1, deep)
        deep = F.interpolate(deep, size=size, mode="nearest")
        x = self._layer(f"up{level}", torch.cat([joined, deep], dim=1))
        return self._layer(f"mix{level}", x)

    def _layer(self, name: str, x: Tensor, *, pool: bool = False) -> Tensor:
        """Convolve, pool, normalise over positions, and apply the leaky ReLU."""
        x = self._convolve(name, x)
        x = F.avg_pool2d(x, 2) if pool else x
        variance, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0)
        x = (x - mean) * (variance + NORM_EPS).rsqrt() * self.weights[f"{name}.scale"]
        return F.leaky_relu(x + self.weights[f"{name}.bias"], SLOPE)

    def _convolve(self, name: str, x: Tensor) -> Tensor:
        """Convolve each image with its own kernels, without changing its size."""
        kernel = self.weights[f"{name}.weight"]
        grouped = x.reshape(1, -1, *x.shape[2:])
        y = F.conv2d(
            grouped, kernel.flatten(0, 1), padding=kernel.shape[-1] // 2, groups=self.count
        )
        y = y.view(self.count, -1, *x.shape[2:])
        return y + self.weights[f"{name}.bias"] if name == "last" else y
