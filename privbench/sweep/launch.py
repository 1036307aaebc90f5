"""A launch of a sweep: cells without a record are run, and every cell is accounted for."""

import logging
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from privbench.runtime.command_line import config_folders
from privbench.runtime.commands import command_of
from privbench.runtime.duration import duration
from privbench.runtime.errors import SweepIncompleteError, UserError, describe_error, print_stop
from privbench.runtime.files import PART, write_atomically
from privbench.runtime.paths import ARGV, python_path_of
from privbench.store.artifacts import Store, announce
from privbench.store.battery import Battery, Unsuitable
from privbench.store.record import Record, valid_record
from privbench.store.sweep_log import CellStatus, SweepLog, in_short, now
from privbench.sweep.budget import Budget, usual_seconds, with_time
from privbench.sweep.job import FitJob, Job
from privbench.sweep.progress import PlannedCell, Progress, watching
from privbench.sweep.shared import shared_deployments

if TYPE_CHECKING:
    from privbench.experiment.spec import CellSpec
    from privbench.sweep.workers.base import Workers

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launch:
    """One command's work on a sweep.

    Attributes:
        cfg: The sweep's own configuration.
        workers: Processes that run the cells.
        log: Of the sweep.
        battery: That the cells are; null for other sweeps.
        budget: Time that it has; null for as long as it takes.
        unsuitable: Attacks that settings of the sweep do not admit.
        id: Distinguishes its lines in the log from those of other launches.
        outdated: Keys of cached cells whose victim was trained anew, as far as they were checked.
        invalid: Keys of cells whose record did not count when this launch began: it was damaged,
            of another victim, or without a metric.
    """

    cfg: DictConfig
    workers: "Workers"
    log: SweepLog
    battery: Battery | None = None
    budget: Budget | None = None
    unsuitable: Sequence[Unsuitable] = ()
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    outdated: set[str] = field(default_factory=set, init=False)
    invalid: set[str] = field(default_factory=set, init=False)

    def run(
        self, planned: Mapping[str, PlannedCell], refused: Sequence[tuple[PlannedCell, str]]
    ) -> None:
        """Run every cell that has no record, and print at the end how each cell ended.

        Args:
            planned: Cells that can be run, by key.
            refused: Others, with what is wrong with them.

        Raises:
            SweepIncompleteError: where a cell has no record at the end, after printing why.
        """
        start = self._write_header(planned, refused)
        if refused:
            self._print_refused({cell.key for cell, _ in refused})
        announce(Store(self.log.store))
        try:
            with watching(self.log, planned, start) as progress:
                self._run_pending(planned, progress)
        except KeyboardInterrupt as stop:
            print_stop(stop)  # before the summary of the cells that have ended
            raise
        finally:
            self._print_summary()

    @property
    def _command(self) -> str:
        return command_of(ARGV)

    def _write_header(
        self, planned: Mapping[str, PlannedCell], refused: Sequence[tuple[PlannedCell, str]]
    ) -> int:
        """Log this launch and the cells that are new to the log, or of another group by now.

        Returns:
            The place in the log's file before these lines.
        """
        all_cells = {cell.key: cell for cell in [*planned.values(), *(cell for cell, _ in refused)]}
        known = [line for line in self.log.lines()[0] if "overrides" in line]
        listed = {line["key"]: line["group"] for line in known}
        targets = [target for cell in planned.values() for target in cell.targets]
        lines: list[dict[str, Any]] = [
            {
                "launch": self._command,
                "id": self.id,
                "at": now(),
                "flags": _flags(ARGV, remote=self.workers.gpu_is_remote),
                "pythonpath": python_path_of(targets),
                "cells": list(all_cells),
                "unsuitable": [asdict(one) for one in self.unsuitable],
                **({"battery": self.battery.to_fields()} if self.battery else {}),
            }
        ]
        for key, cell in all_cells.items():
            if listed.get(key) != cell.group:
                fields = {"overrides": cell.overrides, "name": cell.name, "group": cell.group}
                lines.append({"key": key, **fields})
        for cell, reason in refused:
            failed = {"state": "failed", "launch": self.id, "at": now(), "cause": reason}
            lines.append({"key": cell.key, **failed})
        start = self.log.path.stat().st_size if self.log.path.is_file() else 0
        self.log.append(lines)
        _write(self.log.folder / "multirun.yaml", OmegaConf.to_yaml(self.cfg))
        return start

    def _run_pending(self, planned: Mapping[str, PlannedCell], progress: Progress) -> None:
        """Launch the cells that have no record, then cached ones whose victim was trained anew.

        Whether a record is of the store's victim is known only where the store has that victim.
        A sweep that trains it, after records came from another machine, so checks them again.
        """
        pending = self._pending(planned, progress)
        keys = {cell.key for cell in pending}
        cached = [cell for key, cell in planned.items() if key not in keys]
        while pending:
            self._run_cells(pending)
            if self._stopped:
                return
            outdated = [cell for cell in self._outdated(cached) if cell.key not in keys]
            pending = self._with_time(outdated)
            keys |= {cell.key for cell in pending}
            progress.reopen(pending)

    def _outdated(self, cached: Sequence[PlannedCell]) -> list[PlannedCell]:
        """Return the cached cells whose record counts no more, those of the least work first."""
        entries = self.log.entries(self.id)
        found = [cell for cell in cached if not self._record(entries[cell.key], cell)]
        self.outdated.clear()
        self.outdated.update(cell.key for cell in found)
        if found:
            LOG.warning("cached cells whose victim this sweep has trained anew: %d", len(found))
        return sorted(found, key=lambda cell: cell.work)

    def _run_cells(self, pending: list[PlannedCell]) -> None:
        """Launch cells until each has ended; one whose worker dies runs once more."""
        self._fit_shared(pending)
        stalled_rounds = 0
        while pending and not self._stopped:
            died, rest = self._launch(pending)
            for cell in died:
                self._try_again(cell)
            stalled_rounds = stalled_rounds + 1 if len(rest) == len(pending) else 0
            if stalled_rounds > 1:
                raise UserError(f"{len(rest)} cells were never started: see the workers' logs")
            pending = self._with_time(rest)

    def _with_time(self, cells: list[PlannedCell]) -> list[PlannedCell]:
        """Return the cells that the budget has time for; all without a budget."""
        if not self.budget or not cells:
            return cells
        keys = with_time(self.log, self.id, [cell.key for cell in cells], self.budget.deadline)
        return [cell for cell in cells if cell.key in keys]

    def _fit_shared(self, pending: Sequence[PlannedCell]) -> None:
        """Train each deployment that several cells share, once and before them."""
        shared = {} if self._stopped else shared_deployments(pending)
        for key, (_, name) in shared.items():
            self.log.append_fit(key, "planned", name=name, launch=self.id)
        if shared:
            LOG.info("deployments that cells share are trained first: %d", len(shared))
            self.workers.launch([self._job(FitJob, cell, key) for key, (cell, _) in shared.items()])

    def _job(self, kind: type[Job], cell: PlannedCell, *more: str) -> Job:
        config = _logging_config(self.cfg.hydra)
        deadline = self.budget.deadline if self.budget else None
        return kind(self._spec(cell).to_json(), config, self.workers.threads, deadline, *more)

    @property
    def _stopped(self) -> bool:
        """The sweep stops at the first failure, and a cell of this launch has failed."""
        return bool(self.cfg.sweep.fail_fast) and self.log.failed(self.id)

    def _pending(self, planned: Mapping[str, PlannedCell], progress: Progress) -> list[PlannedCell]:
        """Return the cells that have no record, those of the least work first.

        A sweep of short and long cells so shows a first result soon; the order is the grid's among
        cells of as much work.
        """
        pending = []
        track = self.cfg.tracker._target_ != "privbench.tracking.base.NullTracker"
        for key, entry in self.log.entries(self.id).items():
            if key not in planned:
                continue
            record = None if self.cfg.force else self._record(entry, planned[key])
            if record:
                track = self._log_cached(planned[key], entry, record, track=track)
                progress.end({"key": key, "state": "cached"}, record)
            else:
                pending.append(planned[key])
                if self.log.record(entry):
                    self.invalid.add(key)
        return sorted(pending, key=lambda cell: cell.work)

    def _record(self, entry: CellStatus, cell: PlannedCell) -> Record | None:
        """Return a cell's record, if it is there, whole, and of the store's victim.

        It is the one that was planned now, not one of other code that an earlier worker computed.
        """
        path = self.log.record(replace(entry, record=""))
        return valid_record(path, self.log.store, self._spec(cell).config) if path else None

    def _try_again(self, cell: PlannedCell) -> None:
        """Run a cell whose worker died with no other: another cell may have been the cause."""
        LOG.warning("a worker was killed in %s: it is tried once more", cell.title)
        if any(self._launch([cell])):
            reason = "worker process died twice while running this cell"
            self.log.append_event(cell.key, "failed", launch=self.id, cause=reason)

    def _launch(self, cells: list[PlannedCell]) -> tuple[list[PlannedCell], list[PlannedCell]]:
        """Run cells, and return those that started without an end, and those not started."""
        start = self.log.path.stat().st_size
        self.workers.launch([self._job(Job, cell) for cell in cells])
        states = self._states(start)
        if self._stopped:
            return [], []
        started = [cell for cell in cells if states.get(cell.key) == "running"]
        return started, [cell for cell in cells if states.get(cell.key, "stopped") == "stopped"]

    def _spec(self, cell: PlannedCell) -> "CellSpec":
        assert cell.spec is not None  # only refused cells have none
        return replace(cell.spec, launch=self.id)

    def _log_cached(
        self, cell: PlannedCell, entry: CellStatus, record: Record, *, track: bool
    ) -> bool:
        """Log a cell's record to the tracker, unless this sweep did so before.

        Returns:
            Whether the tracker is worth trying for another record.
        """
        tracked = False
        if track and not entry.tracked:
            from privbench.experiment.config import build
            from privbench.experiment.plan import plan
            from privbench.experiment.run import log_cached

            track = tracked = log_cached(record, plan(build(self._spec(cell))))
        if tracked or entry.state not in ("done", "cached"):
            self.log.append_event(
                cell.key, "cached", record=record.key, tracked=tracked, launch=self.id
            )
        return track

    def _print_summary(self) -> None:
        """Print the worst cases; then each cell without a record, the reason and its command.

        Raises:
            SweepIncompleteError: where a cell has no record, and nothing else was raised.
        """
        from privbench.report.summary import of_sweep

        summary, (missing, later) = of_sweep(self.log), self._missing()
        if summary.short:
            print(summary.short, flush=True)
        self._print_missing(missing)
        if later and self.budget:
            usual = usual_seconds(self.log, self.id, [entry.key for entry in later]).values()
            each = f", which take about {duration(median(usual))} each" if usual else ""
            print(
                f"budget={self.budget.text} does not suffice for {len(later)} of "
                f"{len(self.log.entries(self.id))} cells{each}; go on: {self._command}"
            )
        for write in (partial(self._keep, summary.whole), self._report, self._track):
            try:
                write()
            except Exception as error:  # records are whole, and the reason of an abort is shown
                LOG.warning("the sweep's report is not written: %s", describe_error(error))
        if missing and sys.exc_info()[0] is None:
            raise SweepIncompleteError

    def _keep(self, summary: str) -> None:
        _write(self.log.folder / "summary.txt", summary + "\n")

    def _missing(self) -> tuple[list[CellStatus], list[CellStatus]]:
        """Return the cells without a record; apart, those that a budget left for another launch.

        Under force=true a record counts that this launch made.
        """
        entries, states = self.log.entries(self.id), self._states(0)
        if self.cfg.force:
            missing = [entry for key, entry in entries.items() if states.get(key) != "done"]
        else:
            due = {key for key in self.outdated if states.get(key) != "done"}
            due |= {key for key in self.invalid if states.get(key) not in ("done", "cached")}
            done = {key for key, entry in entries.items() if self.log.done(entry)} - due
            missing = [entry for key, entry in entries.items() if key not in done]
        ran = states.keys() - self.outdated
        later = [entry for entry in missing if self.budget and entry.key not in ran]
        return [entry for entry in missing if entry not in later], later

    def _states(self, start: int) -> dict[str, str]:
        """Return the last states of this launch's cells, from a place in the log on."""
        lines = self.log.lines(start)[0]
        of_cells = [line for line in lines if "state" in line and line.get("launch") == self.id]
        return {line["key"]: line["state"] for line in of_cells}

    def _print_refused(self, keys: set[str]) -> None:
        """Print the cells that cannot be run, and why, before the first other one is."""
        entries = self.log.entries(self.id)
        after = "so none is run" if self.cfg.sweep.fail_fast else "the others are run"
        lines = [f"privbench: {len(keys)} of {len(entries)} cells are refused, {after}:"]
        for entry, more in in_short(entries[key] for key in entries if key in keys):
            lines += [f"  {entry.title}: {entry.reason}"]
            lines += [f"  {more} more for this reason"] * (more > 0)
        print("\n".join(lines), file=sys.stderr, flush=True)

    def _print_missing(self, missing: Sequence[CellStatus]) -> None:
        if not missing:
            return
        count = f"{len(missing)} of {len(self.log.entries(self.id))} cells have no record"
        lines = [f"privbench: {count}{' of this launch' if self.cfg.force else ''}; they need:"]
        for entry, more in in_short(missing):
            lines += [f"  {entry.title}: {entry.reason}", f"    {self.log.rerun_command(entry)}"]
            lines += [f"  {more} more for this reason"] * (more > 0)
        lines.append(f"all of them: {self._command}")
        print("\n".join(lines), file=sys.stderr)

    def _report(self) -> None:
        """Write the page and its figures, where they are wanted."""
        if not self.cfg.sweep.report:
            return
        from privbench.report.analysis.selection import select
        from privbench.report.writing import write
        from privbench.sweep.overlays import published_overlay

        selection = select(self.log.folder, {})
        file = self.cfg.hydra.runtime.choices.get("sweeps")
        print(write(selection, self.log.folder / "report", published_overlay(file)), flush=True)

    def _track(self) -> None:
        """Send the sweep's summary to the tracker, where this launch has tracked a cell."""
        lines = self.log.lines()[0]
        if not any(line.get("launch") == self.id and line.get("tracked") for line in lines):
            return
        from hydra.utils import instantiate

        from privbench.report.analysis.selection import select
        from privbench.report.analysis.tracked import sweep_summary

        summary = sweep_summary(select(self.log.folder, {}), self.log.folder / "report")
        instantiate(self.cfg.tracker).log_summary(self.log.folder.name, summary)


def _logging_config(hydra: DictConfig) -> dict[str, Any]:
    """Return the configuration of logging in jobs; ``hydra.verbose`` sets levels to DEBUG."""
    config: Any = OmegaConf.to_container(hydra.job_logging, resolve=True)
    verbose = hydra.verbose
    if verbose is True:
        config["root"]["level"] = "DEBUG"
    elif verbose:
        for name in [verbose] if isinstance(verbose, str) else verbose:
            config.setdefault("loggers", {})[name] = {"level": "DEBUG"}
    return config  # type: ignore[no-any-return]


def _flags(argv: Sequence[str], *, remote: bool) -> list[str]:
    """Return what a cell's command takes from the sweep's: config directories, and workers."""
    workers = [word for word in argv if remote and word.startswith("workers")]
    return [*config_folders(argv), *(flag for word in workers for flag in ("-m", word))]


def _write(path: Path, text: str) -> None:
    """Write a file of the sweep, which another launcher may write at the same time."""
    with FileLock(path.parent / f".{path.name}.lock"):
        for part in path.parent.glob(f".{path.name}.*{PART}"):
            part.unlink()  # of a killed process
        write_atomically(path, text.encode())
