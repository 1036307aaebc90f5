"""The page of a report: one HTML file that needs no network and no server."""

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privbench.report.advice import untried
from privbench.report.figures import Pictures
from privbench.report.selection import Selection
from privbench.report.tables import LEGEND, Rows
from privbench.report.tradeoffs import SplitResults, headline
from privbench.report.worst_case import SeedGroup, mixed_victims, unequal_budgets, unreliable
from privbench.store.record import Record

HERE = Path(__file__).parent
COLUMNS = ("dataset", "split", "attack", "defense", "site", "strength", "seed", "accuracy", "SSIM",
           "PSNR", "blind SSIM", "identified", "state")  # fmt: skip
NUMBERS = ("strength", "seed", "accuracy", "SSIM", "PSNR", "blind SSIM", "identified")
STRIP = 10
"""Images of a cell that the page holds."""
MOST_FIGURES = 8
"""Of a section: more would be scrolled past."""
MORE = (
    "More can be drawn than stands here: select, e.g. <code>python -m privbench.report FOLDER "
    "--attack rmle --defense dropout</code>. The table below holds every cell."
)
FOLDED = 24
"""Rows of a table that stand open."""
MOST = 8_000_000
"""Bytes of images that the page holds; of further cells it holds the link."""


def page(
    selection: Selection,
    panels: Sequence[SplitResults],
    figures: Mapping[str, Sequence[tuple[str, str]]],
    tables: Mapping[str, Rows],
    read: Pictures,
    folder: Path,
) -> str:
    """The page as text.

    Args:
        selection: What it is about.
        panels: What was measured.
        figures: By section: a file's stem and its SVG or image, as HTML.
        tables: By title.
        read: Images of a record.
        folder: Where the page will lie: links are relative to it.
    """
    parts = [*_unknown_defenses(selection), _head(selection), _summary(selection, panels)]
    for at, (section, drawn) in enumerate(figures.items()):
        if drawn:
            place = "images" if drawn[0][1].startswith("<img") else "curves" if not at else ""
            parts.append(f"<section id='{place}'><h2>{escape(section)}</h2>")
            parts += [_figure(stem, html) for stem, html in drawn]
            if len(drawn) >= MOST_FIGURES:
                parts.append(f"<p class=soft>{MORE}</p>")
            parts.append("</section>")
    parts.append(f"<section id='tables'><p class=soft>{escape(LEGEND)}</p>")
    for title, rows in tables.items():
        if len(rows) > 1:
            folded = "" if len(rows) <= FOLDED else " (unfold)"
            whole = f"<h2>{escape(title)}{folded}</h2>"
            if folded:
                parts.append(f"<details><summary>{whole}</summary>{_table(rows)}</details>")
            else:
                parts.append(f"{whole}{_table(rows)}")
    parts.append("</section>")
    parts.append(_cells(selection, read, folder))
    style, script = ((HERE / name).read_text() for name in ("page.css", "page.js"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(selection.name)}: privbench</title><style>{style}</style></head><body>\n"
        + "\n".join(parts)
        + f"\n<script>{script}</script></body></html>\n"
    )


def _unknown_defenses(selection: Selection) -> list[str]:
    """Defenses that no attack here knows, before anything else, and what to type for one."""
    advice = untried(selection.records, selection.commands[-1] if selection.commands else "")
    if not advice.warnings:
        return []
    commands = "".join(f"<pre>{escape(command)}</pre>" for command in advice.commands)
    return [
        *(f"<p class=warn>{escape(line)}</p>" for line in advice.warnings),
        f"<p class=soft>This adds one:</p>{commands}",
    ]


def _head(selection: Selection) -> str:
    records = selection.records
    count = f"{len(records)} cells"
    if selection.missing:
        count += f", {len(selection.missing)} more without a record"
    facts = [count]
    if records:
        ended = sorted(record.finished for record in records)
        first, last = (time[:16].replace("T", " ") for time in (ended[0], ended[-1]))
        facts.append(f"measured {first} to {last} UTC")
        facts.append(f"on {_list(f'{r.device} ({r.threads} threads)' for r in records)}")
        versions = {f"{name} {value}" for r in records for name, value in r.versions.items()}
        facts.append(_list(versions))
    told = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    commands = "".join(f"<pre>{escape(command)}</pre>" for command in selection.commands)
    return (
        f"<header><h1>{escape(selection.name)}</h1><ul class=soft>{told}</ul>{commands}"
        "<nav><a href='#curves'>curves</a><a href='#images'>images</a>"
        "<a href='#tables'>tables</a><a href='#cells'>all cells</a></nav></header>"
    )


def _list(values: object) -> str:
    return ", ".join(sorted(set(values)))  # type: ignore[call-overload]


def _summary(selection: Selection, panels: Sequence[SplitResults]) -> str:
    told = [f"{panel.title}: {line}" for panel in panels if (line := headline(panel))]
    lines = "".join(f"<li>{escape(line)}</li>" for line in told)
    parts = [f"<ul>{lines}</ul>" if lines else ""]
    doubtful = [r for r in selection.records if _doubt(r)]
    warnings = []
    if selection.missing:
        warnings.append(
            f"{len(selection.missing)} cells have no record; means that need them are left out"
        )
    if selection.unreadable:
        warnings.append(f"skipped, because they cannot be read: {'; '.join(selection.unreadable)}")
    warnings += [f"this selection {line}" for line in mixed_victims(selection.records)]
    if uneven := _unequal_settings(panels):
        warnings.append(
            f"{uneven} settings compare attacks of unequal budgets (steps, queries, auxiliary "
            "images): the table of every attack has them, and a larger budget may explain a gap"
        )
    if doubtful:
        warnings.append(
            f"{len(doubtful)} cells did not converge, or gave images that never moved or are not "
            "finite: they are marked in the table, and hollow in the curves where they did not "
            "converge; more steps may recover more"
        )
    parts += [f"<p class=warn>{escape(warning)}</p>" for warning in warnings]
    return f"<section><h2>What is seen</h2>{''.join(parts)}</section>" if any(parts) else ""


def _unequal_settings(panels: Sequence[SplitResults]) -> int:
    """How many defended or undefended settings were met with different budgets."""
    met = [points for panel in panels for points in panel.settings().values()]
    return sum(bool(unequal_budgets(point.group for point in points)) for points in met)


def _doubt(record: Record) -> str:
    return ", ".join(unreliable(SeedGroup([record])))


def _figure(stem: str, html: str) -> str:
    files = ", ".join(f'<a href="{stem}.{form}">{form.upper()}</a>' for form in ("png", "pdf"))
    return f"<figure>{html}<figcaption>{files}</figcaption></figure>"


def inline(svg: bytes, name: str) -> str:
    """An SVG for the inside of a page: names of its own, links that stay."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'xlink:href="#(?!cell-)', f'xlink:href="#{name}-', text)
    text = text.replace(' target="_blank"', "")  # a link within the page stays in it
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)


def picture(png: bytes, alt: str) -> str:
    """A PNG for the inside of a page."""
    return f'<img alt="{escape(alt)}" src="{_uri(png)}">'


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _table(rows: Rows) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td{_kind(cell)}>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows[1:]
    )
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class=scroll>{whole}</div>"


def _kind(cell: str) -> str:
    """A score and its interval stay on a line."""
    return " class=span" if re.fullmatch(r"-?[\d.]+ \[.*\]", cell) else ""


def _cells(selection: Selection, read: Pictures, folder: Path) -> str:
    """The table that sorts, filters and opens, and what its rows open."""
    images: dict[str, str] = {}
    details: dict[str, dict[str, str]] = {}
    rows = []
    for record in selection.records:
        state = _doubt(record) or "done"
        values = (
            record.dataset, record.split, record.attack, record.defense, record.site,
            f"{record.strength:g}", record.seed, f"{record.accuracy:.4f}", f"{record.ssim:.3f}",
            f"{record.psnr_db:.2f}", f"{record.floor['best']['ssim']:.3f}",
            f"{record.identification:.2f}", state,
        )  # fmt: skip
        rows.append(_row(record.key, [str(value) for value in values], state != "done"))
        place = selection.store / "records" / record.key
        detail = {
            "command": selection.alone(record),
            "record": os.path.relpath(place, folder.resolve()),
        }
        if sum(map(len, images.values())) < MOST:
            detail |= _strips(record, read, images)
        details[record.key] = detail
    for entry, why, command in selection.missing:
        blanks = [""] * (len(COLUMNS) - 2)
        rows.append(_row(entry.key, [entry.name or "the cell", *blanks, "no record"], gap=True))
        details[entry.key] = {"command": command, "why": why}
    head = "".join(f"<th><button type=button>{name}</button></th>" for name in COLUMNS)
    data = json.dumps({"cells": details, "images": images}).replace("<", "\\u003c")
    return (
        "<section><h2>All cells</h2><p class=hint><label>Filter: <input type=search id=search "
        'placeholder="dropout features 0.6"></label> <span id=count></span></p>'
        "<p class='soft hint'>A row opens its images, its record and the command that makes it; "
        "so does a point of a curve.</p>"
        f"<div class=scroll><table id=cells><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}"
        f"</tbody></table></div></section>\n<script type='application/json' id=data>{data}</script>"
    )


def _row(key: str, values: Sequence[str], doubt: bool = False, *, gap: bool = False) -> str:
    kind = "gap" if gap else "doubt" if doubt else ""
    text = escape(" ".join(values).lower(), quote=True)
    tds = "".join(
        f"<td{' class=number' if name in NUMBERS else ' class=state' if name == 'state' else ''}>"
        f"{escape(value)}</td>"
        for name, value in zip(COLUMNS, values, strict=True)
    )
    name = escape(key, quote=True)
    return f'<tr id="cell-{name}" data-key="{name}" data-text="{text}" class="{kind}">{tds}</tr>'


def _strips(record: Record, read: Pictures, images: dict[str, str]) -> dict[str, str]:
    """Names of its originals and reconstructions among the page's images."""
    try:
        originals, recovered = read(record)
    except (OSError, ValueError):
        return {"why": "its images cannot be read"}
    found = {}
    for label, pictures in (("originals", originals), ("recovered", recovered)):
        data = _strip(pictures[:STRIP])
        name = hashlib.sha256(data).hexdigest()[:12]
        images.setdefault(name, _uri(data))
        found[label] = name
    return found


def _strip(pictures: NDArray[np.uint8]) -> bytes:
    row = np.concatenate(list(pictures), axis=2).transpose(1, 2, 0)
    image = Image.fromarray(row[..., 0] if row.shape[2] == 1 else row)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
