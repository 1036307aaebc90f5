"""Attacks of the paper with other options, another victim or other data than published."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from privbench.papers.he2020.comparable import stayed
from privbench.papers.he2020.comparison import Matched, describe, printed_scores
from privbench.papers.he2020.other_victims import (
    Options,
    Victims,
    in_words,
    shared_seeds,
    with_unusual_options,
)
from privbench.papers.he2020.published import (
    METRICS,
    SHADOW_TRAINING,
    Published,
    attacks,
    changed_options,
    paper_images,
    published_at,
    rmle_options,
)
from privbench.papers.he2020.sources import comparable_score
from privbench.papers.he2020.verdicts import REPRODUCED
from privbench.report.analysis.frame import SeedGroup
from privbench.report.analysis.labels import number
from privbench.report.analysis.tables import Rows
from privbench.report.analysis.tradeoffs import Point
from privbench.report.analysis.worst_case import listed
from privbench.store.record import Record

MOST = 4
"""Options that may differ from the published attack's: with more it is another attack."""
LEAST_SCORES = 10
"""Least number of published scores that a departure needs to be counted."""


@dataclass(frozen=True)
class Departure:
    """Records of one published setting whose options differ from it in the same way.

    Attributes:
        published: Published numbers.
        words: What differs.
        victims: A record of each victim.
    """

    published: Published
    words: str
    victims: Victims

    @property
    def place(self) -> tuple[str, str]:
        """Table or figure, and the setting in words."""
        return self.published.source, describe(self.published)

    @property
    def that_moved(self) -> list[Record]:
        """Records of the victims whose attack moved, by seed."""
        return [self.victims[at] for at in sorted(self.victims) if not stayed(self.victims[at])]


def departures(found: Iterable[Departure]) -> tuple[Rows, list[Record]]:
    """Return the scores of attacks that depart from the published ones, and their records.

    Scores are those of the published ten images, of each victim and their mean. An attack that
    never moved is named and in no mean.
    """
    head = ["where", "setting", "departure", "published dB / SSIM", "here", "victims", "by victim"]
    rows: Rows = [head]
    used: list[Record] = []
    for one in found:
        rows.append([*one.place, one.words, printed_scores(one.published), *_here(one)])
        used += one.victims.values()
    return rows, used


def met_scores(found: Iterable[Departure], matched: Matched) -> Rows:
    """Return how many published scores are met with each departure, and how many without it.

    Both are of the same scores and of victims of the same seeds: those that were measured with and
    without it, of departures that have ``LEAST_SCORES`` such scores.

    Args:
        found: Of any departures.
        matched: Published numbers and what was measured in their settings.
    """
    usual = {(row.source, describe(row)): point for row, (_, point) in matched.items()}
    met: dict[tuple[str, str], list[list[bool]]] = defaultdict(list)
    for one in found:
        point = usual.get(one.place)
        others = point.group.records if point else ()
        seeds = shared_seeds(one.that_moved, others)
        sides = [[r for r in side if r.seed in seeds] for side in (one.that_moved, others)]
        for metric in METRICS if seeds else ():
            if (wanted := getattr(one.published, metric)) is not None:
                is_met = [abs(_mean(side, metric) - wanted) <= REPRODUCED[metric] for side in sides]
                met[one.published.dataset, one.words].append(is_met)
    rows: Rows = [["data", "departure", "scores", "met with it", "met without it"]]
    for (dataset, words), pairs in sorted(met.items()):
        if len(pairs) >= LEAST_SCORES:
            counts = [sum(side) for side in zip(*pairs, strict=True)]
            rows.append([dataset, words, *(str(count) for count in (len(pairs), *counts))])
    return rows


def find_departures(records: Iterable[Record]) -> list[Departure]:
    """Return what departs from the published attacks in records of any settings."""
    settings: dict[tuple[str, str, str], Published] = {}
    victims: dict[tuple[str, str, str], Victims] = defaultdict(dict)
    for record, options in with_unusual_options(records):
        for row, words in _departed(record, options):
            place = row.source, describe(row), words  # curves share the point without a defense
            settings.setdefault(place, row)
            victims[place][record.seed, record.victim_sha256] = record
    return [Departure(settings[at], at[2], victims[at]) for at in sorted(settings)]


def _here(one: Departure) -> list[str]:
    """Return the mean of the victims whose attack moved, their seeds, and each one's score."""
    moved = one.that_moved
    still = [at[0] for at in sorted(one.victims) if stayed(one.victims[at])]
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
    training, changed = _training(changed_options(record))
    if len(changed) > MOST:
        return
    steps = rmle_options(record).get("steps")
    rows = [row for row in published_at(record) if row.psnr_db is not None or row.ssim is not None]
    same = [row for row in rows if row.steps in (None, steps)]
    for row in same or rows:
        longer = {} if same else {_steps_of(record): steps}
        words = {**other, **{f"attack.{n}": value for n, value in changed.items()}, **longer}
        if words or training:
            yield row, ", ".join(filter(None, [training, in_words(words)]))


def _training(changed: Options) -> tuple[str, Options]:
    """Return the published training of shadows in words, where it is that, and other options."""
    patience, steps = changed.get("patience"), changed.get("steps")
    to_the_end = patience is not None and steps is not None and patience >= steps
    if not (to_the_end and SHADOW_TRAINING.items() <= changed.items()):
        return "", changed
    named = SHADOW_TRAINING.keys() | {"patience"}
    return "trained as published", {n: v for n, v in changed.items() if n not in named}


def _steps_of(record: Record) -> str:
    return "attack.steps" if record.attack == "rmle_paper" else "attack.inverter.steps"


def _scores(records: Sequence[Record]) -> str:
    means = {metric: _mean(records, metric) for metric in METRICS}
    return f"{number(means['psnr_db'], 'psnr_db')} / {number(means['ssim'], 'ssim')}"


def _mean(records: Sequence[Record], metric: str) -> float:
    """Return the mean of a score on the published ten images."""
    return fmean(comparable_score(Point(SeedGroup([record])), metric) for record in records)
