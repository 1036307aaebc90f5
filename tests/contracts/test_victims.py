"""The contract of a victim, for every yaml of the group."""

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from privbench.testing import VictimContract
from tests.support import ROOT, instantiated, options, parametrized


def _network(name):
    config = OmegaConf.load(ROOT / "conf" / "victim" / f"{name}.yaml")
    return instantiate(config.model)


class TestEveryVictim(VictimContract):
    """Every yaml of ``conf/victim``, on images that all of them accept."""

    image_shape = (3, 32, 32)
    subject_under_test = parametrized(options("victim"), _network)


@pytest.mark.parametrize("name", options("victim"))
def test_a_victims_yaml_builds_its_configuration(name):
    """Its name is the file's, by which records find it."""
    assert instantiated("victim", name).name == name
