"""Base class of everything that is trained."""

from abc import abstractmethod
from typing import Any

import pytorch_lightning as lightning
from torch import Tensor, nn

from privbench.training.config import OptimizerConfig


class TrainingTask(lightning.LightningModule):
    """A network, and its losses on a batch.

    Subclasses define ``losses``. ``loss`` is minimised and the others are logged; on held-out data
    all of them are logged with the prefix ``held_out_``.

    Args:
        network: Trained in place.

    Attributes:
        name: Name of the network, for the progress.
        optimizer: Its hyper-parameters; set before the training begins.
        steps: Number of steps of the whole training; set before it begins.
    """

    name = "a network"

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.optimizer: OptimizerConfig
        self.steps = 0

    @abstractmethod
    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Compute ``loss``, which is minimised, and other scalars to log."""

    def training_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """Return the loss of a batch."""
        losses = self.losses(batch)
        detached = {name: value.detach() for name, value in losses.items()}
        self.log_dict(detached, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return losses["loss"]

    def validation_step(self, batch: tuple[Tensor, ...], index: int) -> None:
        """Log the losses of held-out data."""
        losses = {f"held_out_{name}": value for name, value in self.losses(batch).items()}
        self.log_dict(losses, on_step=False, on_epoch=True, batch_size=len(batch[0]))

    def configure_optimizers(self) -> Any:
        """Return the optimizer with its schedule."""
        return self.optimizer.build(self.network.parameters(), self.steps)
