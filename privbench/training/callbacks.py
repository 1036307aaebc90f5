"""Lightning's callbacks of a training: progress, early stopping and checkpoints."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from privbench.runtime.countdown import Countdown
from privbench.runtime.files import atomic_file
from privbench.training.checkpoint import NAME, Checkpoint

LOG = logging.getLogger(__name__)

EVERY = 60.0
"""Least number of seconds between two checkpoints."""
SHARE = 20.0
"""Least ratio of the time between two checkpoints and the time that writing one takes."""

for _name in ("pytorch_lightning", "lightning_fabric"):  # after their import, which sets a level
    logging.getLogger(_name).setLevel(logging.ERROR)


class EarlyStopping(Callback):
    """End a training whose held-out loss no longer falls, and restore the best weights if wanted.

    Lightning's callbacks for this write every best state to disk.

    Args:
        patience: Steps without a lower loss that end the training.
        metric: Name of the loss.
        restore: Restore the weights of the lowest loss at the end.
    """

    def __init__(self, patience: int, metric: str, *, restore: bool) -> None:
        self.metric, self.restore = metric, restore
        self.patience, self.lowest, self.step = patience, math.inf, 0
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Compare this epoch with the best one."""
        loss = pl_module.held_out_means.compute()[self.metric]
        if loss < self.lowest:
            self.lowest, self.step = loss, trainer.global_step
            if self.restore:
                self.weights = {name: w.clone() for name, w in pl_module.state_dict().items()}
        elif trainer.global_step - self.step >= self.patience:
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Restore the best weights; there are none if every loss was NaN, or if not wanted."""
        if self.weights:
            pl_module.load_state_dict(self.weights)


class Progress(Callback):
    """Report the metrics of every epoch, and count the steps.

    Lightning's progress bar writes to standard output, which is reserved for results.
    """

    def __init__(
        self, report: Callable[[int, dict[str, float]], None], countdown: Countdown
    ) -> None:
        self.report, self.countdown = report, countdown
        self.reported: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of the progress."""
        return {"reported": self.reported}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the metrics of the epochs before a checkpoint."""
        self.reported = list(state_dict["reported"])

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Report the epochs before the checkpoint that the training goes on from."""
        if self.reported:
            done = len(self.reported), trainer.max_epochs
            LOG.info("%s goes on after epoch %d of %d", self.countdown.task, *done)
        for epoch, metrics in enumerate(self.reported):
            self.report(epoch, metrics)
        self.countdown.skip(trainer.global_step)

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Count the step."""
        self.countdown.advance()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the mean losses of this epoch."""
        metrics = pl_module.held_out_means.compute() | pl_module.means.compute()
        self.countdown.set_metrics(**metrics)
        self.report(trainer.current_epoch, metrics)
        self.reported.append(metrics)


class PlainFiles(TorchCheckpointIO):
    """Write checkpoints to their file, where Lightning would go through memory and ``/tmp``."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint."""
        torch.save(checkpoint, path)


class Checkpointing(Callback):
    """Write checkpoints between epochs, and go on from one in the same random streams.

    It must be the last callback: a checkpoint holds the state of those before it.
    """

    state_key = NAME

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.started = self.written = time.monotonic()
        self.pause = EVERY
        self.streams: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the states of torch's random streams, and the seconds of training so far."""
        streams = {"own": self.checkpoint.generator.get_state(), "cpu": torch.get_rng_state()}
        if torch.cuda.is_initialized():
            streams["cuda"] = torch.cuda.get_rng_state()
        passed = time.monotonic() - self.started
        seconds = self.checkpoint.seconds + passed
        return {"streams": streams, "seconds": seconds, "made_by": self.checkpoint.made_by}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the random streams and the seconds of earlier processes."""
        self.streams = state_dict["streams"]
        self.checkpoint.seconds = state_dict["seconds"]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Set the random streams to where they were."""
        if not self.streams:
            return
        self.checkpoint.generator.set_state(self.streams["own"].cpu())
        torch.set_rng_state(self.streams["cpu"].cpu())
        if "cuda" in self.streams and torch.cuda.is_initialized():
            torch.cuda.set_rng_state(self.streams["cuda"].cpu())

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write a checkpoint, if the last one is old enough."""
        begun = time.monotonic()
        if begun - self.written < self.pause or trainer.current_epoch + 1 == trainer.max_epochs:
            return
        try:
            with atomic_file(self.checkpoint.path) as part:
                trainer.save_checkpoint(part)
        except (OSError, RuntimeError) as error:  # torch raises the latter where the disk is full
            LOG.warning("%s cannot be written: %s", self.checkpoint.path, error)
        self.written = time.monotonic()
        self.pause = max(EVERY, SHARE * (self.written - begun))
