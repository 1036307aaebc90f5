"""Leakage without a defense, drawn by split point and attack (He et al. 2020, figure 15)."""

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from privbench.report.analysis.curves import Member, extremes, metrics_of, undefended_rows
from privbench.report.analysis.labels import HEADLINE, file_stem, metric_title
from privbench.report.analysis.overlay import Overlay, no_overlay
from privbench.report.analysis.tradeoffs import SplitResults, depth
from privbench.report.rendering import Figure
from privbench.report.style import CROSS, NO_DATA, channels, padded, series, specification

CAPTION = "Bars: intervals; grey ticks: blind baseline"


def undefended(found: Sequence[SplitResults], overlay: Overlay = no_overlay) -> Iterator[Figure]:
    """Yield the figures of each data set: scores without a defense, by split point and attack.

    A single attack at a single split point is left out: its number stands in the tables.
    """
    by_data: dict[str, list[Member]] = {}
    for panel in found:
        title = panel.title_without_split
        for adversary in panel.adversaries:
            if adversary.undefended and adversary.undefended.complete and not adversary.blind:
                member = (panel.split, adversary.name, adversary.undefended)
                by_data.setdefault(title, []).append(member)
    for title, members in by_data.items():
        if len(members) > 1:
            yield from _figures(title, members, overlay)


def _figures(title: str, members: Sequence[Member], overlay: Overlay) -> Iterator[Figure]:
    for metric in metrics_of(point for *_, point in members):
        rows = [row for member in members for row in undefended_rows(member, metric, overlay)]
        published = "; crosses: published" if any(r["kind"] == "published" for r in rows) else ""
        yield Figure(
            "Without a defense", file_stem("undefended", title, metric),
            f"{title}, no defense{extremes(members) if metric == HEADLINE else ''}",
            f"{CAPTION}{published}.", _chart(rows, members, metric), metric=metric,
        )  # fmt: skip


def _chart(rows: list[dict[str, Any]], members: Sequence[Member], metric: str) -> dict[str, Any]:
    names = list(dict.fromkeys(attack for _, attack, _ in members))
    splits = sorted({split for split, *_ in members}, key=lambda name: (depth(name), name))
    ends = [row[end] for row in rows for end in ("y", "y0", "y1") if row.get(end) is not None]
    domain = padded([*ends, 0.0] if min(ends) >= 0 else ends)
    scale = alt.Scale(domain=[max(0.0, domain[0]) if min(ends) >= 0 else domain[0], domain[1]])
    x = alt.X("split:N", sort=splits, title="split point, from shallow to deep",
              axis=alt.Axis(labelAngle=0, labelLimit=90))  # fmt: skip
    offset = alt.XOffset("attack:N", sort=names)
    y = alt.Y("y:Q", title=metric_title(metric), scale=scale)
    colour, shape = channels(series(names), "attack", "attack")
    base = alt.Chart().encode(x=x, xOffset=offset)

    def of(kind: str) -> Any:
        return base.transform_filter(f"datum.kind === '{kind}'")

    width = max(260, max(36, 14 * len(names)) * len(splits))
    layers = [
        of("measured").mark_rule(strokeWidth=2.5, opacity=0.45)
        .encode(y=alt.Y("y0:Q", scale=scale), y2="y1:Q", color=colour),
        of("blind").mark_tick(style="guide", thickness=1.6)
        .encode(y=y),
        of("published").mark_point(shape=CROSS, size=40).encode(y=y, color=colour),
        of("measured").mark_point(filled=True, size=60, opacity=1)
        .encode(y=y, color=colour, shape=shape, tooltip=["key:N"]),
    ]  # fmt: skip
    whole = alt.layer(*layers).properties(width=width, height=230, data=NO_DATA)
    return specification(whole, rows)
