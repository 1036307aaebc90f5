"""The length of a victim's training, by the size of its data set."""

import pytest
import torch
from omegaconf import OmegaConf

from privbench.runtime.options import without_later_options
from privbench.victims.classification import augmented
from tests.support import CPU, composed_config, options

FULL = {"lenet5": (8, 128, 2e-3, False), "cifar_cnn": (60, 128, 1e-3, True)}


@pytest.mark.parametrize("victim", FULL)
def test_the_recipes_for_full_data_sets_are_what_they_were(cell, victim):
    """Passes, batch, rate and augmentation for 40,000 and 50,000 images."""
    made = cell(f"victim={victim}").victim
    epochs, *settings = FULL[victim]
    assert made.epochs == epochs
    for count in (40_000, 50_000):
        assert list(made.suited(count)) == settings
        assert made.min_steps < epochs * count // 128


def _images_seen(monkeypatch, victim, shape: tuple[int, int, int], count: int) -> tuple[int, int]:
    """Steps and images of a training that is planned and not run."""
    import privbench.victims.training as module

    planned = {}

    def plan(classifier, batches, *, epochs, report, **others):
        planned.update(steps=epochs * len(batches), images=epochs * count)
        report(0, {"accuracy": 1.0})

    monkeypatch.setattr(module, "fit", plan)
    model = victim.build(shape, 40, 0)
    victim.train(
        model, torch.zeros(count, *shape), torch.zeros(count).long(), seed=0, device_config=CPU
    )
    return planned["steps"], planned["images"]


def test_typed_passes_are_the_passes_that_a_small_data_set_gets(cell, monkeypatch):
    """20 over 210 faces are 4,200 images in small batches, not 800 batches of 128."""
    victim = cell("victim=cifar_cnn", "victim.epochs=20").victim
    assert _images_seen(monkeypatch, victim, (1, 64, 64), 210) == (20 * 14, 20 * 210)


def test_a_small_data_set_is_learnt_in_smaller_steps_at_a_smaller_rate(cell):
    """The rate by the root of the batch's share; a typed batch keeps the typed rate."""
    victim = cell("victim=cifar_cnn").victim
    few = victim.suited(210)
    assert (few.batch, few.augment) == (16, False)
    assert few.lr == pytest.approx(1e-3 / 8**0.5)
    typed = cell("victim=cifar_cnn", "victim.batch=64", "victim.augment=true").victim
    assert list(typed.suited(210)) == [64, 1e-3, True]


@pytest.mark.parametrize(
    ("words", "mirrored"),
    [
        (["dataset=cifar10"], True),
        (["dataset=svhn"], False),
        (["dataset=mnist", "victim=resnet18"], False),
        (["dataset=mnist", "victim=resnet18", "victim.mirror=true"], True),
    ],
)
def test_digits_are_not_mirrored(cell, words, mirrored):
    """A mirrored 2 is no 2; what is not mirrored has a key of its own, and all else its old one."""
    made = cell(*words)
    assert made.victim.mirror is mirrored
    assert made.config["victim"].get("mirror", True) is mirrored
    assert ("mirror" in made.config["victim"]) is not mirrored


def test_augmented_images_keep_their_side_unless_they_are_mirrored():
    """A bar on the left stays there, whatever the rotation, shift and scale."""
    images = torch.zeros(64, 1, 28, 28)
    images[..., 3:7] = 1
    for mirror in (True, False):
        left = augmented(images, torch.Generator().manual_seed(0), mirror=mirror)[..., :14].sum(
            (1, 2, 3)
        )
        assert bool((left < 20).any()) is mirror


def test_nearest_interpolation_keeps_the_pixels_that_bilinear_mixes():
    """Of black and white stripes it makes no grey."""
    stripes = torch.zeros(16, 3, 32, 32)
    stripes[..., ::2] = 1
    nearest, bilinear = (
        augmented(stripes, torch.Generator().manual_seed(0), interpolation=way)
        for way in ("nearest", "bilinear")
    )
    assert set(nearest.unique().tolist()) == {0.0, 1.0}
    assert ((bilinear > 0.1) & (bilinear < 0.9)).float().mean() > 0.3


@pytest.mark.parametrize("victim", options("victim"))
def test_records_from_before_later_options_of_victims_keep_their_keys(victim):
    """Of every victim: at their first values the later options are in no configuration."""
    composed = composed_config("dataset=cifar10", f"victim={victim}")
    config = OmegaConf.to_container(composed.victim, resolve=True)
    first = {"interpolation": "bilinear", "mirror": True, "eps_before_correction": False}
    assert first.keys() <= config.keys()
    changed = {name for name, value in first.items() if config[name] != value}
    assert first.keys() & without_later_options(config).keys() == changed


def test_only_another_interpolation_than_the_default_is_part_of_the_key(cell):
    """As it is part of what the weights depend on."""
    nearest = cell("victim=cifar_cnn", "victim.interpolation=nearest").config["victim"]
    assert nearest["interpolation"] == "nearest"
