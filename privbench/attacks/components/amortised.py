"""One decoder for all strengths of a defense, and the draws that it learns from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from privbench.attacks.components.decoders import (
    MultiTransmissionDecoder,
    Residual,
    Shape,
)
from privbench.defenses.base import BaseChannel
from privbench.runtime.random import RandomStreams

ALL_STRENGTHS = "all strengths"
"""Of a network's recipe: it is the same at every strength of a defense."""
HIDDEN = 64
"""Width of the layer between the strength and the scales that follow from it."""
GOLDEN = (5**0.5 - 1) / 2
"""Ratio whose multiples, without their whole part, spread evenly over [0, 1]."""


@dataclass(frozen=True)
class StrengthRange:
    """Range of strengths that a network learns.

    Attributes:
        low: Lowest strength, from 0.
        high: Highest strength.
    """

    low: float
    high: float

    def at(self, share: float) -> float:
        """Return the strength at a share of the range, in [0, 1]."""
        return self.low + share * (self.high - self.low)

    def share(self, strength: float) -> float:
        """Return the share of the range that lies below a strength."""
        return (strength - self.low) / (self.high - self.low)


class AmortisedDecoder(nn.Module):
    """A decoder of K transmissions ``(N, K, *feature_shape)`` that is given the strength.

    The strength scales and shifts the channels in front of each block (FiLM, Perez et al., AAAI
    2018), from no change at the start of the training.

    Args:
        feature_shape: ``(C, h, w)``, ``(T, D)`` or ``(n,)``.
        image_shape: ``(C, H, W)``.
    """

    def __init__(self, feature_shape: Shape, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        whole = MultiTransmissionDecoder(feature_shape, image_shape)
        self.decoder, self.statistics = whole.decoder, whole.statistics
        widths = {name: _width(layer) for name, layer in self.layers.named_children()}
        self.modulations = nn.ModuleDict({n: Modulation(w) for n, w in widths.items() if w})

    @property
    def layers(self) -> nn.Sequential:
        """Layers between the stem and the image."""
        return self.decoder.layers

    def forward(self, v: Tensor, shares: Tensor) -> Tensor:
        """Return images ``(N, C, H, W)``, about [0, 1].

        Args:
            v: Transmissions ``(N, K, *feature_shape)``.
            shares: Strength behind each image ``(N,)``, as a share of the range.
        """
        t = self.decoder.begin(*self.statistics(v))
        for name, layer in self.layers.named_children():
            if name in self.modulations:
                t = self.modulations[name](t, shares)
            t = layer(t)
        return self.decoder.finish(t)


def _width(layer: nn.Module) -> int:
    """Return the channels of a layer in front of which the strength acts; 0 for none."""
    if isinstance(layer, Residual):
        return _width(layer.layers[0])
    return layer.num_features if isinstance(layer, nn.BatchNorm2d) else 0


class Modulation(nn.Module):
    """Scale and shift of each channel, which follow from the strength."""

    def __init__(self, width: int) -> None:
        super().__init__()
        last = nn.Linear(HIDDEN, 2 * width)
        self.layers = nn.Sequential(nn.Linear(2, HIDDEN), nn.SiLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, t: Tensor, shares: Tensor) -> Tensor:
        """``(N, width, h, w)`` and shares of the range ``(N,)`` to the same shape."""
        # the root tells weak strengths apart, between which most changes
        given = torch.stack([shares, shares.sqrt()], 1).to(t)
        scale, shift = self.layers(given)[..., None, None].chunk(2, 1)
        modulated: Tensor = t + t * scale + shift
        return modulated


class ChannelOfEach:
    """A channel of its own for each image of a batch, all of one site.

    Args:
        channels: As many as images.
    """

    def __init__(self, channels: Sequence[BaseChannel]) -> None:
        self.channels, self.site = channels, channels[0].site

    def perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Perturb ``(N, ...)``, each image by its channel."""
        rows = zip(self.channels, t.split(1), draws.indices, strict=True)
        return torch.cat(
            [channel.perturb(row, replace(draws, indices=[index])) for channel, row, index in rows]
        )


def stratified(count: int, generator: torch.Generator) -> Tensor:
    """Return random shares of a range, one in each of ``count`` equal parts, in order."""
    return (torch.arange(count) + torch.rand(count, generator=generator)) / count


def fixed_shares(rows: Tensor) -> Tensor:
    """Return the share of a range that belongs to each row, spread evenly over many rows."""
    return ((rows.double() + 0.5) * GOLDEN % 1).float()
