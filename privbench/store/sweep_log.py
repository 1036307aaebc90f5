"""A sweep's log: every cell and its events, one line each (no torch, no Hydra).

``cells.jsonl`` is appended to by the launcher and by every worker. Three kinds of lines:
``{"launch": COMMAND, "id", "cells": KEYS, ...}``, ``{"key", "overrides", "name", "group"}`` for a
cell that was planned, ``{"key", "state", "launch": ID, ...}`` for an event of it. A cell is done
where the store has its record. The last launch lists the cells of the sweep: a file of ``sweeps/``,
a data set or a device may have changed since an earlier one.
"""

import json
import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock

from privbench.runtime.commands import command_of
from privbench.runtime.files import is_locked
from privbench.store.battery import Battery, Unsuitable

NAME = "cells.jsonl"
ENDED = ("done", "cached", "failed", "stopped")
UNCLAIMED = timedelta(hours=1)
"""Time for which a cell on another machine counts as running without a claim."""
ALIKE = 3
"""Cells that are named of those without a record for one and the same reason."""


@dataclass
class CellStatus:
    """A cell of a sweep.

    Attributes:
        key: Of its record, as planned.
        overrides: Overrides of the command line that make it.
        name: Overrides that distinguish it from the other cells.
        group: Cells that differ in the seed alone share it.
        state: ``planned``, or its last event: ``running``, ``done``, ``cached``, ``failed``,
            ``stopped``.
        metadata: Of the last event.
        record: Key of its record: another one where a source changed before it was run.
        tracked: Whether a tracker received it in this sweep.
        claim: Lock of the record's key, which a process holds while it computes; null where it is
            not known.
    """

    key: str
    overrides: list[str]
    name: str
    group: str
    state: str = "planned"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    record: str = ""
    tracked: bool = False
    claim: Path | None = None

    @property
    def title(self) -> str:
        """Its name as a line shows it."""
        return self.name or "the cell"

    @property
    def attack(self) -> str:
        """The attack's override: cells of the same attack take about as long."""
        return attack_override(self.overrides)

    @property
    def reason(self) -> str:
        """The reason why it has no record."""
        state = "still running" if self.is_running else "not finished"
        return str(self.metadata.get("cause") or state)

    @property
    def is_running(self) -> bool:
        """True while a process runs it, as far as this machine can see.

        On another machine, or under another name of this one, it is the claim on its record's key
        that tells, from an hour on: data may have to be decoded before the claim.
        """
        if self.state != "running":
            return False
        if self.metadata.get("host") != socket.gethostname():
            age = datetime.now(UTC) - datetime.fromisoformat(self.metadata["at"])
            if age < UNCLAIMED or self.claim is None:
                return True
            return self.claim.is_file() and is_locked(self.claim)
        try:
            os.kill(int(self.metadata["pid"]), 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # of another user
            return True
        return True


@dataclass(frozen=True)
class SweepLog:
    """The log in a sweep's directory.

    Attributes:
        folder: The directory; its name is the sweep's name.
    """

    folder: Path

    @property
    def path(self) -> Path:
        """The file of the lines."""
        return self.folder / NAME

    @property
    def store(self) -> Path:
        """The store of its records: ``outputs/store`` for ``outputs/sweeps/NAME``."""
        return self.folder.resolve().parent.parent / "store"

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add whole lines, safe against other writers and against those killed in a write."""
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f".{NAME}.lock"), self.path.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            if size and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                text = b"\n" + text  # after half a line
            file.write(text)

    def append_event(self, key: str, state: str, **metadata: Any) -> None:
        """Add the event of a cell."""
        here = {"host": socket.gethostname(), "pid": os.getpid()} if state == "running" else {}
        self.append([{"key": key, "state": state, "at": now(), **here, **metadata}])

    def append_fit(self, deployment: str, fit: str, **metadata: Any) -> None:
        """Add an event of a deployment that cells share: planned, running, done or failed."""
        here = {"host": socket.gethostname(), "pid": os.getpid()} if fit == "running" else {}
        self.append([{"deployment": deployment, "fit": fit, "at": now(), **here, **metadata}])

    def deployments(self) -> list[CellStatus]:
        """Return the shared deployments of the last launch, as their last events left them."""
        found: dict[str, CellStatus] = {}
        for line in self.lines()[0]:
            if "cells" in line:
                found = {}
            elif line.get("fit") == "planned":
                key = line["deployment"]
                found[key] = CellStatus(key, [], line["name"], "")
            elif line.get("deployment") in found:
                entry = found[line["deployment"]]
                entry.state, entry.metadata = line["fit"], line
        return list(found.values())

    def lines(self, start: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Return whole lines from a place in the file on, and the place after them."""
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

    def entries(self, launch: str = "") -> dict[str, CellStatus]:
        """Return every cell of a launch by its key, as its last event left it.

        Args:
            launch: Its id; empty for the last launch, whose cells are those of the sweep.

        Raises:
            ValueError: where there is no log.
        """
        if not self.path.is_file():
            raise ValueError(f"{self.folder} is not a sweep: it holds no {NAME}")
        found: dict[str, CellStatus] = {}
        cells: list[str] = []
        for line in self.lines()[0]:
            if "cells" in line:
                cells = line["cells"] if launch in ("", line["id"]) else cells
            elif "overrides" in line:
                entry = CellStatus(line["key"], line["overrides"], line["name"], line["group"])
                entry.claim = self.store / "records" / f"{entry.key}.lock"
                found.setdefault(line["key"], entry).group = line["group"]
            elif line.get("key") in found:
                entry = found[line["key"]]
                entry.state, entry.metadata = line["state"], line
                entry.record = line.get("record", entry.record)
                entry.tracked = entry.tracked or bool(line.get("tracked"))
        return {key: found[key] for key in cells if key in found}

    def launches(self) -> list[dict[str, Any]]:
        """Return every command that worked on this sweep, and its time."""
        return [line for line in self.lines()[0] if "cells" in line]

    @property
    def battery(self) -> Battery | None:
        """The battery of the last launch; null for other sweeps."""
        launches = self.launches()
        fields = launches[-1].get("battery") if launches else None
        if not fields:
            return None
        battery = Battery.of(fields)  # logs of earlier versions have its unsuitable attacks there
        return replace(battery, unsuitable=battery.unsuitable or self.unsuitable)

    @property
    def unsuitable(self) -> list[Unsuitable]:
        """The attacks that settings of the last launch do not admit."""
        launches = self.launches()
        return [Unsuitable(**one) for one in launches[-1].get("unsuitable", [])] if launches else []

    def producing_commands(self) -> dict[str, str]:
        """Return the command that produced each record, by its key; only those of this sweep."""
        lines = self.lines()[0]
        commands = {line["id"]: str(line["launch"]) for line in lines if "cells" in line}
        return {
            str(line["record"]): commands[line["launch"]]
            for line in lines
            if line.get("state") == "done" and line.get("launch") in commands and "record" in line
        }

    def failed(self, launch: str) -> bool:
        """Return whether a cell of a launch failed."""
        return any(
            line.get("state") == "failed" and line.get("launch") == launch
            for line in self.lines()[0]
        )

    def record(self, entry: CellStatus) -> Path | None:
        """Return the file of a cell's record, if it is there."""
        path = self.store / "records" / (entry.record or entry.key) / "record.json"
        if not path.is_file() and entry.state in ("done", "cached"):
            with suppress(OSError):  # a network's file system may remember that it was not there
                for folder in (path.parent.parent, path.parent):
                    list(folder.iterdir())
        return path if path.is_file() else None

    def done(self, entry: CellStatus) -> bool:
        """Return whether its record is there, and is newer than any failure."""
        path = self.record(entry)
        if path and entry.state == "failed":
            failed = datetime.fromisoformat(entry.metadata["at"]).timestamp()
            return path.stat().st_mtime > failed + 1
        return path is not None

    def states(self) -> dict[str, list[CellStatus]]:
        """Return the cells by state: ``done``, ``running``, ``failed``, ``missing``."""
        found: dict[str, list[CellStatus]] = {
            "done": [],
            "running": [],
            "failed": [],
            "missing": [],
        }
        for entry in self.entries().values():
            if self.done(entry):
                found["done"].append(entry)
            elif entry.is_running:
                found["running"].append(entry)
            else:
                found["failed" if entry.state == "failed" else "missing"].append(entry)
        return found

    def rerun_command(self, entry: CellStatus) -> str:
        """Return the command that runs one cell, with the PYTHONPATH that it needs."""
        launch = (self.launches() or [{}])[-1]
        path = launch.get("pythonpath", "")
        return command_of(entry.overrides, launch.get("flags", []), path)


def in_short(entries: Iterable[CellStatus]) -> list[tuple[CellStatus, int]]:
    """Return the cells to name of those without a record: the first few of each reason.

    Returns:
        Cells, each with the number of those that follow it unnamed.
    """
    alike: dict[str, list[CellStatus]] = {}
    for entry in entries:
        alike.setdefault(entry.reason, []).append(entry)
    return [
        (entry, max(0, len(cells) - ALIKE) if at == ALIKE - 1 else 0)
        for cells in alike.values()
        for at, entry in enumerate(cells[:ALIKE])
    ]


def attack_override(overrides: Iterable[str]) -> str:
    """Return the override that chooses the attack; empty for the default one."""
    return next((word for word in overrides if word.startswith("attack=")), "")


def now() -> str:
    """Return the time in UTC, as every line has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
