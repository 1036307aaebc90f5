"""The state of a sweep: ``python -m privbench.sweep.status outputs/sweeps/NAME`` (no torch)."""

import json
import sys
from pathlib import Path

from privbench.store.recipes import outdated
from privbench.store.sweep_log import CellStatus, SweepLog


def main() -> None:
    """Print it; the exit code is 1 for a folder that is no sweep."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print("usage: python -m privbench.sweep.status outputs/sweeps/NAME ...")
        sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    for name in sys.argv[1:]:
        try:
            print(report(Path(name)))
        except ValueError as error:
            others = sorted(path.parent.name for path in Path(name).parent.glob("*/cells.jsonl"))
            there = f"; beside it: {', '.join(others)}" if others else ""
            print(f"privbench: {error}{there}", file=sys.stderr)
            sys.exit(1)


def report(folder: Path) -> str:
    """A sweep's state in lines.

    Raises:
        ValueError: where the folder is no sweep.
    """
    ledger = SweepLog(folder)
    states = ledger.states()
    total = sum(map(len, states.values()))
    counts = ", ".join(f"{len(entries)} {state}" for state, entries in states.items() if entries)
    stale = [(entry, why) for entry in states["done"] if (why := _outdated(ledger, entry))]
    if stale:
        counts += f"; {len(stale)} of those done would be computed again"
    lines = [f"{folder.resolve().name}: {total} cells: {counts}"]
    for entry, why in stale:
        lines.append(f"  again   {_name(entry)}: {why}")
    lines += [f"  running {_name(entry)}, {_where(entry)}" for entry in states["running"]]
    for entry in states["failed"]:
        lines.append(f"  failed  {_name(entry)}: {entry.facts['cause']}")
        lines.append(f"          {ledger.rerun_command(entry)}")
    lines += [f"  missing {_name(entry)}" for entry in states["missing"]]
    launches = ledger.launches()
    if launches and len(states["done"]) - len(stale) < total:
        lines.append(f"complete it: {launches[-1]['launch']}")
    return "\n".join(lines)


def _outdated(ledger: SweepLog, entry: CellStatus) -> str:
    """Why a cell with a record would be computed again; empty where it would not."""
    path = ledger.record(entry)
    if path is None:
        return ""
    try:
        return "; ".join(outdated(json.loads(path.read_bytes()), ledger.store))
    except (OSError, ValueError, AttributeError) as error:
        return f"{path} is no record ({' '.join(str(error).split())})"


def _name(entry: CellStatus) -> str:
    return entry.name or "the cell"


def _where(entry: CellStatus) -> str:
    return f"since {entry.facts['at']} on {entry.facts['host']}, process {entry.facts['pid']}"


if __name__ == "__main__":
    main()
