"""Figures of a plan: leakage against each cost, and the parts of latency and energy by split."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import altair as alt

from privbench.plan.option import Option
from privbench.plan.planner import Plan
from privbench.report.analysis.labels import metric_title
from privbench.report.rendering import Figure
from privbench.report.style import NO_DATA, Series, channels, padded, series, specification

Row = dict[str, Any]
SIZE = {"width": 230, "height": 190}
LABEL_ROOM = (0.12, 0.06)
"""Distance of two names along and across, as shares of the axes."""
BAR_WIDTH, STEP = 300, 17
"""Points of a bar's axis, and of each row of bars."""
WIDE = 20.0
"""Ratio of the largest cost to the least from which on the axis is logarithmic."""
PARTS = {
    "edge": Series("#0072B2", "square"),
    "network": Series("#E69F00", "square"),
    "cloud": Series("#009E73", "square"),
}
"""Colours of what time and energy are spent on."""


def figures(plan: Plan) -> list[Figure]:
    """Return the figures of a plan: leakage only where records have any."""
    return [*_leakage(plan), _bars(plan)]


def _leakage(plan: Plan) -> Iterator[Figure]:
    metric = plan.request.config["leakage"]
    known = [option for option in plan.options if option.leak(metric) is not None]
    if not known:
        return
    rows = [row for option in known for row in _points(plan, option, metric)]
    _write_labels(rows)
    unknown = [o.label for o in plan.options if o.span(metric) is None]
    missing = f"; not measured: {', '.join(unknown)}" if unknown else ""
    yield Figure(
        "Leakage against cost",
        "plan-leakage",
        f"{_title(plan)}: worst-case {metric_title(metric)} against what a split costs",
        "Bars: intervals of the worst case; filled: in the Pareto set; cloud-only, which sends the "
        f"image, and edge-only, which sends nothing, have no point{missing}.",
        _scatter(plan, rows, metric),
        metric=metric,
    )


def _points(plan: Plan, option: Option, metric: str) -> Iterator[Row]:
    leak, joules = option.leak(metric), option.cost.energy_j
    assert leak is not None
    costs = {
        "latency [ms]": option.cost.latency_s * 1e3,
        "energy [mJ]": None if joules is None else joules * 1e3,
        "payload [kB]": option.payload_kb(plan.request.setup.payload),
    }
    finite = leak.low > -float("inf")
    for facet, cost in costs.items():
        if cost is not None:
            yield {
                "facet": facet,
                "x": cost,
                "y": leak.score,
                "y0": leak.low if finite else None,
                "y1": leak.high if finite else None,
                "name": option.name,
                "series": _defense(option),
                "hollow": plan.marks.get(option.label) == "",
                "key": option.label,
            }


def _defense(option: Option) -> str:
    found = option.evidence.defense if option.evidence else "no defense"
    return found.replace(" on features", "")


def _write_labels(rows: Sequence[Row]) -> None:
    """Write the split at points, where no other name is near."""
    taken: dict[str, list[tuple[float, float]]] = {}
    spans = {
        (facet, axis): padded(_position(row, axis) for row in rows if row["facet"] == facet)
        for facet in {row["facet"] for row in rows}
        for axis in "xy"
    }
    for row in rows:
        x, y = (
            (_position(row, axis) - low) / (high - low)
            for axis in "xy"
            for low, high in [spans[row["facet"], axis]]
        )
        others = taken.setdefault(row["facet"], [])
        if all(abs(x - a) > LABEL_ROOM[0] or abs(y - b) > LABEL_ROOM[1] for a, b in others):
            others.append((x, y))
            row["text"] = row["name"]


def _position(row: Row, axis: str) -> float:
    """Return where a point lies; a cost by its logarithm, as most costs are drawn."""
    return math.log(row["x"]) if axis == "x" else float(row["y"])


def _scatter(plan: Plan, rows: Sequence[Row], metric: str) -> dict[str, Any]:
    limit = plan.request.limits.given().get(metric)
    ends = [row[end] for row in rows for end in ("y", "y0", "y1") if row[end] is not None]
    domain = padded([*ends, *([] if limit is None else [limit])])
    x = alt.X("x:Q", title=None, scale=_x_scale(rows))
    y = alt.Y("y:Q", title=metric_title(metric), scale=alt.Scale(domain=domain, nice=False))
    colour, shape = channels(series(dict.fromkeys(r["series"] for r in rows)), "series", "defense")
    solid = alt.condition("datum.hollow", alt.value(0), alt.value(1))
    label = {"align": "left", "dx": 6, "dy": -7, "fontSize": 10}
    labels = _of("mark").transform_filter("isValid(datum.text)")
    layers = [
        _of("mark").mark_rule(opacity=0.5, strokeWidth=1.4)
        .encode(x=x, y=alt.Y("y0:Q"), y2="y1:Q", color=colour),
        _of("mark").mark_point(filled=True, size=56, opacity=1, strokeWidth=1.4)
        .encode(x=x, y=y, color=colour, stroke=colour, shape=shape, fillOpacity=solid,
                tooltip=["key:N"]),
        labels.mark_text(**label, style="halo").encode(x=x, y=y, text="text:N"),
        labels.mark_text(**label).encode(x=x, y=y, text="text:N"),
        _of("limit").mark_rule(style="guide", strokeDash=[7, 3]).encode(y=y),
    ]  # fmt: skip
    names = list(dict.fromkeys(row["facet"] for row in rows))
    bounds = [{"kind": "limit", "facet": name, "y": limit} for name in names if limit is not None]
    marks = [{"kind": "mark", **row} for row in rows]
    return _faceted(alt.layer(*layers).properties(**SIZE), [*marks, *bounds], names, 3)


def _of(kind: str) -> Any:
    return alt.Chart().transform_filter(f"datum.kind === '{kind}'")


def _x_scale(rows: Iterable[Row]) -> Any:
    """Return a logarithmic scale where some cost spans more than an order of magnitude."""
    by_facet: dict[str, list[float]] = {}
    for row in rows:
        by_facet.setdefault(row["facet"], []).append(row["x"])
    wide = any(max(held) > WIDE * min(held) > 0 for held in by_facet.values())
    return alt.Scale(type="log" if wide else "linear", zero=False, nice=False, padding=22)


def _faceted(chart: Any, rows: Iterable[Row], names: Sequence[str], columns: int) -> dict[str, Any]:
    facets = alt.Facet("facet:N", sort=list(names), title=None)
    found = chart.facet(facets, data=NO_DATA, columns=columns)
    return specification(
        found.resolve_scale(x="independent").resolve_axis(x="independent", y="independent"), rows
    )


def _bars(plan: Plan) -> Figure:
    rows = [row for option in plan.options for row in _parts(plan, option)]
    names = list(dict.fromkeys(row["facet"] for row in rows))
    order = [option.label for option in plan.options]
    best = plan.choice.best
    chart = (
        alt.Chart()
        .mark_bar()
        .encode(
            x=alt.X("x:Q", title=None, stack="zero"),
            y=alt.Y("key:N", sort=order, title=None, axis=alt.Axis(labelLimit=150)),
            color=channels(PARTS, "series", "spent on")[0],
            order=alt.Order("at:Q"),
            tooltip=["key:N"],
        )
        .properties(width=BAR_WIDTH, height=alt.Step(STEP))
    )
    chosen = f"; {best.label} is recommended" if best else ""
    return Figure(
        "Latency and energy by split",
        "plan-cost",
        f"{_title(plan)}: modelled latency and energy of the device{chosen}",
        "As figure 2 of He et al. (2020), for every split. Energy is the device's: its own "
        "computation, and its radio (network).",
        _faceted(chart, rows, names, 2),
        metric=plan.request.config["leakage"],
    )


def _parts(plan: Plan, option: Option) -> Iterator[Row]:
    """Yield the parts of an option's latency, and of its energy where the power is known."""
    cost, active = option.cost, plan.request.setup.platform.active_w
    spent: Mapping[str, Sequence[float]] = {
        "latency [ms]": (cost.edge_s * 1e3, cost.network_s * 1e3, cost.cloud_s * 1e3)
    }
    if active is not None and cost.energy_j is not None:
        own = active * cost.edge_s * 1e3
        spent = {**spent, "energy [mJ]": (own, max(0.0, cost.energy_j * 1e3 - own))}
    for facet, values in spent.items():
        for at, (name, value) in enumerate(zip(PARTS, values, strict=False)):
            if value:
                yield {"facet": facet, "series": name, "at": at, "x": value, "key": option.label}


def _title(plan: Plan) -> str:
    setup, names = plan.request.setup, plan.request.choices
    images = f" on {names['dataset']}" if plan.request.of_dataset else ""
    return f"{plan.request.victim}{images}, {setup.platform.name}, {setup.network.name}"
