"""Facts of cells as JSON: setting, accuracy, scores of images with their intervals (no torch)."""

import math
from collections.abc import Sequence
from typing import Any

from privbench.evaluation.metrics import metric as metric_of
from privbench.report.analysis.cell_table import caveats
from privbench.report.analysis.frame import victim_of
from privbench.report.analysis.labels import curve_metrics, describe_defense
from privbench.report.analysis.tradeoffs import SplitResults
from privbench.runtime.options import typed_values
from privbench.store.record import Record
from privbench.store.sweep_log import CellStatus

EXACT = 4
"""Further digits of a score that is rounded once more where it is shown."""


class Distinct:
    """Distinct lists, in the order in which they were first asked for."""

    def __init__(self) -> None:
        self.held: list[list[Any]] = []
        self._at: dict[tuple[Any, ...], int] = {}

    def position(self, values: Sequence[Any]) -> int:
        """Return the position of a list among the distinct ones."""
        at = self._at.setdefault(tuple(values), len(self.held))
        if at == len(self.held):
            self.held.append(list(values))
        return at


def places(found: Sequence[SplitResults]) -> dict[str, dict[str, Any]]:
    """Return for each record which results it belongs to, and the distinct name of its attack."""
    return {
        record.key: {"setting": at, "attack": adversary.name}
        for at, panel in enumerate(found)
        for adversary in panel.adversaries
        for point in [*adversary.points, *filter(None, [adversary.undefended])]
        for record in point.group.records
    }


def cell_facts(record: Record, indices: Distinct) -> dict[str, Any]:
    """Return the setting, the accuracy and the scores of a record.

    Args:
        record: Record of the cell.
        indices: Lists of images of the cells so far; that of this one is added.
    """
    shown = curve_metrics([record])
    seed, weights = victim_of(record)
    return {
        "key": record.key,
        "attack": record.attack,
        "defense": f"{record.defense} on {record.site}" if record.strength else "no defense",
        "strength": float(f"{record.strength:g}"),  # 1 / 3000 has a label of six digits
        "name": describe_defense(record.defense, record.strength, record.site),
        "seed": seed,
        "victim": f"{seed} {weights[:12]}",
        "caveats": caveats(record),
        "accuracy": [round(value, 4) for value in (record.accuracy, *record.accuracy_ci95)],
        "index": indices.position(record.per_image["index"]),
        "scores": {name: _short(record.columns[name], name) for name in shown},
        "intervals": {name: _short(_ends(record, name), name, EXACT) for name in shown},
        "blind": {name: _finite(record.baseline(name), name) for name in shown},
    }


def _short(values: Sequence[float], name: str, more: int = 1) -> list[float]:
    """Return scores with some digits more than their metric is written with."""
    return [round(value, metric_of(name).decimals + more) for value in values]


def _ends(record: Record, name: str) -> list[float]:
    return [record.score(name), *(record.scores[name].ci95 or ())]


def _finite(value: float, name: str) -> float | None:
    return round(value, metric_of(name).decimals + 1) if math.isfinite(value) else None


def missing_facts(
    entry: CellStatus, reason: str, command: str, columns: Sequence[str]
) -> dict[str, Any]:
    """Return what the page shows of a cell without a record: its name, and what was typed of it."""
    typed = typed_values(entry.overrides)
    given = [typed.get(name, "") for name in columns[1:-1]]
    values = [entry.name or "the cell", *given, f"no record: {reason}"]
    return {"key": entry.key, "command": command, "why": reason, "values": values, "missing": True}


def metric_facts(name: str) -> dict[str, Any]:
    """Return what the page needs to write a score by a metric."""
    found = metric_of(name)
    return {"name": name, "label": found.label, "title": found.title, "unit": found.unit,
            "decimals": found.decimals, "more": found.leakage(1.0)}  # fmt: skip
