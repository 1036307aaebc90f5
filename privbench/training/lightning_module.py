"""Lightning's module of a training task; imported where a training begins."""

from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor

from privbench.training.task import TrainingTask


class EpochMeans:
    """Means of losses over the rows of an epoch.

    Lightning's own logging takes longer than the steps of a small network.

    Args:
        prefix: What the name of each mean begins with.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix, self.rows = prefix, 0
        self.sums: dict[str, Tensor] = {}

    def add(self, losses: dict[str, Tensor], rows: int) -> None:
        """Add the losses of a batch, each a mean over so many rows."""
        for name, value in losses.items():
            weighted = value.detach().to(torch.promote_types(value.dtype, torch.float32)) * rows
            self.sums[name] = self.sums[name] + weighted if self.rows else weighted
        self.rows += rows

    def compute(self) -> dict[str, float]:
        """Return the mean of each loss by its name, with the prefix."""
        return {f"{self.prefix}{name}": float(s / self.rows) for name, s in self.sums.items()}


class TaskModule(lightning.LightningModule):
    """A task's network with its steps and optimizer.

    Args:
        task: Its network is the only one that Lightning moves to a device or sets to training.
    """

    def __init__(self, task: TrainingTask) -> None:
        super().__init__()
        self.task, self.network = task, task.network
        self.means, self.held_out_means = EpochMeans(), EpochMeans("held_out_")

    def on_train_epoch_start(self) -> None:
        """Begin new means."""
        self.means = EpochMeans()

    def on_validation_epoch_start(self) -> None:
        """Begin new means of held-out data."""
        self.held_out_means = EpochMeans("held_out_")

    def training_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """Return the loss of a batch."""
        losses = self.task.losses(batch)
        self.means.add(losses, len(batch[0]))
        return losses["loss"]

    def validation_step(self, batch: tuple[Tensor, ...], index: int) -> None:
        """Collect the losses of held-out data."""
        self.held_out_means.add(self.task.losses(batch), len(batch[0]))

    def configure_optimizers(self) -> Any:
        """Return the optimizer with its schedule."""
        return self.task.optimizer.build(self.network.parameters(), self.task.steps)
