"""Published numbers next to the spread over victims that one recipe trained from several seeds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from privbench.papers.he2020.comparable import (
    of_either_precision,
    of_usual_data,
    stayed,
)
from privbench.papers.he2020.comparison import describe, describe_defended
from privbench.papers.he2020.published import (
    METRICS,
    accuracies_at,
    paper_images,
    published_for,
)
from privbench.papers.he2020.sources import comparable_score
from privbench.papers.he2020.verdicts import REPRODUCED
from privbench.report.analysis.frame import SeedGroup
from privbench.report.analysis.labels import metric_title, number, signed
from privbench.report.analysis.tables import Rows
from privbench.report.analysis.tradeoffs import Point
from privbench.store.record import Record

LEAST = 5
"""Least number of seeds whose victims make a spread."""


@dataclass(frozen=True)
class Measured:
    """A number of one record that corresponds to a published one.

    Attributes:
        setting: Table or figure, and the setting in words.
        metric: ``ssim``, ``psnr_db`` or ``accuracy``.
        published: Published number.
        value: Number of the record, on the published ten images where it is a score.
        record: Where it stands.
    """

    setting: tuple[str, str]
    metric: str
    published: float
    value: float
    record: Record

    @property
    def moved(self) -> bool:
        """False for a score of an attack that left its images where they were."""
        return self.metric == "accuracy" or not stayed(self.record)


def spread(records: Iterable[Record]) -> tuple[Rows, list[Record]]:
    """Return the least, the median and the highest number over victims, and their records.

    A victim is a set of weights: a seed that two machines trained to other weights has two.

    Args:
        records: Of any settings. Those of the commonest victim of a data set count.
    """
    head = ["where", "setting", "number", "published", "least", "median", "highest",
            "victims (seeds)", "never moved", "published is"]  # fmt: skip
    by_number: dict[tuple[str, str, str], dict[str, Measured]] = defaultdict(dict)
    # the last record of a victim counts: that whose accuracy is a mean of most draws
    for one in _measured(sorted(of_either_precision(records), key=_by_draws)):
        by_number[*one.setting, one.metric][one.record.victim_sha256] = one
    rows: Rows = [head]
    used: dict[str, Record] = {}
    for place in sorted(by_number):
        numbers = list(by_number[place].values())
        if len({one.record.seed for one in numbers if one.moved}) >= LEAST:
            rows.append([*place[:2], *_row(place[2], numbers)])
            used |= {one.record.key: one.record for one in numbers}
    return rows, list(used.values())


def _by_draws(record: Record) -> tuple[int, str]:
    return record.config["accuracy_draws"], record.key


def _row(metric: str, numbers: Sequence[Measured]) -> list[str]:
    published = numbers[0].published
    values = [one.value for one in numbers if one.moved]
    seeds = len({one.record.seed for one in numbers if one.moved})
    low, high, still = min(values), max(values), len(numbers) - len(values)
    beyond = published - min(max(published, low), high)
    if not beyond:
        verdict = "within"
    else:
        near = ", within our tolerance" if abs(beyond) <= REPRODUCED[metric] else ""
        verdict = f"{signed(beyond, metric)} {'above' if beyond > 0 else 'below'} all{near}"
    return [
        metric_title(metric),
        *(number(value, metric) for value in (published, low, median(values), high)),
        f"{len(values)} ({seeds})",
        str(still or ""),
        verdict,
    ]


def _measured(records: Iterable[Record]) -> Iterable[Measured]:
    for record in of_usual_data(records):
        yield from _scores(record)
        yield from _accuracies(record)


def _scores(record: Record) -> Iterable[Measured]:
    if not paper_images(record):
        return
    for row in published_for(record):
        for metric in METRICS:
            if (wanted := getattr(row, metric)) is not None:
                value = comparable_score(Point(SeedGroup([record])), metric)
                yield Measured((row.source, describe(row)), metric, wanted, value, record)


def _accuracies(record: Record) -> Iterable[Measured]:
    """Yield the accuracies under a record's defense, which are those of any attack on it."""
    for row, accuracy in accuracies_at(record):
        if row.strength:
            setting = row.source, describe_defended(row)
            yield Measured(setting, "accuracy", accuracy, record.accuracy, record)
