"""A preview of a sweep: the cells that it would run, and how long they would take (no torch)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from privbench.runtime.duration import duration
from privbench.runtime.terminal import Line, aligned
from privbench.store.battery import Unsuitable
from privbench.store.recipes import VICTIMS
from privbench.store.record import read, valid_record
from privbench.store.record_files import record_paths
from privbench.sweep.progress import PlannedCell, passes

HEAD: Line = (["attack", "cells", "to run", "each"], "one after another")
PHASES = ("fit", "reconstruct", "score")
"""Parts of a record's seconds that every cell spends: the rest is trained once for many."""
Kind = tuple[str, ...]
"""Names of a cell's attack, data set and victim: cells of a kind take as long for as much work."""


def preview(
    planned: Mapping[str, PlannedCell],
    refused: Iterable[tuple[PlannedCell, str]],
    unsuitable: Iterable[Unsuitable],
    store: Path,
    command: str,
) -> str:
    """Return how many cells of each attack a sweep would run, and how long that would take.

    Times are by the records of the store: of the same attack, data set and victim, as much longer
    as the cell's attack has more work; without what is trained once for many cells, and without
    the accuracy.

    Args:
        planned: Cells that can be run, by key.
        refused: Others, with what is wrong with them.
        unsuitable: Attacks that settings of the sweep do not admit.
        store: Folder of the store.
        command: Command that runs the sweep.
    """
    due = [cell for cell in planned.values() if not _has_record(cell, store)]
    lines = [f"cells: {len(planned)}, with a record: {len(planned) - len(due)}"]
    if due:
        lines += aligned([HEAD, *_attacks(planned.values(), due, _seconds(due, store))])
        lines += _trainings(due, store)
    lines += [f"refused: {cell.title}: {reason}" for cell, reason in refused]
    lines += [f"does not apply: {one.attack}: {one.reason}" for one in unsuitable]
    return "\n".join([*lines, f"nothing was run; to run it: {command}"])


def _has_record(cell: PlannedCell, store: Path) -> bool:
    assert cell.spec is not None  # only refused cells have none
    path = store / "records" / cell.key / "record.json"
    return valid_record(path, store, cell.spec.config) is not None


def _seconds(cells: Sequence[PlannedCell], store: Path) -> dict[str, float]:
    """Return the seconds that cells are expected to take, by their key; nothing of unknown ones."""
    kinds = {_kind(cell) for cell in cells}
    rates: dict[Kind, list[float]] = defaultdict(list)
    for path in record_paths(store):
        try:
            record = read(path)
        except (OSError, ValueError):  # a record that is not whole says nothing
            continue
        kind = record.attack, record.dataset, record.victim
        if kind in kinds:
            spent = sum(record.seconds.get(phase, 0.0) for phase in PHASES)
            rates[kind].append(spent / (passes(record.config["attack"], record.targets) or 1))
    found = {}
    for cell in cells:
        if known := rates.get(_kind(cell)):
            found[cell.key] = median(known) * (cell.passes or 1)
    return found


def _kind(cell: PlannedCell) -> Kind:
    return _name(cell, "attack"), _name(cell, "dataset"), _name(cell, "victim")


def _name(cell: PlannedCell, group: str) -> str:
    return cell.spec.choices[group] if cell.spec else ""


def _attacks(
    cells: Iterable[PlannedCell], due: Sequence[PlannedCell], seconds: Mapping[str, float]
) -> list[Line]:
    """Return a line for each attack: its cells, those to run, and their times."""
    left = {cell.key for cell in due}
    by_attack: dict[str, list[PlannedCell]] = defaultdict(list)
    for cell in cells:
        by_attack[_name(cell, "attack")].append(cell)
    if len(by_attack) > 1:
        by_attack["all"] = [cell for held in by_attack.values() for cell in held]
    lines: list[Line] = []
    for attack, held in by_attack.items():
        to_run = [cell for cell in held if cell.key in left]
        times = [seconds[cell.key] for cell in to_run if cell.key in seconds]
        each, total = "", "-"
        if to_run:
            each = duration(median(times)) if times else "unknown"
            total = f"about {duration(sum(times))}" if times else "unknown"
        if times and len(times) < len(to_run):
            total += f", and {len(to_run) - len(times)} cells of which the store has no like"
        lines.append(([attack, str(len(held)), str(len(to_run)), each], total))
    return lines


def _trainings(due: Sequence[PlannedCell], store: Path) -> list[str]:
    """Return what is trained once for cells: victims that the store lacks, and defenses."""
    lacking = {
        cell.victim: f"{_name(cell, 'victim')} on {_name(cell, 'dataset')}"
        for cell in due
        if not (store / VICTIMS / f"{cell.victim}.safetensors").is_file()
    }
    counted = Counter(lacking.values())
    victims = ", ".join(f"{name} ({count})" for name, count in counted.items())
    defenses = len({cell.deployment for cell in due if cell.deployment})
    lines = [f"victims to train first: {victims}"] * bool(victims)
    # a defense's key has the weights of its victim, which may not be trained yet
    return lines + [f"defenses to train, unless the store has them: {defenses}"] * bool(defenses)
