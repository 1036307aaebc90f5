"""CEM: conditional entropy maximisation by mixtures for each class (Xia et al., CVPR 2025)."""

from typing import Annotated, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from privbench.defenses.base import FitServices, TrainingImages, sample_outputs
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.fine_tuned import FineTuned
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.noise_aware import NormBound, bound_by_victim
from privbench.defenses.trained import DeploymentTask, copied, extended
from privbench.runtime.hashing import derive_seed
from privbench.runtime.pixels import in_unit_range
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import (
    VALIDATED,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    expecting,
)

SAMPLE = 2048
"""Training images whose features are clustered, once an epoch."""
ROUNDS = 10
"""Of Lloyd's algorithm."""


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class CEM(FineTuned):
    """Train both halves by cross-entropy + weight * L_C, with Gaussian noise on bounded features.

    The authors bound the squared error of any attack by exp(2 H(x|v) / d) / (2 pi e) and raise a
    lower bound on the conditional entropy H(x|v): the features of a class, a Gaussian mixture,
    shall be narrow compared with the noise. As their code has it, L_C is the mean over classes of
    sum_k share_k max(0, log(v_k + gamma) - log(kappa sigma² + gamma)), v_k the mean square of the
    features around the centre of cluster k, a running mean over batches. Features, whose values
    lie in [0, 1] there, are divided by the root mean square of the victim's here; the edge ends
    with the bound on their norm that ``noise_aware`` has.

    The bound can never certify a mean squared error above about 6e-5 (42 dB) on CIFAR-10: H(x|v)
    is at most h(x), which a density model of 3 bits a dimension bounds, and attacks stand at 12 to
    25 dB. So L_C is a regulariser, not a certificate.

    Attributes:
        channel: Gaussian noise, of sigma in units of the features.
        weight: Of L_C.
        clusters: Of each class.
        kappa: Share of the noise's variance under which a cluster costs nothing.
        gamma: Added to both variances, in units of the features' mean square.
    """

    version: ClassVar[str] = "cem-1"

    channel: Annotated[Gaussian, expecting("gaussian, the noise that the loss is about")] = (
        Gaussian()
    )
    weight: NonNegativeFloat = 1.0
    clusters: PositiveInt = 5
    kappa: PositiveFloat = 0.125
    gamma: PositiveFloat = 0.01

    def __post_init__(self) -> None:
        """Refuse noise on the input: the loss compares the features with the noise on them.

        Raises:
            ValueError: naming the choice.
        """
        if self.channel.site != "features":
            raise ValueError(
                f"defense.channel.site={self.channel.site} does not fit defense=cem, whose loss is "
                "about noise on the features: choose features, or defense=noise_aware"
            )

    @property
    def strength(self) -> float:
        """Weight of L_C."""
        return float(self.weight)

    def build(self, victim: SplitVictim) -> Deployment:
        """Return copies of both halves, the edge with a bound on the norm of its features."""
        edge = extended(copied(victim.edge), NormBound)
        return Deployment(edge, self.channel, copied(victim.cloud), victim.edge)

    def prepare(self, deployment: Deployment, data: TrainingImages, services: FitServices) -> None:
        """Measure the mean norm of the features that the victim's own edge computes."""
        bound_by_victim(deployment, data, services)

    def task(
        self, deployment: Deployment, data: TrainingImages, services: FitServices
    ) -> DeploymentTask:
        """Return the task, which holds the clusters."""
        return CEMTask(self, deployment, data, services)


class CEMTask(DeploymentTask):
    """Losses with clusters of each class, found anew once an epoch.

    Args:
        defense: Its hyper-parameters.
        deployment: Trained in place.
        data: Training images.
        services: Device and seed.
    """

    def __init__(
        self, defense: CEM, deployment: Deployment, data: TrainingImages, services: FitServices
    ) -> None:
        super().__init__(defense, deployment, services.seed)
        self.hyper, self.services, self.data = defense, services, data
        self.generator = torch.Generator().manual_seed(derive_seed(services.seed, "clusters"))
        parts = torch.cat(sample_outputs(deployment.undefended_edge, data, services))
        self.unit = parts.square().mean().clamp_min(1e-12)
        self.classes = int(data.labels.max()) + 1
        self.centres: Tensor
        self.shares: Tensor
        self.sizes: Tensor
        self.variances: Tensor
        self.seen = 0

    def batch_losses(self, x: Tensor, y: Tensor, draws: RandomStreams) -> dict[str, Tensor]:
        """Compute the loss and its parts; cluster first where an epoch begins."""
        if self.seen == 0:
            self._cluster()
        self.seen = (self.seen + len(x)) % len(self.data.labels)
        v = self.deployment.edge(x)
        task = F.cross_entropy(self.deployment.cloud(self.hyper.channel.perturb(v, draws)), y)
        entropy = self._entropy_loss(v.flatten(1) / self.unit.sqrt(), y)
        loss = task + self.hyper.weight * entropy
        return {"loss": loss, "task": task, "entropy_loss": entropy}

    def _entropy_loss(self, flat: Tensor, y: Tensor) -> Tensor:
        """Return L_C of a batch ``(B, m)`` in units of the features' root mean square."""
        count = self.hyper.clusters
        own = self.centres[y]
        nearest = torch.cdist(flat.detach()[:, None], own)[:, 0].argmin(1)
        square = (flat - own[torch.arange(len(y)), nearest]).square().mean(1)
        member = F.one_hot(y * count + nearest, self.classes * count).to(flat)
        found = member.sum(0)
        batch = (member.T @ square / found.clamp_min(1)).view_as(self.variances)
        found, sizes = found.view_as(self.variances), self.shares * self.sizes[:, None]
        trust = (10 * found / sizes.clamp_min(1)).clamp_max(0.99)
        mixed = trust * batch + (1 - trust) * self.variances
        self.variances = mixed.detach()
        hyper = self.hyper
        noise = hyper.kappa * hyper.channel.sigma**2 / self.unit + hyper.gamma
        excess = ((mixed + hyper.gamma).log() - noise.log()).clamp_min(0)
        return (self.shares * excess).sum(1).mean()

    @torch.no_grad()
    def _cluster(self) -> None:
        """Find the clusters of each class among the features of a sample of the images."""
        rows = torch.randperm(len(self.data.labels), generator=self.generator)[:SAMPLE]
        pixels = self.data.pixels[rows].to(self.services.device)
        labels = self.data.labels[rows].to(self.services.device)
        was = self.deployment.edge.training
        self.deployment.edge.eval()
        parts = in_unit_range(pixels).split(128)
        v = torch.cat([self.deployment.edge(part).flatten(1) for part in parts])
        self.deployment.edge.train(was)
        v = v / self.unit.sqrt()
        count = self.hyper.clusters
        self.centres = v.new_zeros(self.classes, count, v.shape[1])
        self.shares, self.variances = (v.new_zeros(self.classes, count) for _ in range(2))
        self.sizes = torch.bincount(self.data.labels, minlength=self.classes).to(v)
        for label in labels.unique().tolist():
            one = v[labels == label]
            centres, nearest = k_means(one, count, self.generator)
            member = F.one_hot(nearest, count).to(v)
            square = (one - centres[nearest]).square().mean(1)
            self.centres[label] = centres
            self.shares[label] = member.mean(0)
            self.variances[label] = member.T @ square / member.sum(0).clamp_min(1)


def k_means(points: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cluster points by Lloyd's algorithm from k-means++ (Arthur and Vassilvitskii, 2007).

    Args:
        points: ``(N, m)``, N >= 1; of fewer points than clusters, some clusters stay empty.
        count: Number of clusters.
        generator: On the CPU.

    Returns:
        Centres ``(count, m)``, and the nearest one of each point ``(N,)``.
    """
    first = int(torch.randint(len(points), (1,), generator=generator))
    centres = points[first : first + 1]
    for _ in range(count - 1):
        square = torch.cdist(points, centres).amin(1).square().cpu() + 1e-12
        chosen = torch.multinomial(square, 1, generator=generator).to(points.device)
        centres = torch.cat([centres, points[chosen]])
    for _ in range(ROUNDS):
        member = F.one_hot(torch.cdist(points, centres).argmin(1), count).to(points)
        sizes = member.sum(0)[:, None]
        centres = torch.where(sizes > 0, member.T @ points / sizes.clamp_min(1), centres)
    return centres, torch.cdist(points, centres).argmin(1)
