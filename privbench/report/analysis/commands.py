"""Commands that make the cells of given records, where the commands as typed are not known."""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import inf, prod

from privbench.runtime.options import CELL_OPTIONS, top_level, typed_values
from privbench.store.record import Record

NUMERIC = (*CELL_OPTIONS, "device")
"""Top-level options that numbers depend on, in the order of a command; the device rounds."""
Cell = Mapping[str, str]
"""Typed value of each option of a cell."""
Product = Mapping[str, Sequence[str]]
"""Values of each option, of which a command runs all combinations."""


def commands_of(records: Iterable[Record]) -> list[str]:
    """Return few commands that together run the cells of the records, and no other cells.

    Options that numbers do not depend on are left out.

    Args:
        records: Of any settings.
    """
    cells = [_typed(record) for record in records]
    return sorted(_command(product) for product in _products(cells))


def _typed(record: Record) -> Cell:
    typed = typed_values(record.overrides)
    numeric = [name for name in typed if top_level(name) in NUMERIC]
    return {
        name: typed[name] for name in sorted(numeric, key=lambda n: NUMERIC.index(top_level(n)))
    }


def _command(product: Product) -> str:
    words = [
        name if name.startswith("~") else f"{name}={','.join(sorted(values, key=_order))}"
        for name, values in product.items()
    ]
    several = ["-m"] if any(len(values) > 1 for values in product.values()) else []
    return shlex.join(["python", "-m", "privbench", *several, *words])


def _order(value: str) -> tuple[float, str]:
    """Return the place of a value: numbers by size, then words."""
    try:
        return float(value), ""
    except ValueError:
        return inf, value


def _products(cells: Sequence[Cell]) -> list[Product]:
    """Return products whose combinations are the cells, few of them."""
    by_options: dict[frozenset[str], list[Cell]] = defaultdict(list)
    for cell in cells:
        by_options[frozenset(cell)].append(cell)
    return [product for alike in by_options.values() for product in _of_same_options(alike)]


def _of_same_options(cells: Sequence[Cell]) -> list[Product]:
    """Return products of cells that have the same options.

    Where the cells are not all combinations of their values, they are divided by the option that
    leaves fewest products; parts that differ in this option alone are one product again.
    """
    axes = {name: list(dict.fromkeys(cell[name] for cell in cells)) for name in cells[0]}
    distinct = {tuple(cell[name] for name in axes) for cell in cells}
    if prod(map(len, axes.values())) == len(distinct):
        return [axes]
    divisions = (_divided(cells, name, values) for name, values in axes.items() if len(values) > 1)
    return min(divisions, key=len)


def _divided(cells: Sequence[Cell], name: str, values: Sequence[str]) -> list[Product]:
    """Return the products of the cells of each value of an option, equal ones as one."""
    merged: dict[tuple[tuple[str, tuple[str, ...]], ...], list[str]] = defaultdict(list)
    for value in values:
        part = [cell for cell in cells if cell[name] == value]
        for product in _of_same_options(part):
            merged[tuple((n, tuple(sorted(v))) for n, v in product.items() if n != name)] += [value]
    order = list(cells[0])
    return [
        {option: {**dict(rest), name: at}[option] for option in order}
        for rest, at in merged.items()
    ]
