"""Writer of a report: the page, its figures, its tables."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, count, islice
from pathlib import Path

from privbench.analysis import tables
from privbench.analysis.overlay import Overlay, no_overlay
from privbench.analysis.selection import Selection
from privbench.analysis.tradeoffs import SplitResults, panels
from privbench.report.rendering import Figure, require_extra, scripts

MAX_FILES = 40
"""Figures that are written as files; the page draws all curves."""
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
    from privbench.analysis.images import image_loader
    from privbench.report.image_grids import by_strength
    from privbench.report.image_sheets import ImageSheets
    from privbench.report.page import page

    found = panels(selection.records, selection.gaps)
    read = image_loader(selection.store)
    drawn = curve_figures(found, overlay or no_overlay)
    grids = _named(islice(chain(*(by_strength(one, read) for one in found)), MAX_GRIDS))
    written: dict[str, bytes] = {}
    filed = [*drawn[: MAX_FILES - len(grids)], *grids]
    with ThreadPoolExecutor(2) as pool:  # vl-convert and WebP leave Python's lock to the tables
        pool.submit(scripts)
        images = pool.submit(ImageSheets.read, selection.records, read)
        files = pool.map(Figure.files, filed)
        by_title = tables.by_title(found, overlay)
        for forms in files:
            written |= forms
        sheets = images.result()
    for stem, rows in [*by_title.values(), ("cells", tables.cells(selection.records))]:
        written[f"{stem}.csv"] = tables.as_csv(rows).encode()
        written[f"{stem}.md"] = tables.as_markdown(rows).encode()
    listed = {title: rows for title, (_, rows) in by_title.items()}
    stems = [figure.stem for figure in filed]
    whole = page(selection, found, drawn, listed, sheets, folder, stems)
    replace_files(folder, {**written, **sheets.files, "index.html": whole.encode()})
    return folder / "index.html"


def curve_figures(found: Sequence[SplitResults], overlay: Overlay) -> list[Figure]:
    """Return every figure of curves and points that the records have points for."""
    from privbench.report import curves, undefended
    from privbench.report.style import series

    lines = [line for panel in found for a in panel.adversaries for line in a.lines]
    colours = series(sorted({line.defense for line in lines}))
    by_defense = (curves.tradeoffs(panel, colours, overlay) for panel in found)
    others = curves.splits(found), undefended.undefended(found, overlay)
    return _named(chain(*by_defense, *others))


def _named(figures: Iterable[Figure]) -> list[Figure]:
    """Return figures with distinct stems."""
    found: dict[str, Figure] = {}
    for figure in figures:
        names = (f"{figure.stem}-{n}" for n in count(2))
        stem = next(n for n in chain([figure.stem], names) if n not in found)
        found[stem] = replace(figure, stem=stem)
    return list(found.values())


LIST = ".report"
"""File that lists the names of a report's files, one per line."""


def replace_files(folder: Path, written: Mapping[str, bytes]) -> None:
    """Replace an earlier report's files, all of which were drawn before."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / LIST
    earlier = listed.read_text().splitlines() if listed.is_file() else []
    for name in set(earlier) - set(written):
        (folder / name).unlink(missing_ok=True)
    listed.write_text("\n".join(written) + "\n")
    for name, data in written.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
