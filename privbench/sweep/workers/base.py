"""The protocol of workers."""

from collections.abc import Callable, Sequence
from typing import Protocol

Job = Callable[[], None]
"""Runs one cell and logs its events; cloudpickle can pickle it."""


class Workers(Protocol):
    """Processes that run cells.

    Attributes:
        threads: Threads of a job on the CPU; null for every core that it may use.
        gpu_is_remote: True where jobs run on a GPU that the launcher need not have.
    """

    @property
    def threads(self) -> int | None:
        """Threads of a job on the CPU."""

    @property
    def gpu_is_remote(self) -> bool:
        """True where the launcher need not have the jobs' GPU."""

    def check(self) -> None:
        """Refuse settings that would fail or hang later.

        Raises:
            ValueError: naming the setting and what to do.
        """

    def launch(self, jobs: Sequence[Job]) -> None:
        """Run every job and return when none is left, even if workers died.

        A job that did not run to its end is missing from the sweep log, and raises nothing here.
        """
