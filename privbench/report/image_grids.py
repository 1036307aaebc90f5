"""Reconstructions, drawn in rows and columns."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from privbench.analysis.tradeoffs import Adversary, Point, SplitResults
from privbench.evaluation.metrics import known_metrics
from privbench.report.figure_style import wrap_title
from privbench.store.record import Record

ImageLoader = Callable[[Record], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Return a record's originals and reconstructions, ``(N, C, H, W)`` each."""
GridImage = tuple[NDArray[np.uint8], str] | None
"""Image ``(C, H, W)`` with its caption; null for a gap."""


def image_loader(store: Path) -> ImageLoader:
    """Return a loader of the images that a store keeps with its records."""

    def read(record: Record) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        path = store / "records" / record.key / "images.safetensors"
        try:
            tensors = load_file(path)
            return tensors["targets"], tensors["reconstructions"]
        except (OSError, SafetensorError, KeyError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error

    return read


def image_grid(
    title: str, columns: Sequence[str], rows: Mapping[str, Sequence[GridImage]]
) -> Figure:
    """Draw images in rows and columns, a caption under each.

    Args:
        title: Title of the figure.
        columns: Column headings.
        rows: Images by row name, one per column.
    """
    size = 0.86
    figure = Figure(figsize=(size * len(columns) + 1.4, (size + 0.2) * len(rows) + 0.8))
    draw_images(figure, columns, rows)
    wide, high = figure.get_size_inches()
    figure.suptitle(wrap_title(title, int(wide * 11)), fontsize=10, y=1 - 0.1 / high)
    # inches: names to the left, title and heads above, captions below
    figure.subplots_adjust(
        left=1.3 / wide, right=1 - 0.05 / wide, top=1 - 0.62 / high, bottom=0.2 / high,
        wspace=0.04, hspace=0.26,
    )  # fmt: skip
    return figure


def draw_images(
    figure: Figure | SubFigure, columns: Sequence[str], rows: Mapping[str, Sequence[GridImage]]
) -> None:
    """Draw images into a figure, with column headings, row names and captions."""
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for y, (name, cells) in enumerate(rows.items()):
        for x, cell in enumerate(cells):
            ax = grid[y, x]
            ax.set_xticks([])
            ax.set_yticks([])
            for side in ax.spines.values():
                side.set_visible(False)
            if y == 0:
                ax.set_title(columns[x], fontsize=8)
            if x == 0:
                ax.set_ylabel(wrap_title(name, 16), fontsize=8, rotation=0, ha="right", va="center")
            if cell is None:
                ax.text(0.5, 0.5, "gap", ha="center", va="center", fontsize=7, color="#999999")
                continue
            image, caption = cell
            shown = image.transpose(1, 2, 0)
            shown = shown[..., 0] if shown.shape[2] == 1 else shown
            ax.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            ax.set_xlabel(caption, fontsize=6, labelpad=2)


def _caption(record: Record, at: int) -> str:
    """Return an image's scores by the metrics of curves, with a digit less than in tables."""
    shown = [metric for metric in known_metrics() if "curves" in metric.show]
    found = {m: values[at] for m in shown if (values := record.columns.get(m.name)) is not None}
    return " / ".join(
        f"{value:.{max(0, m.decimals - 1)}f}{f' {m.unit}' if m.unit else ''}"
        for m, value in found.items()
    )


def image_grid_by_strength(
    panel: SplitResults, adversary: Adversary, defense: str, read: ImageLoader, images: int = 2
) -> Figure | None:
    """Draw a row for each site and image, a column for each strength, the original first."""
    lines = [line for line in adversary.lines if line.defense == defense]
    points = {p.strength: p for line in lines for p in line.points}
    columns = sorted(points)[:12]
    rows: dict[str, list[GridImage]] = {}
    for line in lines:
        by_strength = {point.strength: point for point in line.points}
        one = line.points[-1].group.first
        originals = originals_of(one, read, images)
        for index, original in zip(one.per_image["index"], originals, strict=False):
            cells: list[GridImage] = [original]
            for strength in columns:
                cells.append(reconstruction_of(by_strength.get(strength), one.seed, index, read))
            rows[f"{line.site}, image {index}"] = cells
    if not rows:
        return None
    heads = ["original", *(f"{strength:g}" for strength in columns)]
    title = f"{panel.title}: reconstructions by {adversary.name} under {defense}, weak to strong"
    return image_grid(title, heads, rows)


def reconstruction_of(point: Point | None, seed: int, index: int, read: ImageLoader) -> GridImage:
    """Return the reconstruction of a test image by the record of a seed; null without it."""
    for record in point.group.records if point else ():
        if record.seed == seed and index in record.per_image["index"]:
            at = record.per_image["index"].index(index)
            with suppress(ValueError):  # its images are missing: a gap
                return read(record)[1][at], _caption(record, at)
    return None


def original_of(record: Record, index: int, read: ImageLoader) -> GridImage:
    """Return a test image as a record keeps it; null where its images are missing."""
    with suppress(ValueError):  # its images are missing: a gap
        return read(record)[0][record.per_image["index"].index(index)], ""
    return None


def originals_of(record: Record, read: ImageLoader, images: int) -> list[GridImage]:
    """Return the first test images of a record; nulls where its images are missing."""
    try:
        return [(image, "original") for image in read(record)[0][:images]]
    except ValueError:
        return [None] * min(images, record.targets)


def image_grid_by_split(
    found: Sequence[SplitResults], read: ImageLoader, images: int = 10
) -> list[Figure]:
    """Draw a row for each attack and split point, a column for each image, originals on top."""
    by_setting: dict[tuple[str, str], list[tuple[str, Point]]] = {}
    for panel in found:
        for adversary in panel.adversaries:
            if adversary.undefended:
                by_setting.setdefault((panel.dataset, panel.note), []).append(
                    (f"{panel.split}, {adversary.name}", adversary.undefended)
                )
    figures = []
    for (dataset, _), members in by_setting.items():
        one = min(members[0][1].group.records, key=lambda record: record.seed)
        chosen = one.per_image["index"][:images]
        rows: dict[str, list[GridImage]] = {"original": originals_of(one, read, images)}
        for name, point in members[:16]:
            rows[name] = [reconstruction_of(point, one.seed, index, read) for index in chosen]
        title = f"{dataset}, no defense: reconstructions by split point"
        figures.append(image_grid(title, [str(index) for index in chosen], rows))
    return figures
