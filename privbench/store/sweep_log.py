"""A sweep's ledger: every cell and what happened to it, a line an event (no torch, no Hydra).

``cells.jsonl`` is appended to by the launcher and by every worker. Three kinds of lines:
``{"launch": COMMAND, "id", "cells": KEYS, ...}``, ``{"key", "overrides", "name", "group"}`` for a
cell that was planned, ``{"key", "state", "launch": ID, ...}`` for what became of it. Whether a cell
is done is the store's to say: its record is there or it is not. The last launch says which cells
the sweep has: a file of ``sweeps/``, a data set or a device may have changed since an earlier one.
"""

import json
import os
import shlex
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

NAME = "cells.jsonl"
ENDED = ("done", "cached", "failed", "stopped")


@dataclass
class CellStatus:
    """A cell of a sweep.

    Attributes:
        key: Of its record, as planned.
        overrides: What makes it, in words of the command line.
        name: What tells it from the other cells.
        group: Cells that differ in nothing but the seed share it.
        state: ``planned``, or its last event: ``running``, ``done``, ``cached``, ``failed``,
            ``stopped``.
        facts: Of the last event.
        record: Key of its record: another one where a source changed before it was run.
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
    def why(self) -> str:
        """Why it has no record."""
        return str(self.facts.get("cause") or ("still running" if self.runs else "not finished"))

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
class SweepLog:
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

    def entries(self) -> dict[str, CellStatus]:
        """Every cell of the last launch by its key, as its last event left it.

        Raises:
            ValueError: where there is no ledger.
        """
        if not self.path.is_file():
            raise ValueError(f"{self.folder} is no sweep: it holds no {NAME}")
        found: dict[str, CellStatus] = {}
        cells: list[str] = []
        for line in self.lines()[0]:
            if "cells" in line:
                cells = line["cells"]
            elif "overrides" in line:
                entry = CellStatus(line["key"], line["overrides"], line["name"], line["group"])
                found.setdefault(line["key"], entry)
            elif line.get("key") in found:
                entry = found[line["key"]]
                entry.state, entry.facts = line["state"], line
                entry.record = line.get("record", entry.record)
                entry.tracked = entry.tracked or bool(line.get("tracked"))
        return {key: found[key] for key in cells if key in found}

    def launches(self) -> list[dict[str, Any]]:
        """Every command that worked on this sweep, and when."""
        return [line for line in self.lines()[0] if "cells" in line]

    def made(self) -> dict[str, str]:
        """The command that made each record, by its key; what another sweep made is not there."""
        lines = self.lines()[0]
        commands = {line["id"]: str(line["launch"]) for line in lines if "cells" in line}
        return {
            str(line["record"]): commands[line["launch"]]
            for line in lines
            if line.get("state") == "done" and line.get("launch") in commands and "record" in line
        }

    def failed(self, launch: str) -> bool:
        """Whether a cell of a launch failed."""
        return any(
            line.get("state") == "failed" and line.get("launch") == launch
            for line in self.lines()[0]
        )

    def record(self, entry: CellStatus) -> Path | None:
        """The record of a cell, if it is there."""
        path = self.store / "records" / (entry.record or entry.key) / "record.json"
        if not path.is_file() and entry.state in ("done", "cached"):
            with suppress(OSError):  # a network's file system may remember that it was not there
                for folder in (path.parent.parent, path.parent):
                    list(folder.iterdir())
        return path if path.is_file() else None

    def done(self, entry: CellStatus) -> bool:
        """Whether its record is there, and is no older one than its failure."""
        path = self.record(entry)
        if path and entry.state == "failed":
            failed = datetime.fromisoformat(entry.facts["at"]).timestamp()
            return path.stat().st_mtime > failed + 1
        return path is not None

    def states(self) -> dict[str, list[CellStatus]]:
        """Cells by what they are now: ``done``, ``running``, ``failed``, ``missing``."""
        found: dict[str, list[CellStatus]] = {
            "done": [],
            "running": [],
            "failed": [],
            "missing": [],
        }
        for entry in self.entries().values():
            if self.done(entry):
                found["done"].append(entry)
            elif entry.runs:
                found["running"].append(entry)
            else:
                found["failed" if entry.state == "failed" else "missing"].append(entry)
        return found

    def rerun_command(self, entry: CellStatus) -> str:
        """What to type for one cell."""
        launches = self.launches()
        words = [*(launches[-1]["flags"] if launches else []), *entry.overrides]
        return f"python -m privbench {shlex.join(words)}"


def now() -> str:
    """The time, as every line tells it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
