"""Places of records: the store of a folder, and the files of its records (no torch)."""

from pathlib import Path

from privbench.store.sweep_log import NAME as CELLS
from privbench.store.sweep_log import SweepLog


def store_in(folder: Path) -> Path:
    """Return the store that a folder is, or has in it."""
    return folder if (folder / "records").is_dir() else folder / "store"


def record_paths(folder: Path) -> list[Path]:
    """Return the files of the records of a sweep or of a store, in the order of their keys."""
    if (folder / CELLS).is_file():
        log = SweepLog(folder)
        found = {path for entry in log.entries().values() if (path := log.record(entry))}
        return sorted(found)
    return sorted((store_in(folder) / "records").glob("*/record.json"))
