"""Accuracy against leakage, drawn: by defense for each attack and site, or by split point."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import altair as alt

from privbench.report.analysis.curves import (
    Row,
    facet_rows,
    least_and_most,
    line_rows,
    metrics_of,
)
from privbench.report.analysis.finding import statement
from privbench.report.analysis.labels import HEADLINE, file_stem, metric_title
from privbench.report.analysis.overlay import Overlay, no_overlay
from privbench.report.analysis.tradeoffs import Line, SplitResults, depth
from privbench.report.rendering import Figure
from privbench.report.style import (
    CROSS,
    NO_DATA,
    STAR,
    Series,
    channels,
    padded,
    series,
    specification,
)

SIZE = {"width": 230, "height": 190}
COLUMNS = 3
"""Facets in a row of a file; the page chooses its own number."""
LABEL_ROOM = 0.1
"""Distance of a label from others and from stars, as a share of an axis."""
MAX_FACETS = 9
"""Attacks and defenses that a figure shows at several split points."""
MAX_LABELS = 3
"""Strengths that are written at a curve."""
MARKS = {
    "undefended": "star: no defense",
    "accuracy": "dashed: accuracy without the defense",
    "blind": "dotted: blind baseline",
    "reference": "crosses: published, in the colour of the defense",
    "seed": "thin: one seed each",
}
"""What marks mean, by kind of row."""


def tradeoffs(
    panel: SplitResults, colours: Mapping[str, Series], overlay: Overlay = no_overlay
) -> Iterator[Figure]:
    """Yield a figure for each metric: facets by attack and site, a curve for each defense.

    Args:
        panel: Results of one victim and split point.
        colours: Colours of all defenses of the report.
        overlay: Reference points of a record, drawn with its curve.
    """
    shown = [a for a in panel.adversaries if a.points and not a.blind]
    finding = statement(panel)
    for metric in panel.metrics if shown else ():
        rows = [row for a in shown for row in facet_rows(a, metric, overlay, shown)]
        drawn = {row["series"] for row in rows}
        yield Figure(
            "Accuracy against leakage",
            file_stem("tradeoff", panel.where, panel.note, metric),
            f"{panel.title}: {finding}" if finding else panel.title,
            caption(rows),
            chart(rows, metric, {n: s for n, s in colours.items() if n in drawn}),
            panel.title,
            metric,
        )


def caption(rows: Sequence[Row]) -> str:
    """Return what the marks of these rows mean."""
    kinds = {row["kind"] for row in rows}
    found = [text for kind, text in MARKS.items() if kind in kinds]
    found += ["star with a name: by that naive attack"] * any(row.get("of") for row in rows)
    found += ["hollow: not converged"] * any(row.get("hollow") for row in rows)
    return "; ".join(["Numbers: strength; bars: intervals", *found]) + "."


def chart(
    rows: Sequence[Row], metric: str, shown: Mapping[str, Series], legend: str = "defense"
) -> Row:
    """Return accuracy against a metric as a Vega-Lite specification, faceted by ``facet``.

    Args:
        rows: Rows as ``point_row`` and ``line_rows`` give them, with ``facet`` and ``series``.
        metric: Metric along x.
        shown: Colours of the series.
        legend: Heading of the legend.
    """
    domains = {
        axis: padded(v for row in rows for end in ("", "0", "1")
                     if (v := row.get(f"{axis}{end}")) is not None)
        for axis in "xy"
    }  # fmt: skip
    write_labels(rows, domains)
    x, y = (
        alt.X("x:Q", title=metric_title(metric), scale=_scale(domains["x"])),
        alt.Y("y:Q", title="accuracy", scale=_scale(domains["y"])),
    )
    colour, shape = channels(shown, "series", legend)
    order = alt.Order("strength:Q")
    curve = {"x": x, "y": y, "color": colour, "order": order}
    solid = alt.condition("datum.hollow", alt.value(0), alt.value(1))
    labels = _of("point").transform_filter("isValid(datum.text)")
    at_side = {"align": "left", "dx": 6, "dy": -7, "fontSize": 11}
    layers = [
        _of("accuracy").mark_rule(style="guide", strokeDash=[7, 3]).encode(y=y),
        _of("blind").mark_rule(style="guide", strokeDash=[1.5, 2.5], strokeWidth=1.5).encode(x=x),
        _of("seed").mark_line(strokeWidth=0.6, opacity=0.4).encode(**curve, detail="seed:N"),
        _of("reference").mark_line(strokeWidth=0.9, strokeDash=[3, 2], opacity=0.6).encode(**curve),
        _of("reference").mark_point(shape=CROSS, size=16, opacity=0.7)
        .encode(x=x, y=y, color=colour),
        _of("point", "anchor").mark_line(strokeWidth=1.6).encode(**curve),
        _of("point", "anchor").mark_rule(opacity=0.4, strokeWidth=2.5)
        .encode(x=alt.X("x0:Q"), x2="x1:Q", y=y, color=colour),
        _of("point", "anchor").mark_rule(opacity=0.4, strokeWidth=1.2)
        .encode(x=x, y=alt.Y("y0:Q"), y2="y1:Q", color=colour),
        _of("point").mark_point(filled=True, size=52, opacity=1, strokeWidth=1.4)
        .encode(x=x, y=y, color=colour, stroke=colour, shape=shape, fillOpacity=solid,
                tooltip=["key:N"]),
        _of("undefended").mark_point(style="undefended", shape=STAR, size=110, filled=True,
                                     opacity=1).encode(x=x, y=y, tooltip=["key:N"]),
        _of("undefended").transform_filter("isValid(datum.of)")
        .mark_text(dy=14, fontSize=11).encode(x=x, y=y, text="of:N"),
        labels.mark_text(**at_side, style="halo").encode(x=x, y=y, text="text:N"),
        labels.mark_text(**at_side).encode(x=x, y=y, color=colour, text="text:N"),
    ]  # fmt: skip
    order_of_facets = list(dict.fromkeys(row["facet"] for row in rows))
    facets = alt.Facet("facet:N", sort=order_of_facets, title=None)
    faceted = alt.layer(*layers).properties(**SIZE).facet(facets, data=NO_DATA, columns=COLUMNS)
    independent = faceted.resolve_axis(x="independent", y="independent")
    return specification(independent, map(_rounded, rows))


def _of(*kinds: str) -> Any:
    return alt.Chart().transform_filter(" || ".join(f"datum.kind === '{kind}'" for kind in kinds))


def _scale(domain: Sequence[float]) -> Any:
    return alt.Scale(domain=list(domain), nice=False, zero=False)


def _rounded(row: Row) -> Row:
    return {
        name: round(value, 5) if isinstance(value, float) else value for name, value in row.items()
    }


def write_labels(rows: Sequence[Row], domains: Mapping[str, Sequence[float]]) -> None:
    """Write strengths at the ends and in the middle of curves, where no other mark is near."""
    taken: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["kind"] == "undefended":
            taken.setdefault(row["facet"], []).append(_place(row, domains))
    for candidates in _candidates(rows):
        for row in candidates:
            place, others = _place(row, domains), taken.setdefault(row["facet"], [])
            if all(max(abs(place[0] - a), abs(place[1] - b)) > LABEL_ROOM for a, b in others):
                others.append(place)
                row["text"] = f"{row['strength']:g}"


def _place(row: Row, domains: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    """Return a row's place as shares of both axes."""
    (left, right), (low, high) = domains["x"], domains["y"]
    return (row["x"] - left) / (right - left), (row["y"] - low) / (high - low)


def _candidates(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the points of each curve that may have a label: both ends, then the middle."""
    curves: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["kind"] == "point":
            curves.setdefault((row["facet"], row["series"]), []).append(row)
    for points in curves.values():
        points.sort(key=lambda row: row["strength"])
        ends = [points[-1], points[0], points[len(points) // 2]]
        yield list({id(row): row for row in ends}.values())[:MAX_LABELS]


def splits(found: Sequence[SplitResults]) -> Iterator[Figure]:
    """Yield a figure for each data set: a curve for each split point (He et al. 2020, figure 13).

    Facets are by attack and defense; those at a single split point are left out.
    """
    by_data: dict[str, dict[str, list[tuple[str, Line]]]] = {}
    for panel in found:
        for adversary in panel.adversaries:
            for line in (line.complete for line in adversary.lines if not adversary.blind):
                if len(line.points) > 1:
                    facets = by_data.setdefault(panel.title_without_split, {})
                    facet = f"{adversary.name}, {line.name}"
                    facets.setdefault(facet, []).append((panel.split, line))
    for title, facets in by_data.items():
        several = {name: lines for name, lines in facets.items() if len(dict(lines)) > 1}
        if several:
            shown = dict(islice(several.items(), MAX_FACETS))
            yield from _split_figures(title, shown, len(several) - len(shown))


def _split_figures(
    title: str, facets: Mapping[str, list[tuple[str, Line]]], others: int
) -> Iterator[Figure]:
    lines = [member for members in facets.values() for member in members]
    names = sorted({split for split, _ in lines}, key=lambda name: (depth(name), name))
    for metric in metrics_of(point for _, line in lines for point in line.points):
        rows = [
            {"facet": facet, "series": split, **row}
            for facet, members in facets.items()
            for split, line in members
            for row in line_rows(line, metric)
            if row["kind"] != "seed"
        ]
        for row in rows:
            row["kind"] = "point" if row["kind"] == "anchor" else row["kind"]
        said = least_and_most(facets) if metric == HEADLINE else ""
        said += f" ({others} more: report fewer attacks or defenses)" if others else ""
        yield Figure(
            "A defense at several split points", file_stem("splits", title, metric), title + said,
            caption(rows), chart(rows, metric, series(names), "split point"), metric=metric,
        )  # fmt: skip
