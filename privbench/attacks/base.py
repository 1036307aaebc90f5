"""What an attack is: declared rights, and a fit that returns the reconstructor."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from privbench.threat import Access, View

Reconstruct = Callable[[Tensor], Tensor]
"""Features ``(N, K, *feature_shape)`` to images ``(N, C, H, W)`` in [0, 1]."""


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass of hyper-parameters.

    ``access`` is a property derived from them, never a field, so no command line can widen it.

    An attack that not every split can feed also has ``check(image_shape, feature_shape)``, which
    raises ValueError; the harness calls it before anything is trained.
    """

    @property
    def access(self) -> Access:
        """The rights the attack needs; its view holds nothing else."""

    def fit(self, view: View) -> Reconstruct:
        """Learn what can be learnt before any target is seen, and return the reconstructor."""
