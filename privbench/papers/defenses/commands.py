"""Commands that complete the table: defenses that lack cells, and seeds at the chosen strength."""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from privbench.papers.defenses.results import (
    COST,
    Defended,
    at_cost,
    curves,
    defended,
    of_one_victim,
)
from privbench.papers.defenses.rows import AMORTISED, Row
from privbench.runtime.paths import ROOT

SWEEP = ROOT / "sweeps" / "defenses.yaml"
PROGRAM = ("python", "-m", "privbench", "sweeps=defenses")
CHANNEL = "defense@defense.channel"
AMORTISED_OPTIONS = ("attack.amortised", "attack.strengths")
SEEDS = (1, 2)
"""Seeds that are run at one strength, besides 0."""
IMAGES = ("dataset.aux", "target_indices", "include", "accuracy_draws")
"""Beginnings of the words that give an attack other images, or a score others."""
ATTACKED = ("dataset", "victim", "split=")
"""Beginnings of the words of a command that name what is attacked, but for the defense."""
SETTING = (*ATTACKED, "targets=")
"""Beginnings of the words of a command that name its setting."""


@dataclass(frozen=True)
class Planned:
    """What the sweep runs of a defense.

    Attributes:
        words: Choice of the defense on the command line.
        cells: Pairs of an attack and the option that sets the strength, as it is typed.
    """

    words: Sequence[str]
    cells: Sequence[tuple[str, str]]

    @property
    def attacks(self) -> list[str]:
        """Names of the attacks, in their order."""
        return list(by_attack(self.cells))

    def among(self, cells: Iterable[tuple[str, str]]) -> list[str]:
        """Return the attacks of some cells, each with its strengths unless it has all of them."""
        words = by_attack(cells)
        whole = by_attack(self.cells)
        return [
            attack if len(typed) == len(whole[attack]) else f"{attack} at {', '.join(typed)}"
            for attack, typed in words.items()
        ]


def by_attack(cells: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    """Return the typed strengths of each attack."""
    found: dict[str, list[str]] = defaultdict(list)
    for attack, word in cells:
        found[attack].append(word.partition("=")[2])
    return found


def in_table(row: Row) -> bool:
    """Return whether a row is a cell of the table, which a battery may have computed first."""
    if not row.battery:
        return True
    plan = planned().get(row.defense)
    if plan is None or (row.transmissions, row.targets) != (1, _targets()):
        return False
    plain = replace(row, battery="")
    if any(word.startswith(("defense", *IMAGES)) for word in other_options(plain)):
        return False
    typed = {_option(word) for word in ["", *shlex.split(row.command)]}
    return any(attack == row.attack and _option(word) in typed for attack, word in plan.cells)


def _targets() -> int:
    """Return the number of images that the sweep attacks."""
    return int(_sweeper(SWEEP)["params"]["targets"])


@cache
def _sweeper(sweep: Path) -> Mapping[str, Any]:
    """Return the axes and grids of a sweep's file."""
    config: Any = OmegaConf.to_container(OmegaConf.load(sweep))
    found: Mapping[str, Any] = config["hydra"]["sweeper"]
    return found


@cache
def planned(sweep: Path = SWEEP) -> Mapping[str, Planned]:
    """Return what the sweep runs of each defense, by the name that its records have."""
    grids: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for grid in _sweeper(sweep)["grids"]:
        channel = f"({grid[CHANNEL]})" if CHANNEL in grid else ""
        grids[grid["defense"] + channel].append(grid)
    return {name: _planned(found) for name, found in grids.items()}


def _planned(grids: Sequence[Mapping[str, Any]]) -> Planned:
    first = grids[0]
    cells: list[tuple[str, str]] = []
    for grid in grids:
        met = [grid["attack"]] if isinstance(grid["attack"], str) else grid["attack"]
        names = [AMORTISED if grid.get("attack.amortised") else name for name in met]
        axes = [(name, values) for name, values in grid.items() if name.startswith("defense.")]
        typed = [
            f"{name}={value}"
            for name, values in axes
            for value in (values if isinstance(values, list) else [values])
        ] or [""]
        cells += [(name, word) for name in names for word in typed]
    words = [f"{name}={first[name]}" for name in ("defense", CHANNEL) if name in first]
    return Planned(words, cells)


def other_options(row: Row) -> list[str]:
    """Return the typed options of a row's defense and attack that the sweep does not set.

    Such a row is of another defense or attack of the same name, or of other images of the
    adversary: it is not a cell of the table. A strength of one's own is none, and a defense that
    the sweep does not have has any options.
    """
    if row.battery:
        return []  # its options are fixed
    words = shlex.split(row.command)
    other, plan = [word for word in words if word.startswith(IMAGES)], planned().get(row.defense)
    if plan is None:
        return other
    set_by_sweep = [*plan.words, *(typed for _, typed in plan.cells)]
    own = {"attack", *(_option(word)[0] for word in set_by_sweep)}
    own |= set(AMORTISED_OPTIONS) if row.attack == AMORTISED else set()
    groups = ("defense", "attack") if row.strength else ("attack",)
    typed = [word for word in words if word.startswith(groups)]
    return [*other, *(word for word in typed if _option(word)[0] not in own)]


def lacking(rows: Sequence[Row]) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Return the cells of the sweep without a record of seed 0, by the defense's name.

    Args:
        rows: Of one setting.
    """
    have: dict[str, set[tuple[str, object]]] = defaultdict(set)
    for row in of_one_victim(rows):
        if row.seed == 0:
            have[row.defense] |= {(row.attack, _option(w)) for w in ["", *shlex.split(row.command)]}
    left = {
        name: [(attack, word) for attack, word in plan.cells if (attack, _option(word)) not in held]
        for name, plan in planned().items()
        for held in [have[name]]
    }
    return {name: cells for name, cells in left.items() if cells}


def missing(rows: Sequence[Row], setting: Sequence[str]) -> Mapping[str, str]:
    """Return the command of each defense that lacks a cell of seed 0, by the defense's name.

    Args:
        rows: Of one setting.
        setting: Words of the command line that name it.
    """
    plans = planned()
    return {name: shlex.join([*PROGRAM, *setting, *plans[name].words]) for name in lacking(rows)}


def _option(word: str) -> tuple[str, float | str]:
    """Return name and value of an option, a number as one: 1 and 1.0 are the same strength."""
    name, _, value = word.partition("=")
    try:
        return name, float(value)
    except ValueError:
        return name, value


def further_seeds(rows: Sequence[Row]) -> Mapping[str, str]:
    """Return the command of the seeds that a defense lacks at the strength of two points.

    It is that of the strength which costs the victim of seed 0 nearest to two points of accuracy.

    Args:
        rows: Of one setting.
    """
    lines = curves(defended(row for row in rows if row.seed == 0))
    everything = {one.place: one.seeds for one in defended(rows)}
    return {
        name: _at_one_strength(chosen)
        for name, line in lines.items()
        if not {*SEEDS} <= everything[(chosen := at_cost(line, COST)).place]
    }


def _at_one_strength(chosen: Defended) -> str:
    """Return the command of further seeds of a defense at a strength."""
    typed = shlex.split(chosen.first.command)[len(PROGRAM) - 1 :]
    kept = [word for word in typed if word.startswith((*SETTING, "defense"))]
    attacks = [one.first.attack for one in chosen.results if one.first.attack != AMORTISED]
    met = [f"attack={','.join(attacks)}", f"seed={','.join(map(str, SEEDS))}"]
    if chosen.first.strength and chosen.first.defense not in planned():
        return shlex.join([*PROGRAM[:3], "-m", *kept, *met])  # the sweep has no grid of it
    return shlex.join([*PROGRAM, *_setting(kept), *met])


def _setting(words: Iterable[str]) -> list[str]:
    """Leave out what the sweep sets itself."""
    return [word for word in words if word not in ("split=relu2", "targets=100")]


def setting_words(row: Row) -> list[str]:
    """Return the words of the command line that name the setting of a row."""
    typed = shlex.split(row.command)
    return _setting(word for word in typed if word.startswith(SETTING))
