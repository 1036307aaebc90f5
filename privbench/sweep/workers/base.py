"""What workers are."""

from collections.abc import Callable, Sequence
from typing import Protocol

Job = Callable[[], None]
"""Works on one cell, tells the ledger what became of it, and can be pickled by cloudpickle."""


class Workers(Protocol):
    """Processes that work on cells.

    Attributes:
        threads: Threads of a job on the CPU; null for every core that it may use.
        remote_gpu: Whether jobs run on a GPU that the launcher need not have.
    """

    @property
    def threads(self) -> int | None:
        """See above."""

    @property
    def gpu_is_remote(self) -> bool:
        """See above."""

    def check(self) -> None:
        """Refuse at once what would fail or hang later.

        Raises:
            ValueError: naming the setting and what to do.
        """

    def launch(self, jobs: Sequence[Job]) -> None:
        """Run every job and return when none is left, whoever died.

        A job that did not run to its end is told by the ledger, not here.
        """
