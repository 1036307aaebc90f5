"""The worst case: the strongest adversary against a defended setting (no torch).

A defense is as good as the strongest adversary against it. One rule picks it everywhere, in the
terminal's summary, the page, the tables and the comparison with a paper: of the eligible attacks
the longest run each, on the victims that all of them attacked, the one with the highest score
(``ComparableAttacks.strongest``). An attack is eligible for every set of rights that holds its own.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from privbench.evaluation.metrics import PSNR
from privbench.report.analysis.frame import (
    SeedGroup,
    Victim,
    grouped,
    recovers_more,
    shared_victims,
    victim_of,
)
from privbench.report.analysis.labels import (
    HEADLINE,
    attack_name,
    describe_setting,
    leakage,
    shown_metrics,
)
from privbench.runtime.hashing import content_hash
from privbench.runtime.options import count_of, with_values
from privbench.store.group_keys import images_of, setting_key
from privbench.store.record import Record

IMPLIED = {"EDGE_WEIGHTS": {"EDGE_QUERIES", "CLEAN_QUERIES", "EDGE_STRUCTURE"}}
"""Rights implied by another: edge weights imply queries, to the defended edge and without."""


def listed(seeds: Iterable[int]) -> str:
    """Return a list of seeds in words.

    >>> listed({1}), listed([2, 0])
    ('seed 1', 'seeds 0, 2')
    """
    found = sorted(set(seeds))
    return f"seed{'s' * (len(found) != 1)} {', '.join(map(str, found))}"


def not_shared(groups: Iterable[tuple[str, SeedGroup]], victims: frozenset[Victim]) -> list[str]:
    """Return what a comparison on these victims leaves out, one line per group.

    Args:
        groups: Groups to compare, each with its name; several may have one name.
        victims: Victims on which they are compared.
    """
    found, kept, named = [], {seed for seed, _ in victims}, list(groups)
    compared = [group for _, group in named if victims <= group.victims]
    met = {seed for group in compared for seed in group.seeds}
    for name, group in named:
        if not victims <= group.victims:
            other = " with victims of other weights" if kept & set(group.seeds) else ""
            found.append(f"{name} is not compared: {listed(group.seeds)}{other}")
        elif lacking := met - set(group.seeds):
            found.append(f"compared on {listed(kept)}: {name} lacks {listed(lacking)}")
    return found


def unreliable(group: SeedGroup) -> list[str]:
    """Return reasons in a group's records why its score may be too low."""
    found = [] if group.converged else ["not converged"]
    if share := fmean(float(record.notes.get("never_moved") or 0) for record in group.records):
        found.append(f"{share:.0%} of the images never moved")
    if failed := sum(record.failed for record in group.records):
        found.append(f"{failed} images not finite")
    return found


class RelatedGroups:
    """Measured groups, to find those that differ from one in a single option."""

    def __init__(self, groups: Iterable[SeedGroup]) -> None:
        self._held: dict[tuple[str, str], list[tuple[int, SeedGroup]]] = defaultdict(list)
        self.caveats: dict[tuple[str, ...], list[str]] = {}
        for at, group in enumerate(groups):
            for name, key in group.keys_without.items():
                self._held[name, key].append((at, group))

    def of(self, group: SeedGroup) -> list[SeedGroup]:
        """Return the groups with its strength, its steps or its transmissions changed, in order."""
        found = {
            at: other
            for name, key in group.keys_without.items()
            for at, other in self._held[name, key]
            if other.key != group.key
        }
        return [found[at] for at in sorted(found)]


def caveats(group: SeedGroup, related: RelatedGroups, metric: str) -> list[str]:
    """Return why a score is not an upper bound on what these rights recover.

    Beyond ``unreliable``: the same attack recovers more, on the same images of the same victims and
    beyond the interval, under a stronger defense, with fewer steps, or from fewer transmissions.

    Args:
        group: The group with the score.
        related: All measured groups.
        metric: Name of the score.
    """
    key = metric, *(record.key for record in group.records)
    if key not in related.caveats:  # figures, tables and sentences ask for the same ones
        related.caveats[key] = _caveats(group, related, metric)
    return list(related.caveats[key])


def _caveats(group: SeedGroup, related: RelatedGroups, metric: str) -> list[str]:
    found = unreliable(group)
    mine = group.first
    for other in related.of(group):
        theirs = other.first
        if theirs.attack != mine.attack or not other.has(metric):
            continue
        same = {name for name, key in group.keys_without.items() if other.keys_without[name] == key}
        reason = ""
        if "strength" in same and theirs.strength > mine.strength:
            reason = f"{theirs.strength:g} gives more"
        elif "steps" in same and steps(theirs) < steps(mine):
            reason = f"{_counted(steps(theirs), 'step')} more"
        elif "transmissions" in same and theirs.transmissions < mine.transmissions:
            reason = f"{_counted(theirs.transmissions, 'transmission')} more"
        if reason and recovers_more(other, group, metric):
            found.append(reason)
    return found


def _counted(count: int, noun: str) -> str:
    """Return a number of things with the verb that follows."""
    return f"{count} {noun} gives" if count == 1 else f"{count} {noun}s give"


def steps(record: Record) -> int:
    """Return the steps of an attack and of the attacks within it, of trainings and descents.

    Records of earlier versions do not list their trainings: their options tell the steps, and one
    note where the number of images did. So it is of a search, which trains for its trials, too.
    """
    configured = _as_run(record)
    searched = "trials" in configured
    trainings = None if searched else record.notes.get("trainings")
    left_as_it_is = not record.notes.get("refined", {}).get("descend", True)
    perturbed = record.site == "input" and record.strength > 0

    def count(attack: Mapping[str, Any]) -> int:
        inner = sum(count(value) for value in attack.values() if isinstance(value, Mapping))
        own = 0
        listed = trainings is not None and "patience" in attack
        if "steps" in attack and not listed:
            own = count_of(attack, "steps") or count_of(record.notes, "steps")
        if "network" in attack and left_as_it_is:
            own = 0  # the network's answer is the result
        if perturbed and attack.get("adaptive", True):
            own += count_of(attack, "inversion_steps")
        if rounds := count_of(attack, "rounds"):  # of an image and a clone in turns
            own *= 2 * rounds
        return own + _turns(attack, record.notes) + inner

    trained = sum(training["steps"] or 0 for training in trainings or ())
    return count(configured) + int(trained)


def _as_run(record: Record) -> Mapping[str, Any]:
    """Return the options of a record's attack, with those that a search chose for the one within.

    An option of a deeper attack is noted as ``network.steps``.
    """
    attack: Mapping[str, Any] = record.config["attack"]
    chosen = record.notes.get("tuned", {}).get("chosen", {})
    return {**attack, "inner": with_values(attack["inner"], chosen)} if chosen else attack


def _turns(attack: Mapping[str, Any], notes: Mapping[str, Any]) -> int:
    """Return the steps that a learned prior makes in turns, each with updates of the images."""
    turns = attack.get("levels"), attack.get("updates", attack.get("recurrences"))
    if not all(isinstance(n, int) for n in turns):
        return 0
    return int(notes.get("turns") or math.prod(turns))


def seconds_spent(group: SeedGroup) -> float:
    """Return the mean seconds of fitting and reconstructing, trainings that the store had included.

    Records of earlier versions do not tell the latter.
    """
    phases = ("fit", "reconstruct", "stored")
    return fmean(sum(r.seconds.get(name, 0.0) for name in phases) for r in group.records)


def longest_runs(groups: Iterable[SeedGroup]) -> list[SeedGroup]:
    """Return the groups that may be a worst case: of those that differ in steps, the longest run.

    A short run in place of a long one would hide that an attack gets worse with steps, which
    ``caveats`` reports for the long run.
    """
    best: dict[str, SeedGroup] = {}
    for group in groups:
        name = group.keys_without["steps"]
        if name not in best or steps(group.first) > steps(best[name].first):
            best[name] = group
    return list(best.values())


@dataclass(frozen=True)
class ComparableAttacks:
    """Attacks in one setting that can be compared: on the same victims, by their longest runs.

    Attributes:
        groups: Groups of records of these victims only.
        notes: Groups that were left out, in words.
    """

    groups: list[SeedGroup]
    notes: list[str]

    @classmethod
    def of(
        cls, groups: Iterable[SeedGroup], victims: frozenset[Victim] | None = None
    ) -> "ComparableAttacks":
        """Select the longest run of each attack on common victims.

        Args:
            groups: Groups of one setting.
            victims: Victims to compare on; null for those that ``groups`` share.
        """
        longest = longest_runs(groups)
        common = shared_victims(longest) if victims is None else victims
        kept = [group.restricted_to(common) for group in longest if common <= group.victims]
        named = [(attack_name(group.first), group) for group in longest]
        return cls(kept, not_shared(named, common))

    def strongest(self, metric: str) -> SeedGroup:
        """Return the group that recovers most: the one rule for the strongest adversary."""
        return max(self.groups, key=lambda group: leakage(group.score(metric), metric))


def _images(attack: Mapping[str, Any]) -> int | None:
    """Return the auxiliary images that an attack learns from; null for all of them.

    One that runs another attack learns from that one's: its own images are for its trials.
    """
    inner = [one for one in attack.values() if isinstance(one, Mapping) and "images" in one]
    used = [_images(one) for one in inner] or [count_of(attack, "images") or None]
    counts = [count for count in used if count is not None]
    return max(counts) if len(counts) == len(used) else None


@dataclass(frozen=True, order=True)
class Budget:
    """Effort of an attack.

    Attributes:
        steps: Steps of the attack and of the attacks within it.
        queries: Number of queries to the edge.
        images: Auxiliary images that it used, in words.
        trials: Runs of so many steps on images of the adversary's own, before that on the targets.
        combinations: Ways to combine network and descent that a refinement compared on such images.
    """

    steps: int
    queries: int
    images: str
    trials: int = 0
    combinations: int = 0

    @classmethod
    def of(cls, record: Record) -> "Budget":
        """Read the effort from a record."""
        used = _images(_as_run(record))
        words = f"{used} auxiliary images" if used else "all auxiliary images"
        has = any(right.startswith("AUX_") for right in record.access)
        refined = record.notes.get("refined", {})
        compared = [refined, *refined.get("under_noise", ())]
        trials = count_of(record.config["attack"], "trials")
        combinations = sum(len(one.get("losses", ())) for one in compared)
        return cls(steps(record), record.queries, words if has else "", trials, combinations)

    def __str__(self) -> str:
        """Return the effort in words."""
        queries = f"{self.queries} queries" if self.queries else ""
        trials = f"after {self.trials} trials of as many" if self.trials else ""
        compared = f"{self.combinations} combinations compared" if self.combinations else ""
        parts = (f"{self.steps} steps", trials, compared, queries, self.images)
        return ", ".join(filter(None, parts))


def unequal_budgets(groups: Iterable[SeedGroup]) -> str:
    """Return a warning that names the budgets of compared attacks; empty where they are equal."""
    spent = {
        f"{attack_name(group.first)} {budget}": budget
        for group in groups
        if group.first.attack != "blind" and (budget := Budget.of(group.first))
    }
    return f"unequal budgets: {'; '.join(spent)}" if len(set(spent.values())) > 1 else ""


def mixed_victims(records: Iterable[Record]) -> list[str]:
    """Return a line for each victim that one seed trained to several weights.

    Records of several machines or numbers of threads have such victims, and are not compared
    across them.
    """
    found: dict[tuple[str, ...], dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        seed, weights = victim_of(record)
        images = images_of(record.config, record.sources)
        data = {k: v for k, v in images.items() if k != "aux"}
        recipe = content_hash({"data": data, "victim": record.config["victim"]})
        if weights:
            found[record.dataset, record.victim, recipe][seed].add(weights)
    lines = []
    for (dataset, victim, _), by_seed in found.items():
        mixed = {seed: weights for seed, weights in sorted(by_seed.items()) if len(weights) > 1}
        if mixed:
            listed_weights = "; ".join(
                f"seed {seed}: {', '.join(sorted(one[:8] for one in weights))}"
                for seed, weights in mixed.items()
            )
            lines.append(
                f"mixes victims of {dataset}, {victim}, that one seed trained to several weights "
                f"(sha256 {listed_weights}): records are compared on the same weights only"
            )
    return lines


@dataclass(frozen=True)
class WorstCase:
    """Strongest adversary with a set of rights in one defended setting.

    Attributes:
        key: Key of the setting.
        setting: The setting in words.
        rights: Names of the rights.
        accuracy: Share of test images, mean over seeds.
        best: Strongest attack by metric.
        caveats: By metric, reasons why a stronger attack may exist.
        notes: Caveats of the whole setting: the seeds that its attacks are compared on, and
            unequal budgets.
        bounds: Sentences about bounds on the attack of the highest PSNR, where its records have
            any.
    """

    key: str
    setting: str
    rights: tuple[str, ...]
    accuracy: float
    best: dict[str, SeedGroup]
    caveats: dict[str, list[str]]
    notes: Sequence[str] = ()
    bounds: Sequence[str] = ()


def worst_cases(
    records: Iterable[Record], gaps: Mapping[str, Any] | None = None
) -> list[WorstCase]:
    """Return the strongest attack for every setting and every set of rights that occurs in it.

    Args:
        records: Records of any settings.
        gaps: Groups that lack a seed: they have no mean.
    """
    return worst_cases_of(group for group in grouped(records) if group.key not in (gaps or {}))


def worst_cases_of(groups: Iterable[SeedGroup]) -> list[WorstCase]:
    """Return ``worst_cases`` of records that are grouped already."""
    groups = list(groups)
    settings: dict[str, list[SeedGroup]] = defaultdict(list)
    for group in groups:
        settings[setting_key(group.key)].append(group)
    found, related = [], RelatedGroups(groups)
    for members in settings.values():
        all_attacks = ComparableAttacks.of(members)
        common = all_attacks.groups[0].victims
        for rights in sorted(
            {tuple(group.first.access) for group in members}, key=lambda held: (len(held), held)
        ):
            eligible = within_rights(rights, members)
            compared = ComparableAttacks.of(eligible, common)
            if not compared.groups:  # none of them attacked a victim that the others did
                compared = ComparableAttacks.of(eligible)
            found.append(_worst(rights, compared, all_attacks, related))
    return found


def within_rights(rights: Iterable[str], groups: Iterable[SeedGroup]) -> list[SeedGroup]:
    """Return groups whose attacks need only these rights and those they imply."""
    held = set(rights).union(*(IMPLIED.get(right, set()) for right in rights))
    return [group for group in groups if set(group.first.access) <= held]


def _worst(
    rights: tuple[str, ...],
    compared: ComparableAttacks,
    all_attacks: ComparableAttacks,
    related: RelatedGroups,
) -> WorstCase:
    records = [record for group in compared.groups for record in group.records]
    shown = shown_metrics(records, "summary")
    best = {metric: compared.strongest(metric) for metric in shown}
    return WorstCase(
        setting_key(compared.groups[0].key),
        describe_setting(compared.groups[0].first),
        rights,
        best.get(HEADLINE, compared.groups[0]).accuracy,
        best,
        {m: [*caveats(best[m], related, m), *compared.notes] for m in shown},
        [*all_attacks.notes, *filter(None, [unequal_budgets(all_attacks.groups)])],
        best[PSNR.name].remarks if PSNR.name in best else [],
    )
