"""Per-image scores of records, grouped over seeds, and their paired differences (no torch).

The estimand, here and in every table, curve, interval and comparison of a report: the mean over
distinct images of each image's mean over seeds. An image that all seeds attacked counts once, like
one that a single seed attacked. Accuracy is the mean over seeds, each of which trains a victim.
Two groups of records are compared on the victims that both attacked, a victim being a seed and the
sha256 of the weights that it gave; where they share none, they are not compared.

Means are ``fmean``'s: it rounds the exact sum once, so that equal images stay equal to the last
bit, on which the intervals of tied values depend (``evaluation.statistics.bca``). Groups are plain
dictionaries: of some tens of images each, pandas' take a hundred times as long.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import itemgetter
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from privbench.evaluation.metrics import metric as metric_of
from privbench.evaluation.statistics import (
    FEW_VICTIMS,
    Interval,
    mean_interval,
    victim_interval,
    wilson,
)
from privbench.store.group_keys import group_key, key_without
from privbench.store.record import RELIABLE, Record

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 5
"""Least number of shared images for an interval of a difference."""
Victim = tuple[int, str]
"""Seed and sha256 of the victim's weights (empty where a record lacks it)."""
Key = tuple[int, int, str]
"""Index of an image, seed and sha256 of the victim that it was sent to."""


def victim_of(record: Record) -> Victim:
    """Return the victim of a record: its seed and the checksum of its weights."""
    return record.seed, getattr(record, "victim_sha256", "") or ""


def _means(values: Mapping[Key, float], part: Callable[[Key], Any]) -> dict[Any, float]:
    """Return the exactly rounded mean of each group of scores, in order of first appearance."""
    groups: dict[Any, list[float]] = {}
    for key, value in values.items():
        groups.setdefault(part(key), []).append(value)
    return {name: fmean(held) for name, held in groups.items()}


_image, _victim = itemgetter(0), itemgetter(1, 2)


@lru_cache(maxsize=4096)
def _mean_interval(values: bytes) -> Interval | None:
    """Return the interval of the mean of doubles; tables ask for the same one many times."""
    return mean_interval(np.frombuffer(values))


def interval_of(scores: Iterable[float]) -> Interval | None:
    """Return the interval of the mean of scores; null for a single one."""
    return _mean_interval(np.fromiter(scores, np.float64).tobytes())


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

    def by_key(self, metric: str) -> dict[Key, float]:
        """Return the scores by image and victim; of two records of one victim the later counts.

        Args:
            metric: Name of a list with a value per image that all of the records have.
        """
        if metric not in self._by_key:
            values = [float(v) for record in self.records for v in record.columns[metric]]
            self._by_key[metric] = dict(zip(self._keys, values, strict=True))
        return self._by_key[metric]

    @cached_property
    def _keys(self) -> list[Key]:
        return [(n, *victim_of(one)) for one in self.records for n in one.per_image["index"]]

    @cached_property
    def _by_key(self) -> dict[str, dict[Key, float]]:
        return {}

    @cached_property
    def _listed(self) -> frozenset[str]:
        """Names of the lists with a value per image that all of its records have."""
        return frozenset.intersection(*(frozenset(record.columns) for record in self.records))

    def has(self, metric: str) -> bool:
        """Return whether all of its records have a score by a metric."""
        return all(record.has(metric) for record in self.records)

    def score(self, metric: str) -> float:
        """Return the mean over distinct images of each image's mean over seeds."""
        if metric not in self._scores:
            by_image = metric in self._listed
            values = self._image_means(metric).values() if by_image else self._of_records(metric)
            self._scores[metric] = fmean(values)
        return self._scores[metric]

    def _of_records(self, metric: str) -> list[float]:
        return [record.score(metric) for record in self.records]

    @cached_property
    def _scores(self) -> dict[str, float]:
        return {}

    @cached_property
    def layout(self) -> frozenset[Key]:
        """Pairs of image and victim that were attacked."""
        return frozenset(self._keys)

    def baseline(self, metric: str) -> float:
        """Return the score of the blind baseline, the same mean where records have it by image."""
        if f"floor_{metric}" in self._listed:
            return self.score(f"floor_{metric}")
        return fmean(record.baseline(metric) for record in self.records)

    def by_image(self, metric: str) -> "pd.Series":
        """Return each distinct image's mean over seeds, in order of first appearance."""
        import pandas as pd  # most tables and plans need none

        means = self._image_means(metric)
        return pd.Series(list(means.values()), index=list(means), dtype=float)

    def _image_means(self, metric: str) -> dict[int, float]:
        if metric not in self._means_by_image:
            self._means_by_image[metric] = _means(self.by_key(metric), _image)
        return self._means_by_image[metric]

    @cached_property
    def _means_by_image(self) -> dict[str, dict[int, float]]:
        return {}

    @cached_property
    def images(self) -> int:
        """Number of distinct images."""
        return len({index for index, *_ in self._keys})

    def interval(self, metric: str) -> Interval | None:
        """Return the interval of the score over images; null for a single image but of a share."""
        means = self._image_means(metric).values()
        if metric_of(metric).interval == "wilson":
            return wilson(fmean(means), len(means))
        return interval_of(means)

    def recorded_interval(self, metric: str) -> Interval | None:
        """Return ``interval``, read off the record where there is a single one (cheaper)."""
        if len(self.records) == 1:
            return self.first.scores[metric].ci95
        return self.interval(metric)

    def by_victim(self, metric: str) -> list[float]:
        """Return each victim's mean over the images that were attacked on it."""
        return _by_victim(self.by_key(metric))

    def victim_interval(self, metric: str) -> Interval | None:
        """Return the t interval over victims; null under three."""
        few = len(self.victims) < FEW_VICTIMS
        return None if few else victim_interval(self.by_victim(metric))

    @property
    def remarks(self) -> list[str]:
        """Sentences about bounds on the attack, each with its seed where there are several."""
        several = len(self.seeds) > 1
        return [
            f"seed {record.seed}: {line}" if several else line
            for record in self.records
            for line in record.remarks
        ]

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
            name: key_without(self.first, name) for name in ("strength", "steps", "transmissions")
        }


def _by_victim(values: Mapping[Key, float]) -> list[float]:
    """Return each victim's mean, in order of seeds and weights."""
    return [mean for _, mean in sorted(_means(values, _victim).items())]


def paired_interval(one: SeedGroup, other: SeedGroup, metric: str) -> Interval | None:
    """Return the interval of ``one`` less ``other`` over the images of both; null under five.

    The differences of an image, one per victim, are averaged first: images are the sample.
    """
    found = _paired_by_image(one, other, metric)
    return interval_of(found) if len(found) >= FEWEST else None


def _paired_by_image(one: SeedGroup, other: SeedGroup, metric: str) -> list[float]:
    """Return each shared image's mean difference over shared victims, by ascending index."""
    means = _means(_differences(one, other, metric), _image)
    return [mean for _, mean in sorted(means.items())]


def _differences(one: SeedGroup, other: SeedGroup, metric: str) -> dict[Key, float]:
    mine, theirs = one.by_key(metric), other.by_key(metric)
    return {key: mine[key] - theirs[key] for key in mine if key in theirs}


def paired_victims(one: SeedGroup, other: SeedGroup, metric: str) -> list[float]:
    """Return the mean of ``one`` less ``other`` over shared images, for each shared victim."""
    return _by_victim(_differences(one, other, metric))


def recovers_more(one: SeedGroup, other: SeedGroup, metric: str) -> bool:
    """Return whether ``one`` leaks more on the images of both, beyond the paired interval."""
    leakage = metric_of(metric).leakage
    # of the same images and victims the mean difference is that of the scores, which are at hand
    least = leakage(one.score(metric)) <= leakage(other.score(metric))
    if least and one.layout == other.layout:
        return False
    found = [leakage(value) for value in _paired_by_image(one, other, metric)]
    if len(found) < FEWEST or fmean(found) <= 0:  # spares the interval where it is negative
        return False
    interval = interval_of(found)
    return interval is not None and interval[0] > 0


def differences(one: SeedGroup, other: SeedGroup, metric: str) -> "pd.Series":
    """Return ``one`` less ``other`` by shared image and shared victim."""
    import pandas as pd

    found = dict(sorted(_differences(one, other, metric).items()))
    index = pd.MultiIndex.from_tuples(list(found), names=["index", "seed", "victim_sha256"])
    return pd.Series(list(found.values()), index=index, dtype=float)


def shared_images(one: SeedGroup, other: SeedGroup) -> int:
    """Return the number of images that both attacked on shared victims."""
    return len({index for index, *_ in one.layout & other.layout})


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
