"""The contract of a victim, for every yaml of the group."""

import pytest
from torch import nn

from privbench.testing import VictimContract
from tests.support import instantiated, options, parametrized


def _network(name):
    typed = ["victim.model._target_=tests.contracts.test_victims.Small"] if name == "module" else []
    return instantiated("victim", name, *typed).outline


class Small(nn.Module):
    """A network with a shortcut, operations in place, and a view of a shape that it reads."""

    def __init__(self, shape, classes):
        super().__init__()
        self.stem, self.body = nn.Conv2d(shape[0], 4, 3, stride=2), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, classes)

    def forward(self, x):
        x = self.relu(self.stem(x))
        skipped = x
        x = self.body(x)
        x += skipped
        x = self.relu(x).mean((2, 3))
        return self.head(x.view(x.size(0), -1))


class TestEveryVictim(VictimContract):
    """Every yaml of ``conf/victim``, on images that all of them accept."""

    image_shape = (3, 32, 32)
    subject_under_test = parametrized(options("victim"), _network)


@pytest.mark.parametrize("name", options("victim"))
def test_a_victims_yaml_builds_its_configuration(name):
    """Its name is the file's, by which records find it."""
    assert instantiated("victim", name).name == name
