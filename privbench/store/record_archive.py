"""File of whole records without their images, to keep results or to move them (no torch).

JSON lines, compressed by xz: first ``{"privbench": "records", "format": 1, "records": N}``, then N
records, one a line, as their ``record.json`` has them. An import checks the whole file before it
writes anything.
"""

import json
import lzma
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privbench.runtime.files import PART, write_atomically
from privbench.store.artifacts import Store
from privbench.store.recipes import victim_replaced
from privbench.store.record import Record, parse, read, same_numbers
from privbench.store.record_files import record_paths, store_in
from privbench.store.sweep_log import NAME as CELLS

FORMAT = 1
KEY = re.compile(r"[0-9a-f]{20}")
PRESET = 6
"""Compression of xz; higher ones take longer and save nothing on records."""


@dataclass
class Import:
    """What an import did, by keys of records.

    Attributes:
        new: Written.
        present: Left as they are: the store has the same numbers.
        different: Left as they are: the store has other numbers.
        other_victim: Written, but of other weights than the store's victim: run again by a sweep.
    """

    new: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    other_victim: list[str] = field(default_factory=list)


def export_records(folder: Path, file: Path) -> tuple[int, list[str]]:
    """Write the records of a folder to a file; whole or not at all.

    Args:
        folder: ``outputs``, ``outputs/store``, or the folder of a sweep for its records only.
        file: Is written, or replaced.

    Returns:
        The number of records written, and a line for each that cannot be read.

    Raises:
        ValueError: where no record can be read.
        OSError: where the file cannot be written.
    """
    lines, unreadable = [], []
    for path in record_paths(folder):
        try:
            read(path)
            lines.append(json.dumps(json.loads(path.read_bytes()), allow_nan=False))
        except (ValueError, OSError) as error:
            unreadable.append(str(error))
    if not lines:
        found = f" ({unreadable[0]})" if unreadable else ""
        raise ValueError(f"{folder} holds no record that can be read{found}")
    head = json.dumps({"privbench": "records", "format": FORMAT, "records": len(lines)})
    _write_lines(file, [head, *lines])
    return len(lines), unreadable


def import_records(file: Path, folder: Path) -> Import:
    """Put the records of a file into a store, where sweeps, their status and reports find them.

    A record that the store has is never replaced.

    Args:
        file: Written by ``export_records``.
        folder: ``outputs`` or ``outputs/store``; made where it is not there.

    Raises:
        ValueError: in one line, where the file is damaged, not whole, or not a file of records;
            nothing is written then.
        OSError: where the file cannot be read or the store cannot be written.
    """
    for _ in _records(file):
        pass  # a fault is found before anything is written
    if (folder / CELLS).is_file():
        raise ValueError(f"{folder} is a sweep: choose outputs or a store")
    store, done = Store(store_in(folder)), Import()
    for fields, record in _records(file):
        path = store.root / "records" / record.key / "record.json"
        with store.claim("records", record.key):
            found = _readable(path)
            if found is not None:
                (done.present if same_numbers(found, record) else done.different).append(record.key)
                continue
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, json.dumps(fields, indent=1).encode() + b"\n")
        done.new.append(record.key)
        if victim_replaced(record.config, record.sources, record.victim_sha256, store.root):
            done.other_victim.append(record.key)
    return done


def _write_lines(file: Path, lines: Iterable[str]) -> None:
    part = file.with_name(f".{file.name}{PART}")
    try:
        with lzma.open(part, "wt", preset=PRESET, encoding="utf-8") as text:
            text.writelines(f"{line}\n" for line in lines)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _records(file: Path) -> Iterator[tuple[Mapping[str, Any], Record]]:
    """Yield the records of a file, as JSON has them and checked.

    Raises:
        ValueError: in one line that names the file.
        OSError: where it cannot be read.
    """
    try:
        with lzma.open(file, "rt", encoding="utf-8") as lines:
            expected = _count(next(lines, ""))
            found = 0
            for found, line in enumerate(lines, start=1):  # noqa: B007 - counts the records
                fields = json.loads(line)
                record = parse(fields)
                if not KEY.fullmatch(record.key):
                    raise ValueError(f"{record.key!r} is not the key of a record")
                yield fields, record
            if found != expected:
                raise ValueError(f"{found} of {expected} records")
    except (lzma.LZMAError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{file} is damaged or not a file of records ({reason})") from error


def _count(head: str) -> int:
    """Return the number of records that the first line states."""
    stated = json.loads(head)
    if not isinstance(stated, dict) or stated.get("privbench") != "records":
        raise ValueError("its first line does not say so")
    if stated.get("format") != FORMAT:
        raise ValueError(f"its format is {stated.get('format')}, this program reads {FORMAT}")
    return int(stated["records"])


def _readable(path: Path) -> Record | None:
    try:
        return read(path)
    except (FileNotFoundError, ValueError):
        return None
