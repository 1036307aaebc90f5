"""Colours, shapes and encodings that the figures of a report share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

# Okabe and Ito's colours, which colour-blind readers distinguish; shapes do so in black and white
COLOURS = {"gaussian": "#0072B2", "laplace": "#E69F00", "dropout": "#009E73"}
OTHERS = ("#D55E00", "#CC79A7", "#56B4E9", "#7A5195", "#8C6D31", "#666666")
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left")
CROSS = "M-1,-1L1,1M-1,1L1,-1"
"""Mark of published points."""
STAR = "M0,-1L.22,-.31L.95,-.31L.36,.12L.59,.81L0,.38L-.59,.81L-.36,.12L-.95,-.31L-.22,-.31Z"
"""Star as a path, of Vega's unit size."""


@dataclass(frozen=True)
class Series:
    """Colour and shape of a curve's marks."""

    colour: str
    shape: str


def series(names: Iterable[str]) -> dict[str, Series]:
    """Return the colour and shape of each name; the built-in defenses have the same everywhere."""
    held = list(names)
    strange = {name: at for at, name in enumerate(n for n in held if n not in COLOURS)}
    return {
        # as many colours and shapes have no common divisor, so both return together after 42 names
        name: Series(
            COLOURS.get(name) or OTHERS[strange[name] % len(OTHERS)],
            SHAPES[strange.get(name, at) % len(SHAPES)],
        )
        for at, name in enumerate(held)
    }


def channels(shown: Mapping[str, Series], field: str, title: str) -> tuple[Any, Any]:
    """Return the encodings of a field's colour and shape, which share a legend."""
    domain = list(shown)
    colours = alt.Scale(domain=domain, range=[one.colour for one in shown.values()])
    shapes = alt.Scale(domain=domain, range=[one.shape for one in shown.values()])
    legend = alt.Legend(symbolOpacity=1)
    return (
        alt.Color(f"{field}:N", title=title, scale=colours, legend=legend),
        alt.Shape(f"{field}:N", title=title, scale=shapes, legend=legend),
    )


NO_DATA = alt.InlineData(values=[])
"""Data of a chart until ``specification`` gives it its rows: Altair would check them all."""


def specification(chart: Any, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a chart as Vega-Lite, with its rows and without Altair's theme."""
    found: dict[str, Any] = chart.to_dict(validate=False)
    found.pop("config", None)
    values = [{name: v for name, v in row.items() if v is not None} for row in rows]
    return {**found, "data": {"values": values}}


def padded(values: Iterable[float], share: float = 0.05) -> list[float]:
    """Return the ends of an axis that holds all values, with some room on either side.

    >>> padded([0.0, 1.0], 0.1)
    [-0.1, 1.1]
    """
    held = list(values)
    low, high = min(held), max(held)
    room = (high - low or abs(high) or 1.0) * share
    return [low - room, high + room]
