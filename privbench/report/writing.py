"""Writes a report: the page, its figures, its tables."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from privbench.report import tables
from privbench.report.overlay import Overlay, no_overlay
from privbench.report.selection import Selection
from privbench.report.tradeoffs import METRICS, NAMES, Point, SplitResults, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from privbench.report.figures import Pictures
    from privbench.tracking.base import SweepSummary

Drawing = tuple[str, str, "Figure"]
"""Section, stem of its files, figure."""


def write(selection: Selection, folder: Path, overlay: Overlay | None = None) -> Path:
    """Write the page, its figures and its tables; return the page's path.

    Args:
        selection: Of records.
        folder: Made where it is not there; what an earlier report wrote into it is replaced, and
            nothing else is touched.
        overlay: Published numbers of a record, to draw and list with measured ones.
    """
    from privbench.report import figures as drawing
    from privbench.report.page import inline, page, picture

    written: dict[str, bytes] = {}
    found = panels(selection.records, selection.gaps)
    read = drawing.pictures_in(selection.store)
    sections: dict[str, list[tuple[str, str]]] = {}
    for section, stem, figure in drawings(found, read, overlay or no_overlay):
        written[f"{stem}.png"] = png = drawing.encoded(figure, "png")
        written[f"{stem}.pdf"] = drawing.encoded(figure, "pdf")
        if section == IMAGES:
            html = picture(png, stem)
        else:
            html = inline(drawing.encoded(figure, "svg"), stem)
        sections.setdefault(section, []).append((stem, html))
    told = {
        "The least leakage at a price": tables.leakages(found),
        "Defenses compared at the same price": tables.pairwise_comparisons(found),
        "Settings that no other one beats (worst case)": tables.pareto_sets(found),
        _ATTACKS[overlay is not None]: tables.attacks(found, overlay),
    }
    stems = ("leakage", "comparisons", "pareto", "attacks")
    listed = {
        **dict(zip(stems, told.values(), strict=True)),
        "cells": tables.cells(selection.records),
    }
    for stem, rows in listed.items():
        written[f"{stem}.csv"] = tables.as_csv(rows).encode()
        written[f"{stem}.md"] = tables.as_markdown(rows).encode()
    whole = page(selection, found, sections, told, read, folder)
    written["index.html"] = whole.encode()
    _replace(folder, written)
    return folder / "index.html"


_ATTACKS = ("Every attack: measured, blind", "Every attack: published, measured, blind")
"""Heading without and with published numbers."""
LIST = ".report"
"""Names of what a report wrote, a line each."""


def _replace(folder: Path, written: Mapping[str, bytes]) -> None:
    """Everything is drawn before anything of an earlier report goes."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / LIST
    earlier = listed.read_text().splitlines() if listed.is_file() else []
    for name in set(earlier) - set(written):
        (folder / name).unlink(missing_ok=True)
    listed.write_text("\n".join(written) + "\n")
    for name, data in written.items():
        (folder / name).write_bytes(data)


IMAGES = "What is recovered"


def drawings(
    found: list[SplitResults], read: "Pictures", overlay: Overlay = no_overlay
) -> Iterator[Drawing]:
    """Every figure that the records have something for."""
    from privbench.report import figures as drawing
    from privbench.report.page import MOST_FIGURES

    def link(point: Point) -> str:
        return f"#cell-{point.key}"

    for at, panel in enumerate(found):
        for number, figure in enumerate(drawing.tradeoffs(panel, link, overlay)):
            yield "Usability against privacy", f"tradeoff-{at}-{number}", figure
    for at, figure in enumerate(islice(drawing.splits(found, link), MOST_FIGURES)):
        yield "The same defense at several splits", f"splits-{at}", figure
    for at, figure in enumerate(drawing.partition(found, overlay)):
        yield "Where to cut", f"partition-{at}", figure
    for at, figure in enumerate(drawing.splits_grid(found, read)):
        yield IMAGES, f"images-splits-{at}", figure
    at = 0
    for panel in found:
        for adversary in panel.adversaries:
            for defense in sorted({line.defense for line in adversary.lines}):
                if at == MOST_FIGURES:
                    return
                if grid := drawing.strengths_grid(panel, adversary, defense, read):
                    yield IMAGES, f"images-{at}", grid
                    at += 1


def sweep_summary(selection: Selection, folder: Path) -> "SweepSummary":
    """Return the table, curves and figures that a tracker logs for a sweep.

    Args:
        selection: The sweep's records.
        folder: Folder of its report.
    """
    from privbench.tracking.base import SweepSummary

    found = panels(selection.records, selection.gaps)
    curves = {}
    for panel in found:
        for adversary in panel.adversaries:
            for metric in METRICS:
                lines = [line.complete for line in adversary.lines]
                curves[f"{panel.title}, {adversary.name}: accuracy against {NAMES[metric]}"] = (
                    [line.name for line in lines],
                    [[point.score(metric) for point in line.points] for line in lines],
                    [[point.accuracy for point in line.points] for line in lines],
                )
    pictures = {path.stem: path for path in sorted(folder.glob("*.png"))}
    numbers = {"cells": float(len(selection.records)), "gaps": float(len(selection.missing))}
    return SweepSummary(
        tables.cells(selection.records),
        {k: v for k, v in curves.items() if v[0]},
        pictures,
        numbers,
    )
