"""Rows of several seeds together, and the choice of strengths and attacks among them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from privbench.papers.defenses.rows import Row, Score
from privbench.report.analysis.labels import in_column

COST = 2.0
"""Points of accuracy at which defenses are compared."""
Setting = tuple[str, str, str, int]
"""Data set, victim, split point and number of targets."""


@dataclass(frozen=True)
class Result:
    """An attack on a defense at a strength, by the victims of one or more seeds.

    Attributes:
        rows: One a seed.
    """

    rows: Sequence[Row]

    @property
    def first(self) -> Row:
        """Return the row of the smallest seed, which names the setting."""
        return self.rows[0]

    @property
    def lost(self) -> float:
        """Accuracy that the defense costs, in points of 100, the mean over seeds."""
        return fmean(row.lost for row in self.rows)

    def score(self, metric: str) -> Score:
        """Return the mean over seeds, between the outermost ends of their intervals."""
        scores = [row.score(metric) for row in self.rows]
        return Score(
            fmean(score.mean for score in scores),
            min(score.low for score in scores),
            max(score.high for score in scores),
            fmean(score.baseline for score in scores),
        )

    def gain(self, metric: str = "ssim") -> float:
        """Return a score minus its blind baseline."""
        score = self.score(metric)
        return score.mean - score.baseline

    def shown(self, metric: str) -> str:
        """Return a score with the ends of its interval as text."""
        score = self.score(metric)
        low, high = (in_column(end, metric) for end in (score.low, score.high))
        known = not math.isnan(score.low)
        return in_column(score.mean, metric) + (f" [{low}, {high}]" if known else "")


@dataclass(frozen=True)
class Defended:
    """A defense at a strength, with every attack on it.

    Attributes:
        results: One an attack.
    """

    results: Sequence[Result]

    @property
    def first(self) -> Row:
        """Return any row."""
        return self.results[0].first

    @property
    def lost(self) -> float:
        """Accuracy that the defense costs the victim of seed 0, or of the smallest seed."""
        return self.first.lost

    @property
    def seeds(self) -> set[int]:
        """Return the seeds that any attack has."""
        return {row.seed for result in self.results for row in result.rows}

    def by(self, *attacks: str) -> Result | None:
        """Return the strongest by SSIM of these attacks, of all where none is named."""
        met = [one for one in self.results if not attacks or one.first.attack in attacks]
        return max(met, key=lambda one: one.score("ssim").mean, default=None)

    @property
    def best(self) -> Result:
        """Return the strongest attack by SSIM."""
        return max(self.results, key=lambda one: one.score("ssim").mean)


def defended(rows: Iterable[Row]) -> list[Defended]:
    """Return every defense and strength of one setting, sent once, in the order of the rows."""
    groups: dict[tuple[object, ...], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.transmissions == 1:
            place = (row.defense, row.site, row.strength) if row.strength else ()
            groups[place][row.attack].append(row)
    return [
        Defended([Result(sorted(met, key=lambda row: row.seed)) for met in attacks.values()])
        for attacks in groups.values()
    ]


def by_setting(rows: Iterable[Row]) -> Mapping[Setting, list[Row]]:
    """Return the rows of each setting."""
    groups: dict[Setting, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.setting].append(row)
    return groups


def name_of(row: Row) -> str:
    """Return the name of a row's defense: with its site, where that is not the features."""
    if not row.strength:
        return "none"
    return row.defense if row.site == "features" else f"{row.defense} on {row.site}"


def curves(found: Iterable[Defended]) -> Mapping[str, list[Defended]]:
    """Return the strengths of each defense in ascending order, by its name."""
    lines: dict[str, list[Defended]] = defaultdict(list)
    for one in found:
        lines[name_of(one.first)].append(one)
    return {name: sorted(line, key=lambda one: one.first.strength) for name, line in lines.items()}


def at_cost(line: Sequence[Defended], cost: float = COST) -> Defended:
    """Return the strength that costs nearest to so many points of accuracy."""
    return min(line, key=lambda one: (abs(one.lost - cost), one.first.strength))
