"""The base classes of channels that have weights of their own, and of defenses that learn them."""

from torch import nn

from privbench.defenses.base import BaseChannel
from privbench.defenses.deployment import Deployment
from privbench.defenses.trained import TrainedDefense


class LearnedChannel(BaseChannel, nn.Module):
    """A channel that is a module: the store keeps its weights, and attacks get a copy.

    Args:
        site: Tensor that it acts on.
        strength: That of its defense, above 0.
    """

    def __init__(self, site: str, strength: float) -> None:
        super().__init__()
        self._site, self._strength = site, strength

    @property
    def site(self) -> str:
        """Tensor that it acts on, ``"features"`` or ``"input"``."""
        return self._site

    @property
    def strength(self) -> float:
        """Strength of its defense."""
        return self._strength


class LearnedNoise(TrainedDefense):
    """A defense that trains its channel alone: the victim keeps its weights."""

    def trainable(self, deployment: Deployment) -> nn.Module:
        """Return the channel, a ``LearnedChannel``."""
        channel: nn.Module = deployment.channel
        return channel
