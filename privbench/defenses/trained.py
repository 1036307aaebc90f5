"""The base class of defenses that train a network."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

import torch
from pydantic.dataclasses import dataclass as validated
from torch import Tensor, nn
from torch.nn import functional as F

from privbench.defenses.base import Defense, FitServices, TrainingImages
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.none import NoDefense
from privbench.runtime.hashing import derive_seed
from privbench.runtime.random import RandomStreams, torch_seed, torch_seed_hidden
from privbench.runtime.validation import (
    VALIDATED,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from privbench.training.config import OptimizerConfig, batch_size
from privbench.training.loop import Batches, EpochLogger, fit
from privbench.training.task import TrainingTask

LARGEST = 128
"""Largest batch."""


@validated(frozen=True, kw_only=True, config=VALIDATED)
class TrainedDefense(Defense):
    """A defense that trains a copy of the victim, or further parts, once for all its attacks.

    Subclasses define ``build``, and ``losses`` where cross-entropy through the channel is not what
    they minimise. At strength 0 nothing is trained.

    Attributes:
        epochs: Passes over the training images.
        min_steps: Smallest number of steps; small data sets get more epochs for it.
        lr: Highest learning rate of a one-cycle schedule.
        weight_decay: Weight decay of AdamW.
    """

    epochs: PositiveInt = 3
    min_steps: NonNegativeInt = 400
    lr: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.0

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

    def task(
        self, deployment: Deployment, data: TrainingImages, services: FitServices
    ) -> "DeploymentTask":
        """Return the training task; override it for networks that only the training uses."""
        return DeploymentTask(self, deployment, services.seed)

    def finish(
        self, deployment: Deployment, data: TrainingImages, services: FitServices
    ) -> Deployment:
        """Return the trained deployment with what follows from it, such as a scale of noise."""
        return deployment

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
            return victim.deploy(NoDefense(site=self.site))
        ready = self.calibrate(victim, data, services)
        with new_layers(services):
            deployment = ready.build(victim)
        kept = networks(deployment).to(services.device)
        services.fit_or_load(
            "networks", kept, lambda report: ready._train(deployment, data, services, report)
        )
        kept.eval().requires_grad_(False).to(services.device)  # Lightning leaves the CPU
        return ready.finish(deployment, data, services)

    def _train(
        self,
        deployment: Deployment,
        data: TrainingImages,
        services: FitServices,
        report: EpochLogger,
    ) -> Mapping[str, Any]:
        self.prepare(deployment, data, services)
        networks(deployment).requires_grad_(False)
        with torch_seed(derive_seed(services.seed, "new networks")):
            task = self.task(deployment, data, services)
        task.network.requires_grad_(True).train()
        seed, device, count = services.seed, services.device, len(data.labels)
        order = torch.Generator().manual_seed(derive_seed(seed, "order"))
        rows = torch.arange(count, device=device)
        batches = Batches(
            data.pixels.to(device),
            data.labels.to(device),
            rows,
            size=batch_size(count, LARGEST),
            order=order,
        )
        epochs = max(self.epochs, -(-self.min_steps // len(batches)))
        task.optimizer = OptimizerConfig(self.lr, self.weight_decay)
        task.steps = epochs * len(batches)
        fit(
            task,
            batches,
            epochs=epochs,
            device_config=services.device_config,
            report=report,
            name=f"{type(self).__name__} at strength {self.strength:g}",
        )
        return {"epochs": epochs, "batch": batches.sizes[0]}


class DeploymentTask(TrainingTask):
    """Losses of a defense on images, with new draws of the channel in every step.

    Args:
        defense: Computes the losses.
        deployment: Its ``defense.trainable`` is trained in place.
        seed: Of the draws.
        helpers: Networks that are trained too and dropped afterwards, such as a proxy attacker's.
    """

    name = "the deployment"

    def __init__(
        self, defense: TrainedDefense, deployment: Deployment, seed: int, *helpers: nn.Module
    ) -> None:
        trained = defense.trainable(deployment)
        super().__init__(nn.ModuleList([trained, *helpers]) if helpers else trained)
        self.defense, self.deployment = defense, deployment
        self.seed, self.drawn = seed, 0

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Compute the losses of images ``(B, C, H, W)``, their labels and their rows ``(B,)``."""
        x, labels, rows = batch
        draws = RandomStreams(self.seed, "deployment training", rows.tolist(), self.drawn)
        self.drawn += 1
        return self.batch_losses(x, labels, draws)

    def batch_losses(self, x: Tensor, y: Tensor, draws: RandomStreams) -> dict[str, Tensor]:
        """Compute the losses as the defense states them."""
        return self.defense.losses(self.deployment, x, y, draws)


def new_layers(services: FitServices) -> AbstractContextManager[None]:
    """Seed the weights of layers that a defense adds, within the context."""
    return torch_seed(derive_seed(services.seed, "new layers"))


def extended(edge: nn.Sequential, make: Callable[[], nn.Module]) -> nn.Sequential:
    """Return an edge with a further layer, which an adversary who knows the layers rebuilds too.

    Args:
        edge: Its layers are shared, not copied.
        make: Builds the layer with random weights; it can be pickled.
    """
    longer = nn.Sequential(*edge, make())
    if hasattr(edge, "rebuild"):
        longer.__dict__["rebuild"] = RebuildExtended(vars(edge)["rebuild"], make)
    return longer


@dataclass(frozen=True)
class RebuildExtended:
    """Builder of an extended edge with new weights, in any process.

    Nothing of it is measured but the radius of a clipping, which is a public setting.

    Attributes:
        rebuild: Builds the shorter edge from a seed.
        make: Builds the further layer.
    """

    rebuild: Callable[[int], nn.Sequential]
    make: Callable[[], nn.Module]

    def __call__(self, seed: int) -> nn.Sequential:
        """Return the layers, newly initialised, the same for the same seed."""
        with torch_seed_hidden(derive_seed(seed, "further layer")):
            layer = self.make()
        return nn.Sequential(*self.rebuild(seed), layer).train()


def copied(module: nn.Sequential) -> nn.Sequential:
    """Return a copy of half a victim, so that the victim keeps its weights."""
    return copy.deepcopy(module)


def networks(deployment: Deployment) -> nn.ModuleDict:
    """Return the networks of a deployment, as the store keeps them; a channel may be one."""
    parts: dict[str, nn.Module] = {"edge": deployment.edge, "cloud": deployment.cloud}
    if isinstance(deployment.channel, nn.Module):
        parts["channel"] = deployment.channel
    return nn.ModuleDict(parts)
