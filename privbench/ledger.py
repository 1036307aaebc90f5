"""A sweep's ledger: every cell and what happened to it, a line an event (no torch, no Hydra).

``cells.jsonl`` is appended to by the launcher and by every worker. Three kinds of lines:
``{"launch": COMMAND, ...}``, ``{"key", "overrides", "name", "group"}`` for a cell that was planned,
``{"key", "state", ...}`` for what became of it. Whether a cell is done is the store's to say: its
record is there or it is not.
"""

import json
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

NAME = "cells.jsonl"
ENDED = ("done", "cached", "failed", "stopped")


@dataclass
class Entry:
    """A cell of a sweep.

    Attributes:
        key: Of its record, as planned.
        overrides: What makes it, in words of the command line.
        name: What tells it from the other cells.
        group: Cells that differ in nothing but the seed share it.
        state: ``planned``, or its last event: ``running``, ``done``, ``cached``, ``failed``,
            ``stopped``.
        facts: Of the last event.
        record: Key of its record: another one where the worker's device was not foreseen.
        tracked: Whether a tracker holds it in this sweep.
    """

    key: str
    overrides: list[str]
    name: str
    group: str
    state: str = "planned"
    facts: Mapping[str, Any] = field(default_factory=dict)
    record: str = ""
    tracked: bool = False

    @property
    def runs(self) -> bool:
        """Whether a process works on it now, as far as this machine can tell."""
        if self.state != "running":
            return False
        if self.facts.get("host") != socket.gethostname():
            return True
        try:
            os.kill(int(self.facts["pid"]), 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it is somebody else's
            return True
        return True


@dataclass(frozen=True)
class Ledger:
    """The ledger in a sweep's folder.

    Attributes:
        folder: The sweep's; its name is the sweep's name.
    """

    folder: Path

    @property
    def path(self) -> Path:
        """Where the lines are."""
        return self.folder / NAME

    @property
    def store(self) -> Path:
        """The store of its records: ``outputs/store`` for ``outputs/sweeps/NAME``."""
        return self.folder.resolve().parent.parent / "store"

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add whole lines, whoever else does so, and whoever was killed while doing so."""
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f".{NAME}.lock"), self.path.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            if size and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                text = b"\n" + text  # behind half a line
            file.write(text)

    def note(self, key: str, state: str, **facts: Any) -> None:
        """What became of a cell."""
        here = {"host": socket.gethostname(), "pid": os.getpid()} if state == "running" else {}
        self.append([{"key": key, "state": state, "at": now(), **here, **facts}])

    def lines(self, start: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Whole lines from a place in the file on, and the place behind them."""
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                data = file.read()
        except FileNotFoundError:
            return [], start
        data = data[: data.rfind(b"\n") + 1]
        found = []
        for line in data.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:  # half a line of a killed process
                continue
        return [line for line in found if isinstance(line, dict)], start + len(data)

    def entries(self) -> dict[str, Entry]:
        """Every cell by its key, as its last event left it.

        Raises:
            ValueError: where there is no ledger.
        """
        if not self.path.is_file():
            raise ValueError(f"{self.folder} is no sweep: it holds no {NAME}")
        found: dict[str, Entry] = {}
        for line in self.lines()[0]:
            if "overrides" in line:
                entry = Entry(line["key"], line["overrides"], line["name"], line["group"])
                found.setdefault(line["key"], entry)
            elif line.get("key") in found:
                entry = found[line["key"]]
                entry.state, entry.facts = line["state"], line
                entry.record = line.get("record", entry.record)
                entry.tracked = entry.tracked or bool(line.get("tracked"))
        return found

    def launches(self) -> list[dict[str, Any]]:
        """Every command that worked on this sweep, and when."""
        return [line for line in self.lines()[0] if "launch" in line]

    def failed(self) -> bool:
        """Whether a cell failed since the last launch."""
        found = False
        for line in self.lines()[0]:
            found = line.get("state") == "failed" or (found and "launch" not in line)
        return found

    def record(self, entry: Entry) -> Path | None:
        """The record of a cell, if it is there."""
        path = self.store / "records" / (entry.record or entry.key) / "record.json"
        return path if path.is_file() else None

    def states(self) -> dict[str, list[Entry]]:
        """Cells by what they are now: ``done``, ``running``, ``failed``, ``missing``."""
        found: dict[str, list[Entry]] = {"done": [], "running": [], "failed": [], "missing": []}
        for entry in self.entries().values():
            if self.record(entry):
                found["done"].append(entry)
            elif entry.runs:
                found["running"].append(entry)
            else:
                found["failed" if entry.state == "failed" else "missing"].append(entry)
        return found


def now() -> str:
    """The time, as every line tells it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
