"""The state of a sweep: time left, and records that are damaged."""

import json
import os
import socket
from datetime import UTC, datetime, timedelta

import pytest

from privbench.store.sweep_log import SweepLog
from privbench.sweep.status import report
from tests.records import record, sweep


def _harm(fields: dict, harm: str) -> str:
    """The text of a record's file that was cut off, lost a field, or contradicts itself."""
    text = json.dumps(fields)
    if harm == "truncated":
        return text[: len(text) // 2]
    if harm == "no scores":
        del fields["scores"]
    elif harm == "no number":
        fields["scores"]["ssim"]["mean"] = "0.5"
    elif harm == "other mean":
        fields["scores"]["ssim"]["mean"] += 0.001
    elif harm == "lost images":
        fields["scores"]["psnr_db"]["per_image"].pop()
    return json.dumps(fields)


@pytest.mark.parametrize(
    "harm", ["truncated", "no scores", "no number", "other mean", "lost images"]
)
def test_a_damaged_record_is_not_done(tmp_path, harm):
    """It is named, is left to do, and the command that completes the sweep is there."""
    records = [record(strength=strength) for strength in (0.1, 0.3)]
    folder = sweep(tmp_path, "mine", records, [])
    assert report(folder) == "mine: 2 cells: 2 done"
    path = tmp_path / "store" / "records" / records[0].key / "record.json"
    path.write_text(_harm(json.loads(path.read_text()), harm))
    first, second, third = report(folder).splitlines()
    assert first == "mine: 2 cells: 1 done, 1 damaged"
    assert second.startswith("  damaged attack=rmle seed=0 strength=0.1: ")
    assert "record.json is not a record (" in second
    assert third == "complete it: python -m privbench sweeps=mine"


def _event(key: str, state: str, ago: float, **more) -> dict:
    at = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="seconds")
    here = {"host": socket.gethostname(), "pid": os.getpid()}
    return {"key": key, "state": state, "at": at, "launch": "a", **here, **more}


def test_the_time_left_is_that_of_running_and_missing_cells(tmp_path):
    """As long as others of their attack, as many at a time as this launch has run."""
    records = [record(strength=n / 10, attack=a) for a in ("rmle", "inverse") for n in range(1, 5)]
    folder = sweep(tmp_path, "mine", records[:1], records[1:])
    log, keys = SweepLog(folder), [one.key for one in records]
    launch = log.lines()[0][0]
    killed = [_event(key, "running", 900, pid=2**22 + 1) for key in keys]
    log.append([*killed, launch, _event(keys[0], "running", 300)])
    log.append([_event(keys[0], "done", 200, record=keys[0], seconds=100.0)])
    (line, *_) = report(folder).splitlines()
    assert line == "mine: 8 cells: 1 done, 7 missing; about 12 min of work left"
    log.append([_event(keys[1], "running", 20)])
    (line, *_) = report(folder).splitlines()
    assert line == "mine: 8 cells: 1 done, 1 running, 6 missing; about 11 min left"
    log.append([_event(keys[4], "running", 20)])
    (line, *_) = report(folder).splitlines()
    assert line.endswith("2 running, 5 missing; about 6 min left"), "two at a time"
    log.append([_event(keys[1], "running", 400)])
    (line, *_) = report(folder).splitlines()
    assert line.endswith("about 11 min left"), "the others of its attack will be as late"
    new = sweep(tmp_path / "new", "new", [], [record(strength=0.1)])
    SweepLog(new).append([_event(record(strength=0.1).key, "running", 20)])
    assert report(new).splitlines()[0] == "new: 1 cell: 1 running"


def test_a_large_sweep_names_some_of_its_missing_cells(tmp_path):
    """And counts the others."""
    failed = [record(strength=n / 100) for n in range(1, 26)]
    folder = sweep(tmp_path, "large", [], failed)
    SweepLog(folder).append([_event(one.key, "stopped", 10) for one in failed])
    first, *lines, complete = report(folder).splitlines()
    assert first == "large: 25 cells: 25 missing"
    assert len(lines) == 21
    assert lines[-1] == "  missing 5 more"
    assert complete.startswith("complete it: ")


def test_a_sweep_without_cells_is_named_in_one_line(tmp_path):
    (tmp_path / "zero").mkdir()
    (tmp_path / "zero" / "cells.jsonl").touch()
    assert report(tmp_path / "zero") == "zero: no cells were planned"
