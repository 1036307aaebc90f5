"""Points, curves and adversaries of a victim at a split point: accuracy against leakage.

Scores are means over distinct images of each image's mean over seeds, as ``analysis.frame`` defines
them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

from privbench.evaluation.statistics import Interval
from privbench.report.analysis.frame import SeedGroup, grouped
from privbench.report.analysis.labels import curve_metrics, describe_split, leakage
from privbench.report.analysis.setting_notes import setting_notes
from privbench.report.analysis.worst_case import RelatedGroups, unequal_budgets
from privbench.runtime.hashing import content_hash
from privbench.runtime.options import flat_options
from privbench.store.group_keys import group_key, setting_key
from privbench.store.record import Record

LAYERS = (
    "input", "conv1", "relu1", "conv11", "relu11", "conv12", "relu12", "pool1",
    "conv2", "relu2", "conv21", "relu21", "conv22", "relu22", "pool2",
    "conv31", "relu31", "conv32", "relu32", "pool3", "fc1", "fc1act", "fc2", "fc2act",
)  # fmt: skip
"""Layers of the built-in victims, each from shallow to deep."""


def depth(split: str) -> int:
    """Return the position of a layer among ``LAYERS``; unknown ones come last."""
    return LAYERS.index(split) if split in LAYERS else len(LAYERS)


@dataclass(frozen=True)
class Point:
    """Scores of one attack in one defended setting, over its seeds.

    Attributes:
        group: Records, one per seed.
        complete: True where every seed of the sweep has a record.
    """

    group: SeedGroup
    complete: bool = True

    @property
    def strength(self) -> float:
        """Strength of the defense."""
        return self.group.first.strength

    @cached_property
    def accuracy(self) -> float:
        """Mean accuracy over seeds."""
        return self.group.accuracy

    @cached_property
    def undefended(self) -> float:
        """Mean accuracy over seeds without the defense."""
        return fmean(record.accuracy_undefended for record in self.group.records)

    def score(self, metric: str) -> float:
        """Return the mean over distinct images of each image's mean over seeds."""
        return self.group.score(metric)

    @cached_property
    def images(self) -> int:
        """Number of distinct images behind the scores."""
        return self.group.images

    @cached_property
    def bands(self) -> dict[str, Interval | None]:
        """Interval of the score over images by metric; null for a single image."""
        shown = curve_metrics(self.group.records)
        return {metric: self.group.recorded_interval(metric) for metric in shown}

    @cached_property
    def accuracy_band(self) -> Interval:
        """Interval of the accuracy over test images: the mean of its seeds' Wilson intervals."""
        lows, highs = zip(*(record.accuracy_ci95 for record in self.group.records), strict=True)
        return fmean(lows), fmean(highs)

    @property
    def key(self) -> str:
        """Key of the record that a link leads to."""
        return self.group.first.key


def on_common_victims(points: Sequence[Point]) -> list[Point]:
    """Return the points restricted to the victims of all of them; empty without one."""
    common = frozenset.intersection(*(point.group.victims for point in points))
    return (
        [replace(point, group=point.group.restricted_to(common)) for point in points]
        if common
        else []
    )


@dataclass(frozen=True)
class Line:
    """Curve of a defense at a site, weak to strong, from the undefended point where there is one.

    Attributes:
        defense: Name of the defense.
        site: ``features`` or ``input``.
        points: Points by strength.
    """

    defense: str
    site: str
    points: Sequence[Point]

    @property
    def name(self) -> str:
        """Defense and site in words."""
        return f"{self.defense} on {self.site}"

    @property
    def complete(self) -> "Line":
        """Curve without the points that lack a seed."""
        return replace(self, points=[point for point in self.points if point.complete])


@dataclass(frozen=True)
class Adversary:
    """One attack against every defense.

    Attributes:
        name: Name of the attack, with the options that differ from others of that name.
        adaptive: True where it adapts to the defense.
        lines: Curves by defense and site.
        undefended: Point without a defense.
    """

    name: str
    adaptive: bool
    lines: Sequence[Line]
    undefended: Point | None

    @property
    def attack(self) -> str:
        """Name of the attack without its options."""
        return self.name.split()[0]

    @property
    def blind(self) -> bool:
        """True for the blind baseline, which uses the predicted label alone."""
        return self.attack == "blind"

    @property
    def points(self) -> list[Point]:
        """Defended points of all curves."""
        return [point for line in self.lines for point in line.points if point.strength > 0]

    def baseline(self, metric: str) -> float:
        """Return the score of the blind baseline that leaks most on these images.

        Under a strong defense it scores less, since the cloud then predicts a wrong class.
        """
        groups = [point.group for point in (*self.points, self.undefended) if point]
        baselines = [group.baseline(metric) for group in groups]
        return max(baselines, key=lambda score: leakage(score, metric))


@dataclass(frozen=True)
class SplitResults:
    """Measured results of one victim at one split point.

    Attributes:
        key: Key of the setting.
        dataset: Name of the data set.
        split: Split point, the last layer of the edge.
        transmissions: Times that each image is sent.
        note: Options that differ from other results of the same name.
        adversaries: Non-adaptive ones first.
    """

    key: str
    dataset: str
    split: str
    transmissions: int
    note: str
    adversaries: Sequence[Adversary]

    @property
    def title(self) -> str:
        """Data set and split point in words, with the note."""
        return describe_split(self.dataset, self.split, self.transmissions, self.note)

    @property
    def title_without_split(self) -> str:
        """Data set in words, with the note, for what is drawn across split points."""
        return describe_split(self.dataset, "", self.transmissions, self.note)

    @property
    def where(self) -> str:
        """Data set and split point in words."""
        return describe_split(self.dataset, self.split, self.transmissions)

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics of curves that all of its records have, SSIM first."""
        return curve_metrics(self.records)

    @cached_property
    def related(self) -> RelatedGroups:
        """Groups of all of its points."""
        points = [point for found in self.settings().values() for point in found]
        return RelatedGroups(point.group for point in points)

    @property
    def records(self) -> list[Record]:
        """Records of all of its points."""
        points = [point for found in self.settings().values() for point in found]
        return [record for point in points for record in point.group.records]

    def settings(self) -> dict[tuple[str, str, float], list[Point]]:
        """Return every setting with the points of the attacks that were run in it."""
        found: dict[tuple[str, str, float], list[Point]] = defaultdict(list)
        for adversary in self.adversaries:
            if adversary.undefended:
                found["none", "", 0.0].append(adversary.undefended)
            for line in adversary.lines:
                for point in line.points:
                    if point.strength:
                        found[line.defense, line.site, point.strength].append(point)
        return dict(found)


def panels(records: Iterable[Record], gaps: Mapping[str, Any] | None = None) -> list[SplitResults]:
    """Group records by victim and split point, in their order.

    Args:
        records: Records of any settings.
        gaps: Groups that lack a seed.
    """
    by_setting: dict[str, list[SeedGroup]] = defaultdict(list)
    for group in grouped(records):
        by_setting[_split_key(group.first)].append(group)
    attacks = {
        attack_of(group.first): group.first for groups in by_setting.values() for group in groups
    }
    names = dict(zip(attacks, attack_names(list(attacks.values())), strict=True))
    notes = setting_notes({key: groups[0].first for key, groups in by_setting.items()})
    found = []
    for key, groups in by_setting.items():
        one = groups[0].first
        by_attack: dict[str, list[Point]] = defaultdict(list)
        for group in groups:
            whole = group.key not in (gaps or {})
            by_attack[attack_of(group.first)].append(Point(group, whole))
        adversaries = [_adversary(names[attack], points) for attack, points in by_attack.items()]
        adversaries.sort(key=lambda adversary: adversary.adaptive)
        found.append(
            SplitResults(key, one.dataset, one.split, one.transmissions, notes[key], adversaries)
        )
    return found


def _split_key(record: Record) -> str:
    """Return the key of all but defense, attack and seed."""
    return setting_key(group_key(replace(record, strength=0.0)))


def attack_of(record: Record) -> str:
    """Return the options of an attack as a key."""
    return str(sorted(flat_options(record.config["attack"]).items()))


def attack_names(records: Sequence[Record]) -> list[str]:
    """Return a distinct name for each attack: its name and the options that differ."""
    names = []
    for record in records:
        mine = flat_options(record.config["attack"])
        others = [
            flat_options(other.config["attack"])
            for other in records
            if other.attack == record.attack
        ]
        cell_names = [
            f"{name} {value}"
            for name, value in mine.items()
            if any(other.get(name) != value for other in others)
        ]
        names.append(" ".join([record.attack, *cell_names[:3]]))
    return [
        name
        if names.count(name) == 1
        else f"{name} ({content_hash(flat_options(one.config['attack']))[:4]})"
        for name, one in zip(names, records, strict=True)
    ]


def _adversary(name: str, points: Sequence[Point]) -> Adversary:
    undefended = next((point for point in points if point.strength == 0), None)
    by_line: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        if point.strength > 0:
            by_line[point.group.first.defense, point.group.first.site].append(point)
    anchor = [undefended] if undefended else []
    lines = [
        Line(defense, site, [*anchor, *sorted(members, key=lambda point: point.strength)])
        for (defense, site), members in sorted(by_line.items())
    ]
    return Adversary(name, points[0].group.first.adaptive, lines, undefended)


def unequal_settings(found: Sequence[SplitResults]) -> list[str]:
    """Return the number of settings that were attacked with different budgets, in a sentence."""
    attacked = [points for panel in found for points in panel.settings().values()]
    uneven = sum(bool(unequal_budgets(point.group for point in points)) for points in attacked)
    return [
        f"{uneven} settings compare attacks of unequal budgets (steps, queries, auxiliary images): "
        "the table of every attack has them, and a larger budget may explain a gap"
    ] * bool(uneven)
