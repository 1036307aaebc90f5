"""Adversarial training against a proxy decoder: PAN, DeepObfuscator, ResSFL."""

from typing import ClassVar, Self

from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from privbench.defenses.base import FitServices, TrainingImages
from privbench.defenses.bottleneck import behind, narrowed
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.fine_tuned import FineTuned
from privbench.defenses.proxy import Loss, ProxyTask, reconstruction_loss
from privbench.defenses.trained import DeploymentTask
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED, Fraction, NonNegativeFloat


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class Adversarial(FineTuned):
    """Train both halves by cross-entropy + weight * R, against a decoder that learns meanwhile.

    The decoder D minimises its reconstruction loss of the transmitted features in the same steps.
    R is what the halves gain from its failure: ``ssim``: max(0, SSIM(D(v), x) - threshold), as
    Li et al. (ResSFL, CVPR 2022) and, without a threshold, Li et al. (DeepObfuscator, 2021);
    ``l1``: -|D(v) - x| (PAN, Liu et al., 2019); ``mse``: -(D(v) - x)², each as a mean.
    Features may come to mislead this decoder and no other: compare a fresh inverse network.

    Attributes:
        weight: Of R.
        loss: Of the decoder: ``mse``, ``l1`` or ``ssim``.
        threshold: SSIM up to which a reconstruction costs nothing; used by ``ssim``.
        bottleneck: Share of the channels that a learned linear map removes (``Bottleneck``).
    """

    version: ClassVar[str] = "adversarial-2"

    weight: NonNegativeFloat = 0.3
    loss: Loss = "ssim"
    threshold: Fraction = 0.5
    bottleneck: Fraction = 0.0

    @property
    def strength(self) -> float:
        """Weight of R."""
        return float(self.weight)

    def build(self, victim: SplitVictim) -> Deployment:
        """Return copies of both halves, with the channel and the bottleneck between them."""
        edge, cloud = narrowed(victim, self.bottleneck)
        return Deployment(edge, self.channel, cloud, victim.edge)

    def calibrate(self, victim: SplitVictim, data: TrainingImages, services: FitServices) -> Self:
        """Return the defense with a channel whose range is that behind the untrained bottleneck."""
        return super().calibrate(behind(victim, self.bottleneck, services), data, services)

    def task(
        self, deployment: Deployment, data: TrainingImages, services: FitServices
    ) -> DeploymentTask:
        """Return the task of both halves and the decoder."""
        return AdversarialTask(self, deployment, data, services)

    def penalty(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Return R of the decoder's images."""
        distance = reconstruction_loss(self.loss, x_hat, x)
        return (1 - distance - self.threshold).clamp_min(0) if self.loss == "ssim" else -distance


class AdversarialTask(ProxyTask):
    """Losses of both halves and of the decoder; each has the other's weights as they are."""

    hyper: Adversarial

    def batch_losses(self, x: Tensor, y: Tensor, draws: RandomStreams) -> dict[str, Tensor]:
        """Compute the sum of both losses: a weight has a gradient from one of them alone."""
        v = self.deployment.send(x, draws)
        task = F.cross_entropy(self.deployment.cloud(v), y)
        proxy = reconstruction_loss(self.hyper.loss, self.decoder(v.detach()), x)
        penalty = self.hyper.penalty(self.decoder.with_fixed_weights(v), x)
        loss = task + self.hyper.weight * penalty + proxy
        return {"loss": loss, "task": task, "penalty": penalty, "proxy": proxy}
