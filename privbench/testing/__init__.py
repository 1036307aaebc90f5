"""Contracts of attacks, defenses, victims, data sources and workers, as test classes to subclass.

A test module of your own package needs a subclass and the object under test::

    class TestLinearInverse(AttackContract):
        subject = LinearInverse()

pytest then runs the contract's tests on ``subject``. A subclass may override the fixture
``subject_under_test`` instead, for example to parametrize it.
"""

from privbench.testing.attacks import AttackContract
from privbench.testing.contract import Contract, smooth_images
from privbench.testing.data import DataSourceContract
from privbench.testing.defenses import DefenseContract, FitAlways, FitNever, FitOnce, SmallData
from privbench.testing.victims import VictimContract
from privbench.testing.workers import WorkersContract

__all__ = [
    "AttackContract",
    "Contract",
    "DataSourceContract",
    "DefenseContract",
    "FitAlways",
    "FitNever",
    "FitOnce",
    "SmallData",
    "VictimContract",
    "WorkersContract",
    "smooth_images",
]
