"""How a victim is trained: a LightningModule and the recipe of a yaml."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import pytorch_lightning as lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from privbench.runtime import checks
from privbench.runtime.device import DeviceConfig
from privbench.runtime.hashing import derive_seed
from privbench.runtime.random import torch_seed
from privbench.training.loop import PRECISIONS, Batches, batch_for, fit, one_cycle
from privbench.victims.split_model import SplitModel

Build = Callable[[tuple[int, int, int], int], SplitModel]
LARGEST = 128
"""Images a step at most, where that follows the data set."""
MANY = 16 * LARGEST
"""Images from which on batches are of that size, and images are augmented."""


@dataclass(frozen=True)
class VictimConfig:
    """A classifier and the recipe that trains it, by Adam under a one-cycle schedule.

    Attributes:
        name: As in ``conf/victim/``.
        model: Builds the untrained classifier from image shape and number of classes.
        epochs: Passes over the training images.
        min_steps: Of a data set so small that its epochs would make fewer, more epochs are made.
        batch: Images a step; null follows their number: 16 for a few hundred, 128 from 2,048 up.
        lr: Highest learning rate of the cycle; where the batch follows the data and is smaller than
            128, the rate is less by the root of the same factor.
        weight_decay: Of AdamW.
        augment: Random flips, rotations of 10 degrees, shifts of 10 %, scales of 0.9 to 1.1; null
            for data sets from 2,048 images up: of fewer, the same passes learn more without it.
        precision: ``32-true``, or ``bf16-mixed`` where the machine multiplies in bf16.
    """

    version: ClassVar[str] = "victim-1"

    name: str
    model: Build
    epochs: int
    min_steps: int
    batch: int | None
    lr: float
    weight_decay: float
    augment: bool | None
    precision: str

    def __post_init__(self) -> None:
        """Refuse what is out of range, before any data is read."""
        if not callable(self.model):
            raise ValueError(f"victim.model={self.model} builds nothing")  # noqa: TRY004 - as all
        checks.whole("victim.epochs", self.epochs, 1)
        checks.whole("victim.min_steps", self.min_steps, 0)
        checks.whole_or_null("victim.batch", self.batch, 1)
        checks.number("victim.lr", self.lr, 0, above=True)
        checks.number("victim.weight_decay", self.weight_decay, 0)
        if self.augment is not None:
            checks.flag("victim.augment", self.augment)
        checks.choice("victim.precision", self.precision, PRECISIONS)

    def build(self, shape: tuple[int, int, int], classes: int, seed: int) -> SplitModel:
        """The untrained classifier, initialised by its own stream.

        Raises:
            ValueError: for images that are too small.
        """
        with torch_seed(derive_seed(seed, "initialisation")):
            return self.model(shape, classes)

    def train(
        self,
        model: SplitModel,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
        device_config: DeviceConfig,
        report: Callable[[int, dict[str, float]], None] = lambda epoch, figures: None,
    ) -> dict[str, Any]:
        """Train ``model`` in place on images ``(N, C, H, W)`` in [0, 1] and labels ``(N,)``.

        ``report`` gets ``loss`` and ``accuracy`` over each epoch's training batches.

        Returns:
            ``epochs``, ``batch``, ``lr``, ``augment`` and ``precision`` that were used.
        """
        order = torch.Generator().manual_seed(derive_seed(seed, "training"))
        device = device_config.device
        used = self.suited(len(labels))
        batches = Batches(images.to(device), labels.to(device), size=used.batch, order=order)
        epochs = max(self.epochs, -(-self.min_steps // len(batches)))
        module = Classifier(model.train(), self, used, steps=epochs * len(batches), generator=order)
        precision = device_config.precision(self.precision)
        fit(
            module,
            batches,
            epochs=epochs,
            device_config=device_config,
            precision=precision,
            report=report,
            name=self.name,
        )
        model.cpu().to(memory_format=torch.contiguous_format).eval()
        settings = {"batch": used.batch, "lr": used.lr, "augment": used.augment}
        return {"epochs": epochs, **settings, "precision": precision}

    def suited(self, count: int) -> "Suited":
        """Batch, rate and augmentation for so many training images."""
        size = self.batch or batch_for(count, LARGEST)
        lr = self.lr if self.batch else self.lr * math.sqrt(size / LARGEST)
        return Suited(size, lr, count >= MANY if self.augment is None else self.augment)


class Suited(NamedTuple):
    """What a recipe leaves to the data set: images a step, highest rate, augmentation."""

    batch: int
    lr: float
    augment: bool


class Classifier(lightning.LightningModule):
    """Cross-entropy on a victim's logits.

    Args:
        model: Trained in place.
        recipe: What was typed.
        used: What it is on this data set.
        steps: Of the whole training.
        generator: Draws the augmentation.
    """

    def __init__(
        self,
        model: SplitModel,
        recipe: VictimConfig,
        used: Suited,
        steps: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)
        self.recipe, self.used = recipe, used
        self.steps, self.generator = steps, generator

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """One batch: images ``(B, C, H, W)`` in [0, 1], labels ``(B,)``."""
        images, labels = batch
        if self.used.augment:
            images = augmented(images, self.generator)
        logits = self.model(images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits, labels)
        hits = (logits.detach().argmax(1) == labels).float().mean()
        figures = {"loss": loss.detach(), "accuracy": hits}
        self.log_dict(figures, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW, its rate warmed up and annealed over the whole training."""
        optimiser = torch.optim.AdamW(
            self.parameters(), lr=self.used.lr, weight_decay=self.recipe.weight_decay
        )
        return one_cycle(optimiser, self.steps, rising=0.2)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """The paper's CIFAR augmentation: each image flipped, turned, shifted, scaled at random.

    Args:
        images: ``(B, C, H, W)``.
        generator: On the CPU, so that every device sees the same draws.

    Returns:
        Images of the same shape; what comes from beyond the border is black.
    """
    count = len(images)
    flip, turn, scale, right, down = torch.rand(5, count, generator=generator)
    angle = (turn - 0.5) * 2 * torch.pi * 10 / 180
    zoom = 1 / (0.9 + 0.2 * scale)
    mirror = torch.where(flip < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    # the grid spans [-1, 1]: a shift of 10 % of the image is 0.2 of it
    rows = [mirror * cos, -sin, (right - 0.5) * 0.4, mirror * sin, cos, (down - 0.5) * 0.4]
    maps = torch.stack(rows, dim=1).view(count, 2, 3).to(images.device, images.dtype)
    grid = nn.functional.affine_grid(maps, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)
