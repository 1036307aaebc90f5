"""Summary of a sweep for trackers: its finding, its curves, its cells, its figures."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from privbench.report.analysis import tables
from privbench.report.analysis.finding import finding
from privbench.report.analysis.labels import metric_title
from privbench.report.analysis.selection import Selection
from privbench.report.analysis.tradeoffs import Adversary, Line, SplitResults, panels
from privbench.report.analysis.variants import with_distinct_defenses
from privbench.tracking.base import CURVE, Curves, SweepSummary

BLIND = "blind guess"


def sweep_summary(selection: Selection, folder: Path) -> SweepSummary:
    """Return what a tracker gets of a sweep.

    Args:
        selection: The sweep's records.
        folder: Folder of its report; its figures are sent where it has any.
    """
    selection = replace(selection, records=with_distinct_defenses(selection.records))
    found = panels(selection.records, selection.gaps)
    metrics = list(dict.fromkeys(name for panel in found for name in panel.metrics))
    return SweepSummary(
        finding(found, len(selection.missing)).lines,
        _typed(tables.cells(selection.records)),
        {name: curves(found, name) for name in metrics},
        {path.stem: path for path in sorted(folder.glob("*.png"))},
        {"cells": len(selection.records), "gaps": len(selection.missing)},
    )


def curves(found: Sequence[SplitResults], metric: str) -> Curves:
    """Return a line for each defense and attack, and one for the blind guess at each defense.

    Args:
        found: Results by victim and split point; a line's name has theirs where there are several.
        metric: Name of the score.
    """
    title = metric_title(metric)
    rows = []
    for panel in found:
        before = f"{panel.title}: " if len(found) > 1 else ""
        for name, line, attack in _lines(panel):
            for point in line.complete.points if metric in panel.metrics else ():
                group = point.group
                blind = attack == BLIND
                score = group.baseline(metric) if blind else group.score(metric)
                ends = None if blind else group.recorded_interval(metric)
                rows.append([
                    f"{before}{name}", score, point.accuracy, panel.title, line.defense, line.site,
                    attack, point.strength, *(ends or (None, None)),
                ])  # fmt: skip
    columns = [
        CURVE, title, "accuracy", "setting", "defense", "site", "attack", "strength", "low", "high",
    ]  # fmt: skip
    return Curves(f"Accuracy against {title}", columns, rows)


def _lines(panel: SplitResults) -> Iterator[tuple[str, Line, str]]:
    """Yield the name, the points and the attack of every line."""
    attacks: list[Adversary] = [one for one in panel.adversaries if not one.blind]
    for adversary in attacks:
        for line in adversary.lines:
            yield f"{line.name}, {adversary.name}", line, adversary.name
    blind = {line.name: line for adversary in attacks for line in adversary.lines}
    for name, line in blind.items():
        yield f"{name}, {BLIND}", line, BLIND


def _typed(rows: tables.Rows) -> list[list[Any]]:
    """Return a table with columns of numbers as such, so that a tracker can sort them."""
    head, *body = rows
    columns = [_column(list(values)) for values in zip(*body, strict=True)]
    return [list(head), *(list(row) for row in zip(*columns, strict=True))]


def _column(values: Sequence[str]) -> list[Any]:
    try:
        return [float(value) if value else None for value in values]
    except ValueError:
        return list(values)
