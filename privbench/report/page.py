"""Page of a report: one HTML file that needs no network and no server."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from privbench.analysis.advice import untried
from privbench.analysis.battery import battery_lines
from privbench.analysis.finding import finding
from privbench.analysis.labels import LEGEND
from privbench.analysis.selection import Selection
from privbench.analysis.tables import Rows
from privbench.analysis.tradeoffs import SplitResults, unequal_settings
from privbench.report.image_sheets import ImageSheets
from privbench.report.page_data import page_data
from privbench.report.rendering import Figure, scripts

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("common.js", "charts.js", "tips.js", "images.js", "compare.js", "cells.js", "start.js")
MAX_OPEN_ROWS = 24
"""Rows, with the heading, of a table that is not folded."""


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
    data = {**page_data(selection, found, figures, sheets, folder), "files": list(files)}
    advice = untried(selection.records, selection.commands[-1] if selection.commands else "")
    result = finding(found, len(selection.missing))
    return (
        templates()
        .get_template("page.html.j2")
        .render(
            **parts(TEMPLATES / name for name in SCRIPTS),
            name=selection.name,
            findings=result.statements,
            weaknesses=list(dict.fromkeys(weakness.name for weakness in result.weaknesses)),
            advice_commands=advice.commands,
            battery=_battery(selection),
            metadata=_metadata(selection),
            commands=selection.commands,
            unreadable=selection.unreadable,
            notes=[
                *(weakness.sentence for weakness in result.weaknesses),
                *unequal_settings(found),
            ],
            images_note=sheets.note,
            legend=LEGEND,
            tables=[(t, _compact(rows, len(found))) for t, rows in tables.items() if len(rows) > 1],
            folded=MAX_OPEN_ROWS,
            data=embedded(data),
        )
    )


def templates(*folders: Path) -> Environment:
    """Return the templates of these folders, before those of a report."""
    return Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def parts(files: Iterable[Path]) -> dict[str, str]:
    """Return what makes a page one file: its style, these scripts, and those that draw."""
    return {
        "style": (TEMPLATES / "page.css").read_text(),
        "script": "\n".join(path.read_text() for path in files),
        "vega": scripts(),
    }


def embedded(data: Mapping[str, Any]) -> str:
    """Return the data of a page's scripts as JSON that cannot end its element."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _battery(selection: Selection) -> list[str]:
    if not (selection.battery and selection.records):
        return []
    missing = [entry for entry, *_ in selection.missing]
    return battery_lines(selection.battery, selection.records, missing)


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
