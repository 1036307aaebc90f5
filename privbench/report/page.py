"""Page of a report: one HTML file that needs no network and no server."""

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from privbench.analysis.advice import untried
from privbench.analysis.frame import SeedGroup
from privbench.analysis.labels import (
    HEADLINE,
    LEGEND,
    curve_metrics,
    metric_label,
    number,
    table_metrics,
)
from privbench.analysis.operating_points import headline
from privbench.analysis.selection import Selection
from privbench.analysis.tables import Rows
from privbench.analysis.tradeoffs import SplitResults
from privbench.analysis.worst_case import mixed_victims, unequal_budgets, unreliable
from privbench.evaluation.metrics import metric as metric_of
from privbench.report.image_grids import ImageLoader
from privbench.store.record import Record

TEMPLATES = Path(__file__).parent / "templates"
SETTING = ("dataset", "split", "attack", "defense", "site", "strength", "seed", "accuracy")
"""First columns of the table of cells; scores and the state follow."""
WORDS = SETTING[:5]
"""Columns that are not numbers."""
MAX_STRIP = 10
"""Images of a cell that the page holds."""
MAX_FIGURES = 8
"""Figures of a section."""
MAX_OPEN_ROWS = 24
"""Rows, with the heading, of a table that is not folded."""
MAX_IMAGE_BYTES = 8_000_000
"""Bytes of images that the page holds; further cells have a link to theirs."""
_SPAN = re.compile(r"-?[\d.]+ \[.*\]")
"""A score and its interval, which stay on a line."""


def page(
    selection: Selection,
    panels: Sequence[SplitResults],
    figures: Mapping[str, Sequence[tuple[str, str]]],
    tables: Mapping[str, Rows],
    read: ImageLoader,
    folder: Path,
) -> str:
    """Return the page as HTML.

    Args:
        selection: Records and what is missing.
        panels: Results by victim and split point.
        figures: By section: the stem of a figure's files, and the figure as SVG or image.
        tables: Tables by title.
        read: Loader of a record's images.
        folder: Folder that the page will lie in: links are relative to it.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.tests["span"] = _SPAN.fullmatch
    metrics = table_metrics(selection.records)
    columns = [*SETTING, *(name for name, _ in _scores(metrics)), "state"]
    rows, data = _cells(selection, read, folder, columns)
    return environment.get_template("page.html.j2").render(
        name=selection.name,
        style=(TEMPLATES / "page.css").read_text(),
        script=(TEMPLATES / "page.js").read_text(),
        advice=untried(selection.records, selection.commands[-1] if selection.commands else ""),
        metadata=_metadata(selection),
        commands=selection.commands,
        headlines=[f"{panel.title}: {line}" for panel in panels if (line := headline(panel))],
        warnings=_warnings(selection, panels),
        sections=_sections(figures),
        most_figures=MAX_FIGURES,
        legend=LEGEND,
        tables=[(title, lines) for title, lines in tables.items() if len(lines) > 1],
        folded=MAX_OPEN_ROWS,
        columns=columns,
        rows=rows,
        data=data,
    )


def _sections(figures: Mapping[str, Sequence[tuple[str, str]]]) -> list[dict[str, Any]]:
    """Return the sections that have a figure; the first one has the curves."""
    found = []
    for at, (title, drawn) in enumerate(figures.items()):
        if drawn:
            anchor = "images" if drawn[0][1].startswith("<img") else "curves" if not at else ""
            found.append({"title": title, "anchor": anchor, "figures": drawn})
    return found


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
        f"measured {first} to {last} UTC",
        f"on {_list(f'{r.device} ({r.threads} threads)' for r in records)}",
        _list(f"{name} {value}" for r in records for name, value in r.versions.items()),
    ]


def _list(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _warnings(selection: Selection, panels: Sequence[SplitResults]) -> list[str]:
    found = []
    if selection.missing:
        found.append(
            f"{len(selection.missing)} cells have no record; means that need them are left out"
        )
    if selection.unreadable:
        found.append(f"skipped, because they cannot be read: {'; '.join(selection.unreadable)}")
    found += [f"this selection {line}" for line in mixed_victims(selection.records)]
    if uneven := _unequal_settings(panels):
        found.append(
            f"{uneven} settings compare attacks of unequal budgets (steps, queries, auxiliary "
            "images): the table of every attack has them, and a larger budget may explain a gap"
        )
    if doubtful := sum(bool(_caveats(record)) for record in selection.records):
        found.append(
            f"{doubtful} cells did not converge, or gave images that never moved or are not "
            "finite: they are marked in the table, and hollow in the curves where they did not "
            "converge; more steps may recover more"
        )
    return found


def _unequal_settings(panels: Sequence[SplitResults]) -> int:
    """Return the number of settings that were attacked with different budgets."""
    attacked = [points for panel in panels for points in panel.settings().values()]
    return sum(bool(unequal_budgets(point.group for point in points)) for points in attacked)


def _caveats(record: Record) -> str:
    return ", ".join(unreliable(SeedGroup([record])))


def inline(svg: bytes, name: str) -> str:
    """Return an SVG for the inside of a page, its names prefixed so that they are unique."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'xlink:href="#(?!cell-)', f'xlink:href="#{name}-', text)
    text = text.replace(' target="_blank"', "")  # a link within the page stays in it
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)


def picture(png: bytes, alt: str) -> str:
    """Return a PNG for the inside of a page."""
    return f'<img alt="{escape(alt)}" src="{_uri(png)}">'


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _cells(
    selection: Selection, read: ImageLoader, folder: Path, columns: Sequence[str]
) -> tuple[list[dict[str, Any]], str]:
    """Return the rows of the table of cells, and the JSON of what they open."""
    images: dict[str, str] = {}
    details: dict[str, dict[str, str]] = {}
    rows = []
    scores = _scores(table_metrics(selection.records))
    for record in selection.records:
        caveats = _caveats(record)
        values = [*_setting(record), *(value(record) for _, value in scores), caveats or "done"]
        rows.append(_row(record.key, values, "doubt" if caveats else "", columns))
        details[record.key] = {
            "command": selection.rerun_command(record),
            "record": os.path.relpath(selection.store / "records" / record.key, folder.resolve()),
        }
        if sum(map(len, images.values())) < MAX_IMAGE_BYTES:
            details[record.key] |= _strips(record, read, images)
    for entry, reason, command in selection.missing:
        values = [entry.name or "the cell", *[""] * (len(columns) - 2), "no record"]
        rows.append(_row(entry.key, values, "gap", columns))
        details[entry.key] = {"command": command, "why": reason}
    data = json.dumps({"cells": details, "images": images}).replace("<", "\\u003c")
    return rows, data


def _setting(record: Record) -> list[str]:
    return [
        record.dataset, record.split, record.attack, record.defense, record.site,
        f"{record.strength:g}", str(record.seed), f"{record.accuracy:.4f}",
    ]  # fmt: skip


def _scores(metrics: Sequence[str]) -> list[tuple[str, Callable[[Record], str]]]:
    """Return the columns of scores: headings, and the text of a record's cell."""
    found: list[tuple[str, Callable[[Record], str]]] = [
        (metric_label(name), partial(_score, name=name)) for name in metrics
    ]
    curves = sum(name in curve_metrics([]) for name in metrics)
    found.insert(curves, (f"blind {metric_label(HEADLINE)}", _blind))
    return found


def _score(record: Record, name: str) -> str:
    if not record.has(name):
        return ""
    value = record.score(name)
    return f"{value:.2f}" if metric_of(name).interval == "wilson" else number(value, name)


def _blind(record: Record) -> str:
    return number(record.floor["best"].get(HEADLINE), HEADLINE)


def _row(key: str, values: Sequence[str], kind: str, columns: Sequence[str]) -> dict[str, Any]:
    kinds = ["state" if c == "state" else "" if c in WORDS else "number" for c in columns]
    text = " ".join(values).lower()
    return {"key": key, "text": text, "kind": kind, "cells": list(zip(kinds, values, strict=True))}


def _strips(record: Record, read: ImageLoader, images: dict[str, str]) -> dict[str, str]:
    """Return the names of its originals and reconstructions, which are added to ``images``."""
    try:
        originals, reconstructions = read(record)
    except (OSError, ValueError):
        return {"why": "its images cannot be read"}
    found = {}
    for label, shown in (("originals", originals), ("recovered", reconstructions)):
        data = _strip(shown[:MAX_STRIP])
        name = hashlib.sha256(data).hexdigest()[:12]
        images.setdefault(name, _uri(data))
        found[label] = name
    return found


def _strip(images: NDArray[np.uint8]) -> bytes:
    row = np.concatenate(list(images), axis=2).transpose(1, 2, 0)
    image = Image.fromarray(row[..., 0] if row.shape[2] == 1 else row)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
