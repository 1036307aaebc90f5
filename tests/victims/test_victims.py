"""Victims: warnings of a failed training, and of weights that cannot be downloaded."""

import logging
from urllib.error import URLError

import pytest
import torch

from privbench.evaluation.statistics import wilson
from privbench.runtime.validation import describe
from privbench.victims.chance import chance_warning
from privbench.victims.training import VictimConfig
from tests.support import CPU


def _unreachable(shape, classes):
    raise URLError(OSError(-2, "Name or service not known"))


def _config(**changes) -> VictimConfig:
    from privbench.victims.lenet5 import LeNet5

    settings = {
        "name": "lenet5", "model": LeNet5, "epochs": 1, "min_steps": 0, "batch": None,
        "lr": 1e-3, "weight_decay": 0.0, "augment": None, "precision": "32-true",
    }  # fmt: skip
    return VictimConfig(**{**settings, **changes})


def test_a_training_that_ends_at_chance_is_a_warning(caplog):
    """Labels of constant images cannot be learned; what a first pixel says can."""
    caplog.set_level(logging.WARNING)
    labels, images = torch.arange(60) % 2, torch.full((60, 1, 28, 28), 0.5)
    victim = _config(epochs=8)
    victim.train(victim.build((1, 28, 28), 2, 0), images, labels, seed=0, device_config=CPU)
    (record,) = caplog.records
    assert "not significantly more than the most frequent class" in record.getMessage()
    caplog.clear()
    images = images + (labels - 0.5).view(-1, 1, 1, 1) / 2
    victim.train(victim.build((1, 28, 28), 2, 0), images, labels, seed=0, device_config=CPU)
    assert not caplog.records


def test_the_chance_of_a_classifier_is_its_most_frequent_class():
    """Nine in ten of one class make 90 % no merit; the rule is that of the accuracy's interval."""
    labels = torch.tensor([0] * 900 + [1] * 100)
    words = ("mine", "the images", "try again")
    line = "mine classifies 90.0% of the images right, not significantly more than the most"
    assert chance_warning(0.9, labels, *words) == f"{line} frequent class holds (90.0%): try again"
    for correct in range(880, 960):
        warned = bool(chance_warning(correct / 1000, labels, *words))
        assert warned == (wilson(correct / 1000, 1000)[0] <= 0.9)


def test_weights_that_cannot_be_downloaded_are_an_error_with_the_reason():
    """In one line that names the victim, not the bare text of urllib."""
    victim = _config(name="resnet", model=_unreachable)
    line = r"^victim=resnet downloads weights, which failed \(no connection: Name or service not"
    with pytest.raises(ValueError, match=line):
        victim.build((1, 28, 28), 2, 0)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"epochs": 0}, "victim.epochs=0 is out of range: choose a whole number from 1"),
        ({"lr": 0}, "victim.lr=0 is out of range: choose a number above 0"),
        ({"augment": 1}, "victim.augment=1 is not known: choose from true, false"),
        ({"precision": "16"}, "victim.precision=16 is not known: choose from 32-true, bf16-mixed"),
        (
            {"model": 3},
            "victim.model=3 is not known: choose victim=NAME, or victim=module victim.model",
        ),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(change, line):
    """Before any data is read."""
    with pytest.raises(ValueError, match="validation error") as caught:
        _config(**change)
    assert describe(caught.value, "victim").startswith(line)
