"""Which cores other processes leave free (no torch)."""

import logging
import os
import time
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path

LOG = logging.getLogger(__name__)

THREADS = "PRIVBENCH_THREADS"
"""Environment variable: threads that workers give to a job; ``device.threads`` goes before it."""
WINDOW = 0.1
"""Seconds over which cores are watched."""

Ticks = dict[int, tuple[int, int]]
"""Busy and all ticks of a core since the machine started."""


def ticks() -> Ticks:
    """What Linux counts for each core; of other systems nothing is read.

    Raises:
        OSError: where there is no ``/proc/stat``.
    """
    counted: Ticks = {}
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            # user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user
            values = [int(field) for field in fields[:8]]
            counted[int(name[3:])] = (sum(values) - values[3] - values[4], sum(values))
    return counted


def busy(
    cores: Collection[int],
    read: Callable[[], Ticks] = ticks,
    own: Callable[[], float] = time.process_time,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """How many of these cores other processes keep busy; 0 where that cannot be read.

    Args:
        cores: Numbers of the cores that this process may use.
        read: Ticks of every core.
        own: Seconds of computation of this process.
        wait: Lets time pass.
    """
    try:
        before, spent = read(), own()
        wait(WINDOW)
        after, spent = read(), own() - spent
        worked = sum(after[core][0] - before[core][0] for core in cores)
        passed = sum(after[core][1] - before[core][1] for core in cores)
    except (OSError, ValueError, IndexError, KeyError):
        return 0
    if passed <= 0:
        return 0
    others = worked / passed * len(cores) - spent / WINDOW
    return min(len(cores), max(0, round(others)))


def threads() -> int:
    """Return how many threads this process takes where none are typed: those of its free cores.

    Raises:
        ValueError: for an environment variable that is no such number.
    """
    text = os.environ.get(THREADS, "")
    if text and not (text.isdecimal() and int(text)):
        raise ValueError(f"{THREADS}={text} is out of range: choose a whole number from 1")
    return int(text) if text else _free()


@lru_cache(maxsize=1)
def _free() -> int:
    """The number of free cores, at least 1; measured and logged once a process."""
    cores = os.sched_getaffinity(0)
    taken = busy(cores)
    free = max(1, len(cores) - taken)
    if free < len(cores):
        LOG.info("%s", notice(len(cores), taken, free))
    return free


def notice(cores: int, taken: int, free: int) -> str:
    """What a user reads where other processes hold cores.

    >>> notice(2, 1, 1)
    '1 of 2 cores is busy with other processes: using 1 thread; device.threads=2 takes both'
    """
    verb, plural = ("is" if taken == 1 else "are"), ("" if free == 1 else "s")
    return (
        f"{taken} of {cores} cores {verb} busy with other processes: using {free} thread{plural}; "
        f"device.threads={cores} takes {'both' if cores == 2 else 'all'}"
    )
