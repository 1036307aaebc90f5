"""The state of a sweep: ``python -m privbench.sweep.status outputs/sweeps/NAME`` (no torch)."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from privbench.runtime.duration import duration
from privbench.runtime.pipes import ends_with_its_reader
from privbench.store.battery import not_applicable
from privbench.store.layout import require_whole
from privbench.store.recipes import FLAT_SCHEMA, RECORD_SCHEMA, outdated
from privbench.store.sweep_log import ENDED, CellStatus, SweepLog, in_short, now
from privbench.sweep.times import Times, computed_seconds

MOST_MISSING = 20
"""Cells that were not begun, by name."""


@ends_with_its_reader
def main() -> None:
    """Print the state of each sweep; the exit code is 1 for a directory that is not a sweep."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print("usage: python -m privbench.sweep.status outputs/sweeps/NAME ...")
        sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    for name in sys.argv[1:]:
        try:
            print(report(Path(name)))
        except ValueError as error:
            others = sorted(path.parent.name for path in Path(name).parent.glob("*/cells.jsonl"))
            choices = f"; sweeps next to it: {', '.join(others)}" if others else ""
            print(f"privbench: {error}{choices}", file=sys.stderr)
            sys.exit(1)


def report(folder: Path) -> str:
    """Return a sweep's state in lines.

    Raises:
        ValueError: where the directory is not a sweep.
    """
    log = SweepLog(folder)
    states = log.states()
    total = sum(map(len, states.values()))
    if not total:
        return "\n".join([f"{folder.resolve().name}: no cells were planned", *_deployments(log)])
    damaged = {entry.key: reason for entry in states["done"] if (reason := _damage(log, entry))}
    states["damaged"] = [entry for entry in states["done"] if entry.key in damaged]
    states["done"] = [entry for entry in states["done"] if entry.key not in damaged]
    stale = [(entry, reason) for entry in states["done"] if (reason := _outdated(log, entry))]
    counts = ", ".join(f"{len(entries)} {state}" for state, entries in states.items() if entries)
    if stale:
        counts += f"; {len(stale)} of those done would be computed again"
    again = [*states["damaged"], *(entry for entry, _ in stale)]
    counts += _time_left(log, [*states["running"], *states["missing"], *again])
    lines = [f"{folder.resolve().name}: {total} cell{'s' * (total != 1)}: {counts}"]
    lines += _deployments(log)
    lines += [f"  not applicable: {line}" for line in not_applicable(log.unsuitable)]
    lines += [f"  again   {entry.title}: {reason}" for entry, reason in stale]
    lines += [f"  damaged {entry.title}: {damaged[entry.key]}" for entry in states["damaged"]]
    lines += [f"  running {entry.title}, {_process(entry)}" for entry in states["running"]]
    for entry, more in in_short(states["failed"]):
        lines.append(f"  failed  {entry.title}: {entry.reason}")
        lines.append(f"          {log.rerun_command(entry)}")
        lines += [f"  failed  {more} more for this reason"] * (more > 0)
    lines += [f"  missing {entry.title}" for entry in states["missing"][:MOST_MISSING]]
    if (more := len(states["missing"]) - MOST_MISSING) > 0:
        lines.append(f"  missing {more} more")
    launches = log.launches()
    if launches and len(states["done"]) - len(stale) < total:
        lines.append(f"complete it: {launches[-1]['launch']}")
    return "\n".join(lines)


def _time_left(log: SweepLog, left: Sequence[CellStatus]) -> str:
    """Return the time that unfinished cells will take; empty before any cell was computed."""
    times, running = Times(), [entry for entry in left if entry.is_running]
    entries, active = log.entries(), {entry.key for entry in running}
    for line in log.lines()[0]:
        entry = entries.get(line.get("key", ""))
        if "cells" in line:  # the processes of an earlier launch may have been killed
            times.forget_running()
            times.most_running = 1
        elif entry and line.get("state") == "running":
            times.begin(entry, _seconds(line))
        elif entry and line.get("state") in ENDED:
            times.end(entry, computed_seconds(line))
    times.forget_running(but=active)
    seconds = times.left(left, _seconds({"at": now()}))
    if seconds is None:
        return ""
    return f"; about {duration(seconds)} {'left' if running else 'of work left'}"


def _seconds(line: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(line["at"]).timestamp()


def _deployments(log: SweepLog) -> list[str]:
    """Return lines on the deployments that cells share: how many are trained, which ones run."""
    shared = log.deployments()
    if not shared:
        return []
    done = sum(entry.state == "done" for entry in shared)
    lines = [f"  {len(shared)} shared deployments: {done} trained"]
    lines += [f"  training {entry.name}, {_process(entry)}" for entry in shared if entry.is_running]
    failed = [entry for entry in shared if entry.state == "failed"]
    return lines + [f"  failed  {entry.name}: {entry.metadata['cause']}" for entry in failed]


def _fields(log: SweepLog, entry: CellStatus) -> dict[str, Any]:
    """Return the record of a cell as JSON has it; empty where there is none.

    Raises:
        ValueError: where it is not whole.
    """
    path = log.record(entry)
    if path is None:
        return {}
    try:
        fields = json.loads(path.read_bytes())
        # of another schema outdated says so
        if fields["schema"] in (FLAT_SCHEMA, RECORD_SCHEMA):
            require_whole(fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not a record ({' '.join(str(error).split())})") from error
    return dict(fields)


def _damage(log: SweepLog, entry: CellStatus) -> str:
    """Return what is wrong with the record of a cell; empty where it is whole."""
    try:
        _fields(log, entry)
    except ValueError as error:
        return str(error)
    return ""


def _outdated(log: SweepLog, entry: CellStatus) -> str:
    """Return why a cell with a record would be computed again; empty where it would not."""
    fields = _fields(log, entry)
    return "; ".join(outdated(fields, log.store)) if fields else ""


def _process(entry: CellStatus) -> str:
    event = entry.metadata
    return f"since {event['at']} on {event['host']}, process {event['pid']}"


if __name__ == "__main__":
    main()
