"""Records of a sweep grouped over seeds: scores by image and victim, paired differences (no torch).

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
from privbench.runtime.hashing import content_hash
from privbench.store.record import Record

RELIABLE = 0.95
"""Least share of converged images of a group that counts as converged."""
FEWEST = 5
"""Least number of shared images for an interval of a difference."""
Victim = tuple[int, str]
"""Seed and sha256 of the victim's weights (empty where a record lacks it)."""


def victim_of(record: Record) -> Victim:
    """Return the victim of a record: its seed and the checksum of its weights."""
    return record.seed, getattr(record, "victim_sha256", "") or ""


@dataclass(frozen=True)
class SeedGroup:
    """Records of one attack in one setting, one per seed.

    Attributes:
        records: Records that differ only in the seed.
    """

    records: Sequence[Record]

    @property
    def first(self) -> Record:
        """First record: it has the setting that all of them share."""
        return self.records[0]

    @cached_property
    def victims(self) -> frozenset[Victim]:
        """Victims that were attacked."""
        return frozenset(victim_of(record) for record in self.records)

    @property
    def seeds(self) -> list[int]:
        """Seeds of the victims, in order."""
        return sorted({seed for seed, _ in self.victims})

    def restricted_to(self, victims: Iterable[Victim]) -> "SeedGroup":
        """Return the group of some victims' records; itself where that is all of them."""
        kept = frozenset(victims)
        if self.victims <= kept:
            return self
        return SeedGroup([record for record in self.records if victim_of(record) in kept])

    @property
    def accuracy(self) -> float:
        """Mean accuracy over seeds."""
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
        """Pairs of image and victim that were attacked."""
        return frozenset(
            (index, victim_of(record))
            for record in self.records
            for index in record.per_image["index"]
        )

    def baseline(self, metric: str) -> float:
        """Return the score of the blind baseline, the same mean where records have it by image."""
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

    def recorded_interval(self, metric: str) -> Interval | None:
        """Return ``interval``, read off the record where there is a single one (cheaper)."""
        if len(self.records) == 1:
            ends: Interval | None = getattr(self.first, f"{metric}_ci95")
            return ends
        return self.interval(metric)

    def by_victim(self, metric: str) -> list[float]:
        """Return each victim's mean over the images that were attacked on it."""
        return list(_means_by_victim(self.images(metric)).values())

    def victim_interval(self, metric: str) -> Interval | None:
        """Return the t interval over victims; null under three."""
        return victim_interval(self.by_victim(metric))

    @property
    def converged(self) -> bool:
        """True where enough images converged, or where the attack does not iterate."""
        shares = [record.converged for record in self.records if record.converged is not None]
        return not shares or fmean(shares) >= RELIABLE

    @cached_property
    def key(self) -> str:
        """Key of the group: ``group_key`` of its records."""
        return group_key(self.first)

    @cached_property
    def keys_without(self) -> dict[str, str]:
        """Keys that leave out the strength, the attack's steps or the transmissions, by name."""
        return {
            name: _key_without(self.first, name) for name in ("strength", "steps", "transmissions")
        }


def _means_by_victim(images: Mapping[int, Mapping[Victim, float]]) -> dict[Victim, float]:
    found: dict[Victim, list[float]] = defaultdict(list)
    for values in images.values():
        for victim, value in values.items():
            found[victim].append(value)
    return {victim: fmean(found[victim]) for victim in sorted(found)}


def paired_interval(one: SeedGroup, other: SeedGroup, metric: str) -> Interval | None:
    """Return the interval of ``one`` less ``other`` over the images of both; null under five.

    The differences of an image, one per victim, are averaged first: images are the sample.
    """
    found = _paired_by_image(one, other, metric)
    return mean_interval(found) if len(found) >= FEWEST else None


def _paired_by_image(one: SeedGroup, other: SeedGroup, metric: str) -> list[float]:
    """Return each shared image's mean difference over shared victims."""
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
    """Return ``one`` less ``other`` by shared image and shared victim."""
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
    return (one.restricted_to(common), other.restricted_to(common)) if common else None


def grouped(records: Iterable[Record]) -> list[SeedGroup]:
    """Group records that differ only in the seed."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[group_key(record)].append(record)
    return [SeedGroup(group) for group in groups.values()]


def group_of(
    config: Mapping[str, Any], split: str, strength: float, transmissions: int, targets: int
) -> str:
    """Return the key of a group: of a setting and an attack in it, without the seed.

    Args:
        config: Configuration of a cell.
        split: Split point, the last layer of the edge.
        strength: Strength of the defense.
        transmissions: Times that each image is sent.
        targets: Number of target images.
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
    """Return ``group_of`` a record, with parts of its configuration changed."""
    config = {**record.config, **changed}
    return group_of(config, record.split, record.strength, record.transmissions, record.targets)


def setting_key(group: str) -> str:
    """Return the part of a group's key that attacks in the same setting share."""
    return group.partition("-")[0]


def _key_without(record: Record, name: str) -> str:
    """Return a group's key that leaves out the strength, the steps or the transmissions."""
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
