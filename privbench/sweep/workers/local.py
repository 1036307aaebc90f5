"""This process, one cell after the other: victims and data stay in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from privbench.sweep.workers.base import Job


@dataclass(frozen=True)
class Local:
    """This process."""

    @property
    def threads(self) -> int | None:
        """Every core."""
        return None

    @property
    def gpu_is_remote(self) -> bool:
        """False: jobs run in this process."""
        return False

    def check(self) -> None:
        """Accept every setting."""

    def launch(self, jobs: Sequence[Job]) -> None:
        """Run the jobs in order."""
        for job in jobs:
            job()
