"""The deployed system: edge, defense and cloud, and the features sent between them."""

import torch
from torch import Tensor, nn

from privbench.defenses.base import Defense
from privbench.runtime.random import RandomStreams


def max_batch_size(x: Tensor) -> int:
    """Return how many of these images ``(N, C, H, W)`` go through a network together.

    A thousand of CIFAR-10's size, fewer of larger ones, so that features fit the memory.
    """
    return max(1, 3_072_000 // max(3072, x.shape[1:].numel()))


class Deployment:
    """A classifier cut into edge and cloud, with a defense between them.

    Args:
        edge: First half; its first layer is the normalisation ``input``.
        defense: Acts behind that layer at ``site="input"``, else behind the edge.
        cloud: Second half.
    """

    def __init__(self, edge: nn.Sequential, defense: Defense, cloud: nn.Sequential) -> None:
        self.edge, self.defense, self.cloud = edge, defense, cloud

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
        at_input = self.defense.site == "input"
        entry = self.edge[0](x) if at_input else self.edge(x)
        sent = [self.defense.perturb(entry, draws.for_draw(copy)) for copy in range(transmissions)]
        return torch.stack([self.edge[1:](t) if at_input else t for t in sent], dim=1)

    @torch.no_grad()
    def predict(self, v: Tensor) -> Tensor:
        """Return the cloud's logits ``(N, K, classes)`` for features ``(N, K, *feature_shape)``."""
        logits: Tensor = self.cloud(v.flatten(0, 1))
        return logits.view(*v.shape[:2], -1)
