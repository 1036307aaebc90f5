"""The deployed system: edge, channel and cloud, and the features sent between them."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from privbench.runtime.random import RandomStreams

FLOAT_BITS = 32
"""Bits of an entry that is sent as it is."""


def max_batch_size(x: Tensor) -> int:
    """Return how many of these images ``(N, C, H, W)`` may go through a network together.

    A thousand of CIFAR-10's size, fewer of larger ones, so that features fit the memory.
    """
    return max(1, 3_072_000 // max(3072, x.shape[1:].numel()))


def fast_batch_size(x: Tensor) -> int:
    """Return how many of these images ``(N, C, H, W)`` to take through a network together.

    64 of CIFAR-10's size: its paper's network then takes some .6 of the time that it takes with
    ``max_batch_size``, whose feature maps do not fit the cache of a processor.
    """
    return min(max_batch_size(x), max(8, 196_608 // x.shape[1:].numel()))


class Channel(Protocol):
    """What a defense does to a tensor on its way: to the features, or to the normalised input."""

    @property
    def site(self) -> str:
        """``"features"`` or ``"input"``."""

    @property
    def strength(self) -> float:
        """Strength; 0 leaves the tensor unchanged, bit for bit."""

    def perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Perturb ``(N, ...)``, one random stream per image."""

    def payload_bits(self, v: Tensor) -> int:
        """Return the bits of one transmission of one image, of features ``(N, ...)``."""


class Deployment:
    """A classifier cut into edge and cloud, with a channel between them.

    Args:
        edge: First half; its first layer is the normalisation ``input``.
        channel: Acts behind that layer at ``site="input"``, else behind the edge.
        cloud: Second half.
        undefended_edge: Edge of the victim before a defense changed it; by default ``edge``.
    """

    def __init__(
        self,
        edge: nn.Sequential,
        channel: Any,
        cloud: nn.Sequential,
        undefended_edge: nn.Sequential | None = None,
    ) -> None:
        self.edge, self.channel, self.cloud = edge, channel, cloud
        self.undefended_edge = edge if undefended_edge is None else undefended_edge

    def _entry(self, x: Tensor) -> Tensor:
        """Return the tensor that the channel acts on, of images ``(N, C, H, W)``."""
        entry: Tensor = self.edge[0](x) if self.channel.site == "input" else self.edge(x)
        return entry

    def _features(self, t: Tensor) -> Tensor:
        """Return the features that the tensor behind the channel gives."""
        v: Tensor = self.edge[1:](t) if self.channel.site == "input" else t
        return v

    def send(self, x: Tensor, draws: RandomStreams) -> Tensor:
        """Return the features of one transmission ``(N, *feature_shape)``, with a gradient."""
        return self._features(self.channel.perturb(self._entry(x), draws))

    @torch.no_grad()
    def transmit(self, x: Tensor, draws: RandomStreams, transmissions: int = 1) -> Tensor:
        """Return what the edge sends: the same ``v`` reaches cloud and adversary.

        Args:
            x: Images ``(N, C, H, W)`` in [0, 1].
            draws: One random stream per image.
            transmissions: How often each image is sent, K, with fresh draws.

        Returns:
            Features ``(N, K, *feature_shape)``.
        """
        entry = self._entry(x)
        sent = [self.channel.perturb(entry, draws.for_draw(copy)) for copy in range(transmissions)]
        return torch.stack([self._features(t) for t in sent], dim=1)

    @torch.no_grad()
    def predict(self, v: Tensor) -> Tensor:
        """Return the cloud's logits ``(N, K, classes)`` for features ``(N, K, *feature_shape)``."""
        logits: Tensor = self.cloud(v.flatten(0, 1))
        return logits.view(*v.shape[:2], -1)

    @torch.no_grad()
    def signal_to_noise_db(self, x: Tensor) -> float:
        """Return the power of the features over that of what the channel does to them, in dB.

        Infinite where the channel changes nothing. The draws are none of a transmission.

        Args:
            x: Images ``(N, C, H, W)`` in [0, 1].
        """
        draws = RandomStreams(0, "signal to noise", range(len(x)))
        entry = self._entry(x)
        clean = self._features(entry)
        noise = self._features(self.channel.perturb(entry, draws)) - clean
        power, error = (t.double().square().mean() for t in (clean, noise))
        return float(10 * torch.log10(power / error))


@dataclass(frozen=True, eq=False)
class SplitVictim:
    """A trained classifier, cut: what a defense starts from.

    Attributes:
        edge: First half, in evaluation mode.
        cloud: Second half.
        image_shape: Shape of an image ``(C, H, W)``; null where no defense asks for it.
    """

    edge: nn.Sequential
    cloud: nn.Sequential
    image_shape: tuple[int, int, int] | None = None

    def deploy(self, channel: Channel) -> Deployment:
        """Put a channel between the halves, which stay as they are."""
        return Deployment(self.edge, channel, self.cloud)

    @torch.no_grad()
    def entry_shape(self, site: str) -> tuple[int, ...]:
        """Return the shape of the tensor of one image that a channel at this site acts on.

        Raises:
            ValueError: where the shape of the images is not given.
        """
        if self.image_shape is None:
            raise ValueError("this defense needs SplitVictim(edge, cloud, image_shape)")
        tensors = [*self.edge.parameters(), *self.edge.buffers()]
        image = torch.zeros(1, *self.image_shape, device=tensors[0].device if tensors else None)
        entry = self.edge[0](image) if site == "input" else self.edge(image)
        return tuple(entry.shape[1:])
