"""How far a long loop has come: a bar on a terminal, lines in the log elsewhere (no torch)."""

import logging
import sys
import threading
import time

from tqdm import tqdm

LOG = logging.getLogger(__name__)

FIRST = 2.0
"""Seconds until the first line: a loop that is over by then has none."""
FACTOR = 2.0
"""Each line comes this much later than the one before, counted from the loop's beginning."""
LONGEST = 120.0
"""Seconds between two lines at most."""

_watched: list[bool] = []


def watch(watched: bool) -> None:
    """Choose for this process: bars where ``watched``, lines otherwise."""
    _watched[:] = [watched]


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> [duration(seconds) for seconds in (7.2, 89, 130, 7200)]
    ['7 s', '89 s', '2 min', '2.0 h']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Countdown:
    """Shows the steps of a loop, from within ``with``.

    On a terminal it is a bar with the time left. Elsewhere it is a line in the log after two
    seconds, and further ones at growing intervals; a thread writes those that fall due amid a step.

    Args:
        what: The work, e.g. ``training lenet5``.
        total: Steps in all.
        unit: What is counted.
        watched: A bar, or lines; ``None`` for what was chosen for this process.
    """

    def __init__(
        self, what: str, total: int, *, unit: str = "step", watched: bool | None = None
    ) -> None:
        self.what, self.total, self.unit = what, total, unit
        if watched is None:
            watched = _watched[0] if _watched else sys.stderr.isatty()
        self.bar = tqdm(total=total, desc=what, unit=f" {unit}s", leave=False, disable=not watched)
        self.done, self.began, self.due = 0, time.monotonic(), FIRST
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.thread = None if watched else threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Countdown":
        if self.thread:
            self.thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.ended.set()
        if self.thread:
            self.thread.join()
        self.bar.close()

    def advance(self) -> None:
        """Count a step."""
        self.done += 1
        self.bar.update()
        self.show()

    def note(self, **figures: float) -> None:
        """Show figures of the training at the end of a bar."""
        self.bar.set_postfix(figures, refresh=False)

    def show(self) -> None:
        """Write a line, if one is due."""
        if self.thread is None:
            return
        with self.lock:
            passed = time.monotonic() - self.began
            if passed < self.due or self.done >= self.total:
                return
            self.due = passed + min(LONGEST, passed * (FACTOR - 1))
        LOG.info(
            "%s: %s %d of %d%s",
            self.what, self.unit, self.done, self.total, self._left(passed),
        )  # fmt: skip

    def _left(self, passed: float) -> str:
        if not self.done:
            return ""
        return f", about {duration(passed / self.done * (self.total - self.done))} left"

    def _follow(self) -> None:
        """Write lines as they fall due, while a step may still be at work."""
        while not self.ended.wait(max(0.05, self.due - (time.monotonic() - self.began))):
            self.show()
