"""Atomic writes of files (no torch)."""

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PART = ".part"
"""Suffix of a file that is still being written."""
UNFINISHED = ".checkpoint"
"""Suffix of the state of a training that has not ended."""
REPORT_LIST = ".report"
"""File that lists the names of a report's files, one per line."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, even if this process is killed.

    Raises:
        OSError: where the disk is full or cannot be written; no partial file remains.
    """
    with atomic_file(path) as part:
        part.write_bytes(data)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to, and give the file its name once the block has ended without error.

    Raises:
        OSError: where the disk is full or cannot be written; no partial file remains.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PART}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def remove_empty(run: Path) -> None:
    """Remove a run's folder, and that of all runs, where they are empty."""
    with suppress(OSError):  # it is not, or somebody else has removed it
        run.rmdir()
        run.parent.rmdir()


def is_locked(lock: Path) -> bool:
    """Return whether a process holds the file of a lock, on any machine that shares it."""
    try:
        with FileLock(lock).acquire(timeout=0):
            return False
    except Timeout:
        return True


def replace_files(folder: Path, written: Mapping[str, bytes]) -> None:
    """Replace an earlier report's files, all of which were drawn before.

    Each is whole at any time, and the last one, which shows the others, is written last. Another
    process that writes the same report waits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / REPORT_LIST
    with FileLock(folder / f"{REPORT_LIST}.lock"):
        earlier = listed.read_text().splitlines() if listed.is_file() else []
        write_atomically(listed, "\n".join({**dict.fromkeys(earlier), **written}).encode() + b"\n")
        for name, data in written.items():
            (folder / name).parent.mkdir(exist_ok=True)
            write_atomically(folder / name, data)
        for name in set(earlier) - set(written):
            (folder / name).unlink(missing_ok=True)
        write_atomically(listed, "\n".join(written).encode() + b"\n")
