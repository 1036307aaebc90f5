"""Results at several split points, drawn: curves of a defense, bars without a defense."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure

from privbench.analysis.labels import HEADLINE, curve_metrics, metric_title
from privbench.analysis.overlay import Overlay, no_overlay, reference
from privbench.analysis.tradeoffs import Point, SplitResults, depth, on_common_victims
from privbench.report.figure_style import (
    BASELINE_COLOUR,
    COLOURS,
    OTHERS,
    place_labels,
    wrap_title,
)


def splits(
    found: Sequence[SplitResults], link: Callable[[Point], str] = lambda p: ""
) -> Iterator[Figure]:
    """Draw a defense at several split points, a line for each (He et al. 2020, figure 13)."""
    by_setting: dict[tuple[str, ...], list[tuple[str, Sequence[Point]]]] = {}
    for panel in found:
        for adversary in panel.adversaries:
            for line in adversary.lines:
                points = line.complete.points
                if len(points) > 2:
                    name = (panel.dataset, panel.note, adversary.name, line.name)
                    by_setting.setdefault(name, []).append((panel.split, points))
    for (dataset, _, attack, defense), members in by_setting.items():
        if len(members) > 1 and _metrics(point for _, points in members for point in points):
            yield _splits(f"{dataset}, {defense}, {attack}", members, link)


def _splits(
    title: str,
    members: Sequence[tuple[str, Sequence[Point]]],
    link: Callable[[Point], str],
) -> Figure:
    metrics = _metrics(point for _, points in members for point in points)
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    axes = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    labelled = []
    for ax, metric in zip(axes, metrics, strict=True):
        labels = []
        for at, (split, points) in enumerate(members):
            shade = (*COLOURS.values(), *OTHERS)[at % (len(COLOURS) + len(OTHERS))]
            x, y = [p.score(metric) for p in points], [p.accuracy for p in points]
            (drawn,) = ax.plot(x, y, "-", marker="o", markersize=4, color=shade, label=split)
            drawn.set_url(link(points[-1]))
            labels += [
                (a, b, f"{p.strength:g}", shade) for a, b, p in zip(x, y, points, strict=True)
            ]
        ax.set_xlabel(f"{metric_title(metric)} of reconstructions")
        ax.grid(color="#dddddd", linewidth=0.6)
        ax.margins(0.06)
        labelled.append((ax, labels))
    axes[0].set_ylabel("accuracy")
    axes[0].legend(title="split", fontsize=8)
    common = set.intersection(*({p.strength for p in points} for _, points in members))
    caption = title
    if means := _means(members, common):
        least, most = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        caption += f": over the same strengths, {least} leaks least and {most} most (SSIM)"
    figure.suptitle(wrap_title(caption, 105), fontsize=11, x=0.01, ha="left")
    place_labels(figure, labelled)
    return figure


def _metrics(points: Iterable[Point]) -> list[str]:
    """Return the metrics to draw: those of curves that all of the points have."""
    return curve_metrics(record for point in points for record in point.group.records)


def _means(
    members: Sequence[tuple[str, Sequence[Point]]], strengths: set[float]
) -> dict[str, float]:
    """Return the mean SSIM over strengths by split point, on the victims that all share."""
    named = [(split, p) for split, points in members for p in points if p.strength in strengths]
    if not all(point.group.has(HEADLINE) for _, point in named):
        return {}
    scores: dict[str, list[float]] = {}
    compared = on_common_victims([point for _, point in named]) if named else []
    for (split, _), point in zip(named, compared, strict=False):
        scores.setdefault(split, []).append(point.score(HEADLINE))
    return {split: fmean(values) for split, values in scores.items()}


def partition(found: Sequence[SplitResults], overlay: Overlay = no_overlay) -> list[Figure]:
    """Draw the scores at every split point without a defense (He et al. 2020, figure 15)."""
    by_setting: dict[tuple[str, str, str], list[tuple[str, Point]]] = {}
    for panel in found:
        for adversary in panel.adversaries:
            if adversary.undefended and adversary.undefended.complete:
                name = (panel.dataset, panel.note, adversary.name)
                by_setting.setdefault(name, []).append((panel.split, adversary.undefended))
    return [
        _bars(dataset, attack, sorted(members, key=lambda member: depth(member[0])), overlay)
        for (dataset, _, attack), members in by_setting.items()
        if len(members) > 1 and _metrics(point for _, point in members)
    ]


def _bars(
    dataset: str, attack: str, members: Sequence[tuple[str, Point]], overlay: Overlay
) -> Figure:
    figure = Figure(figsize=(max(6.4, 0.9 * len(members) + 2), 6.4), layout="constrained")
    metrics = _metrics(point for _, point in members)
    axes = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    x = np.arange(len(members))
    for ax, metric in zip(axes, metrics, strict=True):
        height = [point.score(metric) for _, point in members]
        spread = np.array(
            [
                [max(0.0, h - low), max(0.0, high - h)]
                for (_, p), h in zip(members, height, strict=True)
                for low, high in [p.bands[metric] or (h, h)]
            ]
        ).T
        ax.bar(x - 0.2, height, 0.38, yerr=spread, capsize=2, color="#0072B2", label="measured")
        rows = [reference(overlay, point.group.first) for _, point in members]
        published = [
            (at, value)
            for at, row in enumerate(rows)
            if row and (value := row.score(metric)) is not None
        ]
        if published:
            ax.bar(
                [at + 0.2 for at, _ in published], [value for _, value in published], 0.38,
                color="white", edgecolor="#555555", hatch="//", label="published",
            )  # fmt: skip
        floors = [point.group.baseline(metric) for _, point in members]
        ax.step(np.append(x - 0.5, len(x) - 0.5), [*floors, floors[-1]], where="post",
                color=BASELINE_COLOUR, linestyle=":", label="blind baseline")  # fmt: skip
        ax.set_ylabel(metric_title(metric))
        ax.set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    axes[-1].set_xticks(x, [split for split, _ in members])
    axes[-1].set_xlabel("split, from shallow to deep")
    caption = f"{dataset}, {attack}, no defense"
    compared = on_common_victims([point for _, point in members])
    if compared and HEADLINE in metrics:
        by_split = {
            split: point.score(HEADLINE)
            for (split, _), point in zip(members, compared, strict=True)
        }
        best, least = (pick(by_split, key=by_split.__getitem__) for pick in (max, min))
        caption += f": {best} leaks most and {least} least (SSIM)"
    figure.suptitle(wrap_title(caption, 80), fontsize=11, x=0.01, ha="left")
    place_labels(figure, [])
    return figure
