"""Interface of trackers, and the tracker that discards everything."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

CELLS, RECONSTRUCTIONS = "cells", "reconstructions"
"""Keys of a sweep's table and of a cell's images."""
CURVE = "curve"
"""Column of ``Curves`` with the name of a point's line."""


@dataclass(frozen=True)
class Curves:
    """Lines of one figure, as a table with a row for each point.

    Attributes:
        title: Title of the figure.
        columns: ``CURVE``, x, y, and further facts of a point.
        rows: Points, those of a line in their order.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class SweepSummary:
    """Results of a sweep.

    Attributes:
        finding: Sentences: its weaknesses first, then what it shows.
        cells: Table of its cells; the first row is the heading.
        curves: Accuracy against leakage, by the name of the metric.
        images: Figures by name.
        numbers: Scalars.
    """

    finding: Sequence[str]
    cells: Sequence[Sequence[Any]]
    curves: Mapping[str, Curves]
    images: Mapping[str, Path]
    numbers: Mapping[str, float]


class Run(Protocol):
    """A tracked run, written to while it goes on."""

    @property
    def delivered(self) -> bool:
        """True where everything so far was accepted."""

    def log(self, stream: str, at: int, **metrics: float) -> None:
        """Log metrics of a stream at an epoch or step.

        Args:
            stream: ``victim``, ``evaluation_classifier``, ``deployment`` and ``adversary`` are
                trainings, by epoch; ``attack`` is the progress of the attack, by step.
            at: Number of the epoch or step.
            metrics: Values by name.
        """

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
        run_id: Identity; a run replaces an earlier one of the same identity.
    """

    name: str
    group: str | None
    tags: Sequence[str]
    config: Mapping[str, Any]
    run_id: str


class Tracker(Protocol):
    """Factory of runs."""

    def check(self) -> None:
        """Refuse settings that would fail during the run.

        Raises:
            ValueError: naming the setting and the remedy.
        """

    def run(self, description: RunDescription) -> AbstractContextManager[Run]:
        """Start a run that is finished when its context ends, also by an error."""

    def log_summary(self, name: str, summary: SweepSummary) -> None:
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


History = dict[str, list[tuple[int, dict[str, float]]]]
"""What a run logged: by stream, each epoch or step with its metrics."""


@dataclass(frozen=True)
class RecordingRun:
    """Run that passes everything on, and keeps what was logged of trainings and progress.

    Attributes:
        run: Receives everything.
        history: Everything that was logged so far.
    """

    run: Run
    history: History = field(default_factory=dict)

    @property
    def delivered(self) -> bool:
        """True where the run accepted everything."""
        return self.run.delivered

    def log(self, stream: str, at: int, **metrics: float) -> None:
        """Log metrics and keep them."""
        self.history.setdefault(stream, []).append((at, metrics))
        self.run.log(stream, at, **metrics)

    def finish(self, summary: Mapping[str, Any], images: Mapping[str, Path]) -> None:
        """Pass the final values on."""
        self.run.finish(summary, images)


def replay(history: History, run: Run) -> None:
    """Log to a run what another one logged."""
    for stream, lines in history.items():
        for at, metrics in lines:
            run.log(stream, at, **metrics)


@dataclass(frozen=True)
class NullTracker:
    """Tracker that discards everything."""

    def check(self) -> None:
        """Accept, for there are no settings."""

    def run(self, description: RunDescription) -> AbstractContextManager[Run]:
        """Return a run that discards everything."""
        return nullcontext(NullRun())

    def log_summary(self, name: str, summary: SweepSummary) -> None:
        """Discard the summary."""
