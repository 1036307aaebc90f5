"""Shredder: noise that a frozen network has learned to bear (Mireshghallah et al., ASPLOS 2020)."""

import copy
import math
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from privbench.defenses.base import FitServices, TrainingImages, log_normal, sample_outputs
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.laplace import laplacian
from privbench.defenses.learned import LearnedChannel, LearnedNoise
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import (
    VALIDATED,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class Shredder(LearnedNoise):
    """Add noise tensors that are as large as cross-entropy allows; the victim keeps its weights.

    Each of ``tensors`` noises n starts as Laplace(0, b) and minimises cross-entropy(g(f(x) + n)) -
    weight * sum |n|. Deployed, one of them is drawn for each image, m values are drawn from the
    Laplace distribution fitted to its entries, and these are put in the rank order of its entries.
    With the order given, an entry hardly varies: an adversary who knows the tensors subtracts the
    mean of the likeliest one (``NoiseTensors._log_likelihood``).

    Attributes:
        weight: Of the magnitude of the noise.
        tensors: Number of noise tensors, which are trained together.
        scale: First Laplace scale b, in units of the features' root mean square.
        lr: Highest learning rate of a one-cycle schedule, in units of the features.
    """

    version: ClassVar[str] = "shredder-2"
    channel_class: ClassVar[str] = "privbench.defenses.shredder.NoiseTensors"

    weight: NonNegativeFloat = 1e-3
    tensors: PositiveInt = 8
    scale: PositiveFloat = 1.0
    lr: PositiveFloat = 0.01

    @property
    def site(self) -> str:
        """Always ``features``."""
        return "features"

    @property
    def strength(self) -> float:
        """Weight of the magnitude of the noise."""
        return float(self.weight)

    def build(self, victim: SplitVictim) -> Deployment:
        """Return the victim with untrained noise."""
        shape = (self.tensors, *victim.entry_shape("features"))
        noise = NoiseTensors(shape, self.scale, self.strength)
        return Deployment(victim.edge, noise, victim.cloud)

    @torch.no_grad()
    def prepare(self, deployment: Deployment, data: TrainingImages, services: FitServices) -> None:
        """Scale the first noise to the root mean square of the features."""
        parts = torch.cat(sample_outputs(deployment.edge, data, services))
        deployment.channel.noise.mul_(parts.square().mean().sqrt())

    def losses(
        self, deployment: Deployment, x: Tensor, y: Tensor, draws: RandomStreams
    ) -> dict[str, Tensor]:
        """Compute the loss, and the mean magnitude of an entry of the noise."""
        noise = deployment.channel.noise
        task = F.cross_entropy(deployment.cloud(deployment.send(x, draws)), y)
        total = noise.abs().flatten(1).sum(1).mean()
        return {
            "loss": task - self.weight * total,
            "task": task,
            "noise_magnitude": noise.abs().mean(),
        }


class NoiseTensors(LearnedChannel):
    """Additive noise by tensors: the tensors themselves while they train, else draws like them.

    Args:
        shape: Number of tensors J, and shape of the features.
        scale: First Laplace scale.
        strength: Of the defense.
    """

    def __init__(self, shape: tuple[int, ...], scale: float, strength: float) -> None:
        super().__init__("features", strength)
        self.noise = nn.Parameter(scale * laplacian(torch.rand(shape)))
        self.averaged = 1  # transmissions that an observation is the mean of

    def _perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Add to each image the noise of a tensor that is drawn for it."""
        count = 1 if self.training else 1 + t[0].numel()
        uniform = draws.uniform(t.new_empty(len(t), count))
        chosen = (uniform[:, 0] * len(self.noise)).long()
        if self.training:
            return t + self.noise[chosen]
        location, scale, ranks = self._fitted()
        values = location[chosen] + scale[chosen] * laplacian(uniform[:, 1:])
        placed = values.sort(dim=1).values.gather(1, ranks[chosen])
        return t + placed.view_as(t)

    def _fitted(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return location and scale of each tensor's entries ``(J, 1)``, and their ranks."""
        flat = self.noise.detach().flatten(1)
        location = flat.median(1, keepdim=True).values
        scale = (flat - location).abs().mean(1, keepdim=True)
        return location, scale, flat.argsort(1).argsort(1)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each entry of each tensor's noise ``(J, *feature_shape)``.

        Of the order statistic that the entry gets, for many entries m: the quantile at p = (rank +
        1/2) / m, and p (1 - p) / (m density²).
        """
        location, scale, ranks = self._fitted()
        share = (ranks.to(scale) + 0.5) / ranks.shape[1]
        tail = torch.minimum(share, 1 - share)
        mean = location + scale * laplacian(share)
        variance = scale.square() * (1 - tail) / (ranks.shape[1] * tail)
        if self.averaged > 1:  # weighted by precisions, of which each tensor's is as likely
            variance = (variance.reciprocal().mean(0) * self.averaged).reciprocal().expand_as(mean)
        return mean.view_as(self.noise), variance.view_as(self.noise)

    def _pool(self, received: Tensor) -> tuple[Tensor, LearnedChannel]:
        """Return the mean of all transmissions, each as if the first one's tensor had been drawn.

        The image cancels from the differences between transmissions, so they tell which tensors
        were drawn. Entries are weighted by their precision. Which tensor the first one was is left
        to the likelihood.
        """
        v, (means, spreads) = received.flatten(2), (m.flatten(1) for m in self.moments())
        chosen = torch.stack([_drawn_tensors(one, means, spreads) for one in v])
        aligned = v - (means[chosen] - means[chosen[:, :1]])
        weights = spreads[chosen].reciprocal()
        pooled = (weights * aligned).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
        known = copy.copy(self)
        known.averaged = self.averaged * v.shape[1]
        return pooled.view_as(received[:, :1]), known

    def _log_likelihood(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """Return the log-density of a mixture over the tensors, of Gaussians around their means.

        The tensor is one for all entries of an image, so the density is joint: it is the sum over
        entries that has it, each entry with its share by the tensors' posterior probabilities.
        """
        shape = self.noise.shape[1:]
        lead = (1,) * (observed.dim() - len(shape))
        means, spreads = (m.view(-1, *lead, *shape) for m in self.moments())
        parts = log_normal(observed - clean - means, spreads + variance)
        joint = parts.flatten(1 + len(lead)).sum(-1)
        log_posterior = joint.log_softmax(0)
        posterior = log_posterior.exp()
        prior = (posterior * log_posterior).sum(0) + math.log(len(joint))
        kept = posterior.view(*posterior.shape, *(1,) * len(shape))
        each = prior.view(*prior.shape, *(1,) * len(shape)) / math.prod(shape)
        return (kept * parts).sum(0) - each


def _drawn_tensors(v: Tensor, means: Tensor, spreads: Tensor) -> Tensor:
    """Return the likeliest tensor of each transmission of one image ``(K,)``, by their differences.

    Args:
        v: Transmissions ``(K, m)``.
        means: Of each tensor's noise ``(J, m)``.
        spreads: Its variances.
    """
    gaps, found = (v[1:] - v[0]).unsqueeze(1), []
    for mean, spread in zip(means, spreads, strict=True):  # of the first transmission
        best = log_normal(gaps - (means - mean), spreads + spread).sum(2).max(1)
        found.append((float(best.values.sum()), best.indices))
    first = max(range(len(found)), key=lambda j: found[j][0])
    return torch.cat([found[first][1].new_tensor([first]), found[first][1]])
