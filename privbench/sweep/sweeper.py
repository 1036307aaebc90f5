"""A sweep: its cells planned, those that are there left out, the others launched and accounted for.

A sweep is a list of *grids*, each a product of axes: one command draws a figure whose defenses have
strengths of their own. Whatever stops it, the same command completes it: what is done is a record
in the store, and nothing else is remembered.
"""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException, OverrideParseException
from hydra.plugins.sweeper import Sweeper as HydrasSweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from privbench.runtime.errors import UserError, describe_error
from privbench.runtime.hashing import content_hash
from privbench.store.sweep_log import SweepLog
from privbench.sweep.grids import (
    RUNTIME_OPTIONS,
    Axes,
    Composer,
    cell_names,
    expand_grids,
    parse_axes,
    sweep_name,
    to_overrides,
)
from privbench.sweep.launch import Launch, stage_of
from privbench.sweep.progress import PlannedCell

if TYPE_CHECKING:
    from privbench.sweep.workers.base import Workers

LAUNCHER_OPTIONS = ("workers", "sweeps")
"""Options of the launcher alone."""


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
        names = cell_names(cells)
        swept = [name for name, words in typed.items() if len(words) > 1]
        outputs = Path(self.cfg.output_dir).resolve()
        folder = outputs / "sweeps" / sweep_name(file, typed, swept)
        planned, refused = self._plan(cells, names, folder, workers)
        if not planned:
            raise UserError("; ".join(dict.fromkeys(told for _, told in refused)))
        Launch(self.cfg, self.context.callbacks, workers, SweepLog(folder)).run(planned, refused)

    def _workers(self) -> "Workers":
        from hydra.utils import instantiate

        try:
            workers: Workers = instantiate(self.cfg.workers, _convert_="all")
            workers.check()
        except HydraException as error:
            raise UserError(" ".join(str(error.__cause__ or error).split())) from error
        except ValueError as error:
            raise UserError(str(error)) from error
        return workers

    def _require_plain(self, file: str | None) -> None:
        """A sweep file says which cells there are; each can be typed without it."""
        if not file:
            return
        loaded = self.context.config_loader.repository.load_config(f"sweeps/{file}")  # type: ignore[attr-defined]
        if loaded and (strange := sorted(str(key) for key in loaded.config if key != "hydra")):
            raise UserError(
                f"sweeps/{file}.yaml sets {strange[0]} beside hydra.sweeper: put it among its "
                f"params, as {strange[0]}: VALUE"
            )

    def _cells(self, arguments: list[str]) -> tuple[list[list[str]], Axes]:
        parse = self.compose.parser.parse_overrides
        try:
            typed = parse_axes(parse(arguments))
            shared = parse_axes(parse(to_overrides(self.params)))
            grids = [{**shared, **parse_axes(parse(to_overrides(grid)))} for grid in self.grids]
        except OverrideParseException as error:
            raise UserError(describe_error(error)) from error
        for name in [*self.params, *(name for grid in self.grids for name in grid)]:
            if _is_machinery(name):
                raise UserError(
                    f"{name} is no axis: type it on the command line, not in a sweep file"
                )
        for name, words in list(typed.items()):
            if _is_machinery(name) and len(words) > 1:
                raise UserError(f"{name} is no axis of a sweep: type one value")
            if name.split(".")[0] in LAUNCHER_OPTIONS:
                del typed[name]
        return expand_grids(grids, typed, self.compose.is_group), typed

    def _plan(
        self,
        cells: list[list[str]],
        names: list[str],
        folder: Path,
        workers: "Workers",
    ) -> tuple[dict[str, PlannedCell], list[tuple[PlannedCell, str]]]:
        """Every cell that can be run, by key, and every other with what is wrong with it."""
        planned: dict[str, PlannedCell] = {}
        refused = []
        for number, (words, name) in enumerate(zip(cells, names, strict=True)):
            try:
                composed = self.compose(words)
            except HydraException as error:
                place = f" (in the cell {' '.join(words)})" if name else ""
                raise UserError(f"{describe_error(error)}{place}") from error
            composed.output_dir = str(folder.parent.parent)  # wherever a worker stands
            with read_write(composed.hydra), open_dict(composed.hydra):
                composed.hydra.mode = RunMode.MULTIRUN
                composed.hydra.sweep.dir = str(folder)
                composed.hydra.runtime.output_dir = str(folder)
                composed.hydra.job.num = number
                composed.hydra.sweeper = {}  # a job has none, and may not know its class
                if name:
                    composed.hydra.job.name = name
            config = pickle.dumps(composed)
            try:
                key, group = self._identify(config, workers)
            except (ValueError, OSError) as error:
                told = " ".join(str(error).split())
                key = content_hash({"refused": words})
                refused.append((PlannedCell(key, words, name, key, b""), told))
                continue
            planned.setdefault(key, PlannedCell(key, words, name, group, config))
        return planned, refused

    def _identify(self, config: bytes, workers: "Workers") -> tuple[str, str]:
        """Keys of a cell and of its group."""
        from privbench.report.worst_case import group_of

        stage = stage_of(config, workers)
        cell = stage.cell
        return stage.key, group_of(
            cell.config, stage.split, cell.defense.strength, cell.transmissions, len(stage.indices)
        )


def _is_machinery(name: str) -> bool:
    """Whether an option changes how cells are run; a device may be swept all the same."""
    root = name.lstrip("+~").split(".")[0]
    return (root in RUNTIME_OPTIONS and root != "device") or root in LAUNCHER_OPTIONS
