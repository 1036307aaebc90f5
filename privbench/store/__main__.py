"""Manage a store, and move its contents: ``python -m privbench.store --help``."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from privbench.runtime.pipes import ends_with_its_reader
from privbench.store import removal
from privbench.store.archive import StoredArtifact, export, restore
from privbench.store.arguments import parser
from privbench.store.inventory import (
    FILTERS,
    KINDS,
    RECORDS,
    Choice,
    Item,
    age,
    checked,
    fits,
    inventory,
    unfinished,
)
from privbench.store.listing import details, line, lines, size, summary, sweep_line
from privbench.store.record_archive import export_records, import_records
from privbench.store.record_files import record_paths, store_in
from privbench.store.record_frame import format_of, read_records, table_of, write_table
from privbench.store.sweep_log import NAME as CELLS
from privbench.store.sweep_log import SweepLog

NAMED = 3
"""Records that a line names of those that were not imported."""
NAMES = {"victims": "victim", "judges": "evaluation classifier"}


@ends_with_its_reader
def main(words: Sequence[str] | None = None) -> None:
    """Do what the words say; bad input is one line and exit code 1."""
    given = parser().parse_args(words)
    try:
        COMMANDS[given.command](given)
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        _complain(str(error))
        sys.exit(1)


def _export_victims(given: argparse.Namespace) -> None:
    print(f"{given.file}: {_counted(export(given.outputs / 'store', given.file))}")


def _import_victims(given: argparse.Namespace) -> None:
    store = given.outputs / "store"
    new, old = restore(given.file, store, replace=given.replace)
    print(f"{store}: {_counted(new)} imported, {_counted(old)} there already")


def _list(given: argparse.Namespace) -> None:
    folder = given.listed or given.folder
    items, choice = _present(folder), _choice(given)
    if not choice.is_empty:
        print(lines(choice.of(items)))
        return
    if items:
        print(summary(items))
    if not (folder / CELLS).is_file():
        for item in unfinished(store_in(folder)):
            print(f"{item.name}  {size(item.size)}  checkpoint of a training that has not ended")
        for log in removal.sweeps_in(store_in(folder).parent / "sweeps"):
            print(sweep_line(log))


def _show(given: argparse.Namespace) -> None:
    items = _present(given.folder)
    for item in Choice(given.keys, (), {}, None).of(items):
        print(details(item, items))


def _rm(given: argparse.Namespace) -> None:
    folders = [Path(word) for word in given.keys if (Path(word) / CELLS).is_file()]
    if folders:
        if len(given.keys) > 1:
            raise ValueError(f"{folders[0]} is a sweep: delete it alone")
        if not replace(_choice(given), keys=()).is_empty:
            raise ValueError(f"{folders[0]} is a sweep, which is deleted whole: leave out filters")
        _remove(removal.of_sweep(folders[0]), given)
        return
    choice = _choice(given)
    if choice.is_empty:
        raise ValueError("choose what to delete: KEY, a sweep's folder, a filter, --older-than")
    kinds = choice.kinds or (() if choice.keys else (RECORDS,))
    items = replace(choice, kinds=kinds).of(_present(given.folder))
    _remove(removal.of_choice(store_in(given.folder), items), given)


def _gc(given: argparse.Namespace) -> None:
    _remove(removal.of_unused(store_in(given.folder), age(given.older_than)), given)


def _remove(found: removal.Removal, given: argparse.Namespace) -> None:
    """Say what is to be deleted, and delete it where the words ask for that."""
    for item in found.items:
        print(line(item))
    for folder in found.sweeps:
        print(f"{folder}  log, page and tables of a sweep")
    for note in found.consequences:
        print(f"note: {note}")
    if found.remains:
        print(f"remains of processes that were killed: {len(found.remains)}")
    if found.unfinished:
        print(f"checkpoints of trainings that have not ended: {len(found.unfinished)}")
    sweeps = f"{_plural(len(found.sweeps), 'sweep')} and " if found.sweeps else ""
    count = f"{sweeps}{_plural(len(found.items), 'item')}, {size(found.size)}"
    if not given.yes:
        print(f"would delete {count}; nothing was deleted: add --yes")
        return
    held = found.carry_out()
    for name in held:
        _complain(f"{name} stays: a process holds it")
    print(f"deleted {count}" if not held else f"deleted {count}, but {len(held)} that are held")


def _export(given: argparse.Namespace) -> None:
    form, filters = format_of(given.file, given.format), _filters(given)
    records, unreadable = read_records(given.folder)
    for text in unreadable:
        _complain(f"left out: {text}")
    chosen = [record for record in records if fits(record, filters)]
    if not chosen:
        raise ValueError(f"{given.folder} holds no such record")
    rows = table_of(given.folder, chosen, images=given.images)
    write_table(rows, given.file, form)
    print(f"{given.file}: {_plural(len(rows), 'image' if given.images else 'record')}")


def _present(folder: Path) -> list[Item]:
    """Return what a store holds, or of a sweep its records."""
    if not (folder / CELLS).is_file():
        return inventory(store_in(folder))
    paths = {path.parent.name for path in record_paths(folder)}
    items = inventory(SweepLog(folder).store)
    return [item for item in items if item.kind == RECORDS and item.key in paths]


def _choice(given: argparse.Namespace) -> Choice:
    """Return the choice that the words make.

    Raises:
        ValueError: for an unknown kind.
    """
    kinds = [word for word in given.kind.split(",") if word]
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"{min(unknown)} is not a kind: choose from {', '.join(KINDS)}")
    least = age(given.older_than) if given.older_than else None
    return Choice(getattr(given, "keys", ()), kinds, _filters(given), least)


def _filters(given: argparse.Namespace) -> dict[str, list[str]]:
    values = {name: [v for v in getattr(given, name).split(",") if v] for name in FILTERS}
    return checked({name: held for name, held in values.items() if held})


def _export_records(given: argparse.Namespace) -> None:
    count, unreadable = export_records(given.folder, given.file)
    for text in unreadable:
        _complain(f"left out: {text}")
    print(f"{given.file}: {_records(count)}")


def _import_records(given: argparse.Namespace) -> None:
    """Import what the store lacks; exit code 1 where it has other numbers of a record."""
    store = store_in(given.folder)
    done = import_records(given.file, given.folder)
    print(f"{store}: {_records(len(done.new))} imported, {len(done.present)} there already")
    if done.other_victim:
        _complain(
            f"{_records(len(done.other_victim))} of victims with other weights than the store's "
            "(import-victims moves those): a sweep runs their cells again"
        )
    if done.different:
        _complain(
            f"{_records(len(done.different))} of {given.file} not imported, since the store has "
            f"them with other numbers: {_in_short(done.different)}"
        )
        sys.exit(1)


def _in_short(keys: Sequence[str]) -> str:
    """Return the first keys and the number of further ones.

    >>> _in_short(["a", "b"]), _in_short(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    more = f" and {len(keys) - NAMED} more" * (len(keys) > NAMED)
    return ", ".join(keys[:NAMED]) + more


COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "list": _list,
    "show": _show,
    "rm": _rm,
    "gc": _gc,
    "export": _export,
    "export-victims": _export_victims,
    "import-victims": _import_victims,
    "export-records": _export_records,
    "import-records": _import_records,
}


def _complain(text: str) -> None:
    print(f"privbench: {' '.join(text.split())}", file=sys.stderr)


def _records(count: int) -> str:
    return _plural(count, "record")


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _counted(found: Sequence[StoredArtifact]) -> str:
    count = Counter(one.kind for one in found)
    return " and ".join(_plural(count[kind], name) for kind, name in NAMES.items())


if __name__ == "__main__":
    main()
