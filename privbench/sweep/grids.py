"""The cells of a sweep: products of axes (no torch)."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from hydra.core.override_parser.types import Override

from privbench.runtime.errors import UserError
from privbench.runtime.hashing import content_hash
from privbench.runtime.options import RUNTIME_OPTIONS, as_typed, top_level

Axes = dict[str, list[str]]
"""Overrides of the command line by option: a grid is their product."""


def parse_axes(overrides: Iterable[Override]) -> Axes:
    """Return each option's overrides, one for each of its values, in the order they were typed.

    Raises:
        UserError: for an axis without a value, one given twice, or a continuous one.
    """
    found: Axes = {}
    for override in overrides:
        key = override.get_key_element()
        name = key.lstrip("+~")
        if override.is_delete():
            values = [override.input_line or ""]
        elif override.is_sweep_override():
            if not override.is_discrete_sweep():
                raise UserError(
                    f"continuous sweeps are not supported: list the values, {name}=0.1,0.2"
                )
            values = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            values = [f"{key}={override.get_value_element_as_str()}"]
        if not values or (override.input_line or "").endswith("="):
            raise UserError(f"{override.input_line} is an empty axis: type {name}=VALUE,VALUE")
        if name in found:
            raise UserError(f"{name} is given twice: type {name}=VALUE,VALUE once")
        found[name] = list(dict.fromkeys(values))
    return found


def expand_grids(
    grids: Sequence[Axes], typed: Axes, is_group: Callable[[str], bool]
) -> list[list[str]]:
    """Return the cells of all grids, each a list of overrides, none twice.

    A typed axis replaces the one of that name; grids without it are left out where others have it.
    Another choice of a config group than a grid's is without the options of the grid's choice.
    A config group that distinguishes grids only picks among them, and so does a split point that
    some of them have, since it belongs to the options of its grid; another goes to all of them.

    Args:
        grids: At least one, which may be empty.
        typed: On the command line.
        is_group: Whether an option is a config group.

    Raises:
        UserError: for a choice that no grid has.
    """
    # split points last, as those of another data set or victim are in none of its grids
    for name, overrides in sorted(typed.items(), key=lambda item: item[0] == "split"):
        holders = [grid for grid in grids if name in grid]
        choices = dict.fromkeys(override for grid in holders for override in grid[name])
        strange = [override for override in overrides if override not in choices]
        distinguishes = len({tuple(grid[name]) for grid in holders}) > 1
        if distinguishes and is_group(name) and strange:
            listed = ", ".join(override.partition("=")[2] for override in choices)
            raise UserError(f"{strange[0]} is in no grid of this sweep: choose from {listed}")
        if distinguishes and (is_group(name) or name == "split"):
            grids = [
                {**grid, name: kept}
                for grid in holders
                if (kept := [word for word in overrides if word in [*grid[name], *strange]])
            ]
        else:
            chosen = partial(_chosen, name=name, overrides=overrides, typed=typed)
            grids = [
                part
                for grid in holders or grids
                for part in (chosen(grid) if is_group(name) else [{**grid, name: overrides}])
            ]
    cells = [list(cell) for grid in grids for cell in itertools.product(*grid.values())]
    return [list(overrides) for overrides in dict.fromkeys(tuple(cell) for cell in cells)]


def _chosen(grid: Axes, *, name: str, overrides: Sequence[str], typed: Axes) -> Iterator[Axes]:
    """Yield a grid with typed choices of a config group.

    Options that the grid has for its own choice, and that were not typed, go to no other choice:
    another attack has other defaults.
    """
    own = grid.get(name, overrides)
    if same := [word for word in overrides if word in own]:
        yield {**grid, name: same}
    if others := [word for word in overrides if word not in own]:
        package = name.rpartition("@")[2] + "."
        kept = {
            option: axis
            for option, axis in grid.items()
            if option in typed or not option.rpartition("@")[2].startswith(package)
        }
        yield {**kept, name: others}


def cell_names(cells: Sequence[Sequence[str]]) -> list[str]:
    """Return a name for every cell: its overrides that not all cells share."""
    count = Counter(override for cell in cells for override in set(cell))
    return [" ".join(part for part in cell if count[part] < len(cells)) for cell in cells]


def sweep_name(file: str | None, typed: Axes, swept: Iterable[str]) -> str:
    """Return the name of a sweep: the same for the same cells, so that a command can resume it.

    Args:
        file: Of ``sweeps/``.
        typed: On the command line.
        swept: Options with more than one value.
    """
    chosen = {
        name: sorted(overrides)
        for name, overrides in typed.items()
        if top_level(name) not in RUNTIME_OPTIONS
    }
    short = "-".join(name.rpartition(".")[2].rpartition("@")[2] for name in swept) or "cells"
    file = file.replace("/", "-") if file else file  # a sweep's folder lies directly in sweeps/
    if file and not chosen:
        return file
    return f"{file or short}-{content_hash({'typed': chosen, 'file': file})[:8]}"


def to_overrides(params: Mapping[str, Any]) -> list[str]:
    """Return the axes of a yaml as overrides of the command line; a list is an axis."""
    return [
        f"{name}={','.join(map(as_typed, value)) if isinstance(value, list) else as_typed(value)}"
        for name, value in params.items()
    ]
