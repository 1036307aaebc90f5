"""A sweep: its cells planned, those that are there left out, the others launched and accounted for.

A sweep is a list of *grids*, each a product of axes: one command draws a figure whose defenses have
strengths of their own. Whatever stops it, the same command completes it: what is done is a record
in the store, and nothing else is remembered.
"""

import logging
import pickle
import shlex
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job, setup_globals
from hydra.errors import HydraException, OverrideParseException
from hydra.plugins.sweeper import Sweeper as HydrasSweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from privbench.errors import Incomplete, Refused, cause, tell
from privbench.grids import (
    MACHINERY,
    Axes,
    Composer,
    axes,
    differing,
    expand,
    folder_name,
    words_of,
)
from privbench.keys import key_of
from privbench.ledger import Entry, Ledger, now
from privbench.places import register
from privbench.progress import Planned, Progress, watching
from privbench.results import Record, read

if TYPE_CHECKING:
    from privbench.workers.base import Workers

LOG = logging.getLogger(__name__)
LAUNCHERS = ("workers", "sweeps")
"""Options of the launcher alone."""


@dataclass(frozen=True)
class Job:
    """Works on one cell, in whatever process; the ledger hears of it.

    Attributes:
        config: Composed, pickled.
        callbacks: Hydra's.
    """

    config: bytes
    callbacks: Any

    def __call__(self) -> None:
        """Run the cell and note what became of it; a failing cell raises nothing."""
        register()
        setup_globals()
        ended = run_job(
            task_function=work,
            config=pickle.loads(self.config),
            job_dir_key="hydra.sweep.dir",
            job_subdir_key=None,
            hydra_context=HydraContext(cast(Any, None), self.callbacks),
        )
        _ = ended.return_value  # raises what kept the ledger from hearing


def work(cfg: DictConfig) -> None:
    """One cell of a sweep, and its lines in the ledger."""
    job = HydraConfig.get()
    ledger = Ledger(Path(job.runtime.output_dir))
    key, _, launch = str(job.job.id).partition(".")
    if cfg.sweep.fail_fast and ledger.failed(launch):
        return
    began = time.perf_counter()
    ledger.note(key, "running", launch=launch)
    try:
        from privbench.experiment import attempt

        outcome = attempt(cfg, told=ledger.entries()[key].tracked)
    except KeyboardInterrupt:
        ledger.note(key, "stopped", launch=launch)
        raise
    except Exception as error:  # the other cells go on
        if type(error).__name__ == "UncompletedJobError":  # submitit's word for a job out of time
            ledger.note(key, "stopped", launch=launch)
            raise
        ledger.note(key, "failed", launch=launch, cause=cause(error))
        if not isinstance(error, Refused):
            tell(error)
    else:
        ledger.note(
            key,
            "cached" if outcome.cached else "done",
            launch=launch,
            record=outcome.record.key,
            seconds=round(time.perf_counter() - began, 3),
            tracked=outcome.tracked,
        )


class Sweeper(HydrasSweeper):
    """Hydra's sweeper for lists of grids.

    Args:
        params: Axes that all grids share, by option.
        grids: Axes of each grid; null for a single one that has no axis of its own.
    """

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        grids: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        # Hydra hands its own containers over
        plain: Any = OmegaConf.to_container(OmegaConf.create({"params": params, "grids": grids}))
        self.params, self.grids = plain["params"] or {}, plain["grids"] or [{}]

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """What Hydra hands over before the sweep."""
        self.context, self.cfg = hydra_context, config
        self.compose = Composer(hydra_context.config_loader, config)

    def sweep(self, arguments: list[str]) -> None:
        """Plan, launch, and account for every cell.

        Raises:
            Refused: for what cannot be swept, before anything is launched or written.
            Incomplete: where a cell has no record at the end; it was told which, and why.
        """
        workers = self._workers()
        file = self.cfg.hydra.runtime.choices.get("sweeps")
        self._require_plain(file)
        cells, typed = self._cells(arguments)
        names = differing(cells)
        swept = [name for name, words in typed.items() if len(words) > 1]
        outputs = Path(self.cfg.output_dir).resolve()
        folder = outputs / "sweeps" / folder_name(file, typed, swept)
        launch = uuid.uuid4().hex[:8]
        planned, refused = self._plan(cells, names, folder, workers, launch)
        if not planned:
            raise Refused("; ".join(dict.fromkeys(told for _, told in refused)))
        ledger = Ledger(folder)
        command = " ".join(["python -m privbench", *map(shlex.quote, sys.argv[1:])])
        everyone = {cell.key: cell for cell in [*planned.values(), *(cell for cell, _ in refused)]}
        listed = {line["key"] for line in ledger.lines()[0] if "overrides" in line}
        lines: list[dict[str, Any]] = [
            {
                "launch": command,
                "id": launch,
                "at": now(),
                "flags": _flags(sys.argv[1:], remote=workers.remote_gpu),
                "cells": list(everyone),
            }
        ]
        for key, cell in everyone.items():
            if key not in listed:
                told = {"overrides": cell.words, "name": cell.name, "group": cell.group}
                lines.append({"key": key, **told})
        for cell, why in refused:
            failed = {"state": "failed", "launch": launch, "at": now(), "cause": why}
            lines.append({"key": cell.key, **failed})
        start = ledger.path.stat().st_size if ledger.path.is_file() else 0
        ledger.append(lines)
        _write(folder / "multirun.yaml", OmegaConf.to_yaml(self.cfg))
        try:
            with watching(ledger, planned, start) as progress:
                self._work(workers, ledger, planned, progress, launch)
        finally:
            self._account(ledger, command, launch)

    def _workers(self) -> "Workers":
        from hydra.utils import instantiate

        try:
            workers: Workers = instantiate(self.cfg.workers, _convert_="all")
            workers.check()
        except HydraException as error:
            raise Refused(" ".join(str(error.__cause__ or error).split())) from error
        except ValueError as error:
            raise Refused(str(error)) from error
        return workers

    def _require_plain(self, file: str | None) -> None:
        """A sweep file says which cells there are; each can be typed without it."""
        if not file:
            return
        loaded = self.context.config_loader.repository.load_config(f"sweeps/{file}")  # type: ignore[attr-defined]
        if loaded and (strange := sorted(str(key) for key in loaded.config if key != "hydra")):
            raise Refused(
                f"sweeps/{file}.yaml sets {strange[0]} beside hydra.sweeper: put it among its "
                f"params, as {strange[0]}: VALUE"
            )

    def _cells(self, arguments: list[str]) -> tuple[list[list[str]], Axes]:
        parse = self.compose.parser.parse_overrides
        try:
            typed = axes(parse(arguments))
            shared = axes(parse(words_of(self.params)))
            grids = [{**shared, **axes(parse(words_of(grid)))} for grid in self.grids]
        except OverrideParseException as error:
            raise Refused(cause(error)) from error
        for name in [*self.params, *(name for grid in self.grids for name in grid)]:
            if _is_machinery(name):
                raise Refused(
                    f"{name} is no axis: type it on the command line, not in a sweep file"
                )
        for name, words in list(typed.items()):
            if _is_machinery(name) and len(words) > 1:
                raise Refused(f"{name} is no axis of a sweep: type one value")
            if name.split(".")[0] in LAUNCHERS:
                del typed[name]
        return expand(grids, typed, self.compose.is_group), typed

    def _plan(
        self,
        cells: list[list[str]],
        names: list[str],
        folder: Path,
        workers: "Workers",
        launch: str,
    ) -> tuple[dict[str, Planned], list[tuple[Planned, str]]]:
        """Every cell that can be run, by key, and every other with what is wrong with it."""
        planned: dict[str, Planned] = {}
        refused = []
        for number, (given, name) in enumerate(zip(cells, names, strict=True)):
            words = given
            if workers.threads and not any(w.startswith("trainer.threads=") for w in words):
                words = [*words, f"trainer.threads={workers.threads}"]
            try:
                composed = self.compose(words)
            except HydraException as error:
                told = f"{cause(error)} (in the cell {' '.join(given)})" if name else cause(error)
                raise Refused(told) from error
            composed.output_dir = str(folder.parent.parent)  # wherever a worker stands
            with read_write(composed.hydra), open_dict(composed.hydra):
                composed.hydra.mode = RunMode.MULTIRUN
                composed.hydra.sweep.dir = str(folder)
                composed.hydra.runtime.output_dir = str(folder)
                composed.hydra.job.num = number
                composed.hydra.sweeper = {}  # a job has none, and may not know its class
                if name:
                    composed.hydra.job.name = name
            try:
                key, group = self._identify(composed, workers)
            except (ValueError, OSError) as error:
                told = " ".join(str(error).split())
                key = key_of({"refused": words})
                refused.append((Planned(key, words, name, key, b""), told))
                continue
            with read_write(composed.hydra):
                composed.hydra.job.id = f"{key}.{launch}"
            planned.setdefault(key, Planned(key, words, name, group, pickle.dumps(composed)))
        return planned, refused

    def _identify(self, composed: DictConfig, workers: "Workers") -> tuple[str, str]:
        """Keys of a cell and of its group."""
        from privbench.summary import group_of

        stage = self._stage(composed, workers)
        cell = stage.cell
        return stage.key, group_of(
            cell.config, stage.split, cell.defense.strength, cell.transmissions, len(stage.indices)
        )

    def _stage(self, composed: DictConfig, workers: "Workers") -> Any:
        from privbench.config import build
        from privbench.stage import Stage

        HydraConfig.instance().set_config(composed)
        cfg = pickle.loads(pickle.dumps(composed))
        with read_write(cfg), open_dict(cfg):
            del cfg["hydra"]
            if workers.remote_gpu and cfg.trainer.accelerator != "cpu":
                cfg.trainer._target_ = "privbench.training.Elsewhere"
        return Stage.of(build(cfg))

    def _work(
        self,
        workers: "Workers",
        ledger: Ledger,
        planned: Mapping[str, Planned],
        progress: Progress,
        launch: str,
    ) -> None:
        """Launch what has no record; what dies with its worker is launched once more."""
        todo = []
        telling = self.cfg.tracker._target_ != "privbench.tracking.NullTracker"
        for key, entry in ledger.entries().items():
            if key not in planned:
                continue
            record = None if self.cfg.force else _found(ledger, entry)
            if record:
                telling = self._replay(
                    workers, ledger, planned[key], entry, record, telling, launch
                )
                progress.tell({"key": key, "state": "cached"}, record)
            else:
                todo.append(planned[key])
        fruitless = 0
        while todo and not (self.cfg.sweep.fail_fast and ledger.failed(launch)):
            begun, rest = self._launch(workers, ledger, todo, launch)
            for cell in begun:
                # a worker's death may take others with it: alone, a cell dies of itself
                LOG.warning("a worker was killed in %s: again, alone", cell.name or "its cell")
                if any(self._launch(workers, ledger, [cell], launch)):
                    told = "its worker was killed, twice"
                    ledger.note(cell.key, "failed", launch=launch, cause=told)
            fruitless = fruitless + 1 if len(rest) == len(todo) else 0
            if fruitless > 1:
                raise Refused(f"{len(rest)} cells were never begun: see the workers' own logs")
            todo = rest

    def _launch(
        self, workers: "Workers", ledger: Ledger, cells: list[Planned], launch: str
    ) -> tuple[list[Planned], list[Planned]]:
        """Cells that were begun and did not end, and those that were not begun."""
        start = ledger.path.stat().st_size
        workers.launch([Job(cell.config, self.context.callbacks) for cell in cells])
        seen = {
            line["key"]: line["state"]
            for line in ledger.lines(start)[0]
            if line.get("launch") == launch and "state" in line
        }
        if self.cfg.sweep.fail_fast and ledger.failed(launch):
            return [], []
        begun = [cell for cell in cells if seen.get(cell.key) == "running"]
        return begun, [cell for cell in cells if seen.get(cell.key, "stopped") == "stopped"]

    def _replay(
        self,
        workers: "Workers",
        ledger: Ledger,
        cell: Planned,
        entry: Entry,
        record: Record,
        telling: bool,
        launch: str,
    ) -> bool:
        """The tracker hears of a cell that is there, where this sweep did not tell it yet.

        Returns:
            Whether it is worth telling it of another one.
        """
        tracked = False
        if telling and not entry.tracked:
            from privbench.experiment import replay

            stage = self._stage(pickle.loads(cell.config), workers)
            tracked = replay(record, stage)
            telling = tracked
        if tracked or entry.state not in ("done", "cached"):
            ledger.note(cell.key, "cached", record=record.key, tracked=tracked, launch=launch)
        return telling

    def _account(self, ledger: Ledger, command: str, launch: str) -> None:
        """The worst cases; what is not there, why, and what to type.

        Raises:
            Incomplete: where a cell has no record, and nothing else was raised.
        """
        from privbench.summary import of_sweep

        entries = ledger.entries()
        gaps = [entry for entry in entries.values() if not ledger.done(entry)]
        if self.cfg.force:  # an older record is not what was asked for
            made = {
                line["key"]
                for line in ledger.lines()[0]
                if line.get("launch") == launch and line.get("state") == "done"
            }
            gaps = [entry for key, entry in entries.items() if key not in made]
        told = of_sweep(ledger)
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
            print(f"    {ledger.alone(entry)}", file=sys.stderr)
        if gaps:
            print(f"all of them: {command}", file=sys.stderr)
        try:
            _write(ledger.folder / "summary.txt", told + "\n")
            if self.cfg.sweep.report:
                self._report(ledger, launch)
        except Exception as error:  # records are whole, and what stopped the sweep is to be told
            LOG.warning("the sweep's report is not written: %s", cause(error))
        if gaps and sys.exc_info()[0] is None:
            raise Incomplete

    def _report(self, ledger: Ledger, launch: str) -> None:
        """The page and its figures; the tracker hears of them when this launch made anything."""
        from hydra.utils import instantiate

        from privbench.report.selection import select
        from privbench.report.writing import told, write

        with FileLock(ledger.folder / ".report.lock"):
            selection = select(ledger.folder, {})
            print(write(selection, ledger.folder / "report"), flush=True)
            news = [
                line
                for line in ledger.lines()[0]
                if line.get("launch") == launch and line.get("tracked")
            ]
            if news:
                instantiate(self.cfg.tracker).sweep(
                    ledger.folder.name, told(selection, ledger.folder / "report")
                )


def _is_machinery(name: str) -> bool:
    """Whether an option changes how cells are run; a trainer may be swept all the same."""
    root = name.lstrip("+~").split(".")[0]
    return (root in MACHINERY and root != "trainer") or root in LAUNCHERS


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


def _found(ledger: Ledger, entry: Entry) -> Record | None:
    """The record of a cell, if it is there and whole."""
    if not (path := ledger.record(entry)):
        return None
    try:
        return read(path)
    except (OSError, ValueError) as error:
        LOG.warning("%s: the cell is run again", error)
        return None


def _write(path: Path, text: str) -> None:
    """A file of the sweep's, whole, whoever else writes it."""
    from privbench.store import PART, write_atomically

    with FileLock(path.parent / f".{path.name}.lock"):
        for part in path.parent.glob(f".{path.name}.*{PART}"):
            part.unlink()  # of a killed process
        write_atomically(path, text.encode())
