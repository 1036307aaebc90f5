"""The base classes of channels that have weights of their own, and of defenses that learn them."""

import torch
from torch import Tensor, nn

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


def laplacian(uniform: Tensor) -> Tensor:
    """Return the value of Laplace(0, 1) below which a share of it lies.

    Args:
        uniform: Shares in [0, 1), on the 24-bit grid of a float32.
    """
    # half a step off both ends of the grid, where it is infinite
    u = uniform.double() - 0.5 + 2.0**-25
    return (-torch.sign(u) * torch.log1p(-2 * u.abs())).to(uniform.dtype)
