"""Points of curves as rows: what a figure, a tracker or a file draws of results (no torch)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from privbench.report.analysis.labels import HEADLINE, curve_metrics
from privbench.report.analysis.overlay import Overlay, no_overlay, reference, reference_curve
from privbench.report.analysis.tradeoffs import Adversary, Line, Point, on_common_victims

Row = dict[str, Any]
"""Fields of a mark; ``kind`` says which."""
Member = tuple[str, str, Point]
"""Split point, attack, and its point without a defense."""


def facet_rows(
    adversary: Adversary, metric: str, overlay: Overlay, others: Sequence[Adversary] = ()
) -> Iterator[Row]:
    """Yield the rows of an adversary: curves, guides and the undefended point of each site.

    One that was not run without a defense has the point of its naive twin, where that is among
    the ``others``, under its name.
    """
    adaptive = adversary.adaptive and "adaptive" not in adversary.name
    name = f"{adversary.name}{' (adaptive)' if adaptive else ''}"
    for site in sorted({line.site for line in adversary.lines}):
        lines = [line.complete for line in adversary.lines if line.site == site]
        facet = {"facet": f"{name}, on {site}", "series": "", "x": None, "y": None}
        points = [point for line in lines for point in line.points]
        yield {**facet, "kind": "blind", "x": adversary.baseline(metric)}
        if points:
            yield {**facet, "kind": "accuracy", "y": fmean(p.undefended for p in points)}
        star = next((one for one in (adversary, *_naive_twins(adversary, others))
                     if one.undefended), None)  # fmt: skip
        if star and star.undefended:
            row = point_row(star.undefended, metric)
            of = star.name if star is not adversary else None
            yield {**row, **facet, "kind": "undefended", "x": row["x"], "y": row["y"], "of": of}
        for line in lines:
            for row in line_rows(line, metric, overlay):
                yield {**facet, "series": line.defense, **row}


def _naive_twins(adversary: Adversary, others: Sequence[Adversary]) -> list[Adversary]:
    """Return the attacks that are an adaptive one without its knowledge of the defense."""
    name = adversary.attack
    naive = {name.removesuffix("_adaptive"), f"{name}_naive"} if adversary.adaptive else set()
    return [one for one in others if one.attack in naive and not one.adaptive]


def line_rows(line: Line, metric: str, overlay: Overlay = no_overlay) -> Iterator[Row]:
    """Yield the rows of a curve: its points, its seeds where they are few, published ones."""
    for point in line.points:
        yield point_row(point, metric)
    defended = [point for point in line.points if point.strength]
    for published in reference_curve(overlay, defended[-1].group.first) if defended else ():
        score = published.score(metric)
        if score is not None and published.accuracy is not None:
            yield {"kind": "reference", "x": score, "y": published.accuracy,
                   "strength": published.strength}  # fmt: skip
    yield from _seed_rows(line.points, metric)


def point_row(point: Point, metric: str) -> Row:
    """Return the row of a point, with both of its intervals."""
    low, high = point.bands[metric] or (None, None)
    bottom, top = point.accuracy_band
    return {
        "kind": "point" if point.strength else "anchor",
        "x": point.score(metric), "x0": low, "x1": high,
        "y": point.accuracy, "y0": bottom, "y1": top,
        "strength": point.strength, "hollow": not point.group.converged, "key": point.key,
    }  # fmt: skip


def _seed_rows(points: Sequence[Point], metric: str) -> Iterator[Row]:
    """Yield a row for each record where there are two to four seeds."""
    records = [record for point in points for record in point.group.records]
    if 1 < len({record.seed for record in records}) < 5:
        for record in records:
            yield {"kind": "seed", "seed": record.seed, "x": record.score(metric),
                   "y": record.accuracy, "strength": record.strength}  # fmt: skip


def undefended_rows(member: Member, metric: str, overlay: Overlay) -> Iterator[dict[str, Any]]:
    """Yield the rows of a point without a defense: measured, blind, published."""
    split, attack, point = member
    place = {"split": split, "attack": attack}
    low, high = point.bands[metric] or (None, None)
    score = point.score(metric)
    yield {**place, "kind": "measured", "y": score, "y0": low, "y1": high, "key": point.key}
    yield {**place, "kind": "blind", "y": point.group.baseline(metric)}
    row = reference(overlay, point.group.first)
    if row and (value := row.score(metric)) is not None:
        yield {**place, "kind": "published", "y": value}


def metrics_of(points: Iterable[Point]) -> list[str]:
    """Return the metrics to draw: those of curves that all of the points have."""
    return curve_metrics(record for point in points for record in point.group.records)


def least_and_most(facets: Mapping[str, list[tuple[str, Line]]]) -> str:
    """Return which split points leak least and most, where there is a single facet."""
    if len(facets) > 1:
        return ""
    (members,) = facets.values()
    common = set.intersection(*({p.strength for p in line.points} for _, line in members))
    means = mean_by_split(members, common)
    if len(set(means.values())) < 2:
        return ""
    least, most = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    return f": over the same strengths, {least} leaks least and {most} most (SSIM)"


def mean_by_split(members: Sequence[tuple[str, Line]], strengths: set[float]) -> dict[str, float]:
    """Return the mean SSIM over strengths by split point, on the victims that all share."""
    named = [(s, p) for s, line in members for p in line.points if p.strength in strengths]
    if not all(point.group.has(HEADLINE) for _, point in named):
        return {}
    scores: dict[str, list[float]] = {}
    compared = on_common_victims([point for _, point in named]) if named else []
    for (split, _), point in zip(named, compared, strict=False):
        scores.setdefault(split, []).append(point.score(HEADLINE))
    return {split: fmean(values) for split, values in scores.items()}


def extremes(members: Sequence[Member]) -> str:
    """Return which split points leak most and least, where there is a single attack."""
    if len({attack for _, attack, _ in members}) > 1:
        return ""
    compared = on_common_victims([point for *_, point in members])
    if not compared or not all(point.group.has(HEADLINE) for point in compared):
        return ""
    scores = {m[0]: p.score(HEADLINE) for m, p in zip(members, compared, strict=True)}
    most, least = max(scores, key=scores.__getitem__), min(scores, key=scores.__getitem__)
    return f": {most} leaks most and {least} least (SSIM)"
