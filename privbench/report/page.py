"""Page of a report: one HTML file that needs no network and no server."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from privbench.analysis.advice import untried
from privbench.analysis.labels import HEADLINE, LEGEND, attack_name, leakage, with_unit
from privbench.analysis.operating_points import headline
from privbench.analysis.selection import Selection
from privbench.analysis.tables import Rows
from privbench.analysis.tradeoffs import SplitResults
from privbench.analysis.weaknesses import weaknesses
from privbench.analysis.worst_case import ComparableAttacks, mixed_victims, unequal_budgets
from privbench.report.image_sheets import ImageSheets
from privbench.report.page_data import caveats, page_data
from privbench.report.rendering import Figure, scripts

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("common.js", "charts.js", "images.js", "compare.js", "cells.js", "start.js")
MAX_OPEN_ROWS = 24
"""Rows, with the heading, of a table that is not folded."""
_SPAN = re.compile(r"-?[\d.]+ \[.*\]")
"""A score and its interval, which stay on a line."""


def page(
    selection: Selection,
    found: Sequence[SplitResults],
    figures: Sequence[Figure],
    tables: Mapping[str, Rows],
    sheets: ImageSheets,
    folder: Path,
    files: Iterable[str] = (),
) -> str:
    """Return the page as HTML.

    Args:
        selection: Records and what is missing.
        found: Results by victim and split point.
        figures: Figures that the page draws.
        tables: Tables by title.
        sheets: Images of the records.
        folder: Folder that the page will lie in: links are relative to it.
        files: Stems of the figures that lie next to the page, as PNG, SVG and PDF.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.tests["span"] = _SPAN.fullmatch
    data = {**page_data(selection, found, figures, sheets, folder), "files": list(files)}
    advice = untried(selection.records, selection.commands[-1] if selection.commands else "")
    findings = [f"{panel.title}: {line}" for panel in found if (line := finding(panel))]
    return environment.get_template("page.html.j2").render(
        name=selection.name,
        style=(TEMPLATES / "page.css").read_text(),
        script="\n".join((TEMPLATES / name).read_text() for name in SCRIPTS),
        vega=scripts(),
        findings=findings or [_nothing(selection)],
        weaknesses=weaknesses(selection.records, len(selection.missing)),
        advice_warnings=list(advice.warnings),
        advice_commands=advice.commands,
        metadata=_metadata(selection),
        commands=selection.commands,
        warnings=_warnings(selection),
        notes=_notes(selection, found),
        images_note=sheets.note,
        legend=LEGEND,
        tables=[(t, _compact(rows, len(found))) for t, rows in tables.items() if len(rows) > 1],
        folded=MAX_OPEN_ROWS,
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    )


def finding(panel: SplitResults) -> str:
    """Return the headline of some results, or what is recovered where there is no defense."""
    if line := headline(panel):
        return line
    points = panel.settings().get(("none", "", 0.0), [])
    groups = [point.group for point in points if point.group.has(HEADLINE)]
    if not groups:
        return ""
    worst = ComparableAttacks.of(groups).strongest(HEADLINE)
    blind = worst.baseline(HEADLINE)
    recovered = with_unit(worst.score(HEADLINE), HEADLINE)
    gained = leakage(worst.score(HEADLINE) - blind, HEADLINE) > 0
    return (
        f"without a defense {attack_name(worst.first)} recovers {recovered}, "
        f"{'above' if gained else 'no more than'} the blind baseline's {blind:.2f}"
    )


def _metadata(selection: Selection) -> list[str]:
    records = selection.records
    count = f"{len(records)} cells"
    if selection.missing:
        count += f", {len(selection.missing)} more without a record"
    if not records:
        return [count]
    ended = sorted(record.finished for record in records)
    first, last = (time[:16].replace("T", " ") for time in (ended[0], ended[-1]))
    return [
        count,
        f"measured {first} to {last} UTC" if first != last else f"measured {first} UTC",
        f"on {_list(f'{r.device} ({r.threads} threads)' for r in records)}",
        _list(f"{name} {value}" for r in records for name, value in r.versions.items()),
    ]


def _list(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _nothing(selection: Selection) -> str:
    """Return the first line of a page without a finding."""
    if selection.records:
        return f"{len(selection.records)} cells, without a score to compare"
    return f"No cell has a record: {len(selection.missing)} failed or did not run"


def _warnings(selection: Selection) -> list[str]:
    """Return what a reader has to know before any number."""
    unreadable = "; ".join(selection.unreadable)
    lines = [f"skipped, because they cannot be read: {unreadable}"] if unreadable else []
    return lines + [f"this selection {line}" for line in mixed_victims(selection.records)]


def _notes(selection: Selection, found: Sequence[SplitResults]) -> list[str]:
    """Return what the weaknesses mean, in sentences."""
    lines = []
    if selection.missing:
        lines.append(
            f"{len(selection.missing)} cells have no record; means that need them are left out"
        )
    if uneven := _unequal_settings(found):
        lines.append(
            f"{uneven} settings compare attacks of unequal budgets (steps, queries, auxiliary "
            "images): the table of every attack has them, and a larger budget may explain a gap"
        )
    if doubtful := sum(bool(caveats(record)) for record in selection.records):
        lines.append(
            f"{doubtful} cells did not converge, or gave images that never moved or are not "
            "finite: they are marked in the table, and hollow in the curves where they did not "
            "converge; more steps may recover more"
        )
    return lines


def _unequal_settings(found: Sequence[SplitResults]) -> int:
    """Return the number of settings that were attacked with different budgets."""
    attacked = [points for panel in found for points in panel.settings().values()]
    return sum(bool(unequal_budgets(point.group for point in points)) for points in attacked)


def _compact(rows: Rows, settings: int) -> dict[str, Any]:
    """Return a table without its empty columns; without the setting where there is only one.

    Each row has its setting and its metric, if it is of one: the page shows those of the choice.
    """
    head = rows[0]
    chosen = ["metric", *(["setting"] if settings == 1 else [])]
    kept = [
        at
        for at, name in enumerate(head)
        if any(row[at] for row in rows[1:]) and name not in chosen
    ]
    places = [head.index(name) if name in head else None for name in ("setting", "metric")]
    return {
        "head": [head[at] for at in kept],
        "rows": [
            (
                *("" if at is None else row[at] for at in places),
                [(head[at], row[at]) for at in kept],
            )
            for row in rows[1:]
        ],
    }
