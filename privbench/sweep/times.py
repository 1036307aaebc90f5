"""Seconds that the cells of a sweep took, and an estimate of those that are left (no numpy)."""

from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Any, Protocol

QUIET = 10.0
"""Seconds that a cell runs before a line says that it is still running."""
LATE = 1.25
"""A late cell is expected to take this much longer than it has run."""
LONGEST = 120.0
"""Seconds between two lines about the same cell, at most."""


def computed_seconds(line: Mapping[str, Any]) -> float | None:
    """Return the seconds that a cell like one that has ended is expected to take.

    That is without the training of the victim and the evaluation classifier, which later cells
    find in the store.

    Args:
        line: Of the cell's end in the sweep log.

    Returns:
        Null where the cell computed nothing.
    """
    if line["state"] != "done" or "seconds" not in line:
        return None
    return float(line["seconds"]) - float(line.get("shared_seconds", 0.0))


class TimedCell(Protocol):
    """A cell of a sweep."""

    @property
    def key(self) -> str:
        """Key of its record."""

    @property
    def title(self) -> str:
        """Its name as a line shows it."""

    @property
    def attack(self) -> str:
        """The attack's override: cells of the same attack take about as long."""


class Times:
    """Seconds that cells of each attack took, and that the running ones have run."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = {}
        self.running: dict[str, TimedCell] = {}
        self.started: dict[str, float] = {}
        self.due: dict[str, float] = {}
        self.most_running = 1

    def begin(self, cell: TimedCell, now: float) -> None:
        """Note that a worker has started a cell."""
        self.running[cell.key], self.started[cell.key] = cell, now
        self.due[cell.key] = max(QUIET, self.usual(cell) or 0.0)
        self.most_running = max(self.most_running, len(self.running))

    def end(self, cell: TimedCell, seconds: float | None) -> None:
        """Note that a cell has ended; ``None`` seconds where nothing was computed."""
        self.running.pop(cell.key, None)
        if seconds is not None:
            self.took.setdefault(cell.attack, []).append(seconds)

    def forget_running(self, but: Collection[str] = ()) -> None:
        """Forget cells that ran, all but these keys."""
        self.running = {key: cell for key, cell in self.running.items() if key in but}

    def late(self, now: float) -> TimedCell | None:
        """Return the cell that has run longest, if a line about it is due."""
        if not self.running:
            return None
        key = min(self.running, key=self.started.__getitem__)
        ran = now - self.started[key]
        if ran < self.due[key]:
            return None
        self.due[key] = ran + min(ran, LONGEST)
        return self.running[key]

    def left(self, cells: Sequence[TimedCell], now: float) -> float | None:
        """Estimate the seconds until these cells end; ``None`` before any cell was computed.

        A cell that takes longer than those before it lets the others of its attack take longer too.
        """
        if not self.took or not cells:
            return None
        ran = {key: now - self.started[key] for key in self.running}
        slowest: dict[str, float] = {}
        for key, cell in self.running.items():
            slowest[cell.attack] = max(slowest.get(cell.attack, 0.0), ran[key])
        rest = []
        for cell in cells:
            whole = max(self.usual(cell) or 0.0, slowest.get(cell.attack, 0.0))
            so_far = ran.get(cell.key, 0.0)
            rest.append(max(whole, LATE * so_far) - so_far)
        return max(*rest, sum(rest) / self.most_running)

    def usual(self, cell: TimedCell) -> float | None:
        """Return the median seconds of its attack's cells, or of all where none has ended."""
        known = self.took.get(cell.attack)
        all_seconds = [seconds for times in self.took.values() for seconds in times]
        return median(known or all_seconds) if all_seconds else None
