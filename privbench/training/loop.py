"""The Lightning Trainer as privbench uses it: quiet, in-memory batches, one device."""

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch import Tensor

from privbench.runtime.countdown import Countdown
from privbench.runtime.device import DeviceConfig

for _name in ("pytorch_lightning", "lightning_fabric"):
    logging.getLogger(_name).setLevel(logging.ERROR)

PRECISIONS = ("32-true", "bf16-mixed")


class Batches:
    """Mini-batches of tensors in memory, in a new order at every pass.

    Args:
        tensors: Of equal length, on the device they are used on.
        size: Rows a batch; a pass's last one may be smaller, or larger by a row left alone.
        order: Where the permutations come from; ``None`` keeps the order of the tensors.
        epoch: Batches an epoch sees, where the tensors are too many for one: the next epoch goes on
            where it ended. ``None`` for a whole pass.
    """

    def __init__(
        self,
        *tensors: Tensor,
        size: int,
        order: torch.Generator | None = None,
        epoch: int | None = None,
    ) -> None:
        self.tensors, self.order = tensors, order
        count = len(tensors[0])
        self.sizes = [size] * (count // size) + [count % size] * (count % size > 0)
        if len(self.sizes) > 1 and self.sizes[-1] == 1:  # of one row there are no batch statistics
            self.sizes[-2:] = [size + 1]
        self.epoch = epoch or len(self.sizes)
        self.rows = self._endlessly()

    def __len__(self) -> int:
        return self.epoch

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for rows in islice(self.rows, self.epoch):
            yield tuple(tensor[rows] for tensor in self.tensors)

    def _endlessly(self) -> Iterator[Tensor]:
        count, device = len(self.tensors[0]), self.tensors[0].device
        while True:
            order = (
                torch.arange(count)
                if self.order is None
                else torch.randperm(count, generator=self.order)
            )
            yield from order.to(device).split(self.sizes)


def batch_for(count: int, most: int) -> int:
    """Rows a batch for so many rows: about a sixteenth, a power of two from 16 to ``most``.

    In small batches a small data set is learnt from in fewer passes.

    >>> [batch_for(count, 128) for count in (40, 360, 1037, 40_000)]
    [16, 16, 64, 128]
    """
    sixteenth = max(1, count // 16)
    return min(most, max(16, 1 << (sixteenth.bit_length() - 1)))


HELD_OUT = "held_out_loss"
"""What a module's ``validation_step`` logs for the best weights to be known by."""


class _Best(Callback):
    """Ends a training that no longer betters itself, and leaves the best weights behind.

    Lightning's own pair for this writes every best state to a disk.
    """

    def __init__(self, patience: int) -> None:
        self.patience, self.least, self.step = patience, math.inf, 0
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Compare this epoch with the best one."""
        loss = float(trainer.callback_metrics[HELD_OUT])
        if loss < self.least:
            self.least, self.step = loss, trainer.global_step
            self.weights = {name: w.clone() for name, w in pl_module.state_dict().items()}
        elif trainer.global_step - self.step >= self.patience:
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Go back to the best weights; there are none where no loss was a number."""
        if self.weights:
            pl_module.load_state_dict(self.weights)


class _Progress(Callback):
    """Hands the metrics of every epoch to a function, and counts the steps for a person.

    Lightning's own bar writes to standard output, which is the result's.
    """

    def __init__(self, report: Callable[[int, dict[str, float]], None], shown: Countdown) -> None:
        self.report, self.shown = report, shown

    def on_train_batch_end(self, *happened: Any) -> None:
        """Count the step."""
        self.shown.advance()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report what the module logged in this epoch."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.shown.set_metrics(**figures)
        self.report(trainer.current_epoch, figures)


def one_cycle(optimiser: torch.optim.Optimizer, steps: int, rising: float) -> dict[str, Any]:
    """An optimiser whose rate rises to its own and falls to 0, in Lightning's words.

    Args:
        optimiser: Its rate is the highest one.
        steps: Of the whole training.
        rising: Their share in which it rises.
    """
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, optimiser.param_groups[0]["lr"], total_steps=steps, pct_start=rising
    )
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


def fit(
    module: Any,
    batches: Batches,
    *,
    epochs: int,
    device_config: DeviceConfig,
    precision: str = "32-true",
    report: Callable[[int, dict[str, float]], None] = lambda epoch, figures: None,
    held_out: Batches | None = None,
    patience: int = 0,
    name: str = "a network",
) -> int:
    """Train a LightningModule in place.

    Args:
        module: Its ``training_step`` gets the tuples that ``batches`` yields.
        batches: In-memory mini-batches.
        epochs: How often they are seen, at most.
        device_config: Where.
        precision: Lightning's name of it.
        report: Called after each epoch with its number and what the module logged.
        held_out: Given to ``validation_step`` after each epoch, which logs ``HELD_OUT``; the module
            ends with the weights that did best on them.
        patience: Steps without a better loss on ``held_out`` that end the training.
        name: Of what is trained, for the line or bar that shows how far it is.

    Returns:
        Epochs that were run.
    """
    shown = Countdown(f"training {name}", epochs * len(batches))
    with shown, warnings.catch_warnings():
        # batches come from memory: there is nothing that worker processes could load
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # Lightning 2.6 asks torch's pytrees in a way that torch 2.15 calls old
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        # a login node of a cluster has srun, and a job trains by itself there too
        warnings.filterwarnings("ignore", message=".*srun.*")
        trainer = lightning.Trainer(
            accelerator=device_config.device.type,
            devices=1,
            max_epochs=epochs,
            precision=precision,
            callbacks=[_Progress(report, shown)] + ([_Best(patience)] if held_out else []),
            plugins=[LightningEnvironment()],  # inside SLURM too: a job trains by itself
            logger=False,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        try:
            trainer.fit(module, train_dataloaders=batches, val_dataloaders=held_out)
        except SystemExit:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from None
    return int(trainer.current_epoch)
