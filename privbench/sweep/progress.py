"""A sweep as it goes: a line for every cell that ends (no torch)."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from privbench.runtime.countdown import duration
from privbench.store.record import Record, ago, read
from privbench.store.sweep_log import ENDED, SweepLog

QUIET = 10.0
"""Seconds that a cell may run before a line says that it still does."""
LATE = 1.25
"""A late cell is expected to take this much longer than it has run."""
LONGEST = 120.0
"""Seconds between two lines about the same cell, at most."""


@dataclass(frozen=True)
class PlannedCell:
    """A cell that is known before it is run.

    Attributes:
        key: Of its record.
        words: That make it.
        name: What tells it from the others.
        group: Shared by cells that differ in nothing but the seed.
        config: Composed, pickled.
    """

    key: str
    words: list[str]
    name: str
    group: str
    config: bytes

    @property
    def attack(self) -> str:
        """Which cells take about as long: those of the same attack."""
        return next((word for word in self.words if word.startswith("attack=")), "")


class Progress:
    """A line for every cell that ends, whichever process worked on it, and for every late one.

    Args:
        ledger: Of the sweep.
        cells: Those of this launch.
        start: Place in the ledger where this launch begins.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        ledger: SweepLog,
        cells: Mapping[str, PlannedCell],
        start: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ledger, self.cells, self.start, self.clock = ledger, cells, start, clock
        self.lock = threading.Lock()
        self.ended: set[str] = set()
        self.times = Times()

    def show(self) -> None:
        """Print what ended since the last time, and what is late."""
        lines, self.start = self.ledger.lines(self.start)
        for line in lines:
            if line.get("state") in ENDED:
                self.tell(line)
            elif line.get("state") == "running" and line["key"] in self.cells:
                with self.lock:
                    self.times.begin(self.cells[line["key"]], self.clock())
        with self.lock:
            late = self.times.late(self.clock())
            if late:
                print(self._still(late), flush=True)

    def tell(self, line: Mapping[str, Any], record: Record | None = None) -> None:
        """Print the end of a cell, once.

        Args:
            line: Of the ledger.
            record: Of the cell, where it was read already.
        """
        with self.lock:
            if (key := line["key"]) in self.cells and key not in self.ended:
                self.ended.add(key)
                computed = line.get("seconds") if line["state"] == "done" else None
                self.times.end(self.cells[key], computed)
                print(self._line(line, self.cells[key], record), flush=True)

    def _line(self, line: Mapping[str, Any], cell: PlannedCell, record: Record | None) -> str:
        total = len(self.cells)
        place = f"[{len(self.ended):>{len(str(total))}}/{total}]"
        told = f"{place} {line['state']:<7} {cell.name or 'the cell'}"
        if line["state"] == "failed":
            return f"{told}: {line['cause']}"
        if line["state"] == "stopped":
            return told
        told += f": {self._scores(line, record)}"
        if "seconds" in line and line["state"] != "cached":
            told += f", {line['seconds']:.1f} s"
        return told + self._left()

    def _still(self, cell: PlannedCell) -> str:
        ran = duration(self.clock() - self.times.began[cell.key])
        return f"still running {cell.name or 'the cell'} for {ran}{self._left()}"

    def _left(self) -> str:
        left = [cell for key, cell in self.cells.items() if key not in self.ended]
        seconds = self.times.left(left, self.clock())
        return "" if seconds is None else f"; about {duration(seconds)} left"

    def _scores(self, line: Mapping[str, Any], record: Record | None) -> str:
        try:
            record = record or read(self.ledger.store / "records" / line["record"])
        except (OSError, ValueError) as error:
            return str(error)
        age = f", finished {ago(record.finished)}" if line["state"] == "cached" else ""
        scores = f"{record.psnr_db:.2f} dB, SSIM {record.ssim:.3f}"
        return f"accuracy {record.accuracy:.4f}, {scores}{age}"


class Times:
    """How long cells of each attack took, and how long those at work have been at it."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = {}
        self.running: dict[str, PlannedCell] = {}
        self.began: dict[str, float] = {}
        self.due: dict[str, float] = {}
        self.at_once = 1

    def begin(self, cell: PlannedCell, now: float) -> None:
        """Note that a worker has begun a cell."""
        self.running[cell.key], self.began[cell.key] = cell, now
        self.due[cell.key] = max(QUIET, self._usual(cell) or 0.0)
        self.at_once = max(self.at_once, len(self.running))

    def end(self, cell: PlannedCell, seconds: float | None) -> None:
        """Note that a cell has ended; ``None`` seconds where nothing was computed."""
        self.running.pop(cell.key, None)
        if seconds is not None:
            self.took.setdefault(cell.attack, []).append(seconds)

    def late(self, now: float) -> PlannedCell | None:
        """The cell that has run longest, if a line about it is due."""
        if not self.running:
            return None
        key = min(self.running, key=self.began.__getitem__)
        ran = now - self.began[key]
        if ran < self.due[key]:
            return None
        self.due[key] = ran + min(ran, LONGEST)
        return self.running[key]

    def left(self, cells: list[PlannedCell], now: float) -> float | None:
        """Seconds until these cells have ended; ``None`` where no cell was computed yet.

        A cell that takes longer than those before it says that others of its attack will too.
        """
        if not self.took or not cells:
            return None
        ran = {key: now - self.began[key] for key in self.running}
        slowest: dict[str, float] = {}
        for key, cell in self.running.items():
            slowest[cell.attack] = max(slowest.get(cell.attack, 0.0), ran[key])
        rest = []
        for cell in cells:
            whole = max(self._usual(cell) or 0.0, slowest.get(cell.attack, 0.0))
            been = ran.get(cell.key, 0.0)
            rest.append(max(whole, LATE * been) - been)
        return max(*rest, sum(rest) / self.at_once)

    def _usual(self, cell: PlannedCell) -> float | None:
        """What a cell of its attack takes, or where none has ended, of any."""
        known = self.took.get(cell.attack)
        every = [seconds for times in self.took.values() for seconds in times]
        return median(known or every) if every else None


@contextmanager
def watching(ledger: SweepLog, cells: Mapping[str, PlannedCell], start: int) -> Iterator[Progress]:
    """Show a launch's progress while a block runs, and what is left of it at its end."""
    progress, ended = Progress(ledger, cells, start), threading.Event()

    def follow() -> None:
        while not ended.wait(0.2):
            progress.show()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        ended.set()
        thread.join()
        progress.show()
