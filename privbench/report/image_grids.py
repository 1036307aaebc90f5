"""Reconstructions, drawn in rows and columns for a paper (the page has all of them)."""

import base64
import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privbench.report.analysis.images import GridImage, ImageLoader, original_of, reconstruction_of
from privbench.report.analysis.labels import file_stem
from privbench.report.analysis.tradeoffs import Line, SplitResults
from privbench.report.image_sheets import as_picture
from privbench.report.rendering import IMAGES, Figure
from privbench.report.style import NO_DATA, specification

SIZE, GAP, CAPTION, NAMES = 58, 4, 12, 108
"""Points: side of an image, room between images, height of a caption, width of the row names."""
MAX_COLUMNS = 12


def grid_chart(heads: Sequence[str], rows: Mapping[str, Sequence[GridImage]]) -> dict[str, Any]:
    """Return images in rows and columns as a Vega-Lite specification, a caption under each.

    Args:
        heads: Headings of the columns.
        rows: Images by the name of their row, one for each column.
    """
    top = 14 if any(heads) else 0
    marks: list[dict[str, Any]] = [
        {"kind": "head", "x": _left(at) + SIZE / 2, "y": top - 4, "text": head}
        for at, head in enumerate(heads)
    ]
    for at, (name, cells) in enumerate(rows.items()):
        y = top + at * (SIZE + CAPTION + GAP)
        text = textwrap.fill(name, 20)
        marks.append({"kind": "name", "x": NAMES - 8, "y": y + SIZE / 2, "text": text})
        marks += [mark for column, cell in enumerate(cells) for mark in _cell(cell, column, y)]
    layers = [
        _of("image").mark_image(width=SIZE, height=SIZE, align="left", baseline="top")
        .encode(url="url:N"),
        _of("caption").mark_text(fontSize=7.5, baseline="top"),
        _of("head").mark_text(fontSize=10, baseline="bottom"),
        _of("name").mark_text(fontSize=10, align="right", baseline="middle", lineBreak="\n"),
    ]  # fmt: skip
    size = {
        "width": NAMES + len(heads) * (SIZE + GAP),
        "height": top + len(rows) * (SIZE + CAPTION + GAP),
    }
    frame = alt.ViewConfig(stroke=None)
    whole = alt.layer(*layers).properties(data=NO_DATA, view=frame, **size)
    return specification(whole, marks)


def _of(kind: str) -> Any:
    place = {"x": alt.X("x:Q", scale=None, axis=None), "y": alt.Y("y:Q", scale=None, axis=None)}
    kept = alt.Chart().transform_filter(f"datum.kind === '{kind}'").encode(**place)
    return kept if kind == "image" else kept.encode(text="text:N")


def _left(column: int) -> float:
    return NAMES + column * (SIZE + GAP)


def _cell(cell: GridImage, column: int, y: float) -> Iterator[dict[str, Any]]:
    """Yield the marks of an image, or those of a gap."""
    middle = _left(column) + SIZE / 2
    if cell is None:
        yield {"kind": "caption", "x": middle, "y": y + SIZE / 2, "text": "gap"}
        return
    image, text = cell
    yield {"kind": "image", "x": _left(column), "y": y, "url": _data_uri(image)}
    yield {"kind": "caption", "x": middle, "y": y + SIZE + 2, "text": text}


def _data_uri(image: NDArray[np.uint8]) -> str:
    """Return a PNG of at least twice the size at which it is drawn, so that pixels stay sharp."""
    picture = as_picture(image)
    zoom = max(1, round(2 * SIZE / max(picture.size)))
    size = (picture.width * zoom, picture.height * zoom)
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.NEAREST).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def by_strength(panel: SplitResults, read: ImageLoader, images: int = 2) -> Iterator[Figure]:
    """Yield a figure for each attack and defense: a column for each strength, the original first.

    Args:
        panel: Results of one victim and split point.
        read: Loader of a record's images.
        images: Number of images, a row for each of them and site.
    """
    for adversary in panel.adversaries:
        for defense in sorted({line.defense for line in adversary.lines}):
            lines = [line for line in adversary.lines if line.defense == defense]
            strengths = sorted({p.strength for line in lines for p in line.points})[:MAX_COLUMNS]
            rows = {
                name: cells
                for line in lines
                for name, cells in _strength_rows(line, strengths, read, images)
            }
            title = f"{panel.title}: reconstructions by {adversary.name} under {defense}"
            yield Figure(
                IMAGES,
                file_stem("images", panel.where, panel.note, adversary.name, defense), title, "",
                grid_chart(["original", *(f"{s:g}" for s in strengths)], rows), panel.title,
            )  # fmt: skip


def _strength_rows(
    line: Line, strengths: Sequence[float], read: ImageLoader, images: int
) -> Iterator[tuple[str, list[GridImage]]]:
    """Yield the rows of a curve, one for each of its first images."""
    points = {point.strength: point for point in line.points}
    one = line.points[-1].group.first
    for index in one.per_image["index"][:images]:
        cells = [reconstruction_of(points.get(s), one.seed, index, read) for s in strengths]
        yield f"{line.site}, image {index}", [original_of(one, index, read), *cells]
