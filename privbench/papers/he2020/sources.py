"""Sources of a statement's numbers: the paper, or measured records."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

from privbench.evaluation.statistics import Interval, mean_interval
from privbench.papers.he2020.comparable import comparable
from privbench.papers.he2020.published import (
    FIGURE_15,
    METRICS,
    Published,
    is_of_curve,
    load_published,
    paper_images,
    published_for,
)
from privbench.report.analysis.frame import SeedGroup, grouped, shared_victims
from privbench.report.analysis.labels import number, span
from privbench.report.analysis.tradeoffs import Point
from privbench.report.analysis.worst_case import ComparableAttacks, listed
from privbench.store.record import Record


def paper_images_score(point: Point, metric: str) -> tuple[float, Interval | None] | None:
    """Return the score of the ten published images with its interval; null without them."""
    ten = paper_images(point.group.first)
    if not ten:
        return None
    means = point.group.by_image(metric)
    values = means.loc[list(ten)].to_numpy()
    return fmean(values), mean_interval(values)


def comparable_score(point: Point, metric: str) -> float:
    """Return the mean over the ten published images where they were attacked, else over all."""
    score = paper_images_score(point, metric)
    return score[0] if score else point.score(metric)


@dataclass(frozen=True)
class DataPoint:
    """Scores of an adversary in one setting, published or measured.

    Attributes:
        strength: Strength of the defense.
        accuracy: Accuracy under the defense; null where it is not published.
        undefended: Accuracy without it.
        scores: Scores by metric; null where they are not published.
        point: Measured point, whose images give intervals; null for a published one.
    """

    strength: float
    accuracy: float | None
    undefended: float | None
    scores: Mapping[str, float | None]
    point: Point | None = None

    def describe(self, metric: str) -> str:
        """Return a score, with its interval where it was measured."""
        return span(self.point.group, metric) if self.point else number(self.scores[metric], metric)

    def comparable_score(self, metric: str) -> float:
        """Return the score on the published images, or the published score."""
        return comparable_score(self.point, metric) if self.point else self.scores[metric] or 0.0

    def comparable_text(self) -> str:
        """Return both of those scores in words, with the interval that ten images leave."""
        texts, on_ten = [], ""
        for metric in ("psnr_db", "ssim"):
            text = number(self.comparable_score(metric), metric)
            if self.point and (found := paper_images_score(self.point, metric)):
                on_ten = f" on the published ten images, {listed(self.point.group.seeds)}"
                if interval := found[1]:
                    text += f" [{number(interval[0], metric)}, {number(interval[1], metric)}]"
            texts.append(text)
        return f"{texts[0]} dB / {texts[1]}{on_ten}"

    def baseline(self, metric: str) -> float | None:
        """Return the score of the blind baseline on the same images; null for a published point."""
        return self.point.group.baseline(metric) if self.point else None


Curve = list[DataPoint]
"""Points of one defense, weak to strong, from the undefended one where there is one."""


FEW = 3
"""Least number of strengths of an adversary in a comparison of curves."""
Which = tuple[str, str, str]
"""Split, defense and site of a curve."""


class ResultSource(Protocol):
    """Source of numbers that statements are checked against."""

    def curve(self, dataset: str, split: str, defense: str, site: str, metric: str,
              figure: str = "") -> Curve:  # fmt: skip
        """Return the curve of a defense under the strongest adversary; empty without any.

        Args:
            dataset: Name of the data set.
            split: Split point.
            defense: Name of the defense.
            site: ``features`` or ``input``.
            metric: Any score of a record.
            figure: Figure of the paper; relu2 under dropout is in two.
        """

    def curves(self, dataset: str, one: Which, other: Which, metric: str,
               figure: str = "") -> tuple[Curve, Curve]:  # fmt: skip
        """Return two curves under adversaries that were run against both defenses."""

    def attack(self, dataset: str, split: str, name: str, aux: str = "") -> DataPoint | None:
        """Return a table's attack without a defense; null without it."""

    def partition(self, dataset: str, split: str) -> DataPoint | None:
        """Return a bar of figure 15, or the corresponding measurement; null without it."""

    def best(self, dataset: str, split: str, metric: str = "identification") -> DataPoint | None:
        """Return the strongest adversary by a score without a defense; null without any."""


READ = {"ssim": 0.0007, "psnr_db": 0.006, "accuracy": 0.0015}
"""Reading error of the paper's figures."""


class PaperResults:
    """Published numbers: means of ten images, without intervals."""

    def curve(self, dataset: str, split: str, defense: str, site: str, metric: str,
              figure: str = "") -> Curve:  # fmt: skip
        """Return a curve of figures 9, 10 and 13."""
        rows = [
            row
            for row in load_published()
            if row.source in ([figure] if figure else ["fig9", "fig10", "fig13"])
            and (row.dataset, row.split) == (dataset, split)
            and (row.defense, row.site) == (defense, site)
        ]
        rows = [row for row in rows if row.source == rows[0].source]
        known = metric if metric in METRICS else "ssim"
        clean = next((row.accuracy for row in rows if not row.strength), None)
        return [_printed(row, clean) for row in rows if getattr(row, known) is not None]

    def curves(self, dataset: str, one: Which, other: Which, metric: str,
               figure: str = "") -> tuple[Curve, Curve]:  # fmt: skip
        """Return two curves under the paper's adversary."""
        first, second = (self.curve(dataset, *which, metric, figure) for which in (one, other))
        return first, second

    def attack(self, dataset: str, split: str, name: str, aux: str = "") -> DataPoint | None:
        """Return an attack of tables 3 to 8."""
        wanted = (dataset, split, name, aux)
        return self._first(
            row
            for row in load_published()
            if row.source.startswith("table")
            and (row.dataset, row.split, row.attack, row.aux) == wanted
        )

    def partition(self, dataset: str, split: str) -> DataPoint | None:
        """Return a bar of figure 15."""
        wanted = ("fig15", dataset, split)
        return self._first(r for r in load_published() if (r.source, r.dataset, r.split) == wanted)

    def best(self, dataset: str, split: str, metric: str = "identification") -> DataPoint | None:
        """Return the bar of figure 15; the paper reports no identification."""
        return self.partition(dataset, split)

    def _first(self, rows: Iterable[Published]) -> DataPoint | None:
        return next((_printed(row, None) for row in rows), None)


def _printed(row: Published, clean: float | None) -> DataPoint:
    return DataPoint(row.strength, row.accuracy, clean, {m: getattr(row, m) for m in METRICS})


@dataclass(frozen=True)
class MeasuredResults:
    """Measured numbers of the records that ``comparable`` keeps.

    Attributes:
        points: Points, one per group.
        adaptive: True for defenses under the strongest adversary, where an adaptive one was run;
            false for defenses under the paper's.
        by_seed: Results of each seed, where there are several.
        used: Groups of the points that were asked for, which a statement is judged by.
    """

    points: Sequence[Point]
    adaptive: bool = False
    by_seed: Mapping[int, "MeasuredResults"] = field(default_factory=dict)
    used: list[SeedGroup] = field(default_factory=list)

    @classmethod
    def of(cls, records: Iterable[Record], *, adaptive: bool = False) -> "MeasuredResults":
        """Return the results of any records."""
        kept = comparable(records)
        seeds = sorted({record.seed for record in kept})
        parts = {seed: [record for record in kept if record.seed == seed] for seed in seeds}
        by_seed = {seed: cls(_points(part)) for seed, part in parts.items()}
        results = cls(_points(kept), by_seed=by_seed if len(by_seed) > 1 else {})
        return results.with_adaptive_adversaries() if adaptive else results

    def with_adaptive_adversaries(self) -> "MeasuredResults":
        """Return the same points, with defenses under the strongest adversary."""
        by_seed = {
            seed: results.with_adaptive_adversaries() for seed, results in self.by_seed.items()
        }
        return MeasuredResults(self.points, adaptive=True, by_seed=by_seed)

    def curve(self, dataset: str, split: str, defense: str, site: str, metric: str,
              figure: str = "") -> Curve:  # fmt: skip
        """Return the strongest eligible adversary at each strength."""
        return self._strongest(self._met(dataset, (split, defense, site)), metric)

    def curves(self, dataset: str, one: Which, other: Which, metric: str,
               figure: str = "") -> tuple[Curve, Curve]:  # fmt: skip
        """Return two curves under the adversaries that were run against both defenses.

        The strongest one is taken at strengths at which all of them were run.
        """
        met = [self._met(dataset, which) for which in (one, other)]
        tried = [Counter(p.group.first.attack for p in points if p.strength) for points in met]
        few = FEW if self.adaptive else 1
        common = {name for name in tried[0] if min(count[name] for count in tried) >= few}
        first, second = (self._strongest(self._by_all(points, common), metric) for points in met)
        return first, second

    def _by_all(self, points: Iterable[Point], attacks: set[str]) -> list[Point]:
        """Return the points of attacks at strengths that all of them have, and undefended."""
        kept = [point for point in points if point.group.first.attack in attacks]
        whole = Counter(
            strength for _, strength in {(p.group.first.attack, p.strength) for p in kept}
        )
        return [p for p in kept if not p.strength or whole[p.strength] == len(attacks)]

    def _met(self, dataset: str, which: Which) -> list[Point]:
        split, *defense = which
        return [
            point
            for point in self._at(dataset, split)
            if not (one := point.group.first).strength or [one.defense, one.site] == defense
            if one.attack != "blind" and (self.adaptive or is_of_curve(one, *defense))
        ]

    def _strongest(self, points: Sequence[Point], metric: str) -> Curve:
        """Pick the strongest attack at each strength where an adaptive one was run, if required."""
        eligible = {p.strength for p in points if p.group.first.knows_defense or not self.adaptive}
        by_strength: dict[float, list[SeedGroup]] = defaultdict(list)
        for point in points:
            if not point.strength or point.strength in eligible:
                by_strength[point.strength].append(point.group)
        if not any(by_strength):
            return []
        common = shared_victims(group for groups in by_strength.values() for group in groups)
        compared = {
            strength: ComparableAttacks.of(by_strength[strength], common)
            for strength in by_strength
        }
        return [
            self._spot(Point(compared[strength].strongest(metric)))
            for strength in sorted(compared)
            if compared[strength].groups
        ]

    def attack(self, dataset: str, split: str, name: str, aux: str = "") -> DataPoint | None:
        """Return the published adversary's scores on the tables' images."""
        for point in self._at(dataset, split):
            rows = published_for(point.group.first)
            if any(r.source.startswith("table") and (r.attack, r.aux) == (name, aux) for r in rows):
                return self._spot(point)
        return None

    def partition(self, dataset: str, split: str) -> DataPoint | None:
        """Return the query-free attack on figure 15's images, or strong rMLE on all images."""
        if self.adaptive:
            own = [p for p in self._undefended(dataset, split) if p.group.first.attack == "rmle"]
            return self._best(own, "ssim")
        for point in self._at(dataset, split, figure15=True):
            if any(row.source == "fig15" for row in published_for(point.group.first)):
                return self._spot(point)
        return None

    def best(self, dataset: str, split: str, metric: str = "identification") -> DataPoint | None:
        """Return the published query-free attack, or the strongest of all."""
        if not self.adaptive:
            return self.partition(dataset, split)
        return self._best(self._undefended(dataset, split), metric)

    def _undefended(self, dataset: str, split: str) -> list[Point]:
        points = self._at(dataset, split)
        return [p for p in points if not p.strength and p.group.first.attack != "blind"]

    def _at(self, dataset: str, split: str, *, figure15: bool = False) -> Iterable[Point]:
        for point in self.points:
            one = point.group.first
            its_own = one.config.get("include") == FIGURE_15
            if (one.dataset, one.split, its_own) == (dataset, split, figure15):
                yield point

    def _best(self, points: Iterable[Point], metric: str) -> DataPoint | None:
        """Return the strongest attack on the victims that all share; null without any."""
        groups = [point.group for point in points]
        if not groups:
            return None
        return self._spot(Point(ComparableAttacks.of(groups).strongest(metric)))

    def _spot(self, point: Point) -> DataPoint:
        """Return a point as statements are checked against it, and note its group."""
        self.used.append(point.group)
        scores = {metric: point.score(metric) for metric in METRICS}
        return DataPoint(point.strength, point.accuracy, point.undefended, scores, point)

    def described_use(self) -> str:
        """Return the seeds and the numbers of images that were asked for, in words."""
        seeds = sorted({record.seed for group in self.used for record in group.records})
        images = sorted({group.first.targets for group in self.used})
        of = f"{' or '.join(map(str, images))} images"
        return f"records of {listed(seeds)}, {of}" if seeds else ""


def _points(records: Iterable[Record]) -> list[Point]:
    return [Point(group) for group in grouped(records)]
