"""Number of cores that other processes leave free (no torch)."""

import logging
import os
import time
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path

LOG = logging.getLogger(__name__)

THREADS = "PRIVBENCH_THREADS"
"""Environment variable: threads that workers give to a job; ``device.threads`` overrides it."""
WINDOW = 0.1
"""Seconds over which the load of cores is measured."""

Ticks = dict[int, tuple[int, int]]
"""Busy and all clock ticks of a core since the machine started."""


def ticks() -> Ticks:
    """Read the clock ticks of each core, on Linux.

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


def busy_cores(
    cores: Collection[int],
    read: Callable[[], Ticks] = ticks,
    process_time: Callable[[], float] = time.process_time,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Count the cores that other processes keep busy; 0 where that cannot be read.

    Args:
        cores: Numbers of the cores that this process may use.
        read: Ticks of every core.
        process_time: CPU seconds of this process so far.
        wait: Sleeps for a number of seconds.
    """
    try:
        before, spent = read(), process_time()
        wait(WINDOW)
        after, spent = read(), process_time() - spent
        worked = sum(after[core][0] - before[core][0] for core in cores)
        passed = sum(after[core][1] - before[core][1] for core in cores)
    except (OSError, ValueError, IndexError, KeyError):
        return 0
    if passed <= 0:
        return 0
    by_others = worked / passed * len(cores) - spent / WINDOW
    return min(len(cores), max(0, round(by_others)))


def default_threads() -> int:
    """Return the number of threads where ``device.threads`` is null: one per free core.

    Raises:
        ValueError: where the environment variable is not a positive whole number.
    """
    text = os.environ.get(THREADS, "")
    if text and not (text.isdecimal() and int(text)):
        raise ValueError(f"{THREADS}={text} is out of range: choose a whole number from 1")
    return int(text) if text else _free_cores()


@lru_cache(maxsize=1)
def _free_cores() -> int:
    """Count the free cores, at least 1; measured and logged once per process."""
    cores = os.sched_getaffinity(0)
    taken = busy_cores(cores)
    free = max(1, len(cores) - taken)
    if free < len(cores):
        LOG.info("%s", describe_load(len(cores), taken, free))
    return free


def describe_load(cores: int, taken: int, free: int) -> str:
    """Describe cores that are busy with other processes.

    >>> describe_load(2, 1, 1)
    '1 of 2 cores is busy with other processes: using 1 thread; device.threads=2 computes all anew'
    """
    verb, plural = ("is" if taken == 1 else "are"), ("" if free == 1 else "s")
    return (
        f"{taken} of {cores} cores {verb} busy with other processes: using {free} thread{plural}; "
        f"device.threads={cores} computes all anew"
    )
