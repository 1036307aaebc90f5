"""Selection of the records that a report covers: those of a sweep or of a store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from privbench.runtime.options import typed_values
from privbench.store.battery import Battery, Unsuitable
from privbench.store.group_keys import group_key, setting_key
from privbench.store.inventory import FILTERS, fits, values_of
from privbench.store.recipes import threads
from privbench.store.record import Record, read
from privbench.store.record_files import store_in
from privbench.store.record_frame import rerun_command
from privbench.store.sweep_log import CellStatus, SweepLog

__all__ = ["FILTERS", "Selection", "select"]


@dataclass(frozen=True)
class Selection:
    """Records, and the cells and files that are missing among them.

    Attributes:
        name: Name shown in the report.
        store: Folder of the store.
        records: Readable records.
        gaps: Cells of the sweep without a record, with the reason and the command, by group.
        unreadable: One line for each record that cannot be read.
        commands: Commands that made the records.
        makers: The command of the sweep that made a record, by its key, where one is known.
        battery: Of the sweep; null for others and for a store.
        unsuitable: Attacks that settings of the sweep do not admit.
    """

    name: str
    store: Path
    records: Sequence[Record]
    gaps: Mapping[str, list[tuple[CellStatus, str, str]]] = field(default_factory=dict)
    unreadable: Sequence[str] = ()
    commands: Sequence[str] = ()
    makers: Mapping[str, str] = field(default_factory=dict)
    battery: Battery | None = None
    unsuitable: Sequence[Unsuitable] = ()

    @property
    def missing(self) -> list[tuple[CellStatus, str, str]]:
        """Cells without a record."""
        return [gap for gaps in self.gaps.values() for gap in gaps]

    @property
    def metadata(self) -> list[str]:
        """Number of cells, and when, where and with which versions they were measured."""
        count = f"{len(self.records)} cells"
        if self.missing:
            count += f", {len(self.missing)} more without a record"
        if not self.records:
            return [count]
        ended = sorted(record.finished for record in self.records)
        first, last = (time[:16].replace("T", " ") for time in (ended[0], ended[-1]))
        return [
            count,
            f"measured {first} to {last} UTC" if first != last else f"measured {first} UTC",
            f"on {_list(f'{r.device} ({r.threads} threads)' for r in self.records)}",
            _list(f"{name} {value}" for r in self.records for name, value in r.versions.items()),
        ]

    def rerun_command(self, record: Record) -> str:
        """Return the command that runs the cell of a record."""
        return rerun_command(record)


def _list(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def select(folder: Path, filters: Mapping[str, Sequence[str]]) -> Selection:
    """Select the records of a sweep's folder, of a store, or of an outputs folder's store.

    Args:
        folder: ``outputs/sweeps/NAME``, ``outputs/store`` or ``outputs``.
        filters: Values to keep, by field of the record.

    Raises:
        ValueError: where the folder is neither, or nothing is left.
    """
    if (folder / "cells.jsonl").is_file():
        found = _of_sweep(folder)
    elif (store := store_in(folder)).is_dir():
        found = _of_store(store)
    else:
        there = sorted(path.parent.name for path in folder.glob("*/cells.jsonl"))
        choices = f": choose {', '.join(there)} in it" if there else ""
        raise ValueError(f"{folder} is neither a sweep nor a store{choices}")
    wanted = {name: values for name, values in filters.items() if values}
    kept = [record for record in found.records if fits(record, wanted)]
    if not kept and not (found.gaps and not wanted):
        available = values_of(found.records, wanted or ("dataset",))
        raise ValueError(f"{folder} holds no such record; it has {available}")
    words = [value for values in filters.values() for value in values]
    name = "-".join([found.name, *words]) if words else found.name
    gaps = {
        group: fitting
        for group, cells in found.gaps.items()
        if (fitting := [cell for cell in cells if _may_fit(cell[0], wanted)])
    }
    return replace(found, name=name, records=kept, gaps=gaps)


def _may_fit(cell: CellStatus, wanted: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a cell without a record may be one of a selection, by what was typed of it."""
    typed = typed_values(cell.overrides)
    return all(typed[name] in values for name, values in wanted.items() if name in typed)


def of_cells(ledger: SweepLog) -> tuple[list[Record], list[tuple[CellStatus, str]]]:
    """Return readable records, and every other cell with the reason why it has none.

    A cell without a record is of the group that records of its setting have, also where an earlier
    version wrote the log.
    """
    records, missing, settings = [], [], {}
    for entry in ledger.entries().values():
        path = ledger.record(entry) if ledger.done(entry) else None
        reason = entry.reason
        if path:
            try:
                records.append(record := read(path))
                settings[setting_key(entry.group)] = setting_key(group_key(record))
                continue
            except (OSError, ValueError) as error:
                reason = str(error)
        missing.append((entry, reason))
    for entry, _ in missing:
        setting = setting_key(entry.group)
        entry.group = settings.get(setting, setting) + entry.group.removeprefix(setting)
    return records, missing


def _of_sweep(folder: Path) -> Selection:
    ledger = SweepLog(folder)
    records, missing = of_cells(ledger)
    gaps: dict[str, list[tuple[CellStatus, str, str]]] = {}
    for entry, reason in missing:
        gaps.setdefault(entry.group, []).append((entry, reason, ledger.rerun_command(entry)))
    # the store has the record all the same, so it is the record that is damaged
    unreadable = [reason for entry, reason in missing if ledger.done(entry)]
    commands = list(dict.fromkeys(str(line["launch"]) for line in ledger.launches()))
    name = folder.resolve().name
    return Selection(
        name,
        ledger.store,
        records,
        gaps,
        unreadable,
        commands,
        ledger.producing_commands(),
        ledger.battery,
        ledger.unsuitable,
    )


def _newest(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Return the newest record of each cell, and a line on older ones where there are any."""
    found: dict[tuple[str, int, str], Record] = {}
    for record in sorted(records, key=lambda record: record.finished):
        cell = group_key(record), record.seed, str(threads(record.config))
        found.pop(cell, None)
        found[cell] = record
    older = len(records) - len(found)
    line = f"{older} older record{'s' * (older > 1)} of cells that have a newer one"
    return list(found.values()), [line] * (older > 0)


def _of_store(store: Path) -> Selection:
    records, unreadable = [], []
    for path in sorted((store / "records").glob("*/record.json")):
        try:
            records.append(read(path))
        except (OSError, ValueError) as error:
            unreadable.append(str(error))
    records, superseded = _newest(records)
    unreadable += superseded
    records.sort(key=lambda record: (record.dataset, record.split, record.attack, record.finished))
    makers: dict[str, str] = {}
    for path in sorted((store.parent / "sweeps").glob("*/cells.jsonl")):
        makers |= SweepLog(path.parent).producing_commands()
    return Selection("store", store.resolve(), records, {}, unreadable, makers=makers)
