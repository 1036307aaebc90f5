"""Hyper-parameters that every training shares."""

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import nn

from privbench.runtime.validation import (
    VALIDATED,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)
from privbench.training.adam import add_eps_before_correction

Schedule = Literal["constant", "one_cycle", "halving"]
"""Course of the learning rate."""


@dataclass(frozen=True, config=VALIDATED)
class OptimizerConfig:
    """AdamW (Loshchilov and Hutter, 2019) and the schedule of its rate.

    Attributes:
        lr: Learning rate, the highest one of a cycle.
        weight_decay: Decoupled weight decay; 0 makes it Adam.
        adam_eps: Term that keeps Adam's denominator above 0.
        amsgrad: Divide by the largest second moment so far.
        eps_before_correction: Add epsilon before the bias correction of the second moment, as
            PyTorch did before 1.3.
        schedule: ``constant``; ``one_cycle``: the rate rises to ``lr`` and falls to 0; ``halving``:
            the rate is halved again and again.
        rising: Share of the steps in which a cycle rises.
        halve_every: Number of steps between two halvings.
    """

    lr: PositiveFloat
    weight_decay: NonNegativeFloat = 0.0
    adam_eps: NonNegativeFloat = 1e-8
    amsgrad: bool = False
    schedule: Schedule = "one_cycle"
    rising: Fraction = 0.1
    halve_every: PositiveInt = 1
    eps_before_correction: bool = False

    def build(self, parameters: Iterable[nn.Parameter], steps: int) -> Any:
        """Build the optimizer, and the schedule if there is one.

        Args:
            parameters: Parameters to train.
            steps: Number of steps of the whole training.

        Returns:
            A value for Lightning's ``configure_optimizers``.
        """
        optimizer = torch.optim.AdamW(
            parameters,
            lr=self.lr,
            eps=self.adam_eps,
            weight_decay=self.weight_decay,
            amsgrad=self.amsgrad,
        )
        if self.eps_before_correction:
            add_eps_before_correction(optimizer)
        if self.schedule == "constant":
            return optimizer
        if self.schedule == "halving":
            halved = torch.optim.lr_scheduler.StepLR(optimizer, self.halve_every, gamma=0.5)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": halved, "interval": "step"},
            }
        return one_cycle(optimizer, steps, self.rising)


def one_cycle(optimizer: torch.optim.Optimizer, steps: int, rising: float) -> dict[str, Any]:
    """Attach a one-cycle schedule (Smith, 2018), stepped after every batch.

    Args:
        optimizer: Its rate is the highest one of the cycle.
        steps: Number of steps of the whole training.
        rising: Share of them in which the rate rises.

    Returns:
        A value for Lightning's ``configure_optimizers``.
    """
    if steps * rising == 1:  # torch divides by the length of the rise, less one step
        rising = math.nextafter(rising, 1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, optimizer.param_groups[0]["lr"], total_steps=steps, pct_start=rising
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


def batch_size(count: int, largest: int) -> int:
    """Choose a batch size: about a sixteenth of the rows, a power of two from 16 to ``largest``.

    A small data set is learned in fewer passes in small batches.

    >>> [batch_size(count, 128) for count in (40, 360, 1037, 40_000)]
    [16, 16, 64, 128]
    """
    sixteenth = max(1, count // 16)
    return min(largest, max(16, 1 << (sixteenth.bit_length() - 1)))
