"""Atomic writes of files (no torch)."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part"
"""Suffix of a file that is still being written."""


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
