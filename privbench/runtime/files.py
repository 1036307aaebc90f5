"""Files that are written whole or not at all (no torch)."""

import os
import uuid
from pathlib import Path

PART = ".part"
"""Ending of a file that is still being written."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, whatever ends this process.

    Raises:
        OSError: when the disk is full or may not be written; nothing stays behind.
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
