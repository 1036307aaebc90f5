"""Trainings: what shows how far they are."""

import logging
import re

import pytest
import torch
from torch import nn

from privbench.runtime import countdown
from privbench.training.config import OptimizerConfig, one_cycle
from privbench.training.loop import Batches, fit
from privbench.training.stored_numbers import StoredNumbers
from privbench.training.task import TrainingTask
from tests.support import CPU


class Slow(TrainingTask):
    """A training whose every step takes three seconds of a test's clock."""

    def __init__(self, clock) -> None:
        super().__init__(nn.Linear(1, 1))
        self.optimizer, self.clock = OptimizerConfig(lr=1e-3, schedule="constant"), clock

    def losses(self, batch):
        self.clock.now += 3
        return {"loss": self.network(batch[0]).sum()}


def test_a_slow_training_says_how_far_it_is_and_what_is_left(clock, caplog):
    """From the first step that ends after two seconds, at growing intervals."""
    caplog.set_level(logging.INFO)
    fit(
        Slow(clock),
        Batches(torch.zeros(8, 1), size=2),
        epochs=5,
        device_config=CPU,
        name="a network",
    )
    messages = [r.getMessage() for r in caplog.records if r.name == "privbench.runtime.countdown"]
    assert messages[0] == "training a network: step 1 of 20, about 57 s left"
    assert messages[1] == "training a network: step 2 of 20, about 54 s left"
    assert [line.split()[4] for line in messages] == ["1", "2", "4", "8", "16"]


@pytest.mark.long
def test_a_single_run_shows_each_training_and_the_reconstruction(
    privbench, tmp_path, brief_classifier, monkeypatch
):
    """The victim, the evaluation classifier, the adversary's network, the images."""
    monkeypatch.setattr(countdown, "FIRST", 0.0)
    words = ["attack=shadow", "attack.steps=6", "attack.inverter.steps=4", "targets=3"]
    brief = ["victim.epochs=1", "victim.min_steps=8", f"output_dir={tmp_path}"]
    code, _, err = privbench(*words, *brief)
    assert code == 0, err
    shown = dict.fromkeys(re.findall(r"privbench: (.+): step \d+ of \d+", err))
    assert len(shown) == 4
    assert {"training lenet5", "training the shadow", "reconstructing 3 images"} < set(shown)


@pytest.mark.parametrize("rising", [0.1, 0.2, 0.25, 0.3])
def test_a_cycle_of_any_length_begins_and_ends(rising):
    """Also where it would rise for exactly one step."""
    for steps in range(1, 41):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        cycle = one_cycle(optimizer, steps, rising)["lr_scheduler"]["scheduler"]
        rates = []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            cycle.step() if len(rates) < steps else None
        assert all(0 <= rate <= 1 + 1e-9 for rate in rates)


def test_stored_numbers_are_found_again_by_their_names():
    """In double precision, whatever the precision of those that were kept."""
    numbers = StoredNumbers("low", "high")
    numbers.set(low=0.1, high=2)
    assert list(numbers.state_dict()) == ["low", "high"]
    assert (numbers["low"], numbers["high"]) == (0.1, 2.0)
    numbers.load_state_dict({"low": torch.tensor(3), "high": torch.tensor(0.5)})
    assert (numbers["low"], numbers["high"]) == (3.0, 0.5)
