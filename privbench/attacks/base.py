"""What an attack is: declared rights, and a fit that returns the reconstructor."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from privbench.threat.view import Access, AdversaryView

Reconstruct = Callable[[Tensor], Tensor]
"""Features ``(N, K, *feature_shape)`` to images ``(N, C, H, W)`` in [0, 1]."""


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass of hyper-parameters.

    ``access`` is a property derived from them, never a field, so no command line can widen it.

    An attack that not every split or data set suits also has ``check(view)``, which raises
    ValueError. The harness calls it before anything is trained: the view is one of the same
    deployment with a victim that is not trained yet.
    """

    @property
    def access(self) -> Access:
        """The rights the attack needs; its view holds nothing else."""

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Learn what can be learnt before any target is seen, and return the reconstructor."""
