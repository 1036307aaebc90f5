"""Texts of ``list`` and ``show``: what a store holds."""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from privbench.runtime.duration import duration
from privbench.store.inventory import RECORDS, Item, describe_record, users
from privbench.store.record_frame import rerun_command
from privbench.store.removal import records_of
from privbench.store.result_table import table
from privbench.store.sweep_log import SweepLog

NETWORKS = ("victims", "judges")
"""Kinds that are listed with their SHA-256, as results compare only where it is the same."""


def summary(items: Sequence[Item]) -> str:
    """Return a line for each kind, and one for each victim and evaluation classifier."""
    kinds = [(kind, list(held)) for kind, held in groupby(items, key=lambda item: item.kind)]
    lines = [
        f"{kind:<18} {len(held):>6}  {size(sum(item.size for item in held)):>9}  {_span(held)}"
        for kind, held in kinds
    ]
    return "\n".join([*lines, *(line(item) for item in items if item.kind in NETWORKS)])


def _span(items: Sequence[Item]) -> str:
    days = sorted(f"{item.written:%Y-%m-%d}" for item in items)
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def lines(items: Iterable[Item]) -> str:
    """Return a line for each item."""
    return "\n".join(map(line, items))


def line(item: Item) -> str:
    """Return an item's name, size, day and description; of a network its SHA-256."""
    if item.kind in NETWORKS:
        what = item.describe() or "evaluation classifier"
        return f"{item.name}  sha256 {item.fields.get('sha256')}  {what}"
    return f"{item.name}  {size(item.size):>8}  {item.written:%Y-%m-%d}  {item.describe()}"


def sweep_line(log: SweepLog) -> str:
    """Return a sweep's name, its cells, the day and the command of its last launch."""
    states = {state: len(held) for state, held in log.states().items() if held}
    counts = ", ".join(f"{count} {state}" for state, count in states.items()) or "no cells"
    last = log.launches()[-1:]
    launched = f"{last[0].get('at', '')[:10]}  {last[0]['launch']}" if last else ""
    return f"sweeps/{log.folder.name}  {counts}  {launched}".rstrip()


def size(count: int) -> str:
    """Format a number of bytes.

    >>> [size(n) for n in (900, 20_480, 3_400_000)]
    ['900 B', '20.5 kB', '3.4 MB']
    """
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "B" else f"{count} B"


def details(item: Item, items: Sequence[Item]) -> str:
    """Return all that is known of an item.

    Args:
        item: To show.
        items: All that the store holds.
    """
    return _record(item) if item.kind == RECORDS else _artifact(item, items)


def _record(item: Item) -> str:
    if item.record is None:
        return f"{item.name} cannot be read: {_files(item.files)}"
    record = item.record
    paths = {path.name: path for path in item.files}
    took = duration(record.seconds.get("total", 0))
    return "\n".join(
        [
            line(item),
            table(record, paths),
            f"  finished        {record.finished}, took {took}",
            f"  victim          sha256 {record.victim_sha256}",
            f"  command         {rerun_command(record)}",
        ]
    )


def _artifact(item: Item, items: Sequence[Item]) -> str:
    records = users(item, records_of(items))
    facts = {n: v for n, v in item.fields.get("facts", {}).items() if n != "history"}
    return "\n".join(
        [
            line(item),
            f"  files           {_files(item.files)}",
            f"  recipe          {json.dumps(item.fields.get('recipe', {}))}",
            f"  facts           {json.dumps(facts)}",
            f"  used by         {len(records)} records",
            *(f"    records/{record.key}  {describe_record(record)}" for record in records),
        ]
    )


def _files(files: Iterable[Path]) -> str:
    return ", ".join(map(str, files))
