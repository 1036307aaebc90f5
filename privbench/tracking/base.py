"""Interface of trackers, and the tracker that discards everything."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Curve = tuple[Sequence[str], Sequence[Sequence[float]], Sequence[Sequence[float]]]
"""Names of lines, and for each its x and its y values."""


class Run(Protocol):
    """A tracked run, written to while it goes on."""

    @property
    def delivered(self) -> bool:
        """True where everything so far was accepted."""

    def log(self, stream: str, at: int, **metrics: float) -> None:
        """Log metrics of a stream, ``victim`` or ``attack``, at an epoch or step."""

    def finish(self, summary: Mapping[str, Any], images: Mapping[str, Path]) -> None:
        """Log the final values, and images by name."""


@dataclass(frozen=True)
class RunDescription:
    """Description of a run, known before it starts.

    Attributes:
        name: Display name.
        group: Sweep that it belongs to.
        tags: Words to filter by.
        config: Options to filter and sort by.
        run_id: Identity; the same cell of a sweep continues the same run. Null for a new one.
    """

    name: str
    group: str | None
    tags: Sequence[str]
    config: Mapping[str, Any]
    run_id: str | None = None


class Tracker(Protocol):
    """Factory of runs."""

    def check(self) -> None:
        """Refuse settings that would fail during the run.

        Raises:
            ValueError: naming the setting and the remedy.
        """

    def run(self, description: RunDescription) -> AbstractContextManager[Run]:
        """Start a run that is finished when its context ends, also by an error."""

    def log_summary(
        self,
        name: str,
        *,
        cells: Sequence[Sequence[Any]],
        curves: Mapping[str, Curve],
        images: Mapping[str, Path],
        numbers: Mapping[str, float],
    ) -> None:
        """Log the summary of a sweep; a later summary of the same name replaces it."""


class NullRun:
    """Run that discards everything."""

    @property
    def delivered(self) -> bool:
        """False, for nothing is kept."""
        return False

    def log(self, stream: str, at: int, **metrics: float) -> None:
        """Discard metrics."""

    def finish(self, summary: Mapping[str, Any], images: Mapping[str, Path]) -> None:
        """Discard the final values."""


@dataclass(frozen=True)
class NullTracker:
    """Tracker that discards everything."""

    def check(self) -> None:
        """Accept, for there are no settings."""

    def run(self, description: RunDescription) -> AbstractContextManager[Run]:
        """Return a run that discards everything."""
        return nullcontext(NullRun())

    def log_summary(self, name: str, **summary: Any) -> None:
        """Discard the summary."""
