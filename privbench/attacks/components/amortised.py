"""One decoder for all strengths of a defense, and the draws that it learns from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from privbench.attacks.components.decoders import Shape
from privbench.attacks.components.modulation import ModulatedDecoder
from privbench.defenses.base import BaseChannel
from privbench.runtime.random import RandomStreams

ALL_STRENGTHS = "all strengths"
"""Of a network's recipe: it is the same at every strength of a defense."""
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


class AmortisedDecoder(ModulatedDecoder):
    """A decoder of K transmissions ``(N, K, *feature_shape)`` that is given the strength.

    Args:
        feature_shape: ``(C, h, w)``, ``(T, D)`` or ``(n,)``.
        image_shape: ``(C, H, W)``.
    """

    def __init__(self, feature_shape: Shape, image_shape: tuple[int, int, int]) -> None:
        super().__init__(feature_shape, image_shape, 2)

    def forward(self, v: Tensor, shares: Tensor) -> Tensor:
        """Return images ``(N, C, H, W)``, about [0, 1].

        Args:
            v: Transmissions ``(N, K, *feature_shape)``.
            shares: Strength behind each image ``(N,)``, as a share of the range.
        """
        # the root tells weak strengths apart, between which most changes
        return super().forward(v, torch.stack([shares, shares.sqrt()], 1))


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


def random_shares(count: int, generator: torch.Generator) -> Tensor:
    """Return random shares of a range: squares of one number in each of ``count`` equal parts.

    Squares, for features change most where the strength is low.
    """
    return ((torch.arange(count) + torch.rand(count, generator=generator)) / count).square()


def fixed_shares(rows: Tensor) -> Tensor:
    """Return the share of a range that belongs to each row, over many rows as random ones lie."""
    return ((rows.double() + 0.5) * GOLDEN % 1).square().float()
