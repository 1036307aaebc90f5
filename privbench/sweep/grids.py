"""Which cells a sweep has: grids of axes, composed (no torch)."""

import itertools
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, read_write

from privbench.runtime.errors import UserError
from privbench.runtime.hashing import content_hash

RUNTIME_OPTIONS = (
    "output_dir",
    "tracker",
    "workers",
    "device",
    "force",
    "isolate",
    "sweep",
    "hydra",
)
"""Options that change where and how cells are run, and not which."""
Axes = dict[str, list[str]]
"""Words of the command line by option: a grid is their product."""


def parse_axes(overrides: Iterable[Override]) -> Axes:
    """Every option with the words that give it its values, in the order they were typed.

    Raises:
        Refused: for an axis without a value, one that is given twice, or one without an end.
    """
    found: Axes = {}
    for override in overrides:
        key = override.get_key_element()
        name = key.lstrip("+~")
        if override.is_delete():
            words = [override.input_line or ""]
        elif override.is_sweep_override():
            if not override.is_discrete_sweep():
                raise UserError(f"{override.input_line} has no end: type {name}=VALUE,VALUE")
            words = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            words = [f"{key}={override.get_value_element_as_str()}"]
        if not words or (override.input_line or "").endswith("="):
            raise UserError(f"{override.input_line} is an empty axis: type {name}=VALUE,VALUE")
        if name in found:
            raise UserError(f"{name} is given twice: type {name}=VALUE,VALUE once")
        found[name] = words
    return found


def expand_grids(
    grids: Sequence[Axes], typed: Axes, is_group: Callable[[str], bool]
) -> list[list[str]]:
    """The cells of all grids, each a list of words, none twice.

    What is typed replaces the axis of that name; grids without it fall away where others have it.
    A config group that tells grids apart only picks among them.

    Args:
        grids: At least one, which may be empty.
        typed: On the command line.
        is_group: Whether an option is a config group.

    Raises:
        Refused: for a choice that no grid has.
    """
    for name, words in typed.items():
        holders = [grid for grid in grids if name in grid]
        told_apart = is_group(name) and len({tuple(grid[name]) for grid in holders}) > 1
        if told_apart:
            choices = dict.fromkeys(word for grid in holders for word in grid[name])
            if strange := [word for word in words if word not in choices]:
                there = ", ".join(word.partition("=")[2] for word in choices)
                raise UserError(f"{strange[0]} is in no grid of this sweep: choose from {there}")
            grids = [
                {**grid, name: kept}
                for grid in holders
                if (kept := [word for word in words if word in grid[name]])
            ]
        else:
            grids = [{**grid, name: words} for grid in holders or grids]
    cells = [list(cell) for grid in grids for cell in itertools.product(*grid.values())]
    return [list(words) for words in dict.fromkeys(tuple(cell) for cell in cells)]


def cell_names(cells: Sequence[Sequence[str]]) -> list[str]:
    """A name for every cell: its words that not all cells share."""
    count = Counter(word for cell in cells for word in set(cell))
    return [" ".join(word for word in cell if count[word] < len(cells)) for cell in cells]


def sweep_name(file: str | None, typed: Axes, swept: Iterable[str]) -> str:
    """The name of a sweep: the same for the same cells, so that the same command goes on.

    Args:
        file: Of ``sweeps/``.
        typed: On the command line.
        swept: Options with more than one value.
    """
    chosen = {
        name: sorted(words)
        for name, words in typed.items()
        if name.split(".")[0] not in RUNTIME_OPTIONS
    }
    short = "-".join(name.rpartition(".")[2].rpartition("@")[2] for name in swept) or "cells"
    file = file.replace("/", "-") if file else file  # a sweep's folder lies directly in sweeps/
    if file and not chosen:
        return file
    return f"{file or short}-{content_hash({'typed': chosen, 'file': file})[:8]}"


class Composer:
    """Composes cells; those that differ in values alone are composed once (60 ms) and copied (2).

    Args:
        loader: Hydra's.
        master: The sweep's own configuration.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self.parser = OverridesParser.create(config_loader=loader)
        self.known: dict[tuple[str, ...], bytes] = {}
        self.groups: dict[str, bool] = {}

    def is_group(self, name: str) -> bool:
        """Whether an option is a config group; Hydra takes 10 ms for each answer."""
        group = name.partition("@")[0]
        if group not in self.groups:
            self.groups[group] = bool(self.loader.get_group_options(group))
        return self.groups[group]

    def __call__(self, words: Sequence[str]) -> DictConfig:
        """The configuration of a cell.

        Raises:
            HydraException: where it does not compose.
        """
        parsed = self.parser.parse_overrides(list(words))
        values = [
            override
            for override in parsed
            if not (override.is_add() or override.is_force_add() or override.is_delete())
            and not self.is_group(override.key_or_group)
        ]
        kind = tuple(
            override.key_or_group if override in values else str(override.input_line)
            for override in parsed
        )
        if kind not in self.known:
            first: DictConfig = self.loader.load_sweep_config(self.master, list(words))
            self.known[kind] = pickle.dumps(first)
            return first
        composed: DictConfig = pickle.loads(self.known[kind])
        for override in values:
            OmegaConf.update(composed, override.key_or_group, override.value(), merge=True)
        with read_write(composed.hydra):
            composed.hydra.overrides.task = list(words)
        return composed


def to_overrides(params: Mapping[str, Any]) -> list[str]:
    """Axes of a yaml in words of the command line; a list is an axis."""

    def word(value: Any) -> str:
        plain = {None: "null", True: "true", False: "false"}
        return plain[value] if value is None or isinstance(value, bool) else str(value)

    return [
        f"{name}={','.join(map(word, value)) if isinstance(value, list) else word(value)}"
        for name, value in params.items()
    ]
