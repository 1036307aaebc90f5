"""Lightning's callbacks of a training: progress, and the end at the lowest held-out loss."""

import logging
import math
from collections.abc import Callable
from typing import Any

from pytorch_lightning.callbacks import Callback
from torch import Tensor

from privbench.runtime.countdown import Countdown

for _name in ("pytorch_lightning", "lightning_fabric"):  # after their import, which sets a level
    logging.getLogger(_name).setLevel(logging.ERROR)


class EarlyStopping(Callback):
    """End a training whose held-out loss no longer falls, and restore the best weights.

    Lightning's callbacks for this write every best state to disk.

    Args:
        patience: Steps without a lower loss that end the training.
        metric: Name of the loss.
    """

    def __init__(self, patience: int, metric: str) -> None:
        self.metric = metric
        self.patience, self.lowest, self.step = patience, math.inf, 0
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Compare this epoch with the best one."""
        loss = pl_module.held_out_means.compute()[self.metric]
        if loss < self.lowest:
            self.lowest, self.step = loss, trainer.global_step
            self.weights = {name: w.clone() for name, w in pl_module.state_dict().items()}
        elif trainer.global_step - self.step >= self.patience:
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Restore the best weights; there are none if every loss was NaN."""
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

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Count the step."""
        self.countdown.advance()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the mean losses of this epoch."""
        metrics = pl_module.held_out_means.compute() | pl_module.means.compute()
        self.countdown.set_metrics(**metrics)
        self.report(trainer.current_epoch, metrics)
