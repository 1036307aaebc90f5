"""Warns of defenses that no adaptive attack met, with the command that adds one (no torch)."""

import ast
import math
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from privbench.runtime.code_identity import source_file
from privbench.runtime.conf_files import load_option
from privbench.runtime.options import LAUNCH_OPTIONS
from privbench.store.record import Record

PROGRAM = "python -m privbench"
LIKELIHOOD, QUERIES = "rmle_adaptive", "inverse"
"""Attacks that know a defense: by its likelihood, and by queries through it, which all answer."""
STATES_LIKELIHOOD = ("_log_likelihood", "log_likelihood")
"""Methods by which a class of defenses states its likelihood."""
"""Options that change no number, and of which a sweep takes one value."""
MOST_COMMANDS = 3
"""Commands that a selection of a store is given: its records may have been typed in many ways."""


@dataclass(frozen=True)
class Advice:
    """Defenses that no attack here knows.

    Attributes:
        warnings: A sentence for each of them.
        commands: What to type to add attacks that know them.
    """

    warnings: Sequence[str]
    commands: Sequence[str]

    @property
    def lines(self) -> list[str]:
        """All of it, for a terminal."""
        return [*self.warnings, *(f"  this adds one: {line}" for line in self.commands)]


def untried(records: Sequence[Record], command: str = "") -> Advice:
    """Return which defenses no attack here knows, and the commands that add one.

    Args:
        records: Of a sweep, or a selection of a store.
        command: The sweep's; empty for a selection.
    """
    warnings, commands = [], []
    for (defense, site), (met, lacking) in _by_defense(records).items():
        some = f" in {len(lacking)} of its {len(met)} settings" if len(lacking) < len(met) else ""
        warnings.append(
            f"No attack here knows the defense {defense} on {site}{some}: what leaks may be more."
        )
        without = [record for record in records if _setting(record) in lacking]
        knows = _knows_likelihood(without[0])
        if command:
            commands.append(_added(command, records, LIKELIHOOD if knows else QUERIES))
        else:
            commands += _of_overrides(without, f"{LIKELIHOOD},{QUERIES}" if knows else QUERIES)
    return Advice(warnings, list(dict.fromkeys(commands)))


def met_by_adaptive(records: Iterable[Record]) -> set[tuple[object, ...]]:
    """Return the defended settings that an adaptive attack met."""
    return {_setting(record) for record in records if record.adaptive}


Settings = set[tuple[object, ...]]


def _setting(record: Record) -> tuple[object, ...]:
    where = record.dataset, record.split, record.transmissions
    return (*where, record.defense, record.site, record.strength)


def _by_defense(records: Sequence[Record]) -> Mapping[tuple[str, str], tuple[Settings, Settings]]:
    """Settings of each defense and site, and those among them that no adaptive attack met."""
    settings: dict[tuple[str, str], Settings] = defaultdict(set)
    for record in records:
        if record.strength:
            settings[record.defense, record.site].add(_setting(record))
    known = met_by_adaptive(records)
    return {name: (met, lacking) for name, met in settings.items() if (lacking := met - known)}


def _knows_likelihood(record: Record) -> bool:
    module, _, name = str(record.config["defense"].get("_target_", "")).rpartition(".")
    return _states_likelihood(module, name)


@cache
def _states_likelihood(module: str, name: str) -> bool:
    """Whether a class of defenses, or one that it inherits from, states a likelihood.

    It is read off the source: importing a defense imports torch, which takes a report seconds.
    """
    tree = _source(module)
    if tree is None or (module, name) == ("privbench.defenses.base", "Defense"):
        return False
    found = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name), None)
    if found is None:
        return False
    if any(isinstance(n, ast.FunctionDef) and n.name in STATES_LIKELIHOOD for n in found.body):
        return True
    imported = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    bases = [base.id for base in found.bases if isinstance(base, ast.Name)]
    return any(_states_likelihood(*imported.get(base, (module, base))) for base in bases)


def _source(module: str) -> ast.Module | None:
    try:
        path = source_file(module)
    except ValueError:
        return None
    return ast.parse(path.read_bytes()) if path.suffix == ".py" else None


def _added(command: str, records: Iterable[Record], attack: str) -> str:
    """Return a sweep's command with an attack more, whose other cells lie in the store.

    Options of the attacks there are kept where they are options of this one too; where they are
    not, the command is of this attack alone.
    """
    program, typed = PROGRAM.split(), shlex.split(command)[len(PROGRAM.split()) :]
    options = [word for word in typed if word.startswith(("attack.", "attack@"))]
    classes = {str(record.config["attack"].get("_target_")) for record in records}
    names = [attack]
    if not options or classes == {_class(attack)}:
        names = [*dict.fromkeys(record.attack for record in records), attack]
        options = []
    words = [word for word in typed if not word.startswith("attack=") and word not in options]
    return shlex.join([*program, *words, f"attack={','.join(names)}"])


def _class(attack: str) -> str:
    return str(load_option("attack", attack)["_target_"])


def _of_overrides(records: Iterable[Record], attacks: str) -> list[str]:
    """Return the commands of a selection's cells with other attacks, by what was typed for them."""
    shapes: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for record in records:
        options = {
            name: value
            for name, _, value in (word.partition("=") for word in record.overrides)
            if not name.startswith("attack")
            and name.lstrip("+~").split(".")[0] not in LAUNCH_OPTIONS
        }
        shapes[tuple(options)].append(options)
    most = sorted(shapes.items(), key=lambda item: -len(item[1]))[:MOST_COMMANDS]
    found = []
    for names, typed in most:
        axes = [f"{name}={','.join(_values(typed, name))}" for name in names]
        found.append(shlex.join([*PROGRAM.split(), "-m", f"attack={attacks}", *axes]))
    return found


def _values(typed: Iterable[Mapping[str, str]], name: str) -> list[str]:
    """Values of an option, numbers by size."""

    def rank(value: str) -> tuple[float, str]:
        return (float(value), "") if value.replace(".", "").isdigit() else (math.inf, value)

    return sorted({options[name] for options in typed}, key=rank)
