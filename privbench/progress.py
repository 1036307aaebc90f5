"""A sweep as it goes: a line for every cell that ends (no torch)."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from privbench.ledger import ENDED, Ledger
from privbench.results import Record, ago, read


@dataclass(frozen=True)
class Planned:
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


class Progress:
    """A line for every cell that ends, whichever process worked on it.

    Args:
        ledger: Of the sweep.
        cells: Those of this launch.
        start: Place in the ledger where this launch begins.
    """

    def __init__(self, ledger: Ledger, cells: Mapping[str, Planned], start: int) -> None:
        self.ledger, self.cells, self.start = ledger, cells, start
        self.began, self.lock = time.monotonic(), threading.Lock()
        self.ended: set[str] = set()
        self.computed = 0

    def show(self) -> None:
        """Print what ended since the last time."""
        lines, self.start = self.ledger.lines(self.start)
        for line in lines:
            if line.get("state") in ENDED:
                self.tell(line)

    def tell(self, line: Mapping[str, Any], record: Record | None = None) -> None:
        """Print the end of a cell, once.

        Args:
            line: Of the ledger.
            record: Of the cell, where it was read already.
        """
        with self.lock:
            if (key := line["key"]) in self.cells and key not in self.ended:
                self.ended.add(key)
                print(self._line(line, self.cells[key], record), flush=True)

    def _line(self, line: Mapping[str, Any], cell: Planned, record: Record | None) -> str:
        total = len(self.cells)
        place = f"[{len(self.ended):>{len(str(total))}}/{total}]"
        told = f"{place} {line['state']:<7} {cell.name or 'the cell'}"
        if line["state"] == "failed":
            return f"{told}: {line['cause']}"
        if line["state"] == "stopped":
            return told
        told += f": {self._scores(line, record)}"
        if "seconds" in line and line["state"] != "cached":
            self.computed += 1
            told += f", {line['seconds']:.1f} s"
        left = total - len(self.ended)
        if left and self.computed:
            told += (
                f"; about {_duration((time.monotonic() - self.began) / self.computed * left)} left"
            )
        return told

    def _scores(self, line: Mapping[str, Any], record: Record | None) -> str:
        try:
            record = record or read(self.ledger.store / "records" / line["record"])
        except (OSError, ValueError) as error:
            return str(error)
        age = f", finished {ago(record.finished)}" if line["state"] == "cached" else ""
        scores = f"{record.psnr_db:.2f} dB, SSIM {record.ssim:.3f}"
        return f"accuracy {record.accuracy:.4f}, {scores}{age}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def watching(ledger: Ledger, cells: Mapping[str, Planned], start: int) -> Iterator[Progress]:
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
