"""The contract of an attack, for every yaml of the group and for the README's example."""

from privbench.testing import AttackContract
from tests.support import ROOT, hasty, instantiated, options, parametrized, python_block


class TestEveryAttack(AttackContract):
    """Every yaml of ``conf/attack``, with few steps."""

    subject_under_test = parametrized(
        options("attack"), lambda name: hasty(instantiated("attack", name))
    )


class TestReadmeAttack(AttackContract):
    """The attack that README.md adds."""

    subject = python_block(ROOT / "README.md", "LinearInverse")()
