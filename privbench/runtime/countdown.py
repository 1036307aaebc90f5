"""Progress of long loops: a bar on a terminal, lines in the log elsewhere (no torch)."""

import logging
import sys
import threading
import time

from tqdm import tqdm

from privbench.runtime.duration import duration

LOG = logging.getLogger(__name__)

FIRST = 2.0
"""Seconds until the first line: a loop that ends earlier has none."""
FACTOR = 2.0
"""Ratio of the times, counted from the loop's beginning, of a line and the one before."""
LONGEST = 120.0
"""Largest number of seconds between two lines."""

_show_bars: list[bool] = []


def show_bars(enabled: bool) -> None:
    """Choose for this process: bars where ``enabled``, lines otherwise."""
    _show_bars[:] = [enabled]


class Countdown:
    """Progress of a loop, shown while its context is open.

    On a terminal it is a bar with the time left. Elsewhere it is a line in the log after two
    seconds, and further ones at growing intervals; a thread writes those that fall due amid a step.

    Args:
        task: The work, e.g. ``training lenet5``.
        total: Number of steps.
        unit: Singular noun for a step.
        show_bar: A bar, or lines; ``None`` for what was chosen for this process.
    """

    def __init__(
        self, task: str, total: int, *, unit: str = "step", show_bar: bool | None = None
    ) -> None:
        self.task, self.total, self.unit = task, total, unit
        if show_bar is None:
            show_bar = _show_bars[0] if _show_bars else sys.stderr.isatty()
        self.bar = tqdm(total=total, desc=task, unit=f" {unit}s", leave=False, disable=not show_bar)
        self.done, self.skipped, self.started, self.due = 0, 0, time.monotonic(), FIRST
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.thread = None if show_bar else threading.Thread(target=self._write_lines, daemon=True)

    def __enter__(self) -> "Countdown":
        if self.thread:
            self.thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.ended.set()
        if self.thread:
            self.thread.join()
        self.bar.close()

    def skip(self, steps: int) -> None:
        """Count steps that were done earlier and took no time now."""
        self.done += steps
        self.skipped += steps
        self.bar.update(steps)

    def advance(self) -> None:
        """Count a step."""
        self.done += 1
        self.bar.update()
        self.write_line()

    def set_metrics(self, **metrics: float) -> None:
        """Show metrics of the training at the end of a bar."""
        self.bar.set_postfix(metrics, refresh=False)

    def write_line(self) -> None:
        """Write a line, if one is due."""
        if self.thread is None:
            return
        with self.lock:
            passed = time.monotonic() - self.started
            if passed < self.due or self.done >= self.total:
                return
            self.due = passed + min(LONGEST, passed * (FACTOR - 1))
        LOG.info(
            "%s: %s %d of %d%s",
            self.task, self.unit, self.done, self.total, self._time_left(passed),
        )  # fmt: skip

    def _time_left(self, passed: float) -> str:
        done = self.done - self.skipped
        if not done:
            return ""
        return f", about {duration(passed / done * (self.total - self.done))} left"

    def _write_lines(self) -> None:
        """Write lines as they fall due, even while a step computes."""
        while not self.ended.wait(max(0.05, self.due - (time.monotonic() - self.started))):
            self.write_line()
