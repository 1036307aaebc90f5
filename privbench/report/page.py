"""Page of a report: one HTML file that needs no network and no server."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from privbench.report.analysis.battery import lines_of_selection
from privbench.report.analysis.labels import LEGEND
from privbench.report.analysis.selection import Selection
from privbench.report.analysis.setting_facts import setting_facts
from privbench.report.analysis.tables import Rows, compact
from privbench.report.analysis.tradeoffs import SplitResults
from privbench.report.image_sheets import ImageSheets
from privbench.report.page_data import page_data
from privbench.report.rendering import Figure, packed, scripts
from privbench.store.battery import not_applicable

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
    commands = [_without_own_outputs(typed, selection) for typed in selection.commands]
    command = commands[-1] if commands else ""
    settings = setting_facts(found, len(selection.missing), command)
    first = max(range(len(settings)), key=lambda at: int(settings[at]["cells"]))
    data = {**page_data(selection, found, figures, sheets, folder), "files": list(files)}
    template = templates().get_template("page.html.j2")
    return template.render(
        **parts(TEMPLATES / name for name in SCRIPTS),
        name=selection.name,
        settings=settings,
        first=first,
        battery=lines_of_selection(selection),
        unsuitable=[] if selection.battery else not_applicable(selection.unsuitable),
        metadata=selection.metadata,
        commands=commands,
        own_outputs=commands != list(selection.commands),
        unreadable=selection.unreadable,
        images_note=sheets.note,
        legend=LEGEND,
        tables=[(t, compact(rows, len(found))) for t, rows in tables.items() if len(rows) > 1],
        folded=MAX_OPEN_ROWS,
        data=embedded({**data, "first": first}),
    )


def _without_own_outputs(command: str, selection: Selection) -> str:
    """Return a command without ``output_dir`` where that is the folder of the page's store."""
    own = f"output_dir={selection.store.resolve().parent}"
    return shlex.join(word for word in shlex.split(command) if word != own)


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
    """Return the data of a page's scripts as JSON, ``packed``."""
    return packed(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))
