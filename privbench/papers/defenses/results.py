"""Rows of several seeds together, and the choice of strengths and attacks among them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from privbench.papers.defenses.rows import Row, Score
from privbench.report.analysis.labels import in_column

COST = 2.0
"""Points of accuracy at which defenses are compared."""
Setting = tuple[str, str, str, int]
"""Data set, victim, split point and number of targets."""
Place = tuple[str, float]
"""Name of a defense, and its strength."""


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
        undefended: The same victims without a defense; null where no row has any of them.
    """

    results: Sequence[Result]
    undefended: "Defended | None" = None

    @property
    def first(self) -> Row:
        """Return any row."""
        return self.results[0].first

    @property
    def place(self) -> Place:
        """Return the name of the defense, and its strength."""
        return name_of(self.first), self.first.strength

    @property
    def lost(self) -> float:
        """Accuracy that the defense costs the victim of seed 0, or of the smallest seed."""
        return self.first.lost

    @property
    def rows(self) -> list[Row]:
        """Return the rows of all attacks."""
        return [row for result in self.results for row in result.rows]

    @property
    def seeds(self) -> set[int]:
        """Return the seeds that any attack has."""
        return {row.seed for row in self.rows}

    def by(self, *attacks: str) -> Result | None:
        """Return the strongest by SSIM of these attacks, of all where none is named."""
        met = [one for one in self.results if not attacks or one.first.attack in attacks]
        return max(met, key=lambda one: one.score("ssim").mean, default=None)

    def strongest(self, metric: str) -> Result:
        """Return the attack with the highest mean of a score, of those that met most seeds."""
        met = [one for one in self.results if len(one.rows) == self._most_rows]
        return max(met, key=lambda one: one.score(metric).mean)

    @property
    def on_fewer_seeds(self) -> list[Result]:
        """Return the attacks that met fewer seeds than others, whose means do not compare."""
        return [one for one in self.results if len(one.rows) < self._most_rows]

    @cached_property
    def _most_rows(self) -> int:
        return max(len(one.rows) for one in self.results)

    @property
    def best(self) -> Result:
        """Return the strongest attack by SSIM."""
        return self.strongest("ssim")


def defended(rows: Iterable[Row]) -> list[Defended]:
    """Return every defense and strength of one setting, sent once, in the order of the rows."""
    sent_once = [row for row in rows if row.transmissions == 1]
    without = [row for row in sent_once if not row.strength]
    groups: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in of_one_victim(sent_once):
        groups[(row.defense, row.site, row.strength) if row.strength else ()].append(row)
    return [Defended(_results(group), _undefended(group, without)) for group in groups.values()]


def of_one_victim(rows: Sequence[Row]) -> list[Row]:
    """Keep the rows of one victim of each defense and seed: of the most rows, else the newest.

    Processors round differently, so that one seed has another victim on each kind of them.
    """
    found: dict[tuple[str, int], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[name_of(row), row.seed][row.victim_sha256].append(row)
    chosen = {place: _most_or_newest(victims) for place, victims in found.items()}
    return [row for row in rows if chosen[name_of(row), row.seed] == row.victim_sha256]


def _most_or_newest(victims: Mapping[str, Sequence[Row]]) -> str:
    """Return the victim of the most rows, of equally many the newest."""

    def rank(sha: str) -> tuple[int, str]:
        return len(victims[sha]), max(row.finished for row in victims[sha])

    return max(victims, key=rank)


def same_victims(rows: Iterable[Row], others: Iterable[Row]) -> bool:
    """Return whether no seed of both has two victims."""
    victims = {row.seed: row.victim_sha256 for row in rows}
    return all(victims.get(row.seed, row.victim_sha256) == row.victim_sha256 for row in others)


def _results(rows: Iterable[Row]) -> list[Result]:
    attacks: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        attacks[row.attack].append(row)
    return [Result(sorted(met, key=lambda row: row.seed)) for met in attacks.values()]


def _undefended(rows: Iterable[Row], without: Iterable[Row]) -> Defended | None:
    """Return the rows without a defense whose victims are among those of other rows."""
    victims = {row.victim_sha256 for row in rows}
    results = _results(row for row in without if row.victim_sha256 in victims)
    return Defended(results) if results else None


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
