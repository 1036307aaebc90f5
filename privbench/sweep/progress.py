"""Progress of a sweep: a line for every cell that ends (no torch)."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

from privbench.experiment.spec import CellSpec
from privbench.runtime.duration import duration
from privbench.runtime.options import count_of
from privbench.runtime.terminal import columns, shortened
from privbench.store.record import Record, read
from privbench.store.result_table import ago, in_a_line
from privbench.store.sweep_log import ENDED, SweepLog, attack_override
from privbench.sweep.times import TimedCell, Times, computed_seconds

NETWORK = 20
"""Passes of the edge that take as long as an update by one image: `inverse` against `rmle`."""
STEPS, BATCH = 1400, 32
"""Updates, and images in each, of trainings that choose them by the images, from 2,000 up."""

LEAST_TITLE = 12
"""Characters of a cell's name that a line has at least."""


@dataclass(frozen=True)
class PlannedCell:
    """A cell that is known before it is run.

    Attributes:
        key: Of its record.
        overrides: That make it.
        name: Overrides that distinguish it from the others.
        group: Shared by cells that differ in the seed alone.
        spec: Its specification; null for a cell that is refused.
        deployment: Key of the deployment that is trained for it; empty where none is.
        pixels: Values of an image.
        victim: Key of its victim in the store.
    """

    key: str
    overrides: list[str]
    name: str
    group: str
    spec: CellSpec | None = None
    deployment: str = ""
    pixels: int = 1
    victim: str = ""

    @property
    def title(self) -> str:
        """Its name as a line shows it."""
        return self.name or "the cell"

    @property
    def attack(self) -> str:
        """The attack's override: cells of the same attack take about as long."""
        return attack_override(self.overrides)

    @property
    def work(self) -> float:
        """Estimated work of its attack: pixels of all images that pass the edge; in no unit."""
        return float(self.passes * self.pixels)

    @property
    def passes(self) -> float:
        """Images that pass the edge in its attack."""
        if self.spec is None:
            return 0
        config = self.spec.config
        targets = len(config["target_indices"] or ()) or config["targets"]
        return passes(config["attack"], targets)

    @property
    def targets(self) -> list[str]:
        """Classes that its configuration instantiates, by their dotted names."""
        return [] if self.spec is None else self.spec.targets


def passes(attack: Mapping[str, Any], targets: int) -> float:
    """Return the images that pass the edge in an attack and in the attacks within it.

    A network that learns counts the images of its updates, ``NETWORK`` times each.
    """
    inner = sum(passes(value, targets) for value in attack.values() if isinstance(value, Mapping))
    if "steps" not in attack:
        return inner
    steps = count_of(attack, "steps") or STEPS
    if "batch" in attack:
        return inner + NETWORK * steps * (count_of(attack, "batch") or BATCH)
    return inner + steps * targets


class Progress:
    """Prints a line for every cell that ends, in any process, and for every late one.

    Args:
        log: Of the sweep.
        cells: Those of this launch.
        start: Place in the log where this launch begins.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        log: SweepLog,
        cells: Mapping[str, PlannedCell],
        start: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log, self.cells, self.start, self.clock = log, cells, start, clock
        self.lock = threading.Lock()
        self.ended: set[str] = set()
        self.times = Times()

    def show(self) -> None:
        """Print what ended since the last time, and what is late."""
        lines, self.start = self.log.lines(self.start)
        for line in lines:
            if line.get("fit") in ("done", "failed"):
                print(_fitted(line), flush=True)
            elif line.get("state") in ENDED:
                self.end(line)
            elif line.get("state") == "running" and line["key"] in self.cells:
                with self.lock:
                    self.times.begin(self.cells[line["key"]], self.clock())
        with self.lock:
            late = self.times.late(self.clock())
            if late:
                print(self._still(late), flush=True)

    def end(self, line: Mapping[str, Any], record: Record | None = None) -> None:
        """Print the end of a cell, once.

        Args:
            line: Of the log.
            record: Of the cell, where it was read already.
        """
        with self.lock:
            if (key := line["key"]) in self.cells and key not in self.ended:
                self.ended.add(key)
                self.times.end(self.cells[key], computed_seconds(line))
                print(self._line(line, self.cells[key], record), flush=True)

    def reopen(self, cells: Iterable[PlannedCell]) -> None:
        """Count cells that had ended among those that are left."""
        self.show()  # their ends, should these not be shown yet
        with self.lock:
            self.ended -= {cell.key for cell in cells}

    def _line(self, line: Mapping[str, Any], cell: PlannedCell, record: Record | None) -> str:
        total = len(self.cells)
        place = f"[{len(self.ended):>{len(str(total))}}/{total}]"
        before = f"{place} {line['state']:<7} "
        if line["state"] == "failed":
            return f"{before}{cell.title}: {line['cause']}"
        if line["state"] == "stopped":
            return before + cell.title
        after = ""
        if "seconds" in line and line["state"] != "cached":
            after = f", {line['seconds']:.1f} s"
        after += self._left()
        ends = [f": {text}{after}" for text in self._scores(line, record)]
        return _fitting(before, cell.title, *ends)

    def _still(self, cell: TimedCell) -> str:
        ran = duration(self.clock() - self.times.started[cell.key])
        return _fitting("still running ", cell.title, f" for {ran}{self._left()}")

    def _left(self) -> str:
        left = [cell for key, cell in self.cells.items() if key not in self.ended]
        seconds = self.times.left(left, self.clock())
        return "" if seconds is None else f"; about {duration(seconds)} left"

    def _scores(self, line: Mapping[str, Any], record: Record | None) -> list[str]:
        """Return what a line says of a record, the longest text first."""
        try:
            record = record or read(self.log.store / "records" / line["record"])
        except (OSError, ValueError) as error:
            return [str(error)]
        age = f", finished {ago(record.finished)}" if line["state"] == "cached" else ""
        whole, short = in_a_line(record), in_a_line(record, short=True)
        return [f"{whole}{age}", f"{short}{age}", short]


def _fitting(before: str, title: str, *ends: str) -> str:
    """Return a line no wider than the terminal: with the first end that fits, or a cut title.

    A title loses the groups of its options before it is cut: ``rate=0.6``, not
    ``defense.rate=0.6``.
    """
    width, short = columns(), _without_groups(title)
    for shown, end in product((title, short), ends):
        if len(before) + len(shown) + len(end) <= width:
            return f"{before}{shown}{end}"
    room = max(LEAST_TITLE, width - len(before) - len(ends[-1]))
    return f"{before}{shortened(short, room)}{ends[-1]}"


def _without_groups(title: str) -> str:
    """Return options without the groups in front of their names."""
    return re.sub(r"(?:^|(?<= ))[\w.@]*\.(\w+=)", r"\1", title)


def _fitted(line: Mapping[str, Any]) -> str:
    """Return a line on a shared deployment whose training has ended."""
    if line["fit"] == "failed":
        return f"deployment {line['deployment'][:12]} failed: {line['cause']}"
    return f"deployment {line['deployment'][:12]} ready, {line['seconds']:.1f} s"


@contextmanager
def watching(log: SweepLog, cells: Mapping[str, PlannedCell], start: int) -> Iterator[Progress]:
    """Show a launch's progress while a block runs, and what is left of it at its end."""
    progress, ended = Progress(log, cells, start), threading.Event()

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
