"""Figure of the adaptive gap under dropout, with reconstructions by split point and defense."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from privbench.papers.he2020.published import PAPER_IMAGES
from privbench.papers.he2020.sources import MeasuredResults
from privbench.report.analysis.curves import line_rows
from privbench.report.analysis.images import (
    GridImage,
    ImageLoader,
    image_loader,
    original_of,
    reconstruction_of,
)
from privbench.report.analysis.selection import Selection
from privbench.report.analysis.tradeoffs import Line, Point, SplitResults, on_common_victims, panels
from privbench.report.curves import caption, chart
from privbench.report.image_grids import grid_chart
from privbench.report.rendering import Figure
from privbench.report.style import Series
from privbench.store.record import Record

PAIR = ("rmle", "rmle_adaptive")
"""Non-adaptive and adaptive attack whose gap is drawn."""
LABELS = dict(zip(PAIR, ("not adaptive", "adaptive"), strict=True))
COLOURS = (Series("#0072B2", "circle"), Series("#D55E00", "square"))
DEFENSE, STRENGTH = "dropout", 0.6
"""Defense on the features, and its strength in the reconstructions."""


def adaptive_gap_figure(
    panel: SplitResults,
    read: ImageLoader,
    others: Mapping[str, Point] | None = None,
    images: Sequence[int] = (),
) -> Figure | None:
    """Draw the curves of two attacks under dropout, and the reconstructions of each.

    Args:
        panel: Results of one victim and split point.
        read: Loader of a record's images.
        others: Points of other settings to show, by label.
        images: Test indices of the images to show; attacked ones where it is empty.

    Returns:
        The figure; null where either attack was not run under dropout on the features, or where
        their images are missing, as with imported records.
    """
    lines = {
        adversary.attack: line
        for adversary in panel.adversaries
        for line in adversary.lines
        if (line.defense, line.site) == (DEFENSE, "features")
    }
    if not set(PAIR) <= set(lines):
        return None
    points = {name: _complete_point(lines[name]) for name in PAIR}
    shown: dict[str, Point | None] = {
        **(others or {}),
        **{f"{DEFENSE} {STRENGTH:g}, {name} ({LABELS[name]})": points[name] for name in PAIR},
    }
    rows = _curve_rows(lines, max(adversary.baseline("ssim") for adversary in panel.adversaries))
    reconstructions = _reconstructions(lines, shown, read, images)
    if not any(reconstructions["original"]):
        return None
    grid = grid_chart([""] * len(reconstructions["original"]), reconstructions)
    curves = chart(rows, "ssim", {_name(n): c for n, c in zip(PAIR, COLOURS, strict=True)}, "")
    curves["spec"] |= {"width": 380, "height": grid["height"] - 90}
    title = _title(panel, points[PAIR[0]], points[PAIR[1]])
    return Figure("", "dropout", title, caption(rows), {"hconcat": [curves, grid]})


def _name(attack: str) -> str:
    return f"{attack} ({LABELS[attack]})"


def _complete_point(line: Line) -> Point | None:
    return next((p for p in line.points if p.strength == STRENGTH and p.complete), None)


def _curve_rows(lines: Mapping[str, Line], baseline: float) -> list[dict[str, Any]]:
    """Return the rows of both curves, without a defense left out, and of the blind baseline."""
    facet = {"facet": f"under {DEFENSE} on the features"}
    rows: list[dict[str, Any]] = [{**facet, "series": "", "kind": "blind", "x": baseline}]
    for name in PAIR:
        found = [row for row in line_rows(lines[name].complete, "ssim") if row["kind"] == "point"]
        rows += [{**facet, "series": _name(name), **row} for row in found]
    return rows


def _reconstructions(
    lines: Mapping[str, Line],
    shown: Mapping[str, Point | None],
    read: ImageLoader,
    images: Sequence[int],
) -> dict[str, Sequence[GridImage]]:
    """Return the originals and the reconstructions of each setting, by label."""
    first = next(point for line in lines.values() for point in line.points).group.first
    attacked = first.per_image["index"]
    chosen = [index for index in images or attacked if index in attacked][:7]
    rows: dict[str, Sequence[GridImage]] = {
        "original": [original_of(first, index, read) for index in chosen]
    }
    seed = _shared_seed(shown.values(), first.seed)
    for label, point in shown.items():
        rows[label] = [reconstruction_of(point, seed, index, read) for index in chosen]
    return rows


def _shared_seed(points: Iterable[Point | None], otherwise: int) -> int:
    """Return the smallest seed of the most points: one victim is shown in all rows, if any can."""
    count = Counter(seed for point in points if point for seed in point.group.seeds)
    return min(count, key=lambda seed: (-count[seed], seed), default=otherwise)


def _title(panel: SplitResults, naive: Point | None, adaptive: Point | None) -> str:
    if not naive or not adaptive or not (both := on_common_victims([naive, adaptive])):
        return ""
    naive, adaptive = both
    return (
        f"{panel.title}, {DEFENSE} {STRENGTH:g}: accuracy {naive.accuracy:.1%}; the cloud recovers "
        f"SSIM {naive.score('ssim'):.2f} without adapting, {adaptive.score('ssim'):.2f} adaptively"
    )


def write_figures(selection: Selection, folder: Path) -> list[Path]:
    """Write the README's figure where both attacks were run under dropout; return its path.

    A store without their images leaves the figure of an earlier one as it is.
    """
    for panel in panels(selection.records, selection.gaps):
        if (panel.dataset, panel.split, panel.transmissions) != ("mnist", "relu2", 1):
            continue
        read, others = image_loader(selection.store), _other_settings(selection.records)
        figure = adaptive_gap_figure(panel, read, others, PAPER_IMAGES["mnist"][0])
        if figure:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "dropout.png").write_bytes(figure.files()["dropout.png"])
            return [folder / "dropout.png"]
    return []


def _other_settings(records: Iterable[Record]) -> dict[str, Point]:
    """Return measured points of the figure's other settings, by label."""
    numbers = MeasuredResults.of(records)
    spots = {
        f"no defense, {split}, rmle_paper": numbers.attack("mnist", split, "rmle_paper")
        for split in ("conv1", "relu2")
    }
    curves = {
        "no defense, pool2, rmle_paper": ("pool2", "dropout", "features", 0.0),
        "gaussian 1, rmle_paper": ("relu2", "gaussian", "features", 1.0),
        "gaussian 1 on the input, rmle_paper": ("relu2", "gaussian", "input", 1.0),
    }
    for name, (split, defense, site, strength) in curves.items():
        curve = numbers.curve("mnist", split, defense, site, "ssim")
        spots[name] = next((spot for spot in curve if spot.strength == strength), None)
    return {name: spot.point for name, spot in spots.items() if spot and spot.point}
