"""Threads: the cores that other processes leave, and typed numbers."""

import logging

import pytest

from privbench.runtime import cores
from privbench.runtime.device import DeviceConfig


def _counted(monkeypatch, busy_ticks: list[int], own_s: float = 0.0, total: int = 10) -> int:
    """Cores that others hold, where each core worked for so many of ``total`` ticks."""
    before = dict.fromkeys(range(len(busy_ticks)), (100, 1000))
    after = {core: (100 + ticks, 1000 + total) for core, ticks in enumerate(busy_ticks)}
    readings, spent = iter([before, after]), iter([5.0, 5.0 + own_s])
    return cores.busy_cores(
        range(len(busy_ticks)),
        read=lambda: next(readings),
        process_time=lambda: next(spent),
        wait=lambda seconds: None,
    )


def test_cores_that_other_processes_hold_are_counted(monkeypatch):
    """Two halves make one core; what this process computes itself is not another's."""
    assert _counted(monkeypatch, [0, 0]) == 0
    assert _counted(monkeypatch, [10, 0]) == 1
    assert _counted(monkeypatch, [5, 5]) == 1
    assert _counted(monkeypatch, [10, 10]) == 2
    assert _counted(monkeypatch, [10, 0], own_s=cores.WINDOW) == 0
    assert _counted(monkeypatch, [10, 10, 10, 1, 0, 0, 0, 0]) == 3


def test_where_the_system_says_nothing_every_core_is_free():
    """No ``/proc/stat``, or one without these cores."""

    def absent():
        raise FileNotFoundError

    def busy(read):
        return cores.busy_cores(
            {0, 1}, read=read, process_time=lambda: 0.0, wait=lambda seconds: None
        )

    assert busy(absent) == 0
    assert busy(dict) == 0
    assert busy(lambda: {0: (5, 5), 1: (5, 5)}) == 0


def _threads_where(monkeypatch, taken: int, typed: int | None = None) -> int:
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(cores, "busy_cores", lambda found: taken)
    cores._free_cores.cache_clear()
    try:
        return DeviceConfig("cpu", threads=typed).configure()
    finally:
        cores._free_cores.cache_clear()


@pytest.mark.parametrize(("taken", "used"), [(0, 4), (1, 3), (3, 1), (4, 1)])
def test_a_job_takes_the_free_cores_and_says_so(monkeypatch, caplog, taken, used):
    """At least one; nothing is said where all are free."""
    monkeypatch.delenv(cores.THREADS, raising=False)
    caplog.set_level(logging.INFO)
    assert _threads_where(monkeypatch, taken) == used
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (taken > 0)
    if messages:
        assert f"{taken} of 4 cores" in messages[0]
        assert "device.threads=4 computes all anew" in messages[0]


def test_typed_threads_come_first_then_those_of_the_starter(monkeypatch):
    """Then what is free."""
    monkeypatch.setenv(cores.THREADS, "2")
    assert _threads_where(monkeypatch, 3, typed=3) == 3
    assert _threads_where(monkeypatch, 3) == 2
    monkeypatch.setenv(cores.THREADS, "")
    assert _threads_where(monkeypatch, 3) == 1


@pytest.mark.parametrize(
    ("text", "line"), [("3", ""), ("none", "PRIVBENCH_THREADS=none is out of")]
)
def test_threads_that_are_assigned_yield_to_those_that_are_typed(monkeypatch, text, line):
    """And nonsense is refused in one line."""
    from privbench.runtime.device import DeviceConfig

    monkeypatch.setenv("PRIVBENCH_THREADS", text)
    assert DeviceConfig("cpu", threads=1).configure() == 1
    if line:
        with pytest.raises(ValueError, match=line):
            DeviceConfig("cpu").configure()
    else:
        assert DeviceConfig("cpu").configure() == 3
