"""Where a statement's numbers are looked up: in the paper, or among records."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from privbench.keys import key_of
from privbench.report.published import FIGURE_15, Published, beside, everything, is_published
from privbench.report.tables import number, span
from privbench.report.tradeoffs import METRICS, Point
from privbench.results import Record
from privbench.summary import grouped


@dataclass(frozen=True)
class Spot:
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

    def floor(self, metric: str) -> float | None:
        """What a blind guess scores on the same images."""
        return self.point.group.floor(metric) if self.point else None


Curve = list[Spot]
"""One defense from weak to strong, the undefended spot first where there is one."""


Which = tuple[str, str, str]
"""Split, defense and site of a curve."""


class Book(Protocol):
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

    def attack(self, dataset: str, split: str, name: str, aux: str = "") -> Spot | None:
        """An attack of the tables', without a defense."""

    def partition(self, split: str) -> Spot | None:
        """A bar of figure 15."""

    def best(self, dataset: str, split: str) -> Spot | None:
        """The adversary that identifies most images without a defense."""


class Printed:
    """The paper's own numbers: means of ten images, without intervals.

    What was read off a figure is known to ``SSIM`` and ``ACCURACY``.
    """

    SSIM, ACCURACY = 0.0007, 0.0015

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

    def attack(self, dataset: str, split: str, name: str, aux: str = "") -> Spot | None:
        """Of tables 3 to 8."""
        wanted = (dataset, split, name, aux)
        return self._first(
            row
            for row in everything()
            if row.source.startswith("table")
            and (row.dataset, row.split, row.attack, row.aux) == wanted
        )

    def partition(self, split: str) -> Spot | None:
        """Of figure 15."""
        return self._first(r for r in everything() if (r.source, r.split) == ("fig15", split))

    def best(self, dataset: str, split: str) -> Spot | None:
        """Nobody is identified in the paper: figure 15's."""
        return self.partition(split) if dataset == "mnist" else None

    def _first(self, rows: Iterable[Published]) -> Spot | None:
        return next((_printed(row, None) for row in rows), None)


def _printed(row: Published, clean: float | None) -> Spot:
    return Spot(row.strength, row.accuracy, clean, {m: getattr(row, m) for m in METRICS})


@dataclass(frozen=True)
class Measured:
    """Records that ``comparable`` keeps.

    Attributes:
        points: A point a group.
        adaptive: Whether defenses are met by the strongest adversary that knows of them, or by the
            paper's.
        alone: Where there are several seeds, a book of each one's records.
    """

    points: Sequence[Point]
    adaptive: bool = False
    alone: Mapping[int, "Measured"] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record], *, adaptive: bool = False) -> "Measured":
        """Of any records."""
        kept = comparable(records)
        seeds = sorted({record.seed for record in kept})
        parts = {seed: [record for record in kept if record.seed == seed] for seed in seeds}
        alone = {seed: cls(_points(part), adaptive) for seed, part in parts.items()}
        return cls(_points(kept), adaptive, alone if len(alone) > 1 else {})

    def curve(self, dataset: str, split: str, defense: str, site: str, metric: str,
              figure: str = "") -> Curve:  # fmt: skip
        """Strength by strength; the paper's adversary is one, those that know may be several."""
        return _strongest(self._met(dataset, (split, defense, site)), metric)

    def curves(self, dataset: str, one: Which, other: Which, metric: str,
               figure: str = "") -> tuple[Curve, Curve]:  # fmt: skip
        """What one adversary does to one defense and another to the other compares no defenses."""
        met = [list(self._met(dataset, which)) for which in (one, other)]
        names = [{p.group.one.attack for p in points if p.strength} for points in met]
        common = names[0] & names[1]
        first, second = (
            _strongest((p for p in points if p.group.one.attack in common), metric)
            for points in met
        )
        return first, second

    def _met(self, dataset: str, which: Which) -> Iterable[Point]:
        split, *defense = which
        for point in self._at(dataset, split):
            one = point.group.one
            if one.strength and [one.defense, one.site] != defense:
                continue
            if one.adaptive if self.adaptive else _is_rmle_of_figures(one):
                yield point

    def attack(self, dataset: str, split: str, name: str, aux: str = "") -> Spot | None:
        """The published adversary's, on the tables' images."""
        for point in self._at(dataset, split):
            rows = beside(point.group.one)
            if any(r.source.startswith("table") and (r.attack, r.aux) == (name, aux) for r in rows):
                return _spot(point)
        return None

    def partition(self, split: str) -> Spot | None:
        """The query-free attack's, on figure 15's images."""
        for point in self._at("mnist", split, figure15=True):
            if any(row.source == "fig15" for row in beside(point.group.one)):
                return _spot(point)
        return None

    def best(self, dataset: str, split: str) -> Spot | None:
        """The published query-free attack's, or anybody's."""
        if not self.adaptive:
            return self.partition(split) if dataset == "mnist" else None
        met = [
            point
            for point in self._at(dataset, split)
            if not point.strength and point.group.one.attack != "blind"
        ]
        return _spot(max(met, key=lambda p: p.score("identification"))) if met else None

    def _at(self, dataset: str, split: str, *, figure15: bool = False) -> Iterable[Point]:
        for point in self.points:
            one = point.group.one
            its_own = one.config.get("include") == FIGURE_15
            if (one.dataset, one.split, its_own) == (dataset, split, figure15):
                yield point


def _points(records: Iterable[Record]) -> list[Point]:
    return [Point(group) for group in grouped(records)]


def _strongest(points: Iterable[Point], metric: str) -> Curve:
    best: dict[float, Point] = {}
    for point in points:
        rival = best.get(point.strength)
        if rival is None or point.score(metric) > rival.score(metric):
            best[point.strength] = point
    return [_spot(best[strength]) for strength in sorted(best)] if any(best) else []


def _spot(point: Point) -> Spot:
    scores = {metric: point.score(metric) for metric in METRICS}
    return Spot(point.strength, point.accuracy, point.undefended, scores, point)


def _is_rmle_of_figures(record: Record) -> bool:
    steps = record.config["attack"].get("steps")
    return record.attack == "rmle_paper" and is_published(record) and steps == 500


def comparable(records: Iterable[Record]) -> list[Record]:
    """Records that can stand beside each other, whatever else a store holds.

    Sent once; of each data set the victim that most records have and the choice of targets (figure
    15's apart), and then the seeds that most groups have: a group that lacks one is left out.
    """
    rooms: dict[tuple[str, bool], list[Record]] = defaultdict(list)
    once = [r for r in records if r.transmissions == 1 and not r.config["target_indices"]]
    for dataset in dict.fromkeys(record.dataset for record in once):
        own = [record for record in once if record.dataset == dataset]
        for record in _most(own, lambda record: record.config["victim"]):
            rooms[dataset, record.config.get("include") == FIGURE_15].append(record)
    kept = []
    for room in rooms.values():
        groups = grouped(_most(room, _targets))
        sets = Counter(tuple(sorted(record.seed for record in g.records)) for g in groups)
        seeds = set(max(sets.items(), key=lambda item: (item[1], len(item[0])))[0])
        for group in groups:
            mine = [record for record in group.records if record.seed in seeds]
            kept += mine if len(mine) == len(seeds) else []
    return kept


def _targets(record: Record) -> Any:
    data = {k: v for k, v in record.config["dataset"].items() if k != "aux"}
    return [data, record.targets, record.config.get("include"), record.config["accuracy_draws"]]


def _most(records: Sequence[Record], fact: Any) -> list[Record]:
    """Those that share the commonest value of a fact."""
    keys = [key_of({"fact": fact(record)}) for record in records]
    count = Counter(keys)
    common = max(count, key=lambda key: (count[key], key), default="")
    return [record for record, key in zip(records, keys, strict=True) if key == common]
