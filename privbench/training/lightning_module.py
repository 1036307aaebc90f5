"""Lightning's module of a training task; imported where a training begins."""

from typing import Any

import pytorch_lightning as lightning
from torch import Tensor

from privbench.training.task import TrainingTask


class TaskModule(lightning.LightningModule):
    """A task's network with its steps and optimizer.

    Args:
        task: Its network is the only one that Lightning moves to a device or sets to training.
    """

    def __init__(self, task: TrainingTask) -> None:
        super().__init__()
        self.task, self.network = task, task.network

    def training_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """Return the loss of a batch."""
        losses = self.task.losses(batch)
        detached = {name: value.detach() for name, value in losses.items()}
        self.log_dict(detached, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return losses["loss"]

    def validation_step(self, batch: tuple[Tensor, ...], index: int) -> None:
        """Log the losses of held-out data."""
        losses = {f"held_out_{name}": value for name, value in self.task.losses(batch).items()}
        self.log_dict(losses, on_step=False, on_epoch=True, batch_size=len(batch[0]))

    def configure_optimizers(self) -> Any:
        """Return the optimizer with its schedule."""
        return self.task.optimizer.build(self.network.parameters(), self.task.steps)
