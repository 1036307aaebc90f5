"""A launch of a sweep: what has no record is run, and every cell is accounted for."""

import logging
import os
import pickle
import shlex
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from privbench.runtime.cores import THREADS
from privbench.runtime.errors import SweepIncompleteError, UserError, describe_error, print_error
from privbench.runtime.files import PART, write_atomically
from privbench.runtime.paths import ARGV, register_hydra_plugins
from privbench.store.record import Record
from privbench.store.sweep_log import CellStatus, SweepLog, now
from privbench.sweep.progress import PlannedCell, Progress, watching

if TYPE_CHECKING:
    from privbench.sweep.workers.base import Workers

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Works on one cell, in whatever process; the ledger hears of it.

    Attributes:
        config: Composed, pickled.
        id: Keys of the cell and of the launch.
        callbacks: Hydra's.
        threads: That its workers give it; null for every core that it may use.
    """

    config: bytes
    id: str
    callbacks: Any
    threads: int | None = None

    def __call__(self) -> None:
        """Run the cell and note what became of it; a failing cell raises nothing."""
        if self.threads:  # no part of the configuration: the key is the same for all workers
            os.environ[THREADS] = str(self.threads)
        register_hydra_plugins()
        setup_globals()
        config = pickle.loads(self.config)
        with read_write(config.hydra):
            config.hydra.job.id = self.id
        ended = run_job(
            task_function=work,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key=None,
            hydra_context=HydraContext(cast(Any, None), self.callbacks),
        )
        _ = ended.return_value  # raises what kept the ledger from hearing


def work(cfg: DictConfig) -> None:
    """One cell of a sweep, and its lines in the ledger."""
    job = HydraConfig.get()
    ledger = SweepLog(Path(job.runtime.output_dir))
    key, _, launch = str(job.job.id).partition(".")
    if cfg.sweep.fail_fast and ledger.failed(launch):
        return
    began = time.perf_counter()
    ledger.note(key, "running", launch=launch)
    try:
        from privbench.experiment.run import run_or_load

        outcome = run_or_load(cfg, told=ledger.entries()[key].tracked)
    except KeyboardInterrupt:
        ledger.note(key, "stopped", launch=launch)
        raise
    except Exception as error:  # the other cells go on
        if type(error).__name__ == "UncompletedJobError":  # submitit's word for a job out of time
            ledger.note(key, "stopped", launch=launch)
            raise
        ledger.note(key, "failed", launch=launch, cause=describe_error(error))
        if not isinstance(error, UserError):
            print_error(error)
    else:
        ledger.note(
            key,
            "cached" if outcome.cached else "done",
            launch=launch,
            record=outcome.record.key,
            seconds=round(time.perf_counter() - began, 3),
            tracked=outcome.tracked,
        )


@dataclass(frozen=True)
class Launch:
    """One command's work on a sweep.

    Attributes:
        cfg: The launcher's own configuration.
        callbacks: Hydra's.
        workers: Who works on the cells.
        ledger: Of the sweep.
        id: Tells its lines in the ledger from those of other launches.
    """

    cfg: DictConfig
    callbacks: Any
    workers: "Workers"
    ledger: SweepLog
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def run(
        self, planned: Mapping[str, PlannedCell], refused: Sequence[tuple[PlannedCell, str]]
    ) -> None:
        """Work on every cell that has no record, and say at the end what became of all.

        Args:
            planned: Cells that can be run, by key.
            refused: Others, with what is wrong with them.

        Raises:
            Incomplete: where a cell has no record at the end; it was told which, and why.
        """
        start = self._open(planned, refused)
        try:
            with watching(self.ledger, planned, start) as progress:
                self._work(planned, progress)
        finally:
            self._account()

    @property
    def _command(self) -> str:
        return " ".join(["python -m privbench", *map(shlex.quote, ARGV)])

    def _open(
        self, planned: Mapping[str, PlannedCell], refused: Sequence[tuple[PlannedCell, str]]
    ) -> int:
        """Lines of this launch and of cells that are new to the ledger; its place before them."""
        everyone = {cell.key: cell for cell in [*planned.values(), *(cell for cell, _ in refused)]}
        listed = {line["key"] for line in self.ledger.lines()[0] if "overrides" in line}
        lines: list[dict[str, Any]] = [
            {
                "launch": self._command,
                "id": self.id,
                "at": now(),
                "flags": _flags(ARGV, remote=self.workers.gpu_is_remote),
                "cells": list(everyone),
            }
        ]
        for key, cell in everyone.items():
            if key not in listed:
                told = {"overrides": cell.words, "name": cell.name, "group": cell.group}
                lines.append({"key": key, **told})
        for cell, why in refused:
            failed = {"state": "failed", "launch": self.id, "at": now(), "cause": why}
            lines.append({"key": cell.key, **failed})
        start = self.ledger.path.stat().st_size if self.ledger.path.is_file() else 0
        self.ledger.append(lines)
        _write(self.ledger.folder / "multirun.yaml", OmegaConf.to_yaml(self.cfg))
        return start

    def _work(self, planned: Mapping[str, PlannedCell], progress: Progress) -> None:
        """Launch what has no record; what dies with its worker is launched once more."""
        todo = []
        telling = self.cfg.tracker._target_ != "privbench.tracking.base.NullTracker"
        for key, entry in self.ledger.entries().items():
            if key not in planned:
                continue
            record = None if self.cfg.force else _found(self.ledger, entry)
            if record:
                telling = self._replay(planned[key], entry, record, telling)
                progress.tell({"key": key, "state": "cached"}, record)
            else:
                todo.append(planned[key])
        fruitless = 0
        while todo and not (self.cfg.sweep.fail_fast and self.ledger.failed(self.id)):
            begun, rest = self._run(todo)
            for cell in begun:
                # a worker's death may take others with it: alone, a cell dies of itself
                LOG.warning("a worker was killed in %s: again, alone", cell.name or "its cell")
                if any(self._run([cell])):
                    told = "its worker was killed, twice"
                    self.ledger.note(cell.key, "failed", launch=self.id, cause=told)
            fruitless = fruitless + 1 if len(rest) == len(todo) else 0
            if fruitless > 1:
                raise UserError(f"{len(rest)} cells were never begun: see the workers' own logs")
            todo = rest

    def _run(self, cells: list[PlannedCell]) -> tuple[list[PlannedCell], list[PlannedCell]]:
        """Cells that were begun and did not end, and those that were not begun."""
        start = self.ledger.path.stat().st_size
        self.workers.launch(
            [
                Job(cell.config, f"{cell.key}.{self.id}", self.callbacks, self.workers.threads)
                for cell in cells
            ]
        )
        seen = {
            line["key"]: line["state"]
            for line in self.ledger.lines(start)[0]
            if line.get("launch") == self.id and "state" in line
        }
        if self.cfg.sweep.fail_fast and self.ledger.failed(self.id):
            return [], []
        begun = [cell for cell in cells if seen.get(cell.key) == "running"]
        return begun, [cell for cell in cells if seen.get(cell.key, "stopped") == "stopped"]

    def _replay(self, cell: PlannedCell, entry: CellStatus, record: Record, telling: bool) -> bool:
        """The tracker hears of a cell that is there, where this sweep did not tell it yet.

        Returns:
            Whether it is worth telling it of another one.
        """
        tracked = False
        if telling and not entry.tracked:
            from privbench.experiment.run import log_cached

            stage = stage_of(cell.config, self.workers)
            tracked = log_cached(record, stage)
            telling = tracked
        if tracked or entry.state not in ("done", "cached"):
            self.ledger.note(cell.key, "cached", record=record.key, tracked=tracked, launch=self.id)
        return telling

    def _account(self) -> None:
        """The worst cases; what is not there, why, and what to type.

        Raises:
            Incomplete: where a cell has no record, and nothing else was raised.
        """
        from privbench.report.worst_case import of_sweep

        entries = self.ledger.entries()
        gaps = [entry for entry in entries.values() if not self.ledger.done(entry)]
        if self.cfg.force:  # an older record is not what was asked for
            made = {
                line["key"]
                for line in self.ledger.lines()[0]
                if line.get("launch") == self.id and line.get("state") == "done"
            }
            gaps = [entry for key, entry in entries.items() if key not in made]
        told = of_sweep(self.ledger)
        if told:
            print(told, flush=True)
        if gaps:
            count = f"{len(gaps)} of {len(entries)} cells have no record"
            print(
                f"privbench: {count}{' of this launch' if self.cfg.force else ''}; what they need:",
                file=sys.stderr,
            )
        for entry in gaps:
            print(f"  {entry.name or 'the cell'}: {entry.why}", file=sys.stderr)
            print(f"    {self.ledger.rerun_command(entry)}", file=sys.stderr)
        if gaps:
            print(f"all of them: {self._command}", file=sys.stderr)
        try:
            _write(self.ledger.folder / "summary.txt", told + "\n")
            if self.cfg.sweep.report:
                self._report()
        except Exception as error:  # records are whole, and what stopped the sweep is to be told
            LOG.warning("the sweep's report is not written: %s", describe_error(error))
        if gaps and sys.exc_info()[0] is None:
            raise SweepIncompleteError

    def _report(self) -> None:
        """The page and its figures; the tracker hears of them when this launch made anything."""
        from hydra.utils import instantiate

        from privbench.report.selection import select
        from privbench.report.writing import told, write

        with FileLock(self.ledger.folder / ".report.lock"):
            selection = select(self.ledger.folder, {})
            print(write(selection, self.ledger.folder / "report"), flush=True)
            news = [
                line
                for line in self.ledger.lines()[0]
                if line.get("launch") == self.id and line.get("tracked")
            ]
            if news:
                instantiate(self.cfg.tracker).sweep(
                    self.ledger.folder.name, told(selection, self.ledger.folder / "report")
                )


def stage_of(config: bytes, workers: "Workers") -> Any:
    """The cell of a configuration, composed and pickled, as a worker will see it."""
    from privbench.experiment.config import build
    from privbench.experiment.setup import Stage

    cfg = pickle.loads(config)
    HydraConfig.instance().set_config(cfg)
    with read_write(cfg), open_dict(cfg):
        del cfg["hydra"]
        elsewhere = workers.gpu_is_remote and cfg.device.accelerator != "cpu"
    return Stage.of(build(cfg), elsewhere=elsewhere)


def _flags(typed: Sequence[str], *, remote: bool) -> list[str]:
    """What of a command a cell of it needs, typed alone: where to look for options, and workers."""
    found: list[str] = []
    for at, word in enumerate(typed):
        if word.startswith(("--config-dir=", "-cd=")):
            found.append(word)
        elif word in ("--config-dir", "-cd"):
            found += typed[at : at + 2]
        elif remote and word.startswith("workers"):
            found += ["-m", word]
    return found


def _found(ledger: SweepLog, entry: CellStatus) -> Record | None:
    """The record of a cell, if it is there, whole, and of the victim that the store holds."""
    from privbench.experiment.setup import valid_record

    path = ledger.record(entry)
    return valid_record(path, ledger.store) if path else None


def _write(path: Path, text: str) -> None:
    """A file of the sweep's, whole, whoever else writes it."""
    with FileLock(path.parent / f".{path.name}.lock"):
        for part in path.parent.glob(f".{path.name}.*{PART}"):
            part.unlink()  # of a killed process
        write_atomically(path, text.encode())
