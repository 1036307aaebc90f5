"""DISCO: learned, input-dependent pruning of channels (Singh et al., CVPR 2021)."""

import math
from functools import partial
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from privbench.defenses.base import FitServices, TrainingImages
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.fine_tuned import FineTuned
from privbench.defenses.proxy import ProxyTask, reconstruction_loss
from privbench.defenses.trained import DeploymentTask, copied, extended
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED, Fraction, PositiveFloat


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class Disco(FineTuned):
    """Prune the channels of each image that a network on the edge scores lowest.

    The mask of a channel is sigmoid((s - s_r) / temperature), s an image's scores at mean 0 and
    variance 1 over the channels, s_r their r-quantile, and v = mask * f(x). The pruner minimises
    (1 - weight) cross-entropy - weight * |D(v) - x|², the edge and the cloud the first term alone,
    and a proxy decoder D |D(v) - x|². The pruner is a part of the edge: a white-box adversary
    differentiates through it. The mask is soft, as published, so a pruned channel keeps a small
    multiple of its values, which an adversary can scale up again.

    Attributes:
        rate: Share r of the channels that are pruned.
        weight: Of the decoder's failure in the pruner's loss, in [0, 1]; at 1 neither half learns.
        temperature: Of the mask.
    """

    version: ClassVar[str] = "disco-3"

    rate: Fraction = 0.6
    weight: Fraction = 0.5
    temperature: PositiveFloat = 1 / 30

    @property
    def strength(self) -> float:
        """Share of the channels that are pruned."""
        return float(self.rate)

    def build(self, victim: SplitVictim) -> Deployment:
        """Return copies of both halves, the edge with a pruner at its end."""
        shape = victim.entry_shape("features")
        edge = extended(copied(victim.edge), partial(Pruner, shape, self.rate, self.temperature))
        return Deployment(edge, self.channel, copied(victim.cloud), victim.edge)

    def task(
        self, deployment: Deployment, data: TrainingImages, services: FitServices
    ) -> DeploymentTask:
        """Return the task of edge, pruner, cloud and decoder."""
        return DiscoTask(self, deployment, data, services)


class DiscoTask(ProxyTask):
    """Losses of edge, pruner, cloud and decoder: a weight has a gradient from its own alone.

    Args:
        defense: Its hyper-parameters.
        deployment: Trained in place.
        data: Training images.
        services: Device and seed.
    """

    hyper: Disco

    def __init__(
        self, defense: Disco, deployment: Deployment, data: TrainingImages, services: FitServices
    ) -> None:
        super().__init__(defense, deployment, data, services)
        self.edge, self.pruner = deployment.edge[:-1], deployment.edge[-1]

    def batch_losses(self, x: Tensor, y: Tensor, draws: RandomStreams) -> dict[str, Tensor]:
        """Compute the sum of all losses."""
        cloud, weight = self.deployment.cloud, self.hyper.weight
        entry = self._scored(x, draws)
        v = self._sent(self.pruner(entry), draws)
        task = F.cross_entropy(cloud(v), y)
        proxy = reconstruction_loss("mse", self.decoder(v.detach()), x)
        # of the pruner alone: what it prunes is given
        pruned = self._sent(self.pruner(entry.detach()), draws)
        failure = reconstruction_loss("mse", self.decoder.with_fixed_weights(pruned), x)
        loss = (1 - weight) * task - weight * failure + proxy
        return {"loss": loss, "task": task, "proxy": proxy}

    def _scored(self, x: Tensor, draws: RandomStreams) -> Tensor:
        """Return the features before the pruner, of the perturbed image for a channel there."""
        if self.hyper.site == "input":
            whole = self.deployment
            return Deployment(self.edge, whole.channel, whole.cloud).send(x, draws)
        features: Tensor = self.edge(x)
        return features

    def _sent(self, v: Tensor, draws: RandomStreams) -> Tensor:
        """Return the pruned features behind the channel, unless it was before the edge."""
        if self.hyper.site == "input":
            return v
        sent: Tensor = self.deployment.channel.perturb(v, draws)
        return sent


class Pruner(nn.Module):
    """Scale each channel by its mask, from scores of two layers.

    Args:
        shape: Of an image's features: ``(C, h, w)``, tokens ``(T, D)`` of D channels, or ``(n,)``.
        rate: Share of the channels that are pruned.
        temperature: Of the mask.
    """

    def __init__(self, shape: tuple[int, ...], rate: float, temperature: float) -> None:
        super().__init__()
        self.rate, self.temperature = rate, temperature
        self.grid = len(shape) == 3
        wide = shape[0] if self.grid else shape[-1]
        if wide < 2:
            raise ValueError("defense=disco prunes some of several channels: choose another split")
        layer = partial(nn.Conv2d, kernel_size=3, padding=1) if self.grid else nn.Linear
        hidden = min(64, max(8, wide))
        self.scores = nn.Sequential(layer(wide, hidden), nn.ReLU(), layer(hidden, wide))

    def extra_repr(self) -> str:
        """Return what distinguishes one pruner from another, for fingerprints of an edge."""
        return f"rate={self.rate!r}, temperature={self.temperature!r}"

    def forward(self, v: Tensor) -> Tensor:
        """Features ``(N, *shape)``."""
        mask = self.mask(v)
        places = (..., None, None) if self.grid else (slice(None), *(None,) * (v.dim() - 2), ...)
        return v * mask[places]

    def mask(self, v: Tensor) -> Tensor:
        """Return the mask ``(N, channels)``."""
        scores: Tensor = self.scores(v)
        if self.grid:
            scores = scores.mean((2, 3))
        elif scores.dim() == 3:
            scores = scores.mean(1)
        # else training makes them equal, and prunes nothing by pruning every channel a little
        scores = F.layer_norm(scores, scores.shape[1:], eps=1e-12)
        threshold = quantile(scores, self.rate)
        return torch.sigmoid((scores - threshold) / self.temperature)


def quantile(scores: Tensor, rate: float) -> Tensor:
    """Return a threshold ``(N, 1)`` between the lowest ``rate`` of each row's entries and the rest.

    Args:
        scores: ``(N, channels)``.
        rate: Share that lies below; at least one entry lies above.
    """
    count = scores.shape[1]
    below = min(count - 1, math.floor(rate * count + 0.5))
    ordered = scores.sort(dim=1).values
    return ordered[:, max(0, below - 1) : below + 1].mean(1, keepdim=True)
