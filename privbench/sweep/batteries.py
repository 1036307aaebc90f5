"""Batteries of a sweep file: fixed attacks and budgets, one of which ``battery=NAME`` chooses.

In the file, under ``hydra.sweeper``::

    batteries:
      dominated: {rmle_paper: where which stronger attack recovers more}
      full: {version: 2, params: {seed: [0, 1, 2]}, grids: [{attack: [rmle, inverse]}]}
      quick: {version: 1, params: {seed: 0}, grids: [{attack: rmle}]}

Data set, victim, split point and defense are typed; any other option, the adversary's images
among them, replaces a part of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from privbench.runtime.errors import UserError
from privbench.runtime.options import RUNTIME_OPTIONS, top_level
from privbench.store.battery import Battery
from privbench.sweep.grids import Axes

TARGET_OPTIONS = ("dataset", "victim", "split", "defense")
"""Options that a battery leaves to the user: what is attacked."""
ADVERSARY_OPTIONS = ("dataset.aux", "dataset.aux_images")
"""Options of those that say what the adversary holds: budgets, as an attack's."""
WIDEST = "full"
"""The battery that a sweep has where none is typed; its folder is named by the file alone."""


@dataclass(frozen=True)
class Batteries:
    """Batteries of a sweep file.

    Attributes:
        versions: By the name of the battery.
        dominated: Attacks left out of all, with the numbers that say why.
        grids: Axes of each grid, its params among them, by the name of the battery.
    """

    versions: Mapping[str, int]
    dominated: Mapping[str, str]
    grids: Mapping[str, list[dict[str, Any]]]

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> "Batteries":
        """Return the batteries of a file's node.

        Raises:
            UserError: for one without a version or grids.
        """
        named = {name: part for name, part in node.items() if name != "dominated"}
        for name, part in named.items():
            given = part if isinstance(part, Mapping) else {}
            if lacking := [key for key in ("version", "grids") if key not in given]:
                raise UserError(f"the battery {name} of this sweep file lacks {lacking[0]}")
        versions = {name: part["version"] for name, part in named.items()}
        grids = {
            name: [{**(part.get("params") or {}), **grid} for grid in part["grids"]]
            for name, part in named.items()
        }
        return cls(versions, node.get("dominated") or {}, grids)

    def require(self, name: str) -> list[dict[str, Any]]:
        """Return the grids of a battery.

        Raises:
            UserError: for a name that is none of them.
        """
        if name not in self.grids:
            raise UserError(f"battery={name} is unknown: choose from {', '.join(self.grids)}")
        return self.grids[name]

    def battery(self, name: str, typed: Axes, attacks: Iterable[str]) -> Battery:
        """Return what is said of a sweep by a battery.

        Args:
            name: Of the battery.
            typed: On the command line.
            attacks: Names of all attacks.
        """
        changed = [
            override
            for option, overrides in typed.items()
            if _replaces_a_part(option)
            for override in overrides
        ]
        return Battery(name, self.versions[name], changed, self._untried(name, attacks))

    def _untried(self, name: str, attacks: Iterable[str]) -> dict[str, str]:
        """Return the attacks that a battery does not have, with the reason."""
        tried = self.attacks(name)
        elsewhere = {
            attack: f"in battery={other}" for other in self.grids for attack in self.attacks(other)
        }
        return {
            attack: self.dominated.get(attack, elsewhere.get(attack, ""))
            for attack in attacks
            if attack not in tried
        }

    def attacks(self, name: str) -> list[str]:
        """Return the names of a battery's attacks."""
        chosen = (grid.get("attack", []) for grid in self.require(name))
        return [a for names in chosen for a in (names if isinstance(names, list) else [names])]


def _replaces_a_part(option: str) -> bool:
    """Return whether an option on the command line changes a battery."""
    if option in ADVERSARY_OPTIONS:
        return True
    return top_level(option) not in TARGET_OPTIONS + RUNTIME_OPTIONS
