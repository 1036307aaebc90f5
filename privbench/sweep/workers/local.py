"""One cell after the other, in this process: victims and data stay in memory."""

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
        """Jobs run here."""
        return False

    def check(self) -> None:
        """There is nothing to refuse."""

    def launch(self, jobs: Sequence[Job]) -> None:
        """In order."""
        for job in jobs:
            job()
