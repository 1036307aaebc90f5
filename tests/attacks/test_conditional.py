"""Inverse networks that are given the cloud's class probabilities."""

import dataclasses

import pytest
import torch
from torch import nn

from privbench.attacks.components.modulation import ModulatedDecoder
from privbench.attacks.inverse import probabilities
from privbench.defenses.deployment import Deployment
from privbench.defenses.gaussian import Gaussian
from tests.support import granted, instantiated

CLASSES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()
"""The image of each class."""


class Shifted(nn.Module):
    """Mistakes each class for the next one."""

    def forward(self, logits):
        """Roll logits ``(N, classes)``."""
        return logits.roll(1, 1)


def cloud() -> nn.Sequential:
    """Return a cloud that compares features with each class."""
    layer = nn.Linear(64, 4)
    layer.weight.data = 2 * CLASSES.flatten(1)
    layer.bias.data = -CLASSES.flatten(1).square().sum(1)
    return nn.Sequential(nn.Flatten(), layer)


def attack_of(**changes):
    given = {"conditional": True, "steps": 60, "batch": 16, "lr": 1e-2, "precision": "32-true"}
    return dataclasses.replace(instantiated("attack", "inverse"), **{**given, **changes})


def images(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    return (CLASSES[labels] * 0.8 + 0.2 * torch.rand(count, 1, 8, 8, generator=generator)), labels


@pytest.mark.long
def test_with_a_wrong_class_the_network_errs_more():
    """Right classes give the smaller error: behind much noise the class says most."""
    attack, defense, transmissions = attack_of(), Gaussian(sigma=1.5), 3
    deployment = Deployment(nn.Sequential(nn.Identity()), defense, cloud())
    view = granted(deployment, images(200, 1)[0], attack.access, transmissions=transmissions)
    reconstruct = attack.fit(view)
    x, _ = images(64, 2)
    v = deployment.transmit(x, view.streams("targets", list(range(64))), transmissions)
    right = (reconstruct(v) - x).square().mean()
    view.cloud = nn.Sequential(*cloud(), Shifted())
    wrong = (reconstruct(v) - x).square().mean()
    assert float(wrong) > 1.5 * float(right)


def test_probabilities_are_the_clouds():
    """Of each image in turn, in batches; without a gradient."""
    v = torch.randn(600, 1, 8, 8, requires_grad=True)
    found = probabilities(cloud(), v)
    torch.testing.assert_close(found, cloud()(v.detach()).softmax(1))
    assert not found.requires_grad


def test_an_untrained_vector_changes_nothing():
    """The modulation begins without an effect, so that training starts from the features."""
    network = ModulatedDecoder((3, 4, 4), (1, 8, 8), 5).eval()
    v = torch.randn(2, 1, 3, 4, 4)
    answers = [network(v, given) for given in (torch.zeros(2, 5), torch.randn(2, 5))]
    torch.testing.assert_close(*answers)


@pytest.mark.parametrize("decoder", ["paper", ModulatedDecoder])
def test_other_decoders_take_features_alone(decoder):
    """One line names the value and the choices."""
    with pytest.raises(ValueError, match=r"choose large, or attack.conditional=false"):
        attack_of(decoder=decoder)
