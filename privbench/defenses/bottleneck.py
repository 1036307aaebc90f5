"""Bottleneck: a learned linear map to fewer channels in the edge, and one back in the cloud."""

from functools import partial
from typing import ClassVar, Self

from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.defenses.base import FitServices, TrainingImages
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.fine_tuned import FineTuned
from privbench.defenses.trained import copied, extended, new_layers
from privbench.runtime.validation import VALIDATED, Fraction


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class Bottleneck(FineTuned):
    """Send c channels in place of C, by linear maps that are trained with both halves.

    Li et al. (ResSFL, CVPR 2022) put such a layer, C8S1 there, at the cut, and Maeng et al.
    (NeurIPS 2023) one of 4 or 8 channels. It has no activation and is a part of the edge, so a
    white-box adversary differentiates through it. Channels are those of a grid ``(C, h, w)``, by a
    1x1 convolution; the width of tokens ``(T, D)``; and the entries of vectors ``(n,)``.

    Attributes:
        rate: Share of the channels that are removed, 1 - c/C; at least one is kept.
    """

    version: ClassVar[str] = "bottleneck-1"

    rate: Fraction = 0.75

    @property
    def strength(self) -> float:
        """Share of the channels that are removed."""
        return float(self.rate)

    def build(self, victim: SplitVictim) -> Deployment:
        """Return copies of both halves with the narrow layer between them."""
        edge, cloud = narrowed(victim, self.rate)
        return Deployment(edge, self.channel, cloud, victim.edge)

    def calibrate(self, victim: SplitVictim, data: TrainingImages, services: FitServices) -> Self:
        """Return the defense with a channel whose range is that behind the untrained bottleneck."""
        return super().calibrate(behind(victim, self.rate, services), data, services)


def behind(victim: SplitVictim, rate: float, services: FitServices) -> SplitVictim:
    """Return a victim with the bottleneck that is trained afterwards, for the range behind it."""
    with new_layers(services):
        edge, cloud = narrowed(victim, rate)
    return SplitVictim(edge.to(services.device), cloud)


def narrowed(victim: SplitVictim, rate: float) -> tuple[nn.Sequential, nn.Sequential]:
    """Return copies of a victim's halves, with a bottleneck between them unless the rate is 0."""
    edge, cloud = copied(victim.edge), copied(victim.cloud)
    if rate == 0:
        return edge, cloud
    shape = victim.entry_shape("features")
    axis = 1 if len(shape) == 3 else -1
    wide = shape[0] if len(shape) == 3 else shape[-1]
    narrow = max(1, round((1 - rate) * wide))
    return (
        extended(edge, partial(ChannelMap, wide, narrow, axis)),
        nn.Sequential(ChannelMap(narrow, wide, axis), *cloud),
    )


class ChannelMap(nn.Module):
    """Linear map of the channels, the same at every position.

    Args:
        inside: Channels that it takes.
        outside: Channels that it gives.
        axis: Of the channels: 1 for ``(N, C, h, w)``, -1 for tokens and vectors.
    """

    def __init__(self, inside: int, outside: int, axis: int) -> None:
        super().__init__()
        self.map = nn.Conv2d(inside, outside, 1) if axis == 1 else nn.Linear(inside, outside)

    def forward(self, v: Tensor) -> Tensor:
        """Features to features of other channels."""
        mapped: Tensor = self.map(v)
        return mapped
