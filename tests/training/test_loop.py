"""The training loop: early stopping, epochs and batches."""

import pytest
import torch
from torch import nn

from privbench.training.loop import HELD_OUT, Batches, fit
from tests.support import CPU


class Line(nn.Module):
    """One number, descended against an endless slope: ever better in training, not on held-out."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))


def test_a_training_ends_and_goes_back_when_held_out_data_say_so():
    """The best weights of all epochs, not the last ones."""
    import pytorch_lightning as lightning

    class Drifting(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = Line()

        def training_step(self, batch, index):
            return -self.network.level.sum()  # ever better

        def validation_step(self, batch, index):
            self.log(HELD_OUT, (self.network.level - 3.2).abs().sum())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1.0)

    module, x = Drifting(), torch.zeros(4, 1)
    delivered = []
    run_epochs = fit(
        module,
        Batches(x, size=4),
        epochs=100,
        device_config=CPU,
        report=lambda epoch, losses: delivered.append(losses[HELD_OUT]),
        held_out=Batches(x, size=4),
        patience=5,
    )
    assert module.network.level.item() == pytest.approx(3.0)
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
