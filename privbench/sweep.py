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
from collections import Counter
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
from privbench.grids import Axes, Composer, axes, differing, expand, folder_name, words_of
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
        run_job(
            task_function=work,
            config=pickle.loads(self.config),
            job_dir_key="hydra.sweep.dir",
            job_subdir_key=None,
            hydra_context=HydraContext(cast(Any, None), self.callbacks),
        )


def work(cfg: DictConfig) -> None:
    """One cell of a sweep, and its lines in the ledger."""
    job = HydraConfig.get()
    key, ledger = str(job.job.id), Ledger(Path(job.runtime.output_dir))
    if cfg.sweep.fail_fast and ledger.failed():
        return
    began = time.perf_counter()
    ledger.note(key, "running")
    try:
        from privbench.experiment import attempt

        outcome = attempt(cfg)
    except KeyboardInterrupt:
        ledger.note(key, "stopped")
        raise
    except Exception as error:  # the other cells go on
        ledger.note(key, "failed", cause=cause(error))
        if not isinstance(error, Refused):
            tell(error)
    else:
        ledger.note(
            key,
            "cached" if outcome.cached else "done",
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
        folder = Path(self.cfg.hydra.sweep.dir).resolve() / folder_name(file, typed, swept)
        planned, refused = self._plan(cells, names, folder, workers)
        if not planned:
            raise Refused("; ".join(dict.fromkeys(told for _, told in refused)))
        ledger = Ledger(folder)
        command = " ".join(["python -m privbench", *map(shlex.quote, sys.argv[1:])])
        listed = set(ledger.entries()) if ledger.path.is_file() else set()
        lines: list[dict[str, Any]] = [{"launch": command, "at": now(), "cells": len(cells)}]
        for cell in [*planned.values(), *(cell for cell, _ in refused)]:
            if cell.key not in listed:
                told = {"overrides": cell.words, "name": cell.name, "group": cell.group}
                lines.append({"key": cell.key, **told})
        lines += [{"key": c.key, "state": "failed", "cause": told} for c, told in refused]
        start = ledger.path.stat().st_size if ledger.path.is_file() else 0
        ledger.append(lines)
        _write(folder / "multirun.yaml", OmegaConf.to_yaml(self.cfg))
        try:
            with watching(ledger, planned, start) as progress:
                self._work(workers, ledger, planned, progress)
        finally:
            self._account(ledger, set(planned) | {cell.key for cell, _ in refused}, command)

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
        for name in [name for name in typed if name.split(".")[0] in LAUNCHERS]:
            if len(typed.pop(name)) > 1:
                raise Refused(f"{name} is no axis of a sweep: type one value")
        return expand(grids, typed, self.compose.is_group), typed

    def _plan(
        self, cells: list[list[str]], names: list[str], folder: Path, workers: "Workers"
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
                composed.hydra.job.id = key
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
    ) -> None:
        """Launch what has no record; what dies with its worker is launched once more."""
        todo = []
        for key, entry in ledger.entries().items():
            if key not in planned:
                continue
            record = None if self.cfg.force else _found(ledger, entry)
            if record:
                self._replay(workers, ledger, planned[key], entry, record)
                progress.tell({"key": key, "state": "cached"}, record)
            else:
                todo.append(planned[key])
        deaths: Counter[str] = Counter()
        while todo:
            start = ledger.path.stat().st_size
            workers.launch([Job(cell.config, self.context.callbacks) for cell in todo])
            seen = {
                line["key"]: line["state"] for line in ledger.lines(start)[0] if "state" in line
            }
            lost = [
                cell for cell in todo if seen.get(cell.key, "planned") in ("planned", "running")
            ]
            if self.cfg.sweep.fail_fast and ledger.failed():
                return
            died = [cell for cell in lost if seen.get(cell.key) == "running"]
            if lost and not died:
                raise RuntimeError(f"{len(lost)} cells were never begun: see the workers' own logs")
            for cell in died:
                deaths[cell.key] += 1
                if deaths[cell.key] > 1:
                    ledger.note(cell.key, "failed", cause="its worker was killed, twice")
                else:
                    LOG.warning("a worker was killed in %s: again", cell.name or "its cell")
            todo = [cell for cell in lost if deaths[cell.key] < 2]

    def _replay(
        self, workers: "Workers", ledger: Ledger, cell: Planned, entry: Entry, record: Record
    ) -> None:
        """The tracker hears of a cell that is there, where this sweep did not tell it yet."""
        tracked = False
        if not entry.tracked and self.cfg.tracker._target_ != "privbench.tracking.NullTracker":
            from privbench.experiment import replay

            stage = self._stage(pickle.loads(cell.config), workers)
            if tracked := stage.cell.tracker.watching:
                replay(record, stage)
        if tracked or entry.state not in ("done", "cached"):
            ledger.note(cell.key, "cached", tracked=tracked)

    def _account(self, ledger: Ledger, keys: set[str], command: str) -> None:
        """The worst cases; what is not there, why, and what to type.

        Raises:
            Incomplete: where a cell has no record, and nothing else was raised.
        """
        from privbench.summary import of_sweep

        states = {
            state: [entry for entry in entries if entry.key in keys]
            for state, entries in ledger.states().items()
        }
        if told := of_sweep(ledger):
            print(told, flush=True)
            _write(ledger.folder / "summary.txt", told + "\n")
        gaps = [*states["failed"], *states["missing"]]
        if not gaps:
            return
        print(
            f"privbench: {len(gaps)} of {len(keys)} cells have no record; what they need:",
            file=sys.stderr,
        )
        for entry in gaps:
            why = entry.facts.get("cause", "not finished")
            print(f"  {entry.name or 'the cell'}: {why}", file=sys.stderr)
            print(f"    python -m privbench {shlex.join(entry.overrides)}", file=sys.stderr)
        print(f"all of them: {command}", file=sys.stderr)
        if sys.exc_info()[0] is None:
            raise Incomplete


def _found(ledger: Ledger, entry: Entry) -> Record | None:
    """The record of a cell, if it is there and whole."""
    if not (path := ledger.record(entry)):
        return None
    try:
        return read(path)
    except ValueError as error:
        LOG.warning("%s: the cell is run again", error)
        return None


def _write(path: Path, text: str) -> None:
    """A file of the sweep's, whole, whoever else writes it."""
    from privbench.store import write_atomically

    with FileLock(path.parent / f".{path.name}.lock"):
        write_atomically(path, text.encode())
