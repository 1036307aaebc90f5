"""Colours, titles and labels that the figures of a report share."""

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from privbench.analysis.tradeoffs import Point

# Okabe and Ito's colours, which colour-blind readers distinguish
COLOURS = {"gaussian": "#0072B2", "laplace": "#E69F00", "dropout": "#009E73"}
OTHERS = ("#CC79A7", "#D55E00", "#56B4E9", "#7A5195", "#000000", "#8C6D31")
BASELINE_COLOUR = "#777777"
Labels = list[tuple[float, float, str, str]]
"""Coordinates, texts and colours of point labels."""


def defense_colour(name: str, names: Sequence[str]) -> str:
    """Return the colour of a defense, the same in every figure."""
    strange = [other for other in names if other not in COLOURS]
    return COLOURS.get(name) or OTHERS[strange.index(name) % len(OTHERS)]


def wrap_title(text: str, width: int) -> str:
    """Wrap a title into lines; dollar signs stay literal."""
    text = text.replace("$", r"\$")
    return "\n".join(textwrap.wrap(text, width))


def draw_intervals(
    ax: Axes, points: Sequence[Point], metric: str, shade: str, width: int = 4
) -> None:
    """Draw each point's interval over images; a point of a single image has none."""
    ends = [(p.accuracy, *band) for p in points if (band := p.bands[metric])]
    if ends:
        ax.hlines(*zip(*ends, strict=True), color=shade, alpha=0.3, linewidth=width)


def place_labels(figure: Figure, labelled: Sequence[tuple[Axes, Labels]]) -> None:
    """Lay the figure out once for all formats; then write strengths where they fit."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax, labels in labelled:
        taken: list[NDArray[np.float64]] = []
        for x, y, text, shade in labels:
            place = ax.transData.transform((x, y)) + np.array([5.0, 4.0])
            if all(abs(place[0] - t[0]) > 20 or abs(place[1] - t[1]) > 10 for t in taken):
                taken.append(place)
                ax.annotate(
                    text, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7,
                    color=shade,
                )  # fmt: skip


def render(figure: Figure, form: str) -> bytes:
    """Encode a figure as ``png``, ``pdf`` or ``svg``; the same numbers give the same bytes."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    plain: Any = {"svg.hashsalt": "privbench", "svg.fonttype": "none"}
    with rc_context(plain):
        stamp = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(form)
        figure.savefig(buffer, format=form, dpi=130, metadata=stamp)
    return buffer.getvalue()
