"""What curves and comparisons are made of: numbers, no drawing.

Scores are means over distinct images of each image's mean over seeds, as ``report.worst_case``
says, and are compared on the victims that both sides attacked.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import Any

from privbench.evaluation.statistics import Interval, interval_label, victim_interval, victim_label
from privbench.report.worst_case import (
    Contest,
    SeedGroup,
    Victim,
    differences,
    doubts,
    group_key,
    grouped,
    not_shared,
    on_shared_victims,
    paired_interval,
    paired_victims,
    setting_key,
    shared_victims,
    unequal_budgets,
)
from privbench.runtime.hashing import content_hash
from privbench.store.record import Record

METRICS = ("ssim", "psnr_db")
NAMES = {"ssim": "SSIM", "psnr_db": "PSNR [dB]"}
LAYERS = (
    "input", "conv1", "relu1", "conv11", "relu11", "conv12", "relu12", "pool1",
    "conv2", "relu2", "conv21", "relu21", "conv22", "relu22", "pool2",
    "conv31", "relu31", "conv32", "relu32", "pool3", "fc1", "fc1act", "fc2", "fc2act",
)  # fmt: skip
"""Of the victims here, from shallow to deep for each of them."""
ACCURACY_BUDGETS = (0.01, 0.02, 0.05)
"""Points of accuracy that a user may give away."""


def depth(split: str) -> int:
    """Where a layer stands among ``LAYERS``; others stand last."""
    return LAYERS.index(split) if split in LAYERS else len(LAYERS)


@dataclass(frozen=True)
class Point:
    """One attack on one defended setting, over its seeds.

    Attributes:
        group: Its records.
        complete: Whether every seed of the sweep has one.
    """

    group: SeedGroup
    complete: bool = True

    @property
    def strength(self) -> float:
        """Of the defense."""
        return self.group.one.strength

    @cached_property
    def accuracy(self) -> float:
        """Mean over seeds."""
        return self.group.accuracy

    @cached_property
    def undefended(self) -> float:
        """Accuracy without the defense, mean over seeds."""
        return fmean(record.accuracy_undefended for record in self.group.records)

    def score(self, metric: str) -> float:
        """Return the mean over distinct images of each image's mean over seeds."""
        return self.group.score(metric)

    @cached_property
    def images(self) -> int:
        """Distinct images behind the scores."""
        return len(self.group.images(METRICS[0]))

    @cached_property
    def bands(self) -> dict[str, Interval | None]:
        """The score's interval over images by metric; null for a single image."""
        if len(self.group.records) == 1:  # the record has it, and many pages have a thousand
            return {metric: getattr(self.group.one, f"{metric}_ci95") for metric in METRICS}
        return {metric: self.group.interval(metric) for metric in METRICS}

    @property
    def key(self) -> str:
        """Of one of its records: where a link leads."""
        return self.group.one.key


def on_common_victims(points: Sequence[Point]) -> list[Point]:
    """Return points by their records of the victims that all of them have; empty without one."""
    common = frozenset.intersection(*(point.group.victims for point in points))
    return [replace(point, group=point.group.only(common)) for point in points] if common else []


@dataclass(frozen=True)
class Line:
    """A defense at a site, weak to strong, the undefended point first where there is one.

    Attributes:
        defense: Its name.
        site: ``features`` or ``input``.
        points: By strength.
    """

    defense: str
    site: str
    points: Sequence[Point]

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.defense} on {self.site}"

    @property
    def complete(self) -> "Line":
        """The line without the points that lack a seed."""
        return replace(self, points=[point for point in self.points if point.complete])


@dataclass(frozen=True)
class Adversary:
    """One attack, against every defense.

    Attributes:
        name: Of the attack, with what tells it from its namesakes.
        adaptive: Whether it knows of the defense.
        lines: By defense and site.
        undefended: Without any.
    """

    name: str
    adaptive: bool
    lines: Sequence[Line]
    undefended: Point | None

    @property
    def attack(self) -> str:
        """Which attack it is."""
        return self.name.split()[0]

    @property
    def blind(self) -> bool:
        """Whether it looks at no feature: a floor, and no adversary."""
        return self.attack == "blind"

    @property
    def points(self) -> list[Point]:
        """Every defended one."""
        return [point for line in self.lines for point in line.points if point.strength > 0]

    def floor(self, metric: str) -> float:
        """What a blind guess scores on these images, at most.

        Under a strong defense it scores less: the class that the cloud predicts is then a wrong
        one.
        """
        groups = [point.group for point in (*self.points, self.undefended) if point]
        return max(group.floor(metric) for group in groups)


@dataclass(frozen=True)
class SplitResults:
    """All that was measured of one victim, cut at one place.

    Attributes:
        key: Of this setting.
        dataset: Its name.
        split: The layer.
        transmissions: K.
        note: What tells it from its namesakes.
        adversaries: Those that do not know of the defense first.
    """

    key: str
    dataset: str
    split: str
    transmissions: int
    note: str
    adversaries: Sequence[Adversary]

    @property
    def title(self) -> str:
        """In words."""
        sent = f", sent {self.transmissions} times" if self.transmissions > 1 else ""
        note = f" ({self.note})" if self.note else ""
        return f"{self.dataset} at {self.split}{sent}{note}"

    def settings(self) -> dict[tuple[str, str, float], list[Point]]:
        """Every defended setting, with the points of the adversaries that met it."""
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
    """Records by victim and split, in the order they come.

    Args:
        records: Any.
        gaps: Groups that lack a seed.
    """
    rooms: dict[str, list[SeedGroup]] = defaultdict(list)
    for group in grouped(records):
        rooms[_room(group.one)].append(group)
    attacks = {attack_of(group.one): group.one for groups in rooms.values() for group in groups}
    names = dict(zip(attacks, attack_names(list(attacks.values())), strict=True))
    notes = _telling_apart({key: _facts(groups[0].one) for key, groups in rooms.items()})
    found = []
    for key, groups in rooms.items():
        one = groups[0].one
        by_attack: dict[str, list[Point]] = defaultdict(list)
        for group in groups:
            whole = group_key(group.one) not in (gaps or {})
            by_attack[attack_of(group.one)].append(Point(group, whole))
        adversaries = [_adversary(names[attack], points) for attack, points in by_attack.items()]
        adversaries.sort(key=lambda adversary: adversary.adaptive)
        found.append(
            SplitResults(key, one.dataset, one.split, one.transmissions, notes[key], adversaries)
        )
    return found


def _room(record: Record) -> str:
    """Key of everything but defense, attack and seed."""
    return setting_key(group_key(replace(record, strength=0.0)))


def attack_of(record: Record) -> str:
    """Return an attack's settings, which tell it from its namesakes."""
    return str(sorted(_flat(record.config["attack"]).items()))


def _facts(record: Record) -> dict[str, Any]:
    config = record.config
    chosen = config["target_indices"] or config.get("include")
    among = f" with {','.join(map(str, chosen))}" if chosen else ""
    victim = {f"victim.{k}": v for k, v in config["victim"].items()}
    dataset = {f"dataset.{k}": v for k, v in config["dataset"].items()}
    return {
        **victim,
        **dataset,
        "targets": f"{record.targets}{among}",
        "accuracy_draws": config["accuracy_draws"],
        "_name": f"{record.dataset} {record.split} {record.transmissions}",
    }


def _telling_apart(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """For namesakes, the facts that differ."""
    told = {}
    for key, mine in facts.items():
        namesakes = [other for other in facts.values() if other["_name"] == mine["_name"]]
        cell_names = [
            f"{name.partition('.')[2] or name} {value}"
            for name, value in mine.items()
            if any(other.get(name) != value for other in namesakes)
        ]
        told[key] = ", ".join(cell_names)
    return told


def _flat(attack: Mapping[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in attack.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = str(value)
    return found


def attack_names(records: Sequence[Record]) -> list[str]:
    """A name for each attack: its own, and how it differs from its namesakes."""
    names = []
    for record in records:
        mine = _flat(record.config["attack"])
        others = [
            _flat(other.config["attack"]) for other in records if other.attack == record.attack
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
        else f"{name} ({content_hash(_flat(one.config['attack']))[:4]})"
        for name, one in zip(names, records, strict=True)
    ]


def _adversary(name: str, points: Sequence[Point]) -> Adversary:
    undefended = next((point for point in points if point.strength == 0), None)
    by_line: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        if point.strength > 0:
            by_line[point.group.one.defense, point.group.one.site].append(point)
    anchor = [undefended] if undefended else []
    lines = [
        Line(defense, site, [*anchor, *sorted(members, key=lambda point: point.strength)])
        for (defense, site), members in sorted(by_line.items())
    ]
    return Adversary(name, points[0].group.one.adaptive, lines, undefended)


# comparisons -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OperatingPoint:
    """A defended setting, by the adversary that recovers most.

    Attributes:
        defense: Its name.
        site: Where it stands.
        worst: The point of the adversary that recovers most, by the metric.
        adversary: Its name.
        metric: Which.
        doubts: Why it may not be the worst.
    """

    defense: str
    site: str
    worst: Point
    adversary: str
    metric: str
    doubts: Sequence[str] = field(default_factory=list)

    @property
    def leakage(self) -> float:
        """What the adversary recovers."""
        return self.worst.score(self.metric)

    def on(self, victims: Iterable[Victim]) -> "OperatingPoint":
        """Return the same choice by its records of some victims alone."""
        return replace(self, worst=Point(self.worst.group.only(victims)))

    @property
    def lost(self) -> float:
        """Accuracy that the defense costs."""
        return self.worst.undefended - self.worst.accuracy

    @property
    def name(self) -> str:
        """In words."""
        if not self.worst.strength:
            return "no defense"
        return f"{self.defense} {self.worst.strength:g} on {self.site}"


def choices(panel: SplitResults, metric: str, only: str | None = None) -> list[OperatingPoint]:
    """Every measured setting by its worst case, or by one adversary.

    A setting that not all adversaries met has no worst case that compares with the others'.

    Args:
        panel: Of one victim and split.
        metric: Which score.
        only: Name of an adversary.
    """
    able = [a for a in panel.adversaries if a.name == only or (only is None and not a.blind)]
    names = {p.group.key: a.name for a in able for line in a.lines for p in line.points}
    names |= {a.undefended.group.key: a.name for a in able if a.undefended}
    met_by_any = panel.settings()
    everything = [point.group for points in met_by_any.values() for point in points]
    # who met no defense, or nothing but defenses, is no rival where it was not
    due = {
        defended: len({_kind(a) for a in able if (a.points if defended else a.undefended)})
        for defended in (True, False)
    }
    found = []
    for (defense, site, strength), points in replace(panel, adversaries=able).settings().items():
        met = {point.group.keys_without["steps"] for point in points}
        if len(met) < due[strength > 0] or not all(point.complete for point in points):
            continue
        contest = Contest.of(point.group for point in points)
        worst = contest.strongest(metric)
        why = [*doubts(worst, everything, metric), *contest.notes]
        if strength and not any(point.group.one.adaptive for point in points):
            why.append(_unknown(met_by_any[defense, site, strength]))
        found.append(OperatingPoint(defense, site, Point(worst), names[worst.key], metric, why))
    return found


def _kind(adversary: Adversary) -> str:
    """What runs of one attack share that differ in steps alone, whatever they met."""
    one = next(point for point in (*adversary.points, adversary.undefended) if point).group.one
    return str(sorted(item for item in _flat(one.config["attack"]).items() if not _is_steps(item)))


def _is_steps(item: tuple[str, str]) -> bool:
    return item[0].rpartition(".")[2] == "steps"


def _unknown(points: Iterable[Point]) -> str:
    """Why a setting may leak more than attacks recover that do not know its defense.

    Args:
        points: Of all attacks that met the setting.
    """
    if any(point.group.one.adaptive for point in points):
        return "this attack does not know the defense"
    return "no attack here knows the defense"


def within(found: Iterable[OperatingPoint], loss: float) -> OperatingPoint | None:
    """Return the setting that leaks least of those that cost at most this much accuracy.

    They are compared on the victims that they share; what shares none with the others is left out,
    and the choice's doubts say so.
    """
    allowed = [choice for choice in found if choice.lost <= loss + 1e-12]
    common = shared_victims(choice.worst.group for choice in allowed)
    kept = [choice.on(common) for choice in allowed if common <= choice.worst.group.victims]
    best = min(kept, key=lambda choice: choice.leakage, default=None)
    if best is None:
        return None
    names = {choice.name: choice.worst.group for choice in allowed}
    return replace(best, doubts=list(dict.fromkeys([*best.doubts, *not_shared(names, common)])))


def pareto(found: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """Return settings that no other one beats in accuracy and in leakage, most accurate first.

    Each setting comes once, and is beaten only on victims that both of two settings have.
    """
    distinct = list({choice.name: choice for choice in found}.values())
    best = [one for one in distinct if not any(_beats(other, one) for other in distinct)]
    return sorted(best, key=lambda choice: -choice.worst.accuracy)


def _beats(one: OperatingPoint, other: OperatingPoint) -> bool:
    """Whether ``one`` is no worse than ``other`` in accuracy and leakage, and better in one."""
    both = on_shared_victims(one.worst.group, other.worst.group)
    if both is None:
        return False
    (mine, theirs), metric = both, one.metric
    gained = mine.accuracy - theirs.accuracy
    hidden = theirs.score(metric) - mine.score(metric)
    return gained >= 0 and hidden >= 0 and (gained > 0 or hidden > 0)


@dataclass(frozen=True)
class Comparison:
    """Two defenses at the same price, on the same images.

    Attributes:
        one: Leaks less, or so it seems.
        other: Leaks more.
        difference: ``one`` less ``other`` over the images of both; null with too few in common.
        images: How many they have in common, on victims that both have.
    """

    one: OperatingPoint
    other: OperatingPoint
    difference: Interval | None
    images: int

    @classmethod
    def of(cls, one: OperatingPoint, other: OperatingPoint) -> "Comparison":
        """Compare two settings by the metric of both."""
        groups = one.worst.group, other.worst.group
        count = len(differences(*groups, one.metric))
        return cls(one, other, paired_interval(*groups, one.metric), count)

    @property
    def told(self) -> str:
        """A sentence with an interval, and what is to be said against it."""
        names = f"{self.one.name} and {self.other.name}"
        if on_shared_victims(self.one.worst.group, self.other.worst.group) is None:
            return f"{names}: no victim in common to compare them on"
        if self.difference is None:
            return f"{names}: too few images in common to tell"
        low, high = self.difference
        text = f"{names} cannot be told apart"
        if high < 0:
            text = f"{self.one.name} leaks less than {self.other.name}"
        elif low > 0:
            text = f"{self.other.name} leaks less than {self.one.name}"
        return f"{text}: {self._span(self.difference, self.images)}{self._caveats()}"

    def _span(self, interval: Interval, images: int) -> str:
        groups = self.one.worst.group, self.other.worst.group
        text = f"{self._ends(interval)} ({interval_label(images)})"
        victims = paired_victims(*groups, self.one.metric)
        over = victim_interval(victims)
        return f"{text}, {self._ends(over)} ({victim_label(len(victims))})" if over else text

    def _ends(self, interval: Interval) -> str:
        low, high = interval
        if self.one.metric == "ssim":
            return f"{NAMES['ssim']} {low:+.3f} to {high:+.3f}"
        return f"{low:+.2f} to {high:+.2f} dB"

    def _caveats(self) -> str:
        groups = self.one.worst.group, self.other.worst.group
        found = [f"{side.name}: {why}" for side in (self.one, self.other) for why in side.doubts]
        found += filter(None, [unequal_budgets(groups)])
        return f" (caveats: {'; '.join(found)})" if found else ""


def comparisons(panel: SplitResults, metric: str, loss: float) -> list[Comparison]:
    """The best setting of each defense within a loss, pair by pair, best first."""
    by_line: dict[tuple[str, str], list[OperatingPoint]] = defaultdict(list)
    for choice in choices(panel, metric):
        if choice.worst.strength:
            by_line[choice.defense, choice.site].append(choice)
    best = [found for line in by_line.values() if (found := within(line, loss))]
    best.sort(key=lambda choice: choice.leakage)
    return [Comparison.of(one, other) for at, one in enumerate(best) for other in best[at + 1 :]]


def headline(panel: SplitResults, metric: str = "ssim", loss: float = 0.02) -> str:
    """What a panel shows, in a sentence."""
    found = choices(panel, metric)
    defended = [choice for choice in found if choice.worst.strength]
    if not defended:
        return ""
    best = within(defended, loss)
    if best is None:
        return f"no measured defense keeps the accuracy within {loss:.0%} of the undefended one"
    floor = best.worst.group.floor(metric)
    value = f"{best.leakage:.2f}" if metric == "ssim" else f"{best.leakage:.1f}"
    blind = f"{floor:.2f}" if metric == "ssim" else f"{floor:.1f}"
    caveats = f"; {'; '.join(best.doubts)}" if best.doubts else ""
    return (
        f"at most {loss * 100:.0f} points of accuracy lost, the least leakage is {NAMES[metric]} "
        f"{value} ({best.name}; a blind guess scores {blind}{caveats})"
    )
