"""A sweep: its cells planned, those that have a record left out, the others launched.

A sweep is a list of *grids*, each a product of axes: one command draws a figure whose defenses have
strengths of their own. Whatever stops it, the same command completes it: a finished cell has a
record in the store, and nothing else is remembered.

Of Hydra's callbacks a sweep calls ``on_multirun_start`` and ``on_multirun_end``; its cells run
without Hydra, in any process, and call none.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException, OverrideParseException
from hydra.plugins.sweeper import Sweeper as HydrasSweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from privbench.experiment.spec import CellSpec
from privbench.runtime.command_line import config_folders
from privbench.runtime.commands import command_of
from privbench.runtime.errors import (
    RefusedAttackError,
    SweepIncompleteError,
    UnsuitableAttackError,
    UserError,
    describe_error,
)
from privbench.runtime.hashing import content_hash
from privbench.runtime.options import RUNTIME_OPTIONS, SWEEP_ONLY_OPTIONS, top_level
from privbench.runtime.paths import ARGV
from privbench.store.battery import Battery, Unsuitable
from privbench.store.sweep_log import SweepLog
from privbench.sweep.batteries import WIDEST, Batteries
from privbench.sweep.budget import Budget
from privbench.sweep.compose import Composer
from privbench.sweep.grids import (
    Axes,
    cell_names,
    expand_grids,
    parse_axes,
    sweep_name,
    to_overrides,
)
from privbench.sweep.launch import Launch
from privbench.sweep.preview import preview
from privbench.sweep.progress import PlannedCell

if TYPE_CHECKING:
    from privbench.experiment.config import RememberedParts
    from privbench.sweep.workers.base import Workers

LOG = logging.getLogger(__name__)
MANY = 100
"""Cells whose planning takes long enough for a line about it."""


class Sweeper(HydrasSweeper):
    """Hydra's sweeper for lists of grids.

    Args:
        params: Axes that all grids share, by option.
        grids: Axes of each grid; null for a single one that has no further axis.
        batteries: Instead of grids: those of each battery (``sweep.batteries``).
        files: Instead of grids: other sweep files, whose grids are those of this one.
    """

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        grids: Sequence[Mapping[str, Any]] | None = None,
        batteries: Mapping[str, Any] | None = None,
        files: Sequence[str] | None = None,
    ) -> None:
        # Hydra passes its own containers
        given = {"params": params, "grids": grids, "batteries": batteries, "files": files}
        plain: Any = OmegaConf.to_container(OmegaConf.create(given))
        self.params, self.grids = plain["params"] or {}, plain["grids"] or [{}]
        self.file_batteries = plain["batteries"] or {}  # read in sweep(), whose errors are one line
        self.files = plain["files"] or []

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra passes before the sweep."""
        self.context, self.cfg = hydra_context, config
        self.compose = Composer(hydra_context.config_loader, config)

    def sweep(self, arguments: list[str]) -> None:
        """Plan, launch, and account for every cell.

        Raises:
            UserError: for what cannot be swept, before anything is launched or written.
            SweepIncompleteError: where a cell has no record at the end, after printing why.
        """
        workers, budget = self._workers(), Budget.begin(self.cfg.budget)
        file = self.cfg.hydra.runtime.choices.get("sweeps")
        self._require_only_axes(file)
        if self.files:
            self.grids = [grid for name in self.files for grid in self._grids_of(name)]
        self.batteries = Batteries.of(self.file_batteries) if self.file_batteries else None
        if self.batteries:
            self.grids = self.batteries.require(self.cfg.battery)
        cells, typed = self._cells(arguments)
        names = cell_names(cells)
        swept = [name for name, overrides in typed.items() if len(overrides) > 1]
        outputs = Path(self.cfg.output_dir).resolve()
        battery = self._battery(typed)
        if battery and battery.name != WIDEST:
            file = f"{file}-{battery.name}"
        folder = outputs / "sweeps" / sweep_name(file, typed, swept)
        if len(cells) > MANY:
            LOG.info("planning %d cells", len(cells))
        planned, refused, unsuitable = self._plan(cells, names, folder, workers, battery)
        if not planned:
            reasons = [message for _, message in refused] + [one.reason for one in unsuitable]
            raise UserError("; ".join(dict.fromkeys(reasons)))
        log = SweepLog(folder)
        if self.cfg.preview:
            words = [word for word in ARGV if not word.startswith("preview=")]
            print(preview(planned, refused, unsuitable, log.store, command_of(words)))
            if refused:
                raise SweepIncompleteError
            return
        Launch(self.cfg, workers, log, battery, budget, unsuitable).run(planned, refused)

    def _battery(self, typed: Axes) -> Battery | None:
        """Return the chosen battery; null for a sweep that has none."""
        if not self.batteries:
            return None
        attacks = self.context.config_loader.get_group_options("attack")
        return self.batteries.battery(self.cfg.battery, typed, attacks)

    def _workers(self) -> "Workers":
        from hydra.utils import instantiate

        from privbench.runtime.validation import describe

        try:
            workers: Workers = instantiate(self.cfg.workers, _convert_="all")
            workers.check()
        except HydraException as error:
            cause = error.__cause__
            line = describe(cause, "workers") if isinstance(cause, ValueError) else cause or error
            raise UserError(" ".join(str(line).split())) from error
        except ValueError as error:
            raise UserError(str(error)) from error
        return workers

    def _require_only_axes(self, file: str | None) -> None:
        """Refuse a sweep file that sets options elsewhere: no command could name its cells."""
        if not file:
            return
        loaded = self.context.config_loader.repository.load_config(f"sweeps/{file}")  # type: ignore[attr-defined]
        if loaded and (strange := sorted(str(key) for key in loaded.config if key != "hydra")):
            raise UserError(
                f"sweeps/{file}.yaml sets {strange[0]} outside of hydra.sweeper: put it among its "
                f"params, as {strange[0]}: VALUE"
            )

    def _grids_of(self, name: str) -> list[dict[str, Any]]:
        """Return the grids of another sweep file, its params among the axes of each.

        Raises:
            UserError: for a name that is none, or a file without grids of its own.
        """
        self._require_only_axes(name)
        try:
            node = self.compose.sweeper_of(name)
        except HydraException as error:
            raise UserError(describe_error(error)) from error
        if not (node["params"] or node["grids"]):
            raise UserError(f"hydra.sweeper.files: sweeps/{name}.yaml has no grids of its own")
        return [{**(node["params"] or {}), **grid} for grid in node["grids"] or [{}]]

    def _cells(self, arguments: list[str]) -> tuple[list[list[str]], Axes]:
        """Return the cells, each a list of overrides, and the axes of the command line."""
        parse = self.compose.parser.parse_overrides
        try:
            typed = parse_axes(parse(arguments))
            shared = parse_axes(parse(to_overrides(self.params)))
            grids = [{**shared, **parse_axes(parse(to_overrides(grid)))} for grid in self.grids]
        except OverrideParseException as error:
            raise UserError(describe_error(error)) from error
        for name in [*self.params, *(name for grid in self.grids for name in grid)]:
            if _is_runtime_option(name):
                raise UserError(
                    f"{name} cannot be swept: type it on the command line, not in a sweep file"
                )
        if "battery" in typed and not self.batteries:
            raise UserError(
                f"{typed['battery'][0]} needs a sweep that has batteries: sweeps=standard"
            )
        for name, overrides in list(typed.items()):
            if _is_runtime_option(name) and len(overrides) > 1:
                raise UserError(f"{name} cannot be swept: type one value")
            if top_level(name) in SWEEP_ONLY_OPTIONS:
                del typed[name]
        cells = expand_grids(grids, typed, self.compose.is_group)
        return self.compose.without_foreign_options(cells), typed

    def _plan(
        self,
        cells: list[list[str]],
        names: list[str],
        folder: Path,
        workers: "Workers",
        battery: Battery | None,
    ) -> tuple[dict[str, PlannedCell], list[tuple[PlannedCell, str]], list[Unsuitable]]:
        """Return every cell that can be run, by key, and every other with what is wrong with it.

        An attack that a defense does not admit is no failure, and stands apart; of a battery, which
        fixes the options, one that refuses a cell for any reason.
        """
        from privbench.experiment.config import RememberedParts

        planned: dict[str, PlannedCell] = {}
        refused = []
        unsuitable: dict[Unsuitable, None] = {}
        make = RememberedParts()
        for overrides, name in zip(cells, names, strict=True):
            try:
                spec = self._spec(overrides, name, folder)
                mark = battery.mark if battery else None
                spec = replace(spec, battery=mark, flags=config_folders(ARGV))
                cell, refusal = _identify(spec, workers, make)
                if refusal and (battery or isinstance(refusal, UnsuitableAttackError)):
                    reason = " ".join(str(refusal).split())
                    unsuitable[Unsuitable(cell.group, spec.choices["attack"], reason)] = None
                    continue
                if refusal:
                    raise refusal
            except (ValueError, OSError) as error:
                message = " ".join(str(error).split())
                key = content_hash({"refused": overrides})
                refused.append((PlannedCell(key, overrides, name, key), message))
                continue
            planned.setdefault(cell.key, cell)
        return planned, refused, list(unsuitable)

    def _spec(self, overrides: list[str], name: str, folder: Path) -> CellSpec:
        try:
            return self.compose.spec(overrides, str(folder.parent.parent), str(folder), name)
        except HydraException as error:
            where = f" (in the cell {' '.join(overrides)})" if name else ""
            raise UserError(f"{describe_error(error)}{where}") from error


def _identify(
    spec: CellSpec, workers: "Workers", make: "RememberedParts"
) -> tuple[PlannedCell, RefusedAttackError | None]:
    """Return a cell with its keys, and why its attack refuses it; null where it does not.

    Raises:
        ValueError: naming the value and the choices.
        OSError: where the output directory cannot be written.
    """
    from privbench.experiment.config import build
    from privbench.experiment.plan import (
        require_device,
        require_suitable_attack,
        require_suitable_metrics,
        unchecked_plan,
    )
    from privbench.store.group_keys import group_of

    cell = build(spec, make)
    if not workers.gpu_is_remote:
        require_device(cell.device_config)
    planned = unchecked_plan(cell)
    group = group_of(
        cell.config,
        planned.sources,
        planned.split,
        cell.defense.strength,
        cell.transmissions,
        len(planned.indices),
    )
    refusal = None
    try:
        require_suitable_attack(planned)
    except RefusedAttackError as error:
        refusal = error
    require_suitable_metrics(planned)
    identified = PlannedCell(
        planned.key,
        spec.overrides,
        spec.name,
        group,
        replace(spec, key=planned.key),
        planned.deployment_key,
        math.prod(planned.data.shape),
        content_hash(planned.victim_recipe),
    )
    return identified, refusal


def _is_runtime_option(name: str) -> bool:
    """Return whether an option changes how cells are run, and not which."""
    return top_level(name) in RUNTIME_OPTIONS
