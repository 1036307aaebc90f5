"""Removal from a store: of records and artifacts, of a sweep, and of what no record uses.

Nothing is deleted that a process holds: a key is claimed before its files go, and the file that
commits the others goes first, so that a removal that is killed leaves nothing that counts.
"""

import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from privbench.runtime.duration import duration
from privbench.store.artifacts import Store
from privbench.store.inventory import RECORDS, Item, inventory, remains, unfinished, users
from privbench.store.record import Record
from privbench.store.sweep_log import NAME as CELLS
from privbench.store.sweep_log import SweepLog

DELETED = ".deleted"
"""Suffix of a sweep's folder while it is deleted."""
KEPT_BY_GC = (RECORDS, "images")
"""Kinds that are never unused: records, and decoded images, whose recipes name no record."""


@dataclass
class Removal:
    """What is to be deleted from a store.

    Attributes:
        store: Folder of the store.
        items: Records and artifacts.
        remains: Files of killed processes.
        unfinished: Checkpoints of trainings that have not ended.
        sweeps: Folders of sweeps.
        consequences: Lines on what would have to be computed again.
    """

    store: Path
    items: Sequence[Item] = ()
    remains: Sequence[Item] = ()
    unfinished: Sequence[Item] = ()
    sweeps: Sequence[Path] = ()
    consequences: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the items."""
        return sum(item.size for item in self._files)

    @property
    def _files(self) -> list[Item]:
        return [*self.items, *self.remains, *self.unfinished]

    def carry_out(self) -> list[str]:
        """Delete, and return the names of what a process holds and what therefore stays."""
        held = [item.name for item in self._files if not _delete(item, self.store)]
        for folder in self.sweeps:
            delete_sweep(folder)
        return held


def _delete(item: Item, store: Path) -> bool:
    """Delete an item's files in their order; return false where a process holds its key."""
    claimed = Store(store).claim_unless_held(item.kind, item.key)
    with claimed as free:
        if not free:
            return False
        for file in item.files:
            file.unlink(missing_ok=True)
        with suppress(OSError):  # there is none, or another process writes into it
            (store / item.kind / item.key).rmdir()
    return True


def delete_sweep(folder: Path) -> None:
    """Delete a sweep's folder: at once for every other process, which sees another name or none."""
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{DELETED}")
    folder.rename(aside)
    shutil.rmtree(aside)


def of_choice(store: Path, items: Sequence[Item]) -> Removal:
    """Plan the removal of items, with what it costs to have them again.

    Raises:
        ValueError: where networks are among them and a process computes in this store.
    """
    if any(item.kind != RECORDS for item in items):
        require_idle(store)
    return Removal(store, items, consequences=consequences(items, inventory(store)))


def of_sweep(folder: Path) -> Removal:
    """Plan the removal of a sweep, with the records that no other sweep lists.

    Args:
        folder: ``outputs/sweeps/NAME``, or a link to it.

    Raises:
        ValueError: where a cell of it is running.
    """
    folder = folder.resolve()  # next to it lie the other sweeps, and not next to a link
    log = SweepLog(folder)
    states = log.states()
    if states["running"]:
        raise ValueError(f"{folder} is running ({len(states['running'])} cells): wait or stop it")
    listed = _keys(log)
    others = {
        key for other in sweeps_in(folder.parent) if other.folder != folder for key in _keys(other)
    }
    present = inventory(log.store) if log.store.is_dir() else []
    items = [i for i in present if i.kind == RECORDS and i.key in listed - others]
    removal = Removal(log.store, items, sweeps=[folder], consequences=consequences(items, present))
    if shared := sum(item.kind == RECORDS and item.key in listed & others for item in present):
        removal.consequences.append(f"{shared} of its records stay: other sweeps list them too")
    return removal


def _keys(log: SweepLog) -> set[str]:
    """Return the keys of a sweep's records."""
    return {entry.record or entry.key for entry in log.entries().values()}


def sweeps_in(folder: Path) -> list[SweepLog]:
    """Return the logs of the sweeps of a folder, by name."""
    return [SweepLog(path.parent) for path in sorted(folder.glob(f"*/{CELLS}"))]


def of_unused(store: Path, older_than: timedelta) -> Removal:
    """Plan the removal of networks and numbers that no record uses, of remains and checkpoints.

    Args:
        store: Folder of the store.
        older_than: Least age of what counts as unused: a new network's record may be under way.

    Raises:
        ValueError: where a process computes in this store, and where a record cannot be read.
    """
    require_idle(store)
    present, latest = inventory(store), datetime.now(UTC) - older_than
    records = _all_records(present)
    unused = [i for i in present if i.kind not in KEPT_BY_GC and not users(i, records)]
    old = [item for item in unused if item.written <= latest]
    deleted = sorted((store.parent / "sweeps").glob(f".*{DELETED}"))
    stopped = [item for item in unfinished(store) if item.written <= latest]
    removal = Removal(store, old, remains(store), stopped, deleted)
    if young := len(unused) - len(old):
        removal.consequences.append(
            f"{_count(young, 'unused item')} written within {duration(older_than.total_seconds())} "
            "stay, since a record may be under way: --older-than 0d takes them too"
        )
    return removal


def _all_records(items: Iterable[Item]) -> list[Record]:
    """Return all records.

    Raises:
        ValueError: where one cannot be read, for what it uses is not known.
    """
    damaged = [item.key for item in items if item.kind == RECORDS and item.record is None]
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise ValueError(
            f"records/{damaged[0]}{more} cannot be read, so what they use is not known: delete "
            "them first (rm)"
        )
    return records_of(items)


def records_of(items: Iterable[Item]) -> list[Record]:
    """Return the records among items that can be read."""
    return [item.record for item in items if item.record is not None]


def require_idle(store: Path) -> None:
    """Refuse to delete networks while a process computes in a store: it may use any of them.

    Raises:
        ValueError: naming what it computes.
    """
    if held := Store(store).held():
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        raise ValueError(f"a process computes {held[0]}{more} in {store}: wait until it has ended")
    for log in sweeps_in(store.parent / "sweeps"):
        if running := log.states()["running"]:
            raise ValueError(f"{log.folder} is running ({len(running)} cells): wait or stop it")


def consequences(items: Sequence[Item], present: Sequence[Item]) -> list[str]:
    """Return lines on what would have to be computed again.

    Args:
        items: To be deleted.
        present: All that the store holds.
    """
    gone = {item.name for item in items}
    left = [item for item in present if item.name not in gone]
    lines = [line for item in items if item.kind != RECORDS for line in _again(item, left)]
    if records := records_of(items):
        seconds = sum(record.seconds.get("total", 0) for record in records)
        lines.append(
            f"to have {_count(len(records), 'record')} again takes {duration(seconds)}; their "
            "trained networks stay until gc"
        )
    return lines


def _again(item: Item, left: Sequence[Item]) -> list[str]:
    """Return the line on an artifact that records or other artifacts build on."""
    records = users(item, records_of(left))
    if not records:
        return []
    took = item.fields.get("facts", {}).get("seconds")
    again = f", which took {duration(took)}" if took is not None else ""
    line = (
        f"{item.name} is made again by the next cell that needs it{again}: "
        f"{_count(len(records), 'record')} of "
        f"{_join(sorted({record.attack for record in records}))} used it"
    )
    built = Counter(
        one.kind for one in left if item.kind == "victims" and one.victim == item.victim
    )
    if built:
        counted = ", ".join(f"{kind} ({count})" for kind, count in sorted(built.items()))
        line += f"; built on its weights: {counted}"
    return [line]


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _join(words: Sequence[str]) -> str:
    return ", ".join(words[:4]) + (" and others" if len(words) > 4 else "")
