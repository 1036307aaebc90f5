"""What a sweep says at its end: the worst case for every defense (no torch).

A defense is as good as the best adversary against it, so adversaries are compared within what they
are allowed: an attack stands for every set of rights that holds its own.

The estimand, here and in every table, curve, interval and comparison of a report: the mean over
distinct images of each image's mean over seeds. An image that all seeds attacked counts once, like
one that a single seed attacked. Accuracy is the mean over seeds, each of which trains a victim.
Two groups of records are compared on the victims that both attacked, a victim being a seed and the
sha256 of the weights that it gave; where they share none, they are not compared.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

from privbench.evaluation.statistics import Interval, mean_interval, victim_interval
from privbench.report.advice import untried
from privbench.runtime.hashing import content_hash
from privbench.store.record import Record, read
from privbench.store.sweep_log import CellStatus, SweepLog

METRICS = {"psnr_db": "{:.2f} dB", "ssim": "SSIM {:.3f}", "identification": "{:.0%} identified"}
IMPLIED = {"EDGE_WEIGHTS": {"EDGE_QUERIES", "CLEAN_QUERIES", "EDGE_STRUCTURE"}}
"""Who holds the edge can ask it anything, as it was and as it is."""
RELIABLE = 0.95
"""Share of images that must have converged."""
FEWEST = 5
"""Images that two groups must share to have an interval of their difference."""
Victim = tuple[int, str]
"""Seed, and sha256 of the weights that it gave (empty where a record does not name it)."""


def victim_of(record: Record) -> Victim:
    """Return what tells the victim of a record from others of its configuration."""
    return record.seed, getattr(record, "victim_sha256", "") or ""


@dataclass(frozen=True)
class SeedGroup:
    """The records of one attack in one setting, a record a seed.

    Attributes:
        records: They differ in nothing but the seed.
    """

    records: Sequence[Record]

    @property
    def one(self) -> Record:
        """One of them: what they all share."""
        return self.records[0]

    @cached_property
    def victims(self) -> frozenset[Victim]:
        """Whom the attack met."""
        return frozenset(victim_of(record) for record in self.records)

    @property
    def seeds(self) -> list[int]:
        """Of the victims, in order."""
        return sorted({seed for seed, _ in self.victims})

    def only(self, victims: Iterable[Victim]) -> "SeedGroup":
        """Return the records of some victims; the group itself where that is all of them."""
        kept = frozenset(victims)
        if self.victims <= kept:
            return self
        return SeedGroup([record for record in self.records if victim_of(record) in kept])

    @property
    def accuracy(self) -> float:
        """Mean over seeds."""
        return fmean(record.accuracy for record in self.records)

    def score(self, metric: str) -> float:
        """Return the mean over distinct images of each image's mean over seeds."""
        if metric not in self._scores:
            by_image = all(metric in record.per_image for record in self.records)
            values = self.by_image(metric) if by_image else self._of_records(metric)
            self._scores[metric] = fmean(values)
        return self._scores[metric]

    def _of_records(self, metric: str) -> list[float]:
        return [getattr(record, metric) for record in self.records]

    @cached_property
    def _scores(self) -> dict[str, float]:
        return {}

    @cached_property
    def layout(self) -> frozenset[tuple[int, Victim]]:
        """Which image was attacked on which victim."""
        return frozenset(
            (index, victim_of(record))
            for record in self.records
            for index in record.per_image["index"]
        )

    def floor(self, metric: str) -> float:
        """Return what a blind guess scores, the same mean where records have it by image."""
        if all(f"floor_{metric}" in record.per_image for record in self.records):
            return fmean(self.by_image(f"floor_{metric}"))
        return fmean(record.floor["best"][metric] for record in self.records)

    def images(self, metric: str) -> dict[int, dict[Victim, float]]:
        """Return scores by image and victim."""
        if metric not in self._columns:
            found: dict[int, dict[Victim, float]] = defaultdict(dict)
            for record in self.records:
                victim = victim_of(record)
                columns = record.per_image["index"], record.per_image[metric]
                for index, value in zip(*columns, strict=True):
                    found[index][victim] = value
            self._columns[metric] = dict(found)
        return self._columns[metric]

    @cached_property
    def _columns(self) -> dict[str, dict[int, dict[Victim, float]]]:
        return {}

    def by_image(self, metric: str) -> list[float]:
        """Return each distinct image's mean over seeds."""
        return [fmean(seeds.values()) for seeds in self.images(metric).values()]

    def interval(self, metric: str) -> Interval | None:
        """Return the interval of the score over images; null for a single image."""
        return mean_interval(self.by_image(metric))

    def by_victim(self, metric: str) -> list[float]:
        """Return each victim's mean over the images that were attacked on it."""
        return list(_means_by_victim(self.images(metric)).values())

    def victim_interval(self, metric: str) -> Interval | None:
        """Return the t interval over victims; null under three."""
        return victim_interval(self.by_victim(metric))

    @property
    def converged(self) -> bool:
        """Whether enough images did, where there is anything that converges."""
        told = [record.converged for record in self.records if record.converged is not None]
        return not told or fmean(told) >= RELIABLE

    @cached_property
    def key(self) -> str:
        """``group_key`` of its records."""
        return group_key(self.one)

    @cached_property
    def keys_without(self) -> dict[str, str]:
        """Its key without the strength, the attack's steps, the number of transmissions."""
        return {name: _but(self.one, name) for name in ("strength", "steps", "transmissions")}


def _means_by_victim(images: Mapping[int, Mapping[Victim, float]]) -> dict[Victim, float]:
    found: dict[Victim, list[float]] = defaultdict(list)
    for values in images.values():
        for victim, value in values.items():
            found[victim].append(value)
    return {victim: fmean(found[victim]) for victim in sorted(found)}


def paired_interval(one: SeedGroup, other: SeedGroup, metric: str) -> Interval | None:
    """Return the interval of ``one`` less ``other`` over the images of both; null under five.

    An image's differences, a victim each, are averaged first: images are what is drawn from many.
    """
    found = _paired_by_image(one, other, metric)
    return mean_interval(found) if len(found) >= FEWEST else None


def _paired_by_image(one: SeedGroup, other: SeedGroup, metric: str) -> list[float]:
    """Each shared image's mean difference over shared victims."""
    return [fmean(victims.values()) for victims in differences(one, other, metric).values()]


def paired_victims(one: SeedGroup, other: SeedGroup, metric: str) -> list[float]:
    """Return the mean of ``one`` less ``other`` over shared images, for each shared victim."""
    return list(_means_by_victim(differences(one, other, metric)).values())


def recovers_more(one: SeedGroup, other: SeedGroup, metric: str) -> bool:
    """Return whether ``one`` scores higher on the images of both, beyond the paired interval."""
    # of the same images and victims the mean difference is that of the scores, which are at hand
    if one.score(metric) <= other.score(metric) and one.layout == other.layout:
        return False
    found = _paired_by_image(one, other, metric)
    if len(found) < FEWEST or fmean(found) <= 0:  # spares the interval where it is negative
        return False
    interval = mean_interval(found)
    return interval is not None and interval[0] > 0


def differences(one: SeedGroup, other: SeedGroup, metric: str) -> dict[int, dict[Victim, float]]:
    """Return ``one`` less ``other`` by image and victim, where both have both."""
    mine, theirs = one.images(metric), other.images(metric)
    return {
        image: {victim: mine[image][victim] - theirs[image][victim] for victim in victims}
        for image in sorted(mine.keys() & theirs.keys())
        if (victims := sorted(mine[image].keys() & theirs[image].keys()))
    }


def shared_victims(groups: Iterable[SeedGroup]) -> frozenset[Victim]:
    """Return the victims to compare groups on: all that the largest comparable set of them shares.

    Usually that is every victim that all groups attacked. Groups that lack some of the result share
    no victim with the others.
    """
    held = [group.victims for group in groups]
    best: tuple[int, int, frozenset[Victim]] = (0, 0, frozenset())
    for victim in sorted(frozenset().union(*held)):
        holders = [victims for victims in held if victim in victims]
        common = frozenset.intersection(*holders)
        if (len(holders), len(common)) > best[:2]:
            best = (len(holders), len(common), common)
    return best[2]


def on_shared_victims(one: SeedGroup, other: SeedGroup) -> tuple[SeedGroup, SeedGroup] | None:
    """Return two groups' records of the victims that both attacked; null without one."""
    common = one.victims & other.victims
    return (one.only(common), other.only(common)) if common else None


def listed(seeds: Iterable[int]) -> str:
    """Return seeds in words.

    >>> listed({1}), listed([2, 0])
    ('seed 1', 'seeds 0, 2')
    """
    found = sorted(set(seeds))
    return f"seed{'s' * (len(found) != 1)} {', '.join(map(str, found))}"


def not_shared(groups: Mapping[str, SeedGroup], victims: frozenset[Victim]) -> list[str]:
    """Return what a comparison on these victims leaves out, for a caveat: a line a group.

    Args:
        groups: All that were to be compared, by name.
        victims: On which they are.
    """
    found, kept = [], {seed for seed, _ in victims}
    compared = [group for group in groups.values() if victims <= group.victims]
    met = {seed for group in compared for seed in group.seeds}
    for name, group in groups.items():
        if not victims <= group.victims:
            other = " with victims of other weights" if kept & set(group.seeds) else ""
            found.append(f"{name} is not compared: {listed(group.seeds)}{other}")
        elif lacking := met - set(group.seeds):
            found.append(f"compared on {listed(kept)}: {name} lacks {listed(lacking)}")
    return found


def grouped(records: Iterable[Record]) -> list[SeedGroup]:
    """Records that differ in nothing but the seed, together."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[group_key(record)].append(record)
    return [SeedGroup(group) for group in groups.values()]


def group_of(
    config: Mapping[str, Any], split: str, strength: float, transmissions: int, targets: int
) -> str:
    """Keys of a setting and of an attack in it: cells that share both differ in the seed alone.

    Args:
        config: Of a cell.
        split: Layer.
        strength: Of the defense.
        transmissions: K.
        targets: How many there are.
    """
    setting = {
        "dataset": config["dataset"],
        "victim": config["victim"],
        "split": split,
        "defense": config["defense"] if strength else None,
        "transmissions": transmissions,
        # balanced targets are another choice of images for each seed, so their number stands
        "targets": [config["target_indices"] or targets, config.get("include")],
        "accuracy_draws": config["accuracy_draws"],
    }
    return f"{content_hash(setting)}-{content_hash({'attack': config['attack']})}"


def group_key(record: Record, **changed: Any) -> str:
    """``group_of`` a record, with parts of its configuration changed."""
    config = {**record.config, **changed}
    return group_of(config, record.split, record.strength, record.transmissions, record.targets)


def setting_key(group: str) -> str:
    """What stands still while adversaries are compared: of a group's key, all but the attack."""
    return group.partition("-")[0]


def unreliable(group: SeedGroup) -> list[str]:
    """Return what a group's own records say against its score."""
    found = [] if group.converged else ["not converged"]
    if share := fmean(float(record.notes.get("never_moved") or 0) for record in group.records):
        found.append(f"{share:.0%} of the images never moved")
    if failed := sum(record.failed for record in group.records):
        found.append(f"{failed} images not finite")
    return found


def doubts(group: SeedGroup, groups: Sequence[SeedGroup], metric: str) -> list[str]:
    """Return why a score is no bound on what an adversary of these rights recovers.

    Beyond ``unreliable``: the same attack recovers more, on the same images of the same victims and
    beyond the interval, under a stronger defense, with fewer steps, or from fewer transmissions.

    Args:
        group: Whose score it is.
        groups: All that were measured.
        metric: Which score.
    """
    found = unreliable(group)
    mine = group.one
    for other in groups:
        theirs = other.one
        if other.key == group.key or theirs.attack != mine.attack:
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
    """A number of things, and the verb that follows."""
    return f"{count} {noun} gives" if count == 1 else f"{count} {noun}s give"


def _but(record: Record, name: str) -> str:
    """Everything about a record but its seed and one of strength, steps and transmissions."""
    if name == "strength":
        defense = record.config["defense"]
        kept = {k: v for k, v in defense.items() if v != record.strength or k == "site"}
        return group_key(record, defense=kept)
    if name == "transmissions":
        return group_key(replace(record, transmissions=1))
    return group_key(record, attack=_without_steps(record.config["attack"]))


def _without_steps(attack: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_steps(value) if isinstance(value, Mapping) else value
        for name, value in attack.items()
        if name != "steps"
    }


def steps(record: Record) -> int:
    """Steps of an attack and of the attacks within it."""

    def count(attack: Mapping[str, Any]) -> int:
        inner = sum(count(value) for value in attack.values() if isinstance(value, Mapping))
        # null followed the number of images: the training noted how many it made
        own = record.notes.get("steps", 0) if "steps" in attack else 0
        return int(attack.get("steps") or own) + inner

    return count(record.config["attack"])


def longest_runs(groups: Iterable[SeedGroup]) -> list[SeedGroup]:
    """Return the groups that may be a worst case: of those that differ in steps, the longest run.

    A run of 10 steps that stands for one of 1,000 would hide that the attack gets worse with steps,
    which ``doubts`` says of the longer run instead.
    """
    best: dict[str, SeedGroup] = {}
    for group in groups:
        name = group.keys_without["steps"]
        if name not in best or steps(group.one) > steps(best[name].one):
            best[name] = group
    return list(best.values())


@dataclass(frozen=True)
class Contest:
    """Groups of one setting on the victims that they share.

    Attributes:
        groups: Those that can be compared, their records of these victims alone.
        notes: What was left out.
    """

    groups: list[SeedGroup]
    notes: list[str]

    @classmethod
    def of(cls, groups: Iterable[SeedGroup], victims: frozenset[Victim] | None = None) -> "Contest":
        """Compare the longest run of each attack.

        Args:
            groups: Of one setting.
            victims: On these; on those that ``groups`` share where it is null.
        """
        longest = longest_runs(groups)
        common = shared_victims(longest) if victims is None else victims
        kept = [group.only(common) for group in longest if common <= group.victims]
        names = {attack_name(group.one): group for group in longest}
        return cls(kept, not_shared(names, common))

    def strongest(self, metric: str) -> SeedGroup:
        """Return the group that recovers most."""
        return max(self.groups, key=lambda group: group.score(metric))


@dataclass(frozen=True, order=True)
class Budget:
    """What an attack spent.

    Attributes:
        steps: Of the attack and of the attacks within it.
        queries: Answers of the edge that it asked for.
        images: Auxiliary images that it used, in words.
    """

    steps: int
    queries: int
    images: str

    @classmethod
    def of(cls, record: Record) -> "Budget":
        """Read it off a record."""
        used = record.config["attack"].get("images")
        words = f"{used} auxiliary images" if used else "all auxiliary images"
        has = any(right.startswith("AUX_") for right in record.access)
        return cls(steps(record), record.queries, words if has else "")

    def __str__(self) -> str:
        """In words."""
        queries = f"{self.queries} queries" if self.queries else ""
        return ", ".join(filter(None, (f"{self.steps} steps", queries, self.images)))


def unequal_budgets(groups: Iterable[SeedGroup]) -> str:
    """Return a warning that names the budgets of compared attacks; empty where they are equal."""
    spent = {
        f"{attack_name(group.one)} {budget}": budget
        for group in groups
        if group.one.attack != "blind" and (budget := Budget.of(group.one))
    }
    return f"unequal budgets: {'; '.join(spent)}" if len(set(spent.values())) > 1 else ""


def mixed_victims(records: Iterable[Record]) -> list[str]:
    """Return a line for each victim that one seed trained to several weights.

    That is what records of several machines, or of several numbers of threads, are. They are not
    compared across these victims.
    """
    found: dict[tuple[str, ...], dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        seed, weights = victim_of(record)
        data = {k: v for k, v in record.config["dataset"].items() if k != "aux"}
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
    """The best adversary of a set of rights against one defended setting.

    Attributes:
        key: Of the setting.
        setting: Dataset, split, defense, site, strength and transmissions in words.
        rights: The set.
        accuracy: Mean over seeds.
        best: By metric, who it is.
        doubts: By metric, why it may not be the worst.
        notes: What is to be said of the whole setting: on which seeds its attacks are compared, and
            that they spent unequally.
    """

    key: str
    setting: str
    rights: tuple[str, ...]
    accuracy: float
    best: dict[str, SeedGroup]
    doubts: dict[str, list[str]]
    notes: Sequence[str] = ()


def worst_cases(
    records: Iterable[Record], gaps: Mapping[str, Any] | None = None
) -> list[WorstCase]:
    """For every setting and every set of rights that occurs in it, the best attack within them.

    Args:
        records: Measured.
        gaps: Groups that lack a seed: they have no mean.
    """
    groups = [group for group in grouped(records) if group.key not in (gaps or {})]
    settings: dict[str, list[SeedGroup]] = defaultdict(list)
    for group in groups:
        settings[setting_key(group.key)].append(group)
    found = []
    for members in settings.values():
        everyone = Contest.of(members)
        common = everyone.groups[0].victims
        for rights in sorted(
            {tuple(group.one.access) for group in members}, key=lambda held: (len(held), held)
        ):
            able = _within(rights, members)
            contest = Contest.of(able, common)
            if not contest.groups:  # none of them attacked a victim that the others did
                contest = Contest.of(able)
            found.append(_worst(rights, contest, everyone, groups))
    return found


def _within(rights: Iterable[str], groups: Iterable[SeedGroup]) -> list[SeedGroup]:
    """Groups whose attacks need no right but these and what they imply."""
    held = set(rights).union(*(IMPLIED.get(right, set()) for right in rights))
    return [group for group in groups if set(group.one.access) <= held]


def _worst(
    rights: tuple[str, ...], contest: Contest, everyone: Contest, groups: Sequence[SeedGroup]
) -> WorstCase:
    best = {metric: contest.strongest(metric) for metric in METRICS}
    one = contest.groups[0].one
    return WorstCase(
        setting_key(contest.groups[0].key),
        _words(one),
        rights,
        best["ssim"].accuracy,
        best,
        {m: [*doubts(best[m], groups, m), *contest.notes] for m in METRICS},
        [*everyone.notes, *filter(None, [unequal_budgets(everyone.groups)])],
    )


def _words(record: Record) -> str:
    defense = f"{record.defense} {record.strength:g} on {record.site}"
    sent = f", sent {record.transmissions} times" if record.transmissions > 1 else ""
    if (aux := record.config["dataset"].get("aux", "disjoint")) != "disjoint":
        sent += f", auxiliary images: {aux}"
    return f"{record.dataset} {record.split}, {defense if record.strength else 'no defense'}{sent}"


def attack_name(record: Record) -> str:
    """An attack, and the one within it."""
    words = " ".join(record.overrides).replace("=", " ").split()
    inner = [words[at + 1] for at, word in enumerate(words) if word.startswith("attack@")]
    return " with ".join([record.attack, *inner])


def table(records: Sequence[Record], gaps: Mapping[str, list[str]] | None = None) -> str:
    """The worst cases as lines: setting, accuracy, rights, who recovers most by each metric.

    Args:
        records: Measured.
        gaps: Cells without a record, by their group.
    """
    lines = []
    last = ""
    for worst in worst_cases(records, gaps):
        if worst.setting != last:
            lines.append(f"  {worst.setting}: accuracy {worst.accuracy:.4f}")
            last = worst.setting
            for lacking, names in (gaps or {}).items():
                if lacking.startswith(worst.key):
                    lines += [
                        f"    gap, so it may be worse: {name} has no record" for name in names
                    ]
            lines += [f"    {note}" for note in worst.notes]
        told: dict[str, list[str]] = defaultdict(list)
        for metric, form in METRICS.items():
            group = worst.best[metric]
            why = "; ".join(doubt for doubt in worst.doubts[metric] if doubt not in worst.notes)
            by = f" by {attack_name(group.one)}" + (f" (unreliable: {why})" if why else "")
            told[by].append(form.format(group.score(metric)))
        scores = " | ".join(", ".join(scores) + by for by, scores in told.items())
        rights = ", ".join(worst.rights).lower() or "no right at all"
        lines.append(f"    within {rights}: {scores}")
    return "\n".join(lines)


def of_cells(ledger: SweepLog) -> tuple[list[Record], list[tuple[CellStatus, str]]]:
    """Whole records, and every other cell with why it has none; a damaged one is none."""
    records, missing = [], []
    for entry in ledger.entries().values():
        path = ledger.record(entry) if ledger.done(entry) else None
        why = entry.reason
        if path:
            try:
                records.append(read(path))
                continue
            except (OSError, ValueError) as error:
                why = str(error)
        missing.append((entry, why))
    return records, missing


def of_sweep(ledger: SweepLog) -> str:
    """The summary of a sweep's cells, read from the store."""
    records, missing = of_cells(ledger)
    if not records:
        return ""
    gaps: dict[str, list[str]] = defaultdict(list)
    for entry, _ in missing:
        gaps[entry.group].append(entry.name or "the cell")
    lacking = f", {len(missing)} more have no record" if missing else ""
    launches = ledger.launches()
    command = str(launches[-1]["launch"]) if launches else ""
    return "\n".join([
        *untried(records, command).lines,
        f"worst case over {len(records)} cells{lacking}",
        *(f"  {line}" for line in mixed_victims(records)),
        table(records, gaps),
    ])  # fmt: skip
