"""The interface of an attack: declared rights, and ``fit``, which returns the reconstructor."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from privbench.threat import Access, AdversaryView

Reconstruct = Callable[[Tensor], Tensor]
"""Features ``(N, K, *feature_shape)`` to images ``(N, C, H, W)`` in [0, 1]."""


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass of hyper-parameters.

    ``access`` is a property derived from them, never a field, so no command line can widen it.

    An attack that does not fit every split or data set also has ``check(view)``, which raises
    ValueError. The harness calls it before anything is trained: the view is one of the same
    deployment with a victim that is not trained yet.
    """

    @property
    def access(self) -> Access:
        """Rights that the attack needs; its view holds nothing else."""

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Train whatever needs no target, and return the reconstructor."""


def check_inner(attack: Attack, view: AdversaryView) -> None:
    """Refuse what an attack refuses that another one runs.

    Raises:
        ValueError: naming the value and the choices.
    """
    if check := getattr(attack, "check", None):
        check(view)
