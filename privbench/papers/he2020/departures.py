"""Attacks of the paper with other options, another victim or other data than published."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from privbench.papers.he2020.comparable import stayed
from privbench.papers.he2020.comparison import describe, printed_scores
from privbench.papers.he2020.other_victims import (
    Options,
    Victims,
    in_words,
    with_unusual_options,
)
from privbench.papers.he2020.published import (
    METRICS,
    Published,
    attacks,
    changed_options,
    paper_images,
    published_at,
    rmle_options,
)
from privbench.papers.he2020.sources import comparable_score
from privbench.report.analysis.frame import SeedGroup
from privbench.report.analysis.labels import number
from privbench.report.analysis.tables import Rows
from privbench.report.analysis.tradeoffs import Point
from privbench.report.analysis.worst_case import listed
from privbench.store.record import Record

MOST = 4
"""Options that may differ from the published attack's: with more it is another attack."""


def departures(records: Iterable[Record]) -> tuple[Rows, list[Record]]:
    """Return the scores of attacks that depart from the published ones, and their records.

    Scores are those of the published ten images, of each victim and their mean. An attack that
    never moved is named and in no mean.

    Args:
        records: Of any settings.
    """
    head = ["where", "setting", "departure", "published dB / SSIM", "here", "victims", "by victim"]
    found: dict[tuple[str, str, str], Victims] = defaultdict(dict)
    published: dict[tuple[str, str], Published] = {}
    for record, options in with_unusual_options(records):
        for row, words in _departed(record, options):
            place = row.source, describe(row)  # curves share the point without a defense
            published.setdefault(place, row)
            found[*place, words][record.seed, record.victim_sha256] = record
    rows: Rows = [head]
    for source, setting, words in sorted(found):
        numbers = printed_scores(published[source, setting])
        victims = found[source, setting, words]
        rows.append([source, setting, words, numbers, *_here(victims)])
    return rows, [record for victims in found.values() for record in victims.values()]


def _here(victims: Victims) -> list[str]:
    """Return the mean of the victims whose attack moved, their seeds, and each one's score."""
    moved = [victims[at] for at in sorted(victims) if not stayed(victims[at])]
    still = [at[0] for at in sorted(victims) if stayed(victims[at])]
    seeds = listed(record.seed for record in moved) if moved else "none"
    return [
        _scores(moved) if moved else "-",
        f"{seeds}; never moved: {listed(still)}" if still else seeds,
        "; ".join(_scores([record]) for record in moved) if len(moved) > 1 else "",
    ]


def _departed(record: Record, other: Options) -> Iterable[tuple[Published, str]]:
    """Yield published numbers with what a record of their setting has otherwise.

    Args:
        record: Of any attack; only the paper's, on the published ten images, depart.
        other: What of its victim and its data is unusual.
    """
    if record.attack not in attacks() or not paper_images(record):
        return
    changed = changed_options(record)
    if len(changed) > MOST:
        return
    steps = rmle_options(record).get("steps")
    rows = [row for row in published_at(record) if row.psnr_db is not None or row.ssim is not None]
    same = [row for row in rows if row.steps in (None, steps)]
    for row in same or rows:
        longer = {} if same else {_steps_of(record): steps}
        words = {**other, **{f"attack.{n}": value for n, value in changed.items()}, **longer}
        if words:
            yield row, in_words(words)


def _steps_of(record: Record) -> str:
    return "attack.steps" if record.attack == "rmle_paper" else "attack.inverter.steps"


def _scores(records: Sequence[Record]) -> str:
    points = [Point(SeedGroup([record])) for record in records]
    means = {metric: fmean(comparable_score(p, metric) for p in points) for metric in METRICS}
    return f"{number(means['psnr_db'], 'psnr_db')} / {number(means['ssim'], 'ssim')}"
