"""Data of the page's scripts: cells with scores, images, intervals and commands, as JSON."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from scipy.special import stdtrit

from privbench.analysis.frame import SeedGroup, victim_of
from privbench.analysis.labels import (
    HEADLINE,
    curve_metrics,
    describe_defense,
    metric_label,
    number,
    table_metrics,
)
from privbench.analysis.selection import Selection
from privbench.analysis.tradeoffs import SplitResults
from privbench.analysis.worst_case import unreliable
from privbench.evaluation.metrics import metric as metric_of
from privbench.evaluation.statistics import FEW_IMAGES, LEVEL
from privbench.report.image_sheets import ImageSheets
from privbench.report.rendering import Figure
from privbench.store.record import Record

SETTING = (
    "dataset", "split", "attack", "defense", "site", "strength", "transmissions", "seed",
)  # fmt: skip
"""First columns of the table of cells; accuracy, scores and the state follow."""


def page_data(
    selection: Selection,
    found: Sequence[SplitResults],
    figures: Sequence[Figure],
    sheets: ImageSheets,
    folder: Path,
) -> dict[str, Any]:
    """Return all that the page's scripts need.

    Args:
        selection: Records and what is missing.
        found: Their results by victim and split point.
        figures: Figures that the page draws.
        sheets: Images of the records.
        folder: Folder that the page will lie in: links are relative to it.
    """
    records = selection.records
    indices = _Distinct()
    places = _places(found)
    cells = [
        {**_cell(record, selection, sheets, folder, indices), **places.get(record.key, {})}
        for record in records
    ]
    columns = _columns(table_metrics(records))
    values = [[text(record) for _, text in columns] for record in records]
    missing = [_missing(*gap, width=len(columns)) for gap in selection.missing]
    most = max((record.targets for record in records), default=2)
    return {
        "cells": [
            *({**cell, "values": row} for cell, row in zip(cells, values, strict=True)),
            *missing,
        ],
        "columns": _described(columns, values, [cell["values"] for cell in missing]),
        "settings": [panel.title for panel in found],
        "metrics": [_metric(name) for name in curve_metrics(records)],
        "indices": indices.held,
        "sheets": sheets.held,
        "figures": [_figure(figure) for figure in figures],
        "t": [None, *(round(float(stdtrit(df, (1 + LEVEL) / 2)), 4) for df in range(1, most))],
        "few": FEW_IMAGES,
    }


class _Distinct:
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


def _places(found: Sequence[SplitResults]) -> dict[str, dict[str, Any]]:
    """Return for each record which results it belongs to, and the distinct name of its attack."""
    return {
        record.key: {"setting": at, "attack": adversary.name}
        for at, panel in enumerate(found)
        for adversary in panel.adversaries
        for point in [*adversary.points, *filter(None, [adversary.undefended])]
        for record in point.group.records
    }


def _cell(
    record: Record, selection: Selection, sheets: ImageSheets, folder: Path, indices: _Distinct
) -> dict[str, Any]:
    """Return what the page shows of a record."""
    shown = curve_metrics([record])
    seed, weights = victim_of(record)
    return {
        "key": record.key,
        "attack": record.attack,
        "defense": f"{record.defense} on {record.site}" if record.strength else "no defense",
        "strength": record.strength,
        "name": describe_defense(record.defense, record.strength, record.site),
        "seed": seed,
        "victim": f"{seed} {weights[:12]}",
        "caveats": caveats(record),
        "accuracy": [record.accuracy, *record.accuracy_ci95],
        "command": selection.rerun_command(record),
        "record": os.path.relpath(selection.store / "records" / record.key, folder.resolve()),
        "index": indices.position(record.per_image["index"]),
        "scores": {name: _short(record.columns[name]) for name in shown},
        "intervals": {name: _ends(record, name) for name in shown},
        "blind": {name: _finite(record.baseline(name)) for name in shown},
        **sheets.of.get(record.key, {}),
    }


def caveats(record: Record) -> str:
    """Return why the scores of a record may be too low, in words; empty where they are not."""
    return ", ".join(unreliable(SeedGroup([record])))


def _short(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _ends(record: Record, name: str) -> list[float]:
    return [record.score(name), *(record.scores[name].ci95 or ())]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _missing(entry: Any, reason: str, command: str, width: int) -> dict[str, Any]:
    """Return what the page shows of a cell without a record."""
    values = [entry.name or "the cell", *[""] * (width - 2), f"no record: {reason}"]
    return {"key": entry.key, "command": command, "why": reason, "values": values, "missing": True}


Column = tuple[str, Callable[[Record], str]]


def _columns(metrics: Sequence[str]) -> list[Column]:
    """Return the columns of the table of cells: headings, and the text of a record's cell."""
    scores: list[Column] = [(metric_label(name), partial(_score, name=name)) for name in metrics]
    curves = sum(name in curve_metrics([]) for name in metrics)
    scores.insert(curves, (f"blind {metric_label(HEADLINE)}", _blind))
    return [
        *((name, partial(_field, name=name)) for name in SETTING),
        ("accuracy", lambda record: f"{record.accuracy:.4f}"),
        *scores,
        ("state", lambda record: caveats(record) or "done"),
    ]


def _field(record: Record, name: str) -> str:
    value = getattr(record, name)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _score(record: Record, name: str) -> str:
    if not record.has(name):
        return ""
    value = record.score(name)
    return f"{value:.2f}" if metric_of(name).interval == "wilson" else number(value, name)


def _blind(record: Record) -> str:
    return number(record.floor["best"].get(HEADLINE), HEADLINE)


def _described(
    columns: Sequence[Column], values: Sequence[Sequence[str]], missing: Sequence[Sequence[str]]
) -> list[dict[str, Any]]:
    """Return the columns: whether they are empty, and the value that all records have, if one."""
    found = []
    varying = {"accuracy", "state", *map(metric_label, curve_metrics([]))}
    for at, (name, _) in enumerate(columns):
        held = {row[at] for row in values}
        same = len(held) == 1 and len(values) > 1 and name not in varying
        found.append({
            "name": name,
            "empty": not any(row[at] for row in (*values, *missing)),
            "constant": next(iter(held)) if same else None,
            "number": name not in (*SETTING[:5], "state"),
        })  # fmt: skip
    return found


def _metric(name: str) -> dict[str, Any]:
    found = metric_of(name)
    return {"name": name, "label": found.label, "title": found.title, "unit": found.unit,
            "decimals": found.decimals, "more": found.leakage(1.0)}  # fmt: skip


def _figure(figure: Figure) -> dict[str, Any]:
    fields: Mapping[str, Any] = vars(figure)
    return dict(fields)
