"""Training loop: Lightning's Trainer, silent, with batches in memory, on one device."""

import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor

from privbench.runtime.countdown import Countdown
from privbench.runtime.device import DeviceConfig
from privbench.runtime.pixels import in_unit_range
from privbench.training.checkpoint import Checkpoint
from privbench.training.task import TrainingTask

EpochLogger = Callable[[int, dict[str, float]], None]
"""Function that gets the number of an epoch and its metrics."""


class Batches:
    """Mini-batches of tensors in memory, in a new order at every pass.

    Args:
        tensors: Tensors of equal length, on the device they are used on; 8-bit pixels become
            float32 in [0, 1] batch by batch.
        size: Rows in a batch; the last one of a pass may be smaller, or larger by a single row.
        order: Generator of the permutations; ``None`` keeps the order of the tensors.
        epoch: Batches in an epoch, if a whole pass is too long for one: the next epoch goes on
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
        if len(self.sizes) > 1 and self.sizes[-1] == 1:  # a single row has no batch statistics
            self.sizes[-2:] = [size + 1]
        self.epoch = epoch or len(self.sizes)
        self.rows = self._row_batches()

    def __len__(self) -> int:
        return self.epoch

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for rows in islice(self.rows, self.epoch):
            yield tuple(in_unit_range(tensor[rows]) for tensor in self.tensors)

    def _row_batches(self) -> Iterator[Tensor]:
        """Yield row indices of batches, pass after pass without end."""
        count, device = len(self.tensors[0]), self.tensors[0].device
        while True:
            order = (
                torch.arange(count)
                if self.order is None
                else torch.randperm(count, generator=self.order)
            )
            yield from order.to(device).split(self.sizes)


HELD_OUT = "held_out_loss"
"""Loss on held-out data that the best weights are chosen by."""


def fit(
    task: TrainingTask,
    batches: Batches,
    *,
    epochs: int,
    device_config: DeviceConfig,
    precision: str = "32-true",
    report: EpochLogger = lambda epoch, metrics: None,
    held_out: Batches | None = None,
    patience: int = 0,
    keep: Literal["best", "last"] = "best",
    name: str = "a network",
    checkpoint: Checkpoint | None = None,
) -> int:
    """Train a task's network in place.

    Args:
        task: Its ``losses`` get the tuples that ``batches`` yields.
        batches: Mini-batches in memory.
        epochs: Largest number of epochs.
        device_config: Device of the training.
        precision: Lightning's ``precision``.
        report: Called after each epoch with its number and the losses of the task.
        held_out: Batches of held-out data.
        patience: Steps without a lower ``HELD_OUT`` that end the training.
        keep: The network ends with the weights of the lowest ``HELD_OUT`` of all epochs, if there
            are held-out data, or with the last ones.
        name: Name of the network, for the progress.
        checkpoint: Where a long training without held-out data keeps its state between epochs,
            each a whole pass over the data, and goes on from. The caller deletes the file once it
            has kept the network.

    Returns:
        Number of epochs that were run.

    Raises:
        ValueError: for a checkpoint of a training with held-out data, whose best weights it lacks.
    """
    # Lightning takes seconds to import, which a refused value need not wait for
    from privbench.training.callbacks import Checkpointing, EarlyStopping, Progress
    from privbench.training.lightning_module import TaskModule

    if checkpoint and held_out:
        raise ValueError("a training with held-out data has no checkpoint")
    countdown = Countdown(f"training {name}", epochs * len(batches))
    callbacks: list[Any] = [Progress(report, countdown)]
    if held_out:
        callbacks.append(EarlyStopping(patience, HELD_OUT, restore=keep == "best"))
    if checkpoint:
        callbacks.append(Checkpointing(checkpoint))
    with countdown, warnings.catch_warnings():
        _ignore_warnings_of_lightning()
        trainer = _trainer(device_config, epochs, precision, callbacks)
        try:
            trainer.fit(
                TaskModule(task),
                train_dataloaders=batches,
                val_dataloaders=held_out,
                ckpt_path=checkpoint.found() if checkpoint else None,
            )
        except SystemExit:  # Lightning turns Ctrl-C into it
            raise KeyboardInterrupt from None
    return int(trainer.current_epoch)


def _ignore_warnings_of_lightning() -> None:
    # batches come from memory: there is nothing that worker processes could load
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # a task that can validate may be trained without held-out data
    warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
    # Lightning 2.6 uses torch's pytrees in a way that torch 2.15 deprecates
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    # a login node of a cluster has srun, and a job trains in one process there too
    warnings.filterwarnings("ignore", message=".*srun.*")


def _trainer(device_config: DeviceConfig, epochs: int, precision: str, callbacks: list[Any]) -> Any:
    import pytorch_lightning as lightning
    from pytorch_lightning.plugins.environments import LightningEnvironment

    from privbench.training.callbacks import PlainFiles

    return lightning.Trainer(
        accelerator=device_config.device.type,
        devices=1,
        max_epochs=epochs,
        precision=precision,
        callbacks=callbacks,
        # inside SLURM too a job trains in one process
        plugins=[LightningEnvironment(), PlainFiles()],
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
