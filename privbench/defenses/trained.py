"""The base class of defenses that train a network."""

import copy
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from privbench.defenses.base import Defense, FitServices, TrainingImages
from privbench.deployment import Deployment, SplitVictim
from privbench.runtime.hashing import derive_seed
from privbench.runtime.random import RandomStreams
from privbench.training.config import OptimizerConfig, batch_size
from privbench.training.loop import Batches, EpochLogger, fit
from privbench.training.task import TrainingTask

LARGEST = 128
"""Largest batch."""


@dataclass(frozen=True, kw_only=True)
class TrainedDefense(Defense):
    """A defense that trains a copy of the victim, or parts beside it, once for all its attacks.

    Subclasses define ``build``, and ``losses`` where cross-entropy through the channel is not what
    they minimise. At strength 0 nothing is trained.

    Attributes:
        epochs: Passes over the training images.
        min_steps: Smallest number of steps; small data sets get more epochs for it.
        lr: Highest learning rate of a one-cycle schedule.
        weight_decay: Weight decay of AdamW.
    """

    epochs: int = 3
    min_steps: int = 400
    lr: float = 1e-3
    weight_decay: float = 0.0

    @abstractmethod
    def build(self, victim: SplitVictim) -> Deployment:
        """Return the deployment to train, of copies of what changes: see ``copied``."""

    def trainable(self, deployment: Deployment) -> nn.Module:
        """Return the module whose weights are trained: by default edge and cloud."""
        return nn.ModuleList([deployment.edge, deployment.cloud])

    def calibrate(self, victim: SplitVictim, data: TrainingImages, services: FitServices) -> Self:
        """Return the defense with what it measures on the victim's features; by default itself."""
        return self

    def prepare(self, deployment: Deployment, data: TrainingImages, services: FitServices) -> None:
        """Measure what the training needs, such as a scale; by default nothing."""

    def losses(
        self, deployment: Deployment, x: Tensor, y: Tensor, draws: RandomStreams
    ) -> dict[str, Tensor]:
        """Compute ``loss``, which is minimised, and other scalars to log.

        Args:
            deployment: In training mode.
            x: Images ``(B, C, H, W)`` in [0, 1].
            y: Labels ``(B,)``.
            draws: A random stream for each image, new in every step.
        """
        logits = deployment.cloud(deployment.send(x, draws))
        accuracy = (logits.detach().argmax(1) == y).float().mean()
        return {"loss": F.cross_entropy(logits, y), "accuracy": accuracy}

    def fit(self, victim: SplitVictim, data: TrainingImages, services: FitServices) -> Deployment:
        """Return the trained deployment, from the store where it is there."""
        if self.strength == 0:
            return victim.deploy(self.build(victim).channel)
        ready = self.calibrate(victim, data, services)
        deployment = ready.build(victim)
        kept = networks(deployment).to(services.device)
        services.fit_or_load(
            "networks", kept, lambda report: ready._train(deployment, data, services, report)
        )
        kept.eval().requires_grad_(False)
        return deployment

    def _train(
        self,
        deployment: Deployment,
        data: TrainingImages,
        services: FitServices,
        report: EpochLogger,
    ) -> Mapping[str, Any]:
        self.prepare(deployment, data, services)
        networks(deployment).requires_grad_(False)
        trained = self.trainable(deployment).requires_grad_(True).train()
        seed, device, count = services.seed, services.device, len(data.labels)
        order = torch.Generator().manual_seed(derive_seed(seed, "order"))
        rows = torch.arange(count)
        batches = Batches(
            data.pixels.to(device),
            data.labels.to(device),
            rows,
            size=batch_size(count, LARGEST),
            order=order,
        )
        epochs = max(self.epochs, -(-self.min_steps // len(batches)))
        task = DeploymentTask(trained, self, deployment, seed)
        task.optimizer = OptimizerConfig(self.lr, self.weight_decay)
        task.steps = epochs * len(batches)
        fit(
            task,
            batches,
            epochs=epochs,
            device_config=services.device_config,
            report=report,
            name="the deployment",
        )
        return {"epochs": epochs, "batch": batches.sizes[0]}


class DeploymentTask(TrainingTask):
    """Losses of a defense on images, with new draws of the channel in every step.

    Args:
        network: Trained in place: a part of the deployment.
        defense: Computes the losses.
        deployment: The whole.
        seed: Of the draws.
    """

    name = "the deployment"

    def __init__(
        self, network: nn.Module, defense: TrainedDefense, deployment: Deployment, seed: int
    ) -> None:
        super().__init__(network)
        self.defense, self.deployment = defense, deployment
        self.seed, self.drawn = seed, 0

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Compute the losses of images ``(B, C, H, W)``, their labels and their rows ``(B,)``."""
        x, labels, rows = batch
        draws = RandomStreams(self.seed, "deployment training", rows.tolist(), self.drawn)
        self.drawn += 1
        return self.defense.losses(self.deployment, x, labels, draws)


def copied(module: nn.Sequential) -> nn.Sequential:
    """Return a copy of half a victim, so that the victim keeps its weights."""
    return copy.deepcopy(module)


def networks(deployment: Deployment) -> nn.ModuleDict:
    """Return the networks of a deployment, as the store keeps them; a channel may be one."""
    parts: dict[str, nn.Module] = {"edge": deployment.edge, "cloud": deployment.cloud}
    if isinstance(deployment.channel, nn.Module):
        parts["channel"] = deployment.channel
    return nn.ModuleDict(parts)
