"""Writer of a report: the page, its figures, its tables."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, count, islice
from multiprocessing import get_context
from pathlib import Path

from privbench.report.analysis import tables
from privbench.report.analysis.overlay import Overlay, no_overlay
from privbench.report.analysis.selection import Selection
from privbench.report.analysis.tradeoffs import SplitResults, panels
from privbench.report.analysis.variants import with_distinct_defenses
from privbench.report.rendering import Figure, require_extra
from privbench.runtime.files import replace_files

MAX_FILES = 40
"""Figures that are written as files; the page draws all curves."""
MANY = 200
"""Records from which on a second process draws their figures."""
MAX_GRIDS = 6
"""Grids of reconstructions that are written as files; the page has every image."""


def write(selection: Selection, folder: Path, overlay: Overlay | None = None) -> Path:
    """Write the page, its figures and its tables; return the page's path.

    Args:
        selection: Records to report.
        folder: Folder to write into; files of an earlier report in it are replaced, others kept.
        overlay: Published numbers of a record, to draw and list with measured ones.

    Raises:
        UserError: where the libraries that draw are not installed.
    """
    require_extra(f"python -m privbench.report {folder.parent}")
    from privbench.report.analysis.images import image_loader
    from privbench.report.image_grids import by_strength
    from privbench.report.image_sheets import ImageSheets
    from privbench.report.page import page

    selection = replace(selection, records=with_distinct_defenses(selection.records))
    found = panels(selection.records, selection.gaps)
    read = image_loader(selection.store)
    grids = list(_named(islice(chain(*(by_strength(one, read) for one in found)), MAX_GRIDS)))
    written: dict[str, bytes] = {}
    with ThreadPoolExecutor(1) as pool, _drawing(len(selection.records)) as others:
        images = pool.submit(ImageSheets.read, selection.records, read)
        filed = {grid.stem: others.submit(grid.files) for grid in grids}
        drawn = []
        for figure in curve_figures(found, overlay or no_overlay):
            drawn.append(figure)
            if len(filed) < MAX_FILES:
                filed[figure.stem] = others.submit(figure.files)
        by_title = tables.by_title(found, overlay)
        for forms in filed.values():
            written |= forms.result()
        sheets = images.result()
    for stem, rows in [*by_title.values(), ("cells", tables.cells(selection.records))]:
        written[f"{stem}.csv"] = tables.as_csv(rows).encode()
        written[f"{stem}.md"] = tables.as_markdown(rows).encode()
    listed = {title: rows for title, (_, rows) in by_title.items()}
    whole = page(selection, found, drawn, listed, sheets, folder, filed)
    replace_files(folder, {**written, **sheets.files, "index.html": whole.encode()})
    return folder / "index.html"


def _drawing(records: int) -> Executor:
    """Return the process that draws files while others work: vl-convert holds Python's lock.

    A process of its own, which takes a second to start, pays where there are many records.
    """
    if records < MANY:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def curve_figures(found: Sequence[SplitResults], overlay: Overlay) -> Iterator[Figure]:
    """Yield every figure of curves and points that the records have points for."""
    from privbench.report import curves, undefended
    from privbench.report.style import series

    lines = [line for panel in found for a in panel.adversaries for line in a.lines]
    colours = series(sorted({line.defense for line in lines}))
    by_defense = (curves.tradeoffs(panel, colours, overlay) for panel in found)
    others = curves.splits(found), undefended.undefended(found, overlay)
    return _named(chain(*by_defense, *others))


def _named(figures: Iterable[Figure]) -> Iterator[Figure]:
    """Yield figures with distinct stems."""
    taken: set[str] = set()
    for figure in figures:
        names = (f"{figure.stem}-{n}" for n in count(2))
        stem = next(n for n in chain([figure.stem], names) if n not in taken)
        taken.add(stem)
        yield replace(figure, stem=stem)
