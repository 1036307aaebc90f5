"""The training loop: early stopping, epochs and batches."""

import pytest
import torch
from torch import nn

from privbench.training.config import OptimizerConfig
from privbench.training.loop import HELD_OUT, Batches, fit
from privbench.training.task import TrainingTask
from tests.support import CPU


class Line(nn.Module):
    """One number, descended against an endless slope: ever better in training, not on held-out."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize(("keep", "level"), [("best", 3.0), ("last", 8.0)])
def test_a_training_ends_and_goes_back_when_held_out_data_say_so(keep, level):
    """The best weights of all epochs, or the last ones."""

    class Drifting(TrainingTask):
        def losses(self, batch):
            level = self.network.level.sum()  # ever better in training
            return {"loss": -level if self.network.training else (level - 3.2).abs()}

    task, x = Drifting(Line()), torch.zeros(4, 1)
    task.optimizer = OptimizerConfig(lr=1.0, schedule="constant")
    delivered = []
    run_epochs = fit(
        task,
        Batches(x, size=4),
        epochs=100,
        device_config=CPU,
        report=lambda epoch, losses: delivered.append(losses[HELD_OUT]),
        held_out=Batches(x, size=4),
        patience=5,
        keep=keep,
    )
    assert task.network.level.item() == pytest.approx(level)
    assert run_epochs == len(delivered) == 8


def test_epochs_shorter_than_a_pass_go_on_where_the_last_one_ended():
    """Every row is seen once before any is seen twice."""
    batches = Batches(torch.arange(8), size=2, order=torch.Generator().manual_seed(0), epoch=2)
    assert len(batches) == 2
    seen = torch.cat([rows for _ in range(2) for (rows,) in batches])
    assert sorted(seen.tolist()) == list(range(8))


def test_a_row_left_alone_joins_the_batch_before():
    """Of one row there are no batch statistics."""
    assert [len(rows) for (rows,) in Batches(torch.arange(9), size=4)] == [4, 5]
    assert [len(rows) for (rows,) in Batches(torch.arange(10), size=4)] == [4, 4, 2]
    assert [len(rows) for (rows,) in Batches(torch.arange(1), size=4)] == [1]
