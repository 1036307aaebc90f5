"""Tables of a report, as CSV and as Markdown."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from privbench.evaluation.metrics import metric as metric_of
from privbench.report.analysis.labels import (
    HEADLINE,
    attack_name,
    curve_metrics,
    describe_access,
    describe_defense,
    in_points,
    metric_label,
    metric_title,
    number,
    span,
    table_metrics,
)
from privbench.report.analysis.operating_points import (
    ACCURACY_BUDGETS,
    OperatingPoint,
    comparisons,
    operating_points,
    pareto,
    within,
)
from privbench.report.analysis.overlay import Overlay, no_overlay, reference
from privbench.report.analysis.tradeoffs import Adversary, Point, SplitResults
from privbench.report.analysis.worst_case import (
    Budget,
    RelatedGroups,
    WorstCase,
    caveats,
    seconds_spent,
    worst_cases_of,
)
from privbench.store.record import Record

Rows = list[list[str]]
"""Rows of cells; the first one is the heading."""


def as_csv(rows: Rows) -> str:
    """Format rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def as_markdown(rows: Rows) -> str:
    """Format rows as a Markdown table."""
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines.insert(1, ["---"] * len(rows[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells(records: Iterable[Record]) -> Rows:
    """Return a row for every record."""
    held = list(records)
    metrics = table_metrics(held)
    blind = [name for name in metrics if name in curve_metrics([])]
    rows: Rows = [[
        "key", "dataset", "split", "attack", "defense", "site", "strength", "transmissions", "seed",
        "targets", "accuracy", *metrics, *(f"floor_{name}" for name in blind), "converged",
        "failed", "finished",
    ]]  # fmt: skip
    for r in held:
        scores = {name: score.mean for name, score in r.scores.items()}
        values = [
            r.key, r.dataset, r.split, r.attack, r.defense, r.site, f"{r.strength:g}",
            r.transmissions, r.seed, r.targets, f"{r.accuracy:.4f}",
            *(_precise(scores.get(name), name) for name in metrics),
            *(_precise(r.floor["best"].get(name), name) for name in blind),
            "" if r.converged is None else f"{r.converged:.2f}", r.failed, r.finished,
        ]  # fmt: skip
        rows.append([str(value) for value in values])
    return rows


def _precise(value: float | None, metric: str) -> str:
    """Format a score with a digit more than elsewhere, a number of a deployment in full."""
    places = metric_of(metric).decimals
    return "" if value is None else f"{value:.{places + 1 if places else 0}f}"


def attacks(found: Sequence[SplitResults], overlay: Overlay | None = None) -> Rows:
    """Return every attack in every setting: measured, blind, and published where it is handed in.

    Args:
        found: All that was measured.
        overlay: Reference points of a record; without one there is no column for them.
    """
    metrics = curve_metrics(r for panel in found for r in panel.records)
    scores = [
        heading
        for name, title in ((metric_label(m), metric_title(m)) for m in metrics)
        for heading in (f"published {name}", title, f"blind {name}")
    ]
    head = [
        "setting",
        "defense",
        "attack",
        "seeds",
        "accuracy",
        *scores,
        "budget",
        "seconds",
        "warning",
    ]
    every_group = RelatedGroups(
        p.group for panel in found for points in panel.settings().values() for p in points
    )
    rows = [head]
    for panel in found:
        for adversary in panel.adversaries:
            anchor = [adversary.undefended] if adversary.undefended else []
            rows += [
                _attack_row(panel, adversary, point, every_group, overlay or no_overlay, metrics)
                for point in [*anchor, *adversary.points]
            ]
    if overlay is None:
        shown = [at for at, name in enumerate(head) if not name.startswith("published")]
        rows = [[row[at] for at in shown] for row in rows]
    return rows


def _attack_row(
    panel: SplitResults,
    adversary: Adversary,
    point: Point,
    every_group: RelatedGroups,
    overlay: Overlay,
    metrics: Sequence[str],
) -> list[str]:
    one = point.group.first
    published = reference(overlay, one)
    scores = [
        text
        for m in metrics
        for text in (
            number(published.score(m), m) if published else "",
            span(point.group, m),
            number(point.group.baseline(m), m),
        )
    ]
    defense = describe_defense(one.defense, one.strength, one.site)
    warnings = [] if point.complete else ["seeds are missing"]
    for metric in metrics:
        warnings += caveats(point.group, every_group, metric)
    return [
        panel.title, defense, adversary.name, str(len(point.group.victims)),
        f"{point.accuracy:.4f}", *scores, str(Budget.of(one)),
        f"{seconds_spent(point.group):,.0f}", "; ".join(dict.fromkeys(warnings)),
    ]  # fmt: skip


def _leak(choice: OperatingPoint | None) -> str:
    if choice is None:
        return "none"
    doubt = f" ({'; '.join(choice.caveats)})" if choice.caveats else ""
    cost = f"{choice.name} ({in_points(choice.lost)} lost)"
    return f"{span(choice.worst.group, choice.metric)}: {cost}, by {choice.adversary}{doubt}"


def worst(found: Sequence[SplitResults]) -> Rows:
    """Return the strongest attack for every setting and set of rights; those with a gap have none.

    Args:
        found: All that was measured.
    """
    titles = {record.key: panel.title for panel in found for record in panel.records}
    points = [p for panel in found for points in panel.settings().values() for p in points]
    cases = worst_cases_of(point.group for point in points if point.complete)
    metrics = list(dict.fromkeys(metric for case in cases for metric in case.best))
    heads = [metric_title(metric) for metric in metrics]
    bound = ["bounds"] if any(case.bounds for case in cases) else []
    rows: Rows = [
        ["setting", "defense", "accuracy", "within the rights", *heads, "warning", *bound]
    ]
    for case in cases:
        one = next(iter(case.best.values())).first if case.best else None
        if one is not None:
            defense = describe_defense(one.defense, one.strength, one.site)
            best = [_strongest(case, metric) for metric in metrics]
            warnings = [*case.notes, *(text for lines in case.caveats.values() for text in lines)]
            rows.append([
                titles.get(one.key, ""), defense, f"{case.accuracy:.4f}",
                describe_access(case.rights), *best, "; ".join(dict.fromkeys(warnings)),
                *("; ".join(case.bounds) for _ in bound),
            ])  # fmt: skip
    return rows


def _strongest(case: WorstCase, metric: str) -> str:
    if metric not in case.best:
        return ""
    group = case.best[metric]
    return f"{span(group, metric)} by {attack_name(group.first)}"


def leakages(found: Sequence[SplitResults]) -> Rows:
    """Return the least leakage within a loss of accuracy, by adversary and in the worst case."""
    rows: Rows = [
        [
            "setting",
            "adversary",
            "metric",
            *(f"at most {in_points(loss)}" for loss in ACCURACY_BUDGETS),
        ]
    ]
    for panel in found:
        eligible = [a.name for a in panel.adversaries if a.points and not a.blind]
        for only in [*([None] if len(eligible) > 1 else []), *eligible]:
            for metric in panel.metrics:
                measured = [c for c in operating_points(panel, metric, only) if c.worst.strength]
                cells_ = [_leak(within(measured, loss)) for loss in ACCURACY_BUDGETS]
                rows.append([panel.title, only or "worst case", metric_title(metric), *cells_])
    return rows


def pareto_sets(found: Sequence[SplitResults]) -> Rows:
    """Return the settings that no other one beats in the worst case."""
    rows: Rows = [["setting", "metric", "defense", "accuracy", "leakage", "by", "warning"]]
    for panel in found:
        for metric in panel.metrics:
            for choice in pareto(operating_points(panel, metric)):
                rows.append(
                    [panel.title, metric_title(metric), choice.name, f"{choice.worst.accuracy:.4f}",
                     span(choice.worst.group, metric), choice.adversary, "; ".join(choice.caveats)]
                )  # fmt: skip
    return rows


def pairwise_comparisons(found: Sequence[SplitResults]) -> Rows:
    """Return comparisons of two defenses at the same cost in accuracy, on the same images."""
    rows: Rows = [["setting", "at most", "comparison (paired by image and victim)"]]
    for panel in found:
        if HEADLINE not in panel.metrics:
            continue
        for loss in ACCURACY_BUDGETS:
            for comparison in comparisons(panel, HEADLINE, loss):
                rows.append([panel.title, in_points(loss), comparison.description])
    return rows


def by_title(found: Sequence[SplitResults], overlay: Overlay | None) -> dict[str, tuple[str, Rows]]:
    """Return the stem of its files and the rows of each table, by its heading in the page."""
    every = "Every attack: published, measured, blind" if overlay else "Every attack"
    return {
        "Least leakage within a loss of accuracy": ("leakage", leakages(found)),
        "Worst case by rights": ("worst", worst(found)),
        "Comparisons of defenses at the same cost in accuracy": (
            "comparisons",
            pairwise_comparisons(found),
        ),
        "Pareto-optimal settings (worst case)": ("pareto", pareto_sets(found)),
        every: ("attacks", attacks(found, overlay)),
    }


def compact(rows: Rows, settings: int) -> dict[str, Any]:
    """Return a table without its empty columns; without the setting where there is only one.

    Each row has its setting and its metric, if it is of one: the page shows those of the choice.
    """
    head = rows[0]
    chosen = ["metric", *(["setting"] if settings == 1 else [])]
    kept = [
        at
        for at, name in enumerate(head)
        if any(row[at] for row in rows[1:]) and name not in chosen
    ]
    places = [head.index(name) if name in head else None for name in ("setting", "metric")]
    return {
        "head": [head[at] for at in kept],
        "rows": [
            (
                *("" if at is None else row[at] for at in places),
                [(head[at], row[at]) for at in kept],
            )
            for row in rows[1:]
        ],
    }
