"""Atomic writes of files (no torch)."""

import os
import uuid
from pathlib import Path

PART = ".part"
"""Suffix of a file that is still being written."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, even if this process is killed.

    Raises:
        OSError: where the disk is full or cannot be written; no partial file remains.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PART}")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
