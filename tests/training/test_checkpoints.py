"""Checkpoints: a training that was interrupted ends with the weights of one that was not."""

import errno
import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from privbench.training import callbacks
from privbench.training.checkpoint import Checkpoint
from privbench.training.config import OptimizerConfig
from privbench.training.loop import Batches, fit
from privbench.training.task import TrainingTask
from privbench.victims.chain import ChainModel, FlattenLinear
from privbench.victims.split_model import Normalize
from privbench.victims.training import VictimConfig
from tests.support import CPU

IMAGES = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(40) % 2


class Stop(BaseException):
    """What ends a process between two epochs."""


def with_dropout(shape, classes) -> ChainModel:
    """Build a network whose training draws from torch's own stream too, and counts its batches."""
    return ChainModel(
        {
            "input": Normalize((0.5,), (0.5,)),
            "conv": nn.Conv2d(shape[0], 4, 3),
            "norm": nn.BatchNorm2d(4),
            "drop": nn.Dropout(0.5),
            "fc": FlattenLinear(4 * 36, classes),
        }
    )


def victim(**changes) -> VictimConfig:
    """Return the recipe of a training that has all that a checkpoint must hold."""
    settings = {
        "name": "small", "model": with_dropout, "epochs": 6, "min_steps": 0, "batch": 16,
        "lr": 1e-2, "weight_decay": 0.1, "augment": True, "precision": "32-true",
        "schedule": "halving", "halve_every": 2, "amsgrad": True,
        "adam_eps": 1e-3, "eps_before_correction": True,
    }  # fmt: skip
    return VictimConfig(**{**settings, **changes})


def train(file, stop_after=None, **changes):
    """Train to the end or to an epoch: weights, facts, and the reported metrics by epoch."""
    recipe, reported = victim(**changes), {}
    model = recipe.build((3, 8, 8), 2, 0)

    def report(epoch: int, metrics: dict[str, float]) -> None:
        reported[epoch] = metrics
        if epoch == stop_after:
            raise Stop

    torch.manual_seed(0)
    facts = recipe.train(
        model, IMAGES, LABELS, seed=0, device_config=CPU, report=report, unfinished=file
    )
    return model.state_dict(), facts, reported


@pytest.fixture
def always(monkeypatch):
    """Write a checkpoint after every epoch."""
    monkeypatch.setattr(callbacks, "EVERY", 0.0)
    monkeypatch.setattr(callbacks, "SHARE", 0.0)


@pytest.mark.parametrize("schedule", ["halving", "one_cycle", "constant"])
def test_an_interrupted_training_ends_with_the_same_weights(always, tmp_path, caplog, schedule):
    """Bit for bit, with all epochs reported, although it was interrupted twice."""
    caplog.set_level(logging.INFO)
    file = tmp_path / "key.checkpoint"
    whole, facts, reported = train(None, schedule=schedule)
    assert "earlier_seconds" not in facts
    for stop in (1, 4):
        with pytest.raises(Stop):
            train(file, stop, schedule=schedule)
        assert file.exists()
    weights, facts, again = train(file, schedule=schedule)
    assert all(torch.equal(weights[name], value) for name, value in whole.items())
    assert again == reported and list(again) == list(range(6))
    assert facts["earlier_seconds"] > 0
    lines = [line for line in caplog.messages if "goes on" in line]
    assert lines == [
        "training small goes on after epoch 1 of 6",
        "training small goes on after epoch 4 of 6",
    ]


def test_epsilon_before_the_correction_trains_another_network():
    """The recipe's option reaches the optimizer."""
    (weights, *_), (others, *_) = train(None), train(None, eps_before_correction=False)
    assert not torch.equal(weights["layers.fc.weight"], others["layers.fc.weight"])


def test_the_test_above_needs_the_random_streams(always, tmp_path, monkeypatch):
    """Without them the weights differ: what is compared depends on them."""
    monkeypatch.setattr(callbacks.Checkpointing, "on_train_start", lambda *_: None)
    whole, *_ = train(None)
    with pytest.raises(Stop):
        train(tmp_path / "key.checkpoint", 3)
    weights, *_ = train(tmp_path / "key.checkpoint")
    assert not torch.equal(weights["layers.fc.weight"], whole["layers.fc.weight"])


def test_a_damaged_checkpoint_is_a_warning_and_the_training_begins_anew(always, tmp_path, caplog):
    """As if it were not there."""
    file = tmp_path / "key.checkpoint"
    with pytest.raises(Stop):
        train(file, 3)
    file.write_bytes(file.read_bytes()[:2000])
    weights, facts, _ = train(file)
    assert "key.checkpoint is damaged" in caplog.text
    whole, *_ = train(None)
    assert all(torch.equal(weights[name], value) for name, value in whole.items())
    assert "earlier_seconds" not in facts


def test_a_checkpoint_of_other_versions_or_another_precision_is_not_used(
    always, tmp_path, caplog, monkeypatch
):
    """Layers may have other names there, and facts would name one precision of two."""
    file = tmp_path / "key.checkpoint"
    with pytest.raises(Stop):
        train(file, 3)
    generator = torch.Generator()
    assert Checkpoint(file, generator, "32-true").found() == file
    assert Checkpoint(file, generator, "bf16-mixed").found() is None
    assert "written with precision 32-true, and this process has bf16-mixed" in caplog.text
    monkeypatch.setattr("privbench.training.checkpoint.version", lambda name: f"9 of {name}")
    assert Checkpoint(file, generator, "32-true").found() is None
    assert "this process has 9 of torch: the training begins anew" in caplog.text


def test_a_checkpoint_that_cannot_be_read_now_is_an_error(tmp_path, monkeypatch):
    """It may be whole: to begin anew would overwrite it."""
    file = tmp_path / "key.checkpoint"

    def unreadable(*_, **__):
        raise OSError(errno.EIO, "Input/output error", str(file))

    monkeypatch.setattr(torch, "load", unreadable)
    with pytest.raises(OSError, match="Input/output error"):
        Checkpoint(file, torch.Generator(), "32-true").found()


def test_a_checkpoint_goes_to_its_own_file_alone(always, tmp_path, monkeypatch):
    """Not through the system's folder for temporary files, which may be small."""

    def elsewhere(*_, **__):
        raise AssertionError("a temporary file was made elsewhere")

    monkeypatch.setattr("tempfile.mkstemp", elsewhere)
    with pytest.raises(Stop):
        train(tmp_path / "key.checkpoint", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["key.checkpoint"]


def test_a_training_with_held_out_data_has_no_checkpoint(tmp_path):
    """It would lack the best weights so far."""

    class Task(TrainingTask):
        optimizer = OptimizerConfig(lr=1.0, schedule="constant")

        def losses(self, batch):
            return {"loss": self.network(batch[0]).sum()}

    x = torch.zeros(4, 1)
    checkpoint = Checkpoint(tmp_path / "key.checkpoint", torch.Generator(), "32-true")
    with pytest.raises(ValueError, match="held-out data has no checkpoint"):
        fit(
            Task(nn.Linear(1, 1)), Batches(x, size=4), epochs=1, device_config=CPU,
            held_out=Batches(x, size=4), checkpoint=checkpoint,
        )  # fmt: skip


@pytest.mark.parametrize("error", [OSError(28, "No space left"), RuntimeError("writer failed")])
def test_a_checkpoint_that_cannot_be_written_ends_no_training(
    always, tmp_path, caplog, monkeypatch, error
):
    """A full disk costs the checkpoint, of which nothing half-written is left."""
    import pytorch_lightning

    def full(trainer, path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(pytorch_lightning.Trainer, "save_checkpoint", full)
    weights, *_ = train(tmp_path / "key.checkpoint")
    assert "key.checkpoint cannot be written: " in caplog.text
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    whole, *_ = train(None)
    assert all(torch.equal(weights[name], value) for name, value in whole.items())


def test_short_trainings_write_no_checkpoint(tmp_path):
    """Those that end within a minute: it would cost more than it saves."""
    train(tmp_path / "key.checkpoint")
    assert not list(tmp_path.iterdir())


def test_checkpoints_take_a_twentieth_of_the_time_at_most(tmp_path, clock, monkeypatch):
    """One that takes ten seconds to write is followed by none for two hundred."""
    written = []

    class Trainer:
        max_epochs, current_epoch = 100, 0

        def save_checkpoint(self, path) -> None:
            path.write_bytes(b"state")
            written.append(clock.now)
            clock.now += 10

    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: clock.now))
    checkpoint = Checkpoint(tmp_path / "key.checkpoint", torch.Generator(), "32-true")
    made, trainer = callbacks.Checkpointing(checkpoint), Trainer()
    begun = clock.now
    for _ in range(60):
        clock.now += 10
        made.on_train_epoch_end(trainer, None)
    assert [at - begun for at in written] == [60, 270, 480]
