"""Writer of a report: the page, its figures, its tables."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privbench.analysis import tables
from privbench.analysis.labels import metric_title
from privbench.analysis.overlay import Overlay, no_overlay
from privbench.analysis.selection import Selection
from privbench.analysis.tradeoffs import Point, SplitResults, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from privbench.report.image_grids import ImageLoader

Drawing = tuple[str, str, "Figure"]
"""Section, stem of its files, figure."""


def write(selection: Selection, folder: Path, overlay: Overlay | None = None) -> Path:
    """Write the page, its figures and its tables; return the page's path.

    Args:
        selection: Records to report.
        folder: Folder to write into; files of an earlier report in it are replaced, others kept.
        overlay: Published numbers of a record, to draw and list with measured ones.
    """
    from privbench.report.figure_style import render
    from privbench.report.image_grids import image_loader
    from privbench.report.page import inline, page, picture

    written: dict[str, bytes] = {}
    found = panels(selection.records, selection.gaps)
    read = image_loader(selection.store)
    sections: dict[str, list[tuple[str, str]]] = {}
    for section, stem, figure in drawings(found, read, overlay or no_overlay):
        written[f"{stem}.png"] = png = render(figure, "png")
        written[f"{stem}.pdf"] = render(figure, "pdf")
        html = picture(png, stem) if section == IMAGES else inline(render(figure, "svg"), stem)
        sections.setdefault(section, []).append((stem, html))
    by_title = {
        "Least leakage within a loss of accuracy": tables.leakages(found),
        "Comparisons of defenses at the same cost in accuracy": tables.pairwise_comparisons(found),
        "Pareto-optimal settings (worst case)": tables.pareto_sets(found),
        _ATTACKS[overlay is not None]: tables.attacks(found, overlay),
    }
    stems = ("leakage", "comparisons", "pareto", "attacks")
    listed = {
        **dict(zip(stems, by_title.values(), strict=True)),
        "cells": tables.cells(selection.records),
    }
    for stem, rows in listed.items():
        written[f"{stem}.csv"] = tables.as_csv(rows).encode()
        written[f"{stem}.md"] = tables.as_markdown(rows).encode()
    whole = page(selection, found, sections, by_title, read, folder)
    written["index.html"] = whole.encode()
    _replace(folder, written)
    return folder / "index.html"


_ATTACKS = ("Every attack: measured, blind", "Every attack: published, measured, blind")
"""Heading without and with published numbers."""
LIST = ".report"
"""File that lists the names of a report's files, one per line."""


def _replace(folder: Path, written: Mapping[str, bytes]) -> None:
    """Replace an earlier report's files, all of which were drawn before."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / LIST
    earlier = listed.read_text().splitlines() if listed.is_file() else []
    for name in set(earlier) - set(written):
        (folder / name).unlink(missing_ok=True)
    listed.write_text("\n".join(written) + "\n")
    for name, data in written.items():
        (folder / name).write_bytes(data)


IMAGES = "Reconstructions"


def drawings(
    found: list[SplitResults], read: "ImageLoader", overlay: Overlay = no_overlay
) -> Iterator[Drawing]:
    """Yield every figure that the records have points for."""
    from privbench.report import figures as drawing
    from privbench.report import image_grids as grids
    from privbench.report import split_figures
    from privbench.report.page import MAX_FIGURES

    def link(point: Point) -> str:
        return f"#cell-{point.key}"

    for at, panel in enumerate(found):
        for number, figure in enumerate(drawing.tradeoffs(panel, link, overlay)):
            yield "Accuracy against leakage", f"tradeoff-{at}-{number}", figure
    for at, figure in enumerate(islice(split_figures.splits(found, link), MAX_FIGURES)):
        yield "A defense at several split points", f"splits-{at}", figure
    for at, figure in enumerate(split_figures.partition(found, overlay)):
        yield "Split points without a defense", f"partition-{at}", figure
    for at, figure in enumerate(grids.image_grid_by_split(found, read)):
        yield IMAGES, f"images-splits-{at}", figure
    at = 0
    for panel in found:
        for adversary in panel.adversaries:
            for defense in sorted({line.defense for line in adversary.lines}):
                if at == MAX_FIGURES:
                    return
                if grid := grids.image_grid_by_strength(panel, adversary, defense, read):
                    yield IMAGES, f"images-{at}", grid
                    at += 1


def sweep_summary(selection: Selection, folder: Path) -> dict[str, Any]:
    """Return the arguments of ``Tracker.log_summary``: table, curves, figures and scalars.

    Args:
        selection: The sweep's records.
        folder: Folder of its report.
    """
    found = panels(selection.records, selection.gaps)
    curves = {}
    for panel in found:
        for adversary in panel.adversaries:
            for metric in panel.metrics:
                lines = [line.complete for line in adversary.lines]
                curves[
                    f"{panel.title}, {adversary.name}: accuracy against {metric_title(metric)}"
                ] = (
                    [line.name for line in lines],
                    [[point.score(metric) for point in line.points] for line in lines],
                    [[point.accuracy for point in line.points] for line in lines],
                )
    pictures = {path.stem: path for path in sorted(folder.glob("*.png"))}
    numbers = {"cells": float(len(selection.records)), "gaps": float(len(selection.missing))}
    return {
        "cells": tables.cells(selection.records),
        "curves": {title: curve for title, curve in curves.items() if curve[0]},
        "images": pictures,
        "numbers": numbers,
    }
