"""Training of victims: the recipe of a yaml."""

import inspect
import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple
from urllib.error import URLError

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.runtime.device import DeviceConfig
from privbench.runtime.downloads import describe_failure
from privbench.runtime.errors import unknown_option
from privbench.runtime.hashing import derive_seed
from privbench.runtime.random import torch_seed
from privbench.runtime.validation import (
    VALIDATED,
    NonNegativeFloat,
    NonNegativeInt,
    OptionalPositiveInt,
    PositiveFloat,
    PositiveInt,
    expecting,
)
from privbench.training.checkpoint import Checkpoint
from privbench.training.config import OptimizerConfig, Schedule, batch_size
from privbench.training.loop import Batches, EpochLogger, fit
from privbench.victims.chance import chance_warning
from privbench.victims.classification import ClassificationTask, Interpolation
from privbench.victims.split_model import SplitModel

LOG = logging.getLogger(__name__)

LARGEST = 128
"""Largest batch, where it follows the data set."""
MANY = 16 * LARGEST
"""Number of images from which on batches have that size, and images are augmented."""

Build = Callable[[tuple[int, int, int], int], nn.Module]
"""Constructor of an untrained classifier from image shape and number of classes."""


@dataclass(frozen=True, config=VALIDATED)
class VictimConfig:
    """A classifier and the recipe that trains it, by AdamW.

    Attributes:
        name: Name as in ``conf/victim/``.
        model: Builds the untrained classifier from image shape and number of classes.
        epochs: Passes over the training images.
        min_steps: Smallest number of steps; small data sets get more epochs for it.
        batch: Batch size; null follows the number of images: 16 for a few hundred, 128 from 2,048.
        lr: Highest learning rate; where the batch follows the data and is smaller than 128, the
            rate is less by the root of the same factor.
        weight_decay: Weight decay of AdamW.
        augment: Random flips, rotations of 10 degrees, shifts of 10 %, scales of 0.9 to 1.1; null
            for data sets from 2,048 images: on fewer, the same passes learn more without it.
        mirror: Whether augmented images are mirrored at random; digits would become others.
        interpolation: Of augmented images: ``bilinear``, which blurs them a little, or ``nearest``,
            the default of torchvision's ``RandomAffine``.
        precision: ``32-true``, or ``bf16-mixed`` where the machine multiplies in bf16.
        adam_eps: Term that keeps Adam's denominator above 0.
        amsgrad: Divide by the largest second moment so far.
        eps_before_correction: Add epsilon before the bias correction of the second moment, as
            PyTorch did before 1.3.
        schedule: ``one_cycle``, ``constant``, or ``halving`` every ``halve_every`` epochs.
        halve_every: Number of epochs between two halvings.
    """

    version: ClassVar[str] = "victim-1"

    name: str
    model: Annotated[
        Build, expecting("victim=NAME, or victim=module victim.model._target_=MODULE.FUNCTION")
    ]
    epochs: PositiveInt
    min_steps: NonNegativeInt
    batch: OptionalPositiveInt
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    augment: bool | None
    precision: Literal["32-true", "bf16-mixed"]
    adam_eps: NonNegativeFloat = 1e-8
    amsgrad: bool = False
    schedule: Schedule = "one_cycle"
    halve_every: PositiveInt = 20
    mirror: bool = True
    interpolation: Interpolation = "bilinear"
    eps_before_correction: bool = False

    def outline(self, shape: tuple[int, int, int], classes: int) -> SplitModel:
        """Build the untrained classifier with whatever weights it draws, or with none.

        Raises:
            ValueError: for images that are too small, for an option that the network does not have,
                and for a network that cannot be trained.
        """
        self._require_known_options()
        model = self.model(shape, classes)
        if not isinstance(model, SplitModel):
            raise ValueError(  # noqa: TRY004 - as all bad input
                f"victim={self.name} builds {type(model).__name__}, which is not a SplitModel: "
                "choose victim=module with victim.model._target_=MODULE.FUNCTION"
            )
        self._require_trainable(model)
        return model

    def _require_known_options(self) -> None:
        """Refuse ``victim.model.NAME=VALUE`` that the network's constructor does not take."""
        if not isinstance(self.model, partial):
            return
        parameters = inspect.signature(self.model.func).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return
        names = [parameter.name for parameter in parameters][2:]  # after image shape and classes
        for name in self.model.keywords:
            if name not in names:
                raise ValueError(unknown_option(f"victim.model.{name}", names))

    def _require_trainable(self, model: SplitModel) -> None:
        """Refuse to train a network whose training mode was not traced."""
        if self.epochs and model.other_in_training:
            raise ValueError(
                f"victim={self.name} has another graph in training mode "
                f"({model.other_in_training}), which would be lost: let the mode change arguments "
                "alone, as F.dropout(x, training=self.training) does, or give victim.weights and "
                "victim.epochs=0"
            )

    def build(self, shape: tuple[int, int, int], classes: int, seed: int) -> SplitModel:
        """Build the untrained classifier, initialised by a random stream of its own.

        Raises:
            ValueError: for images that are too small, and for weights that cannot be downloaded.
        """
        try:
            with torch_seed(derive_seed(seed, "initialisation")):
                return self.outline(shape, classes)
        except URLError as error:
            raise ValueError(
                f"victim={self.name} downloads weights, which failed ({describe_failure(error)}): "
                "connect once, put the file where the download would, or choose another victim"
            ) from error

    def train(
        self,
        model: SplitModel,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
        device_config: DeviceConfig,
        report: EpochLogger = lambda epoch, metrics: None,
        unfinished: Path | None = None,
    ) -> dict[str, Any]:
        """Train a classifier in place; not at all where there are no epochs.

        Args:
            model: The classifier.
            images: ``(N, C, H, W)``, 8-bit or in [0, 1].
            labels: ``(N,)``.
            seed: Seed of batches and augmentation.
            device_config: Device of the training.
            report: Gets ``loss`` and ``accuracy`` over the training batches of each epoch.
            unfinished: File for the state between epochs, which a later process goes on from.

        Returns:
            ``epochs``, ``batch``, ``lr``, ``augment`` and ``precision`` that were used, and
            ``earlier_seconds`` of training if this process went on from an unfinished one.
        """
        if self.epochs == 0:
            return {"epochs": 0}
        generator = torch.Generator().manual_seed(derive_seed(seed, "training"))
        device = device_config.device
        used = self.suited(len(labels))
        batches = Batches(images.to(device), labels.to(device), size=used.batch, order=generator)
        epochs = max(self.epochs, -(-self.min_steps // len(batches)))
        task = ClassificationTask(
            model.train(),
            augment=used.augment,
            mirror=self.mirror,
            interpolation=self.interpolation,
            generator=generator,
        )
        task.optimizer = OptimizerConfig(
            used.lr,
            self.weight_decay,
            self.adam_eps,
            self.amsgrad,
            self.schedule,
            rising=0.2,
            halve_every=self.halve_every * len(batches),
            eps_before_correction=self.eps_before_correction,
        )
        task.steps = epochs * len(batches)
        precision = device_config.precision(self.precision)
        checkpoint = Checkpoint(unfinished, generator, precision) if unfinished else None
        accuracies: list[float] = []

        def keep_accuracy(epoch: int, metrics: dict[str, float]) -> None:
            accuracies.append(metrics["accuracy"])
            report(epoch, metrics)

        fit(
            task,
            batches,
            epochs=epochs,
            device_config=device_config,
            precision=precision,
            report=keep_accuracy,
            name=self.name,
            checkpoint=checkpoint,
        )
        model.cpu().to(memory_format=torch.contiguous_format).eval()
        words = self.name, "its training images", "raise victim.epochs or change victim.lr"
        if warning := chance_warning(accuracies[-1], labels, *words):
            LOG.warning(warning)
        settings = {"batch": used.batch, "lr": used.lr, "augment": used.augment}
        facts = {"epochs": epochs, **settings, "precision": precision}
        if checkpoint and checkpoint.seconds:
            facts["earlier_seconds"] = checkpoint.seconds
        return facts

    def suited(self, count: int) -> "Suited":
        """Choose batch, rate and augmentation for a number of training images."""
        size = self.batch or batch_size(count, LARGEST)
        lr = self.lr if self.batch else self.lr * math.sqrt(size / LARGEST)
        return Suited(size, lr, count >= MANY if self.augment is None else self.augment)


class Suited(NamedTuple):
    """Settings that follow the data set: batch size, highest rate, augmentation."""

    batch: int
    lr: float
    augment: bool
