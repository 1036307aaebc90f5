"""Published numbers that were measured and met, and those that were not measured."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from privbench.papers.he2020.comparison import Matched, describe, deviations, unique_published
from privbench.papers.he2020.published import METRICS, load_published
from privbench.report.analysis.labels import metric_title

NO_CLOUD = "fc3"
"""Split point of figure 15 that leaves the cloud without a layer."""


def counts(matched: Matched) -> Iterable[str]:
    """Yield how many published numbers are met, a line for each data set."""
    for dataset in sorted({row.dataset for row in matched}):
        own = {row: place for row, place in matched.items() if row.dataset == dataset}
        title = metric_title("accuracy")
        missed = Counter(
            "accuracies" if row[2] == title else "scores" for row in deviations(own)[1:]
        )
        measured = Counter(_kind(metric) for _, _, metric in unique_published(own))
        published = Counter(_kind(metric) for metric in _published_numbers(dataset))
        yield f"{dataset}: " + "; ".join(
            f"of {published[kind]} published {kind} {measured[kind]} were measured and "
            f"{measured[kind] - missed[kind]} are met"
            for kind in ("scores", "accuracies")
            if measured[kind]
        )


def _kind(metric: str) -> str:
    return "accuracies" if metric == "accuracy" else "scores"


def _published_numbers(dataset: str) -> Iterable[str]:
    """Return the metric of each published number of a data set that can be measured."""
    rows = {(row.source, describe(row)): row for row in load_published() if row.split != NO_CLOUD}
    return [
        metric
        for row in rows.values()
        for metric in (*METRICS, "accuracy")
        if row.dataset == dataset and getattr(row, metric) is not None
    ]


def unmeasured(matched: Matched) -> list[str]:
    """Return the published settings without a record, a line for each table, figure and curve."""
    met = {(row.source, describe(row)) for row in matched}
    lacking: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in load_published():
        if (row.source, describe(row)) in met or row.split == NO_CLOUD:
            continue
        weakest = replace(row, strength=0.0)  # a curve's name is its setting without a defense
        where = f", {row.defense} on {row.site}" if row.strength else ""
        level = [f"{row.strength:g}"] if row.strength else []
        lacking[row.source, describe(weakest) + where] += level
    return [
        f"{source}: {setting}{' at ' if levels else ''}{', '.join(levels)}"
        for (source, setting), levels in lacking.items()
    ]
