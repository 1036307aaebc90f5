"""Places of records: the store of a folder, and the files of its records (no torch)."""

from pathlib import Path

from privbench.store.sweep_log import NAME as CELLS
from privbench.store.sweep_log import SweepLog

STORED = ("records", "victims")
"""Folders of which a store has one as soon as anything is in it."""


def store_in(folder: Path) -> Path:
    """Return the store that a folder is, or has in it: any of the folders of a store makes one."""
    is_store = folder.name == "store" or any((folder / kind).is_dir() for kind in STORED)
    return folder if is_store else folder / "store"


def record_paths(folder: Path) -> list[Path]:
    """Return the files of the records of a sweep or of a store, in the order of their keys."""
    if (folder / CELLS).is_file():
        log = SweepLog(folder)
        found = {path for entry in log.entries().values() if (path := log.record(entry))}
        return sorted(found)
    return sorted((store_in(folder) / "records").glob("*/record.json"))
