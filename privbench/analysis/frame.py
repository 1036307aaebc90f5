"""Frames of per-image scores, grouped over seeds, and their paired differences (no torch).

The estimand, here and in every table, curve, interval and comparison of a report: the mean over
distinct images of each image's mean over seeds. An image that all seeds attacked counts once, like
one that a single seed attacked. Accuracy is the mean over seeds, each of which trains a victim.
Two groups of records are compared on the victims that both attacked, a victim being a seed and the
sha256 of the weights that it gave; where they share none, they are not compared.

``exact_means`` stands in for pandas' own means: ``fmean`` rounds the exact sum once, so that equal
images stay equal to the last bit, on which the intervals of tied values depend
(``evaluation.statistics.bca``). pandas' groups by a Python function take eight times as long.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import pandas as pd

from privbench.analysis.group_keys import group_key, key_without
from privbench.evaluation.metrics import metric as metric_of
from privbench.evaluation.statistics import Interval, mean_interval, victim_interval
from privbench.store.record import Record

RELIABLE = 0.95
"""Least share of converged images of a group that counts as converged."""
FEWEST = 5
"""Least number of shared images for an interval of a difference."""
Victim = tuple[int, str]
"""Seed and sha256 of the victim's weights (empty where a record lacks it)."""
VICTIM = ["seed", "victim_sha256"]
"""Levels of a frame's index that identify a victim."""


def victim_of(record: Record) -> Victim:
    """Return the victim of a record: its seed and the checksum of its weights."""
    return record.seed, getattr(record, "victim_sha256", "") or ""


def image_frame(records: Sequence[Record]) -> pd.DataFrame:
    """Return the per-image scores of a group's records.

    Args:
        records: Records of one attack in one setting.

    Returns:
        A row for each image and victim, indexed by ``index`` (of the image), ``seed`` and
        ``victim_sha256``, in order of first appearance; a column for each score that all of the
        records have. Of two records of one victim the later one counts.
    """
    lists = [record.columns for record in records]
    shared = [name for name in lists[0] if all(name in held for held in lists)]
    columns = {name: [value for held in lists for value in held[name]] for name in shared}
    victims = [victim_of(r) for r in records for _ in r.per_image["index"]]
    levels = [columns.pop("index"), *zip(*victims, strict=True)]
    index = pd.MultiIndex.from_arrays(levels, names=["index", *VICTIM])
    frame = pd.DataFrame(columns, index, dtype=float)
    if frame.index.has_duplicates:
        return frame.groupby(level=frame.index.names, sort=False).last()
    return frame


def exact_means(scores: pd.Series, level: str | list[str], sort: bool) -> pd.Series:
    """Return the exactly rounded mean of each group of scores, by levels of their index.

    Args:
        scores: Scores indexed as in ``image_frame``.
        level: Levels that name a group.
        sort: Order the groups by name; else by first appearance.
    """
    groups = scores.groupby(level=level, sort=sort)
    values = scores.to_numpy()[groups.ngroup().to_numpy().argsort(kind="stable")].tolist()
    sizes = groups.size()
    ends = zip(sizes, sizes.cumsum(), strict=True)
    means = [fmean(values[end - size : end]) for size, end in ends]
    return pd.Series(means, index=sizes.index, dtype=float)


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

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Scores by image and victim: ``image_frame`` of the records."""
        return image_frame(self.records)

    def has(self, metric: str) -> bool:
        """Return whether all of its records have a score by a metric."""
        return all(record.has(metric) for record in self.records)

    def score(self, metric: str) -> float:
        """Return the mean over distinct images of each image's mean over seeds."""
        if metric not in self._scores:
            by_image = metric in self.frame
            values = self.by_image(metric) if by_image else self._of_records(metric)
            self._scores[metric] = fmean(values)
        return self._scores[metric]

    def _of_records(self, metric: str) -> list[float]:
        return [record.score(metric) for record in self.records]

    @cached_property
    def _scores(self) -> dict[str, float]:
        return {}

    @cached_property
    def layout(self) -> frozenset[tuple[int, int, str]]:
        """Pairs of image and victim that were attacked, as index, seed and sha256."""
        return frozenset(self.frame.index)

    def baseline(self, metric: str) -> float:
        """Return the score of the blind baseline, the same mean where records have it by image."""
        if f"floor_{metric}" in self.frame:
            return self.score(f"floor_{metric}")
        return fmean(record.baseline(metric) for record in self.records)

    def by_image(self, metric: str) -> pd.Series:
        """Return each distinct image's mean over seeds, in order of first appearance."""
        if metric not in self._image_means:
            self._image_means[metric] = exact_means(self.frame[metric], "index", sort=False)
        return self._image_means[metric]

    @cached_property
    def _image_means(self) -> dict[str, pd.Series]:
        return {}

    @cached_property
    def images(self) -> int:
        """Number of distinct images."""
        return len(self.frame.index.unique("index"))

    def interval(self, metric: str) -> Interval | None:
        """Return the interval of the score over images; null for a single image."""
        return mean_interval(self.by_image(metric).to_numpy())

    def recorded_interval(self, metric: str) -> Interval | None:
        """Return ``interval``, read off the record where there is a single one (cheaper)."""
        if len(self.records) == 1:
            return self.first.scores[metric].ci95
        return self.interval(metric)

    def by_victim(self, metric: str) -> list[float]:
        """Return each victim's mean over the images that were attacked on it."""
        return _means_by_victim(self.frame[metric])

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
            name: key_without(self.first, name) for name in ("strength", "steps", "transmissions")
        }


def _means_by_victim(scores: pd.Series) -> list[float]:
    means: list[float] = exact_means(scores, VICTIM, sort=True).tolist()
    return means


def paired_interval(one: SeedGroup, other: SeedGroup, metric: str) -> Interval | None:
    """Return the interval of ``one`` less ``other`` over the images of both; null under five.

    The differences of an image, one per victim, are averaged first: images are the sample.
    """
    found = _paired_by_image(one, other, metric)
    return mean_interval(found.to_numpy()) if len(found) >= FEWEST else None


def _paired_by_image(one: SeedGroup, other: SeedGroup, metric: str) -> pd.Series:
    """Return each shared image's mean difference over shared victims, by ascending index."""
    return exact_means(differences(one, other, metric), "index", sort=True)


def paired_victims(one: SeedGroup, other: SeedGroup, metric: str) -> list[float]:
    """Return the mean of ``one`` less ``other`` over shared images, for each shared victim."""
    return _means_by_victim(differences(one, other, metric))


def recovers_more(one: SeedGroup, other: SeedGroup, metric: str) -> bool:
    """Return whether ``one`` leaks more on the images of both, beyond the paired interval."""
    leakage = metric_of(metric).leakage
    # of the same images and victims the mean difference is that of the scores, which are at hand
    least = leakage(one.score(metric)) <= leakage(other.score(metric))
    if least and one.layout == other.layout:
        return False
    found = _paired_by_image(one, other, metric) * leakage(1.0)
    if len(found) < FEWEST or fmean(found) <= 0:  # spares the interval where it is negative
        return False
    interval = mean_interval(found.to_numpy())
    return interval is not None and interval[0] > 0


def differences(one: SeedGroup, other: SeedGroup, metric: str) -> pd.Series:
    """Return ``one`` less ``other`` by shared image and shared victim."""
    return one.frame[metric].sub(other.frame[metric]).dropna()


def shared_images(one: SeedGroup, other: SeedGroup) -> int:
    """Return the number of images that both attacked on shared victims."""
    return len(one.frame.index.intersection(other.frame.index).unique("index"))


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
