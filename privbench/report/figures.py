"""Accuracy against leakage, drawn: every function returns matplotlib figures."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from privbench.analysis.labels import metric_title
from privbench.analysis.operating_points import headline
from privbench.analysis.overlay import Overlay, ReferencePoint, no_overlay, reference_curve
from privbench.analysis.tradeoffs import Adversary, Point, SplitResults
from privbench.report.figure_style import (
    BASELINE_COLOUR,
    Labels,
    defense_colour,
    draw_intervals,
    place_labels,
    wrap_title,
)

STYLES = {"input": "-", "features": "--"}
MARKS = {"input": "o", "features": "s"}
COLUMNS = 3
"""Adversaries per row."""


def tradeoffs(
    panel: SplitResults,
    link: Callable[[Point], str] = lambda point: "",
    overlay: Overlay = no_overlay,
) -> list[Figure]:
    """Draw accuracy against SSIM and PSNR, a line for each defense and site.

    Args:
        panel: Results of one victim and split point.
        link: Link target of a point.
        overlay: Reference points of a record, drawn over its curve.
    """
    shown = [a for a in panel.adversaries if a.points and not a.blind]
    if not panel.metrics:
        return []
    return [
        _tradeoff(panel, shown[at : at + COLUMNS], link, overlay)
        for at in range(0, len(shown), COLUMNS)
    ]


def _tradeoff(
    panel: SplitResults,
    adversaries: Sequence[Adversary],
    link: Callable[[Point], str],
    overlay: Overlay,
) -> Figure:
    single = len(adversaries) == 1  # its metrics stand side by side
    shown = panel.metrics
    width = 9.8 if single else 4.1 * len(adversaries)
    figure = Figure(figsize=(width, 5.2 if single else 8.2), layout="constrained")
    if single:
        grid = figure.subplots(1, len(shown), squeeze=False, sharey=True).T
    else:
        shape = (len(shown), len(adversaries))
        grid = figure.subplots(*shape, squeeze=False, sharey=True, sharex="row")
    names = sorted({line.defense for a in panel.adversaries for line in a.lines})
    handles: dict[str, Any] = {}
    labelled: list[tuple[Axes, Labels]] = []
    for row, metric in enumerate(shown):
        for column, adversary in enumerate(adversaries):
            ax: Axes = grid[row, column]
            more, labels = _curves(ax, adversary, metric, names, link, overlay)
            handles |= more
            labelled.append((ax, labels))
            ax.set_xlabel(f"{metric_title(metric)} of reconstructions")
            ax.grid(color="#dddddd", linewidth=0.6)
            ax.set_axisbelow(True)
            if column == 0 and not (single and row):
                ax.set_ylabel("accuracy")
            if row == 0 or single:
                adaptive = (
                    " (adaptive)" if adversary.adaptive and "adaptive" not in adversary.name else ""
                )
                ax.set_title(wrap_title(f"{adversary.name}{adaptive}", 44), fontsize=10)
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=3, fontsize=8,
        frameon=False,
    )  # fmt: skip
    summary = headline(panel)
    title = f"{panel.title}: {summary}" if summary else panel.title
    figure.suptitle(wrap_title(title, int(width * 11)), fontsize=11, x=0.01, ha="left")
    place_labels(figure, labelled)
    return figure


def _curves(
    ax: Axes,
    adversary: Adversary,
    metric: str,
    names: Sequence[str],
    link: Callable[[Point], str],
    overlay: Overlay,
) -> tuple[dict[str, Any], Labels]:
    handles: dict[str, Any] = {}
    labels: Labels = []
    for line in adversary.lines:
        shade, style = defense_colour(line.defense, names), STYLES.get(line.site, ":")
        points = [point for point in line.points if point.complete]
        x, y = [p.score(metric) for p in points], [p.accuracy for p in points]
        (drawn,) = ax.plot(x, y, style, color=shade, linewidth=1.5, label=line.name)
        handles[line.name] = drawn
        draw_intervals(ax, points, metric, shade)
        defended = [point for point in points if point.strength]
        dots = ax.scatter(
            [p.score(metric) for p in defended],
            [p.accuracy for p in defended],
            s=[22] * len(defended),
            marker=MARKS.get(line.site, "^"),
            color=[shade if p.group.converged else "white" for p in defended],
            edgecolors=shade,
            zorder=3,
        )
        dots.set_urls([link(point) for point in defended])
        _seeds(ax, points, metric, shade, style)
        labels += [(p.score(metric), p.accuracy, f"{p.strength:g}", shade) for p in defended]
        if rows := _reference_rows(overlay, defended, metric):
            dots_ = [
                (score, row.accuracy) for row in rows if (score := row.score(metric)) is not None
            ]
            ax.plot(*zip(*dots_, strict=True), linestyle=style, color=shade, alpha=0.45,
                    linewidth=0.9, marker="x", markersize=3, label="published")  # fmt: skip
            handles["published, in its colour"] = Line2D(
                [], [], color="#555555", alpha=0.6, linewidth=0.9, marker="x", markersize=3
            )
    if adversary.undefended:
        point = adversary.undefended
        star = ax.scatter([point.score(metric)], [point.accuracy], marker="*", s=110,
                          color="black", zorder=4)  # fmt: skip
        star.set_urls([link(point)])
        handles["no defense"] = star
    handles["blind baseline"] = ax.axvline(
        adversary.baseline(metric), color=BASELINE_COLOUR, linestyle=(0, (1, 1.5)), linewidth=1.4
    )
    if any(not p.group.converged for p in adversary.points):
        handles["hollow: not converged"] = Line2D(
            [], [], linestyle="", marker="o", markerfacecolor="white", markeredgecolor="#555555"
        )
    ax.margins(0.06)
    return handles, labels


def _reference_rows(
    overlay: Overlay, defended: Sequence[Point], metric: str
) -> list[ReferencePoint]:
    """Return the reference curve of a line's points; empty where it has no such scores."""
    rows = reference_curve(overlay, defended[-1].group.first) if defended else []
    return rows if any(row.score(metric) is not None for row in rows) else []


def _seeds(ax: Axes, points: Sequence[Point], metric: str, shade: str, style: str) -> None:
    """Draw a thin line per seed where there are two to four."""
    seeds = sorted({record.seed for point in points for record in point.group.records})
    if not 1 < len(seeds) < 5:
        return
    for seed in seeds:
        found = [
            (record.score(metric), record.accuracy)
            for point in points
            for record in point.group.records
            if record.seed == seed
        ]
        ax.plot(*zip(*found, strict=True), style, color=shade, alpha=0.35, linewidth=0.5)
