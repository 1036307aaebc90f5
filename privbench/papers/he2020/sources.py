"""Where a statement's numbers are looked up: in the paper, or among records."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Protocol

from privbench.evaluation.statistics import Interval, mean_interval
from privbench.papers.he2020.published import FIGURE_15, Published, beside, everything, is_published
from privbench.report.tables import number, span
from privbench.report.tradeoffs import METRICS, Point, attack_of
from privbench.report.worst_case import Contest, SeedGroup, grouped, shared_victims
from privbench.runtime.hashing import content_hash
from privbench.store.record import Record

TEN = (3, 2, 1, 18, 4, 8, 11, 0, 61, 7)
"""MNIST's test images behind the published numbers; figures 14 and 15 have ten of their own."""


def of_ten(point: Point, metric: str) -> tuple[float, Interval | None] | None:
    """Return the score of the published ten images alone, with its interval; null without them."""
    images = point.group.images(metric)
    ten = FIGURE_15 if point.group.one.config.get("include") == FIGURE_15 else TEN
    if point.group.one.dataset != "mnist" or not set(ten) <= set(images):
        return None
    values = [fmean(images[index].values()) for index in ten]
    return fmean(values), mean_interval(values)


def on_its_ten(point: Point, metric: str) -> float:
    """Mean over the published ten images where they are known and here, over all elsewhere."""
    told = of_ten(point, metric)
    return told[0] if told else point.score(metric)


@dataclass(frozen=True)
class DataPoint:
    """What an adversary recovers in one setting.

    Attributes:
        strength: Of the defense.
        accuracy: Under it; null where it was not printed.
        undefended: Accuracy without it.
        scores: By metric; null where they were not printed.
        point: What was measured, if it was: its images tell intervals.
    """

    strength: float
    accuracy: float | None
    undefended: float | None
    scores: Mapping[str, float | None]
    point: Point | None = None

    def told(self, metric: str) -> str:
        """A score, with its interval where there is one."""
        return span(self.point, metric) if self.point else number(self.scores[metric], metric)

    def on_its_ten(self, metric: str) -> float:
        """The same of what was measured, and the printed score where it was not."""
        return on_its_ten(self.point, metric) if self.point else self.scores[metric] or 0.0

    def floor(self, metric: str) -> float | None:
        """What a blind guess scores on the same images."""
        return self.point.group.floor(metric) if self.point else None


Curve = list[DataPoint]
"""One defense from weak to strong, the undefended spot first where there is one."""


FEW = 3
"""Strengths that an adversary must have met to stand beside others in a comparison of curves."""
Which = tuple[str, str, str]
"""Split, defense and site of a curve."""


class ResultSource(Protocol):
    """Where numbers are looked up."""

    def curve(self, dataset: str, split: str, defense: str, site: str, metric: str,
              figure: str = "") -> Curve:  # fmt: skip
        """A defense against the adversary that recovers most by the metric; empty without any.

        Args:
            dataset: Its name.
            split: The layer.
            defense: Its name.
            site: Where it stands.
            metric: Any score of a record.
            figure: Which of the paper's; relu2 under dropout is in two.
        """

    def curves(self, dataset: str, one: Which, other: Which, metric: str,
               figure: str = "") -> tuple[Curve, Curve]:  # fmt: skip
        """Two of them, against adversaries that met both."""

    def attack(self, dataset: str, split: str, name: str, aux: str = "") -> DataPoint | None:
        """An attack of the tables', without a defense."""

    def partition(self, dataset: str, split: str) -> DataPoint | None:
        """A bar of figure 15, or what stands for it."""

    def best(self, dataset: str, split: str, metric: str = "identification") -> DataPoint | None:
        """The adversary that does best by a score without a defense."""


READ = {"ssim": 0.0007, "psnr_db": 0.006, "accuracy": 0.0015}
"""How well the paper's figures could be read."""


class PaperResults:
    """The paper's own numbers: means of ten images, without intervals."""

    def curve(self, dataset: str, split: str, defense: str, site: str, metric: str,
              figure: str = "") -> Curve:  # fmt: skip
        """Of figures 9, 10 and 13."""
        rows = [
            row
            for row in everything()
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
        """The paper has one adversary."""
        first, second = (self.curve(dataset, *which, metric, figure) for which in (one, other))
        return first, second

    def attack(self, dataset: str, split: str, name: str, aux: str = "") -> DataPoint | None:
        """Of tables 3 to 8."""
        wanted = (dataset, split, name, aux)
        return self._first(
            row
            for row in everything()
            if row.source.startswith("table")
            and (row.dataset, row.split, row.attack, row.aux) == wanted
        )

    def partition(self, dataset: str, split: str) -> DataPoint | None:
        """Of figure 15."""
        wanted = ("fig15", dataset, split)
        return self._first(r for r in everything() if (r.source, r.dataset, r.split) == wanted)

    def best(self, dataset: str, split: str, metric: str = "identification") -> DataPoint | None:
        """Nobody is identified in the paper: figure 15's."""
        return self.partition(dataset, split)

    def _first(self, rows: Iterable[Published]) -> DataPoint | None:
        return next((_printed(row, None) for row in rows), None)


def _printed(row: Published, clean: float | None) -> DataPoint:
    return DataPoint(row.strength, row.accuracy, clean, {m: getattr(row, m) for m in METRICS})


@dataclass(frozen=True)
class MeasuredResults:
    """Records that ``comparable`` keeps.

    Attributes:
        points: A point a group.
        adaptive: Whether defenses are met by the strongest adversary, wherever one that knows of
            them was tried, or by the paper's.
        alone: Where there are several seeds, a book of each one's records.
    """

    points: Sequence[Point]
    adaptive: bool = False
    alone: Mapping[int, "MeasuredResults"] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record], *, adaptive: bool = False) -> "MeasuredResults":
        """Of any records."""
        kept = comparable(records)
        seeds = sorted({record.seed for record in kept})
        parts = {seed: [record for record in kept if record.seed == seed] for seed in seeds}
        alone = {seed: cls(_points(part)) for seed, part in parts.items()}
        book = cls(_points(kept), alone=alone if len(alone) > 1 else {})
        return book.knowing() if adaptive else book

    def knowing(self) -> "MeasuredResults":
        """The same points, with defenses met by the strongest adversary."""
        alone = {seed: book.knowing() for seed, book in self.alone.items()}
        return MeasuredResults(self.points, adaptive=True, alone=alone)

    def curve(self, dataset: str, split: str, defense: str, site: str, metric: str,
              figure: str = "") -> Curve:  # fmt: skip
        """Strength by strength; the paper's adversary is one, those that know may be several."""
        return self._strongest(self._met(dataset, (split, defense, site)), metric)

    def curves(self, dataset: str, one: Which, other: Which, metric: str,
               figure: str = "") -> tuple[Curve, Curve]:  # fmt: skip
        """What one adversary does to one defense and another to the other compares no defenses.

        Nor does a curve that one adversary met here and another there: strongest ones are taken
        at strengths that all of them met.
        """
        met = [self._met(dataset, which) for which in (one, other)]
        tried = [Counter(p.group.one.attack for p in points if p.strength) for points in met]
        few = FEW if self.adaptive else 1
        common = {name for name in tried[0] if min(count[name] for count in tried) >= few}
        first, second = (self._strongest(self._by_all(points, common), metric) for points in met)
        return first, second

    def _by_all(self, points: Iterable[Point], attacks: set[str]) -> list[Point]:
        """Points of these attacks, at strengths that all of them met, and undefended."""
        kept = [point for point in points if point.group.one.attack in attacks]
        whole = Counter(
            strength for _, strength in {(p.group.one.attack, p.strength) for p in kept}
        )
        return [p for p in kept if not p.strength or whole[p.strength] == len(attacks)]

    def _met(self, dataset: str, which: Which) -> list[Point]:
        split, *defense = which
        return [
            point
            for point in self._at(dataset, split)
            if not (one := point.group.one).strength or [one.defense, one.site] == defense
            if one.attack != "blind" and (self.adaptive or _is_rmle_of_figures(one))
        ]

    def _strongest(self, points: Sequence[Point], metric: str) -> Curve:
        """Of whoever met a strength, where someone who knows did: to know obliges to nothing."""
        knowing = {p.strength for p in points if p.group.one.adaptive or not self.adaptive}
        by_strength: dict[float, list[SeedGroup]] = defaultdict(list)
        for point in points:
            if not point.strength or point.strength in knowing:
                by_strength[point.strength].append(point.group)
        if not any(by_strength):
            return []
        common = shared_victims(group for groups in by_strength.values() for group in groups)
        contests = {strength: Contest.of(by_strength[strength], common) for strength in by_strength}
        return [
            _spot(Point(contests[strength].strongest(metric)))
            for strength in sorted(contests)
            if contests[strength].groups
        ]

    def attack(self, dataset: str, split: str, name: str, aux: str = "") -> DataPoint | None:
        """The published adversary's, on the tables' images."""
        for point in self._at(dataset, split):
            rows = beside(point.group.one)
            if any(r.source.startswith("table") and (r.attack, r.aux) == (name, aux) for r in rows):
                return _spot(point)
        return None

    def partition(self, dataset: str, split: str) -> DataPoint | None:
        """The query-free attack's on figure 15's images, or strong rMLE's on all images."""
        if self.adaptive:
            own = [p for p in self._undefended(dataset, split) if p.group.one.attack == "rmle"]
            return _best(own, "ssim")
        for point in self._at(dataset, split, figure15=True):
            if any(row.source == "fig15" for row in beside(point.group.one)):
                return _spot(point)
        return None

    def best(self, dataset: str, split: str, metric: str = "identification") -> DataPoint | None:
        """The published query-free attack's, or anybody's."""
        if not self.adaptive:
            return self.partition(dataset, split)
        return _best(self._undefended(dataset, split), metric)

    def _undefended(self, dataset: str, split: str) -> list[Point]:
        points = self._at(dataset, split)
        return [p for p in points if not p.strength and p.group.one.attack != "blind"]

    def _at(self, dataset: str, split: str, *, figure15: bool = False) -> Iterable[Point]:
        for point in self.points:
            one = point.group.one
            its_own = one.config.get("include") == FIGURE_15
            if (one.dataset, one.split, its_own) == (dataset, split, figure15):
                yield point


def _points(records: Iterable[Record]) -> list[Point]:
    return [Point(group) for group in grouped(records)]


def _best(points: Iterable[Point], metric: str) -> DataPoint | None:
    """The strongest of a setting's attacks, on the victims that they share; null without any."""
    groups = [point.group for point in points]
    return _spot(Point(Contest.of(groups).strongest(metric))) if groups else None


def _spot(point: Point) -> DataPoint:
    scores = {metric: point.score(metric) for metric in METRICS}
    return DataPoint(point.strength, point.accuracy, point.undefended, scores, point)


def _is_rmle_of_figures(record: Record) -> bool:
    steps = record.config["attack"].get("steps")
    return record.attack == "rmle_paper" and is_published(record) and steps == 500


def comparable(records: Iterable[Record]) -> list[Record]:
    """Records that can stand beside each other, whatever else a store holds.

    Sent once; of each data set the victim that most records have and the choice of targets (figure
    15's apart), and then of each attack the seeds that most of its groups have: a group that lacks
    one is left out. Attacks that train networks may have fewer seeds than those that do not: every
    comparison is on the seeds that both sides have.
    """
    rooms: dict[tuple[str, bool], list[Record]] = defaultdict(list)
    once = [r for r in records if r.transmissions == 1 and not r.config["target_indices"]]
    for dataset in dict.fromkeys(record.dataset for record in once):
        own = [record for record in once if record.dataset == dataset]
        for record in _most(own, lambda record: record.config["victim"]):
            rooms[dataset, record.config.get("include") == FIGURE_15].append(record)
    kept: list[Record] = []
    for room in rooms.values():
        by_attack: dict[str, list[SeedGroup]] = defaultdict(list)
        for group in grouped(_most(room, _targets)):
            by_attack[attack_of(group.one)].append(group)
        for groups in by_attack.values():
            kept += _of_common_seeds(groups)
    return kept


def _of_common_seeds(groups: Sequence[SeedGroup]) -> Iterable[Record]:
    """Records of the seeds that most of an attack's groups have, of groups that have them all."""
    sets = Counter(tuple(group.seeds) for group in groups)
    seeds = set(max(sets.items(), key=lambda item: (item[1], len(item[0])))[0])
    for group in groups:
        if seeds <= set(group.seeds):
            yield from (record for record in group.records if record.seed in seeds)


def _targets(record: Record) -> Any:
    data = {k: v for k, v in record.config["dataset"].items() if k != "aux"}
    return [data, record.targets, record.config.get("include"), record.config["accuracy_draws"]]


def _most(records: Sequence[Record], fact: Any) -> list[Record]:
    """Those that share the commonest value of a fact."""
    keys = [content_hash({"fact": fact(record)}) for record in records]
    count = Counter(keys)
    common = max(count, key=lambda key: (count[key], key), default="")
    return [record for record, key in zip(records, keys, strict=True) if key == common]
