"""Columns of a table of cells, as text: setting, accuracy, scores, state (no torch)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from privbench.evaluation.metrics import metric as metric_of
from privbench.report.analysis.frame import SeedGroup
from privbench.report.analysis.labels import HEADLINE, curve_metrics, metric_label, number
from privbench.report.analysis.worst_case import unreliable
from privbench.store.record import Record

SETTING = (
    "dataset", "split", "attack", "defense", "site", "strength", "transmissions", "seed",
)  # fmt: skip
"""First columns of the table of cells; accuracy, scores and the state follow."""
Column = tuple[str, Callable[[Record], str]]


def caveats(record: Record) -> str:
    """Return why the scores of a record may be too low, in words; empty where they are not."""
    return ", ".join(unreliable(SeedGroup([record])))


def cell_columns(metrics: Sequence[str]) -> list[Column]:
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


def described(
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
