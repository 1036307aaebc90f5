"""Cloak: learned noise on the input, and suppression of pixels (Mireshghallah et al., WWW 2021)."""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from privbench.defenses.base import FitServices, TrainingImages, log_normal
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.learned import LearnedChannel, LearnedNoise
from privbench.defenses.trained import DeploymentTask
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import (
    VALIDATED,
    NonNegativeFloat,
    OptionalPositiveFloat,
    PositiveFloat,
)

FIRST = -4.0
"""First rho of every pixel: nearly no noise."""
NOISE_STAGE = 2 / 3
"""Share of the steps in which noise is learned; in the rest suppressed pixels learn constants."""


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class Cloak(LearnedNoise):
    """Add noise to the pixels that the frozen victim does not need, and send constants for some.

    The normalised image becomes u + mu + sigma * e, sigma = (1 + tanh rho) / 2 * largest, with e
    from N(0, 1) and mu, rho learned for each pixel by cross-entropy - weight * log(mean sigma).
    Then pixels of sigma above ``threshold`` become constants, which are learned in the last third
    of the steps. A constant reveals nothing of its pixel; the noise of the others is averaged over
    transmissions.

    Attributes:
        weight: Of the logarithm of the mean deviation.
        largest: Largest deviation, in the network's units.
        threshold: Deviation above which a pixel is suppressed; null for none of it.
    """

    version: ClassVar[str] = "cloak-1"
    channel_class: ClassVar[str] = "privbench.defenses.cloak.PixelNoise"

    weight: NonNegativeFloat = 0.01
    largest: PositiveFloat = 5.0
    threshold: OptionalPositiveFloat = 1.0
    lr: PositiveFloat = 0.05

    @property
    def site(self) -> str:
        """Always ``input``."""
        return "input"

    @property
    def strength(self) -> float:
        """Weight of the logarithm of the mean deviation."""
        return float(self.weight)

    def build(self, victim: SplitVictim) -> Deployment:
        """Return the victim with untrained noise."""
        noise = PixelNoise(victim.entry_shape("input"), self.largest, self.strength)
        return Deployment(victim.edge, noise, victim.cloud)

    def task(
        self, deployment: Deployment, data: TrainingImages, services: FitServices
    ) -> DeploymentTask:
        """Return the task of both stages."""
        return CloakTask(self, deployment, services.seed)

    def losses(
        self, deployment: Deployment, x: Tensor, y: Tensor, draws: RandomStreams
    ) -> dict[str, Tensor]:
        """Compute the loss, the mean deviation of the pixels that are sent, and their share."""
        channel = deployment.channel
        task = F.cross_entropy(deployment.cloud(deployment.send(x, draws)), y)
        deviation, sent = channel.deviation(), channel.sent.float()
        return {
            "loss": task - self.weight * deviation.mean().log(),
            "task": task,
            "mean_deviation": (deviation.detach() * sent).sum() / sent.sum().clamp_min(1),
            "share_sent": sent.mean(),
        }


class CloakTask(DeploymentTask):
    """Losses of a defense whose second stage begins at a share of the steps."""

    def batch_losses(self, x: Tensor, y: Tensor, draws: RandomStreams) -> dict[str, Tensor]:
        """Compute the losses; suppress pixels at the first step of the second stage."""
        assert isinstance(self.defense, Cloak)
        threshold = self.defense.threshold
        begins = 1 + int(NOISE_STAGE * self.steps)
        if self.drawn == begins and threshold is not None:
            self.deployment.channel.suppress(threshold)
        return super().batch_losses(x, y, draws)


class PixelNoise(LearnedChannel):
    """Gaussian noise of each pixel's own mean and deviation, and constants for suppressed pixels.

    Args:
        shape: Of the normalised image ``(C, H, W)``.
        largest: Largest deviation.
        strength: Of the defense.
    """

    exact_likelihood: ClassVar[bool] = True
    sent: Tensor

    def __init__(self, shape: tuple[int, ...], largest: float, strength: float) -> None:
        super().__init__("input", strength)
        self.largest = largest
        self.mean, self.constant = (nn.Parameter(torch.zeros(shape)) for _ in range(2))
        self.rho = nn.Parameter(torch.full(shape, FIRST))
        self.register_buffer("sent", torch.ones(shape, dtype=torch.bool))

    def deviation(self) -> Tensor:
        """Return the standard deviation of every pixel's noise, suppressed or not."""
        return (1 + torch.tanh(self.rho)) / 2 * self.largest

    @torch.no_grad()
    def suppress(self, threshold: float) -> None:
        """Send constants for pixels of a deviation above a threshold; their first one is the mean.

        Args:
            threshold: In the network's units.
        """
        self.sent.copy_(self.deviation() <= threshold)
        self.constant.copy_(self.mean)

    def _perturb(self, t: Tensor, draws: RandomStreams) -> Tensor:
        """Return the noised image with its constants."""
        noised = t + self.mean + self.deviation() * draws.normal(t)
        return torch.where(self.sent, noised, self.constant.expand_as(t))

    def _log_likelihood(self, observed: Tensor, clean: Tensor, variance: Tensor) -> Tensor:
        """Return the log-density: of a suppressed pixel it is the same for any clean one."""
        sent = log_normal(observed - clean - self.mean, self.deviation().square() + variance)
        return torch.where(self.sent, sent, log_normal(observed - self.constant, variance))
