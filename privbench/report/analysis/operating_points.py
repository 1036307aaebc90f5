"""Operating points: defended settings by their worst case, and comparisons of defenses."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from privbench.evaluation.metrics import metric as metric_of
from privbench.evaluation.statistics import (
    FEW_VICTIMS,
    Interval,
    interval_label,
    victim_interval,
    victim_label,
)
from privbench.report.analysis.frame import (
    SeedGroup,
    Victim,
    on_shared_victims,
    paired_interval,
    paired_victims,
    shared_images,
    shared_victims,
)
from privbench.report.analysis.labels import (
    describe_defense,
    leakage,
    metric_label,
    signed,
)
from privbench.report.analysis.tradeoffs import Point, SplitResults
from privbench.report.analysis.worst_case import (
    ComparableAttacks,
    RelatedGroups,
    caveats,
    not_shared,
    unequal_budgets,
)
from privbench.runtime.options import flat_options

ACCURACY_BUDGETS = (0.01, 0.02, 0.05)
"""Losses of accuracy at which defenses are compared, as shares."""
NOT_ADAPTIVE = ("this attack is not adaptive", "no adaptive attack was run")
"""Caveats of a defended setting: another attack there was adaptive, or none was."""


@dataclass(frozen=True)
class OperatingPoint:
    """A setting with its strongest adversary.

    Attributes:
        defense: Name of the defense.
        site: ``features`` or ``input``.
        metric: Name of the score.
        attacks: Results of all attacks in the setting, by the attack's name.
        related: All measured groups of the victim and split point.
        missing: Attacks that were not run here, though at least half of the settings met them or
            they recover most in at least half of those that did.
        doubts: Reasons why a stronger adversary may exist, whichever attack is the strongest here.
        victims: Victims to compare the attacks on; null for those that they share.
    """

    defense: str
    site: str
    metric: str
    attacks: Mapping[str, SeedGroup]
    related: RelatedGroups = field(repr=False)
    missing: Sequence[str] = ()
    doubts: Sequence[str] = ()
    victims: frozenset[Victim] | None = None

    @cached_property
    def _compared(self) -> ComparableAttacks:
        return ComparableAttacks.of(self.attacks.values(), self.victims)

    @cached_property
    def worst(self) -> Point:
        """Point of the strongest adversary by the metric."""
        return Point(self._compared.strongest(self.metric))

    @property
    def adversary(self) -> str:
        """Name of the strongest adversary."""
        key = self.worst.group.key
        return next(name for name, group in self.attacks.items() if group.key == key)

    @property
    def caveats(self) -> list[str]:
        """Reasons why a stronger adversary may exist."""
        found = caveats(self.worst.group, self.related, self.metric)
        return list(dict.fromkeys([*found, *self._compared.notes, *self.doubts]))

    @property
    def leakage(self) -> float:
        """Score of the strongest adversary."""
        return self.worst.score(self.metric)

    def highest(self, metric: str) -> tuple[str, float] | None:
        """Return which attack reaches the highest score by another metric, and that score.

        Of attacks on the victims of this point; the strongest adversary first among equals, and
        null where none has the metric.
        """
        victims = self.worst.group.victims
        scores = {
            name: group.restricted_to(victims).score(metric)
            for name, group in self.attacks.items()
            if victims <= group.victims and group.has(metric)
        }
        best = max(scores, key=lambda name: (scores[name], name == self.adversary), default=None)
        return None if best is None else (best, scores[best])

    def on(self, victims: frozenset[Victim]) -> "OperatingPoint":
        """Return the operating point on some victims, of which another attack may be strongest."""
        return self if victims == self.worst.group.victims else replace(self, victims=victims)

    @property
    def lost(self) -> float:
        """Loss of accuracy by the defense, a share."""
        return self.worst.undefended - self.worst.accuracy

    @property
    def name(self) -> str:
        """Defense in words."""
        return describe_defense(self.defense, self.worst.strength, self.site)


def operating_points(
    panel: SplitResults, metric: str, only: str | None = None
) -> list[OperatingPoint]:
    """Return every setting with its strongest adversary, or with one adversary.

    The worst case of a setting that lacks an attack does not compare with others: see ``missing``.

    Args:
        panel: Results of one victim and split point.
        metric: Name of the score.
        only: Name of an adversary; null for all of them.
    """
    eligible = [a for a in panel.adversaries if a.name == only or (only is None and not a.blind)]
    names = {p.group.key: a.name for a in eligible for line in a.lines for p in line.points}
    names |= {a.undefended.group.key: a.name for a in eligible if a.undefended}
    met_by_any, settings = panel.settings(), replace(panel, adversaries=eligible).settings()
    kinds = {p.group.key: _kind(p) for points in settings.values() for p in points}
    # an attack that was run with no defense, or only with one, is not required elsewhere
    due = {
        defended: _due(
            [held for (*_, at), held in settings.items() if (at > 0) == defended], metric, kinds
        )
        for defended in (True, False)
    }
    shown = {kind: names[key] for key, kind in kinds.items()}
    found = []
    for (defense, site, strength), points in settings.items():
        if not all(point.complete for point in points):
            continue
        met = {kinds[point.group.key] for point in points}
        missing = [shown[kind] for kind in due[strength > 0] if kind not in met]
        doubts = [f"not run there: {', '.join(missing)}"] * bool(missing)
        if strength and not any(point.group.first.knows_defense for point in points):
            doubts = [*_unknown(points, met_by_any[defense, site, strength]), *doubts]
        attacks = {names[p.group.key]: p.group for p in points}
        found.append(OperatingPoint(defense, site, metric, attacks, panel.related, missing, doubts))
    return found


def _due(settings: Sequence[Sequence[Point]], metric: str, kinds: Mapping[str, str]) -> list[str]:
    """Return the kinds of attacks without which a setting may look better than it is.

    Those are what at least half of the settings met, and what recovers most in at least half of
    those that met it.

    Args:
        settings: Points of each setting.
        metric: Name of the score.
        kinds: Kinds of attacks by the keys of their groups.
    """
    met, strongest = Counter[str](), Counter[str]()
    for points in settings:
        scores = {kinds[p.group.key]: leakage(p.score(metric), metric) for p in points}
        met.update(scores.keys())
        strongest.update(kind for kind, score in scores.items() if score >= max(scores.values()))
    least = len(settings) / 2
    return [kind for kind in met if met[kind] >= least or 2 * strongest[kind] >= met[kind]]


def _kind(point: Point) -> str:
    """Return the options of a point's attack without its steps, as a key."""
    options = flat_options(point.group.first.config["attack"]).items()
    return str(sorted(item for item in options if not _is_steps(item)))


def _is_steps(item: tuple[str, str]) -> bool:
    return item[0].rpartition(".")[2] == "steps"


def _unknown(points: Iterable[Point], met: Iterable[Point]) -> list[str]:
    """Return the caveat of a setting that no attack met that knows the defense.

    Args:
        points: Points of the attacks that are looked at.
        met: Points of all attacks in the setting.
    """
    if not any(point.group.first.knows_defense for point in met):
        return [NOT_ADAPTIVE[1]]
    return [] if any(point.group.first.adaptive for point in points) else [NOT_ADAPTIVE[0]]


def within(found: Iterable[OperatingPoint], loss: float) -> OperatingPoint | None:
    """Return the setting that leaks least of those that cost at most this much accuracy.

    One that lacks an attack counts where all of them lack some. Settings are compared on the
    victims that they share, where each loses no more than this; one that shares none is left out,
    which is among the caveats.
    """
    cheap = [choice for choice in found if _affordable(choice, loss)]
    allowed = [choice for choice in cheap if not choice.missing] or cheap
    while allowed:
        common = shared_victims(choice.worst.group for choice in allowed)
        kept = {
            at: choice.on(common)
            for at, choice in enumerate(allowed)
            if common <= choice.worst.group.victims
        }
        # without the setting that costs most there, the others may share more victims
        dearest = max(kept, key=lambda at: kept[at].lost)
        if _affordable(kept[dearest], loss):
            best = min(kept.values(), key=lambda one: leakage(one.leakage, one.metric))
            named = [(choice.name, choice.worst.group) for choice in allowed]
            return replace(best, doubts=[*best.doubts, *not_shared(named, common)])
        del allowed[dearest]
    return None


def _affordable(choice: OperatingPoint, loss: float) -> bool:
    """Return whether a setting costs at most this much accuracy."""
    return choice.lost <= loss + 1e-12  # differences of decimal numbers


def pareto(found: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """Return settings that no other one beats in accuracy and in leakage, most accurate first.

    Each setting that lacks no attack comes once, and is beaten only on victims that both of two
    settings have.
    """
    distinct = list({choice.name: choice for choice in found if not choice.missing}.values())
    best = [one for one in distinct if not any(_beats(other, one) for other in distinct)]
    return sorted(best, key=lambda choice: -choice.worst.accuracy)


def _beats(one: OperatingPoint, other: OperatingPoint) -> bool:
    """Return whether ``one`` is no worse in accuracy and leakage, and better in either."""
    both = on_shared_victims(one.worst.group, other.worst.group)
    if both is None:
        return False
    (mine, theirs), metric = both, one.metric
    gained = mine.accuracy - theirs.accuracy
    hidden = leakage(theirs.score(metric) - mine.score(metric), metric)
    return gained >= 0 and hidden >= 0 and (gained > 0 or hidden > 0)


@dataclass(frozen=True)
class Comparison:
    """Two defenses at the same cost in accuracy, on the same images.

    Attributes:
        first: Setting with the lower score.
        second: Setting with the higher score.
        difference: Interval of ``first`` less ``second`` over shared images; null with too few.
        images: Number of images that both have on shared victims.
    """

    first: OperatingPoint
    second: OperatingPoint
    difference: Interval | None
    images: int

    @classmethod
    def of(cls, one: OperatingPoint, other: OperatingPoint) -> "Comparison":
        """Compare two settings by the metric of both."""
        groups = one.worst.group, other.worst.group
        difference = paired_interval(*groups, one.metric)
        return cls(one, other, difference, shared_images(*groups))

    @property
    def description(self) -> str:
        """Sentence with an interval and its caveats."""
        names = f"{self.first.name} and {self.second.name}"
        if on_shared_victims(self.first.worst.group, self.second.worst.group) is None:
            return f"inconclusive for {names}: no victim in common"
        if self.difference is None:
            return f"inconclusive for {names}: too few images in common"
        low, high = sorted(leakage(end, self.first.metric) for end in self.difference)
        text = f"inconclusive for {names}"
        if high < 0:
            text = f"{self.first.name} leaks less than {self.second.name}"
        elif low > 0:
            text = f"{self.second.name} leaks less than {self.first.name}"
        return f"{text}: {self._span(self.difference, self.images)}{self._caveats()}"

    def _span(self, interval: Interval, images: int) -> str:
        groups = self.first.worst.group, self.second.worst.group
        text = f"{self._ends(interval)} ({interval_label(images)})"
        few = len(groups[0].victims & groups[1].victims) < FEW_VICTIMS
        victims = [] if few else paired_victims(*groups, self.first.metric)
        over = victim_interval(victims)
        return f"{text}, {self._ends(over)} ({victim_label(len(victims))})" if over else text

    def _ends(self, interval: Interval) -> str:
        metric = self.first.metric
        low, high = (signed(end, metric) for end in interval)
        unit = metric_of(metric).unit
        return f"{low} to {high} {unit}" if unit else f"{metric_label(metric)} {low} to {high}"

    def _caveats(self) -> str:
        groups = self.first.worst.group, self.second.worst.group
        found = [
            f"{side.name}: {reason}"
            for side in (self.first, self.second)
            for reason in side.caveats
        ]
        found += filter(None, [unequal_budgets(groups)])
        return f" (caveats: {'; '.join(found)})" if found else ""


def comparisons(panel: SplitResults, metric: str, loss: float) -> list[Comparison]:
    """Return pairwise comparisons of each defense's least leakage within a loss of accuracy."""
    by_line: dict[tuple[str, str], list[OperatingPoint]] = defaultdict(list)
    for choice in operating_points(panel, metric):
        if choice.worst.strength and not choice.missing:
            by_line[choice.defense, choice.site].append(choice)
    best = [found for line in by_line.values() if (found := within(line, loss))]
    best.sort(key=lambda choice: leakage(choice.leakage, metric))
    return [Comparison.of(one, other) for at, one in enumerate(best) for other in best[at + 1 :]]
