"""Warns of defenses that no adaptive attack met, with the command that adds one (no torch)."""

import math
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from privbench.report.analysis.channels import defines
from privbench.runtime.commands import PROGRAM, command_of
from privbench.runtime.conf_files import load_option
from privbench.runtime.options import LAUNCH_OPTIONS, top_level, typed_values
from privbench.store.group_keys import group_key, setting_key
from privbench.store.record import Record

LIKELIHOOD, QUERIES = "rmle_adaptive", "inverse"
"""Adaptive attacks: by the defense's likelihood, and by queries to the defended edge."""
STATES_LIKELIHOOD = ("_log_likelihood", "log_likelihood")
"""Methods that compute the likelihood of a defense."""
OUTPUTS = "output_dir"
MOST_COMMANDS = 3
"""Largest number of commands for a selection of a store."""


@dataclass(frozen=True)
class Advice:
    """Defenses that were not attacked adaptively.

    Attributes:
        warnings: A sentence on all of them; none where there are none.
        commands: Commands that add adaptive attacks.
    """

    warnings: Sequence[str]
    commands: Sequence[str]


def untried(records: Sequence[Record], command: str = "") -> Advice:
    """Return the defenses that were not attacked adaptively, and commands that add an attack.

    Args:
        records: Records of a sweep, or a selection of a store.
        command: Command of the sweep; empty for a selection.
    """
    names, commands = [], []
    for (defense, site), settings in _by_defense(records).items():
        lacking = [held for held in settings.values() if not any(one.knows_defense for one in held)]
        if not lacking:
            continue
        some = f" in {len(lacking)} of its {len(settings)} settings"
        without = [record for held in lacking for record in held]
        weak = sorted({record.attack for record in without if record.adaptive})
        but = f" (but for {', '.join(weak)})" * bool(weak)
        names.append(f"{defense} on {site}{some * (len(lacking) < len(settings))}{but}")
        # of a perturbed input the likelihood alone recovers less than naive rMLE (sweeps/attacks)
        knows = site != "input" and defines(without[0], *STATES_LIKELIHOOD)
        if command:
            commands.append(_added(command, records, [LIKELIHOOD if knows else QUERIES]))
        else:
            attacks = f"{LIKELIHOOD},{QUERIES}" if knows else QUERIES
            commands += _of_overrides(without, "attack", attacks)
    sentence = f"No adaptive attack was run against {', '.join(names)}: the leakage may be higher."
    return Advice([sentence] * bool(names), list(dict.fromkeys(commands)))


def adding(records: Sequence[Record], attacks: Sequence[str], command: str = "") -> list[str]:
    """Return commands that run the cells with these attacks, too; none without one.

    Args:
        records: Of a sweep, or a selection of a store.
        attacks: Names of attacks that were not run everywhere.
        command: Command of the sweep; empty for a selection.
    """
    if not attacks:
        return []
    if command:
        return [_added(command, records, attacks)]
    return _of_overrides(records, "attack", ",".join(attacks))


def not_undefended(records: Sequence[Record], command: str = "") -> list[str]:
    """Return commands that add cells without a defense; none where some attack has one.

    The blind baseline does not count as an attack.

    Args:
        records: Records of a setting.
        command: Command of their sweep; empty for a selection.
    """
    attacks = [record for record in records if record.attack != "blind"]
    if not attacks or not all(record.strength for record in attacks):
        return []
    if not command:
        return _of_overrides(attacks, "defense", "none")
    typed = [word for word in shlex.split(command) if not word.startswith("defense=")]
    # a grid of a sweep's file has its own defense, which a list would multiply
    grids = any(word.startswith("sweeps=") for word in typed)
    met = [] if grids else dict.fromkeys(record.defense for record in records)
    own = ("defense.", "defense@") if grids else ()
    kept = [word for word in typed if not word.startswith(own)]
    return [shlex.join([*kept, f"defense={','.join(['none', *met])}"])]


Settings = dict[str, list[Record]]
"""Records by setting: of one victim, split point, strength, number of transmissions and so on."""


def _by_defense(records: Iterable[Record]) -> Mapping[tuple[str, str], Settings]:
    """Return the records of each defense and site in each of its settings."""
    found: dict[tuple[str, str], Settings] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.strength:
            found[record.defense, record.site][setting_key(group_key(record))].append(record)
    return found


def _added(command: str, records: Iterable[Record], attacks: Sequence[str]) -> str:
    """Return a sweep's command with more attacks.

    Options of the sweep's attacks are kept where they are options of these too; where they are
    not, the command has only these attacks.
    """
    program, typed = PROGRAM.split(), shlex.split(command)[len(PROGRAM.split()) :]
    options = [word for word in typed if word.startswith(("attack.", "attack@"))]
    classes = {str(record.config["attack"].get("_target_")) for record in records}
    names = list(attacks)
    if not options or all(classes == {_class(attack)} for attack in attacks):
        names = list(dict.fromkeys([*(record.attack for record in records), *attacks]))
        options = []
    words = [word for word in typed if not word.startswith("attack=") and word not in options]
    return shlex.join([*program, *words, f"attack={','.join(names)}"])


def _class(attack: str) -> str:
    return str(load_option("attack", attack)["_target_"])


def _of_overrides(records: Iterable[Record], group: str, chosen: str) -> list[str]:
    """Return commands that run a selection's cells with others of a group, by their overrides.

    All records are of one store, so that those typed with its output_dir are as the others.
    """
    shapes: dict[tuple[tuple[str, ...], ...], list[dict[str, str]]] = defaultdict(list)
    outputs = ""
    for record in records:
        typed = typed_values(record.overrides)
        options = {
            name: value
            for name, value in typed.items()
            if not name.startswith(group) and top_level(name) not in (*LAUNCH_OPTIONS, OUTPUTS)
        }
        outputs = outputs or typed.get(OUTPUTS, "")
        shapes[tuple(options), tuple(record.flags), (record.pythonpath,)].append(options)
    most = sorted(shapes.items(), key=lambda item: -len(item[1]))[:MOST_COMMANDS]
    found = []
    for (names, flags, (path,)), held in most:
        axes = [f"{name}={','.join(_values(held, name))}" for name in names]
        axes += [f"{OUTPUTS}={outputs}"] * bool(outputs)
        found.append(command_of([f"{group}={chosen}", *axes], ["-m", *flags], path))
    return found


def _values(typed: Iterable[Mapping[str, str]], name: str) -> list[str]:
    """Return the values of an option, numbers by size."""

    def rank(value: str) -> tuple[float, str]:
        return (float(value), "") if value.replace(".", "").isdigit() else (math.inf, value)

    return sorted({options[name] for options in typed}, key=rank)
