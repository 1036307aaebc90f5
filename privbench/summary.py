"""What a sweep says at its end: the worst case for every defense (no torch).

A defense is as good as the best adversary against it, so adversaries are compared within what they
are allowed: an attack stands for every set of rights that holds its own.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from privbench.intervals import Interval, bca
from privbench.keys import key_of
from privbench.results import Record, read

METRICS = ("psnr_db", "ssim")
IMPLIED = {"EDGE_WEIGHTS": {"EDGE_QUERIES", "CLEAN_QUERIES", "EDGE_STRUCTURE"}}
"""Who holds the edge can ask it anything, as it was and as it is."""
RELIABLE = 0.95
"""Share of images that must have converged."""


@dataclass(frozen=True)
class Group:
    """The records of one attack in one setting, a record a seed.

    Attributes:
        records: They differ in nothing but the seed.
    """

    records: Sequence[Record]

    @property
    def one(self) -> Record:
        """One of them: what they all share."""
        return self.records[0]

    def score(self, metric: str) -> float:
        """Mean over seeds."""
        return fmean(getattr(record, metric) for record in self.records)

    def images(self, metric: str) -> dict[tuple[int, int], float]:
        """Scores by seed and image."""
        return {
            (record.seed, index): value
            for record in self.records
            for index, value in zip(
                record.per_image["index"], record.per_image[metric], strict=True
            )
        }

    @property
    def converged(self) -> bool:
        """Whether enough images did, where there is anything that converges."""
        told = [record.converged for record in self.records if record.converged is not None]
        return not told or fmean(told) >= RELIABLE


def paired(one: Group, other: Group, metric: str) -> Interval | None:
    """95 % interval of ``one`` less ``other`` on the images of both; null without five of them."""
    mine, theirs = one.images(metric), other.images(metric)
    both = sorted(mine.keys() & theirs.keys())
    return bca([mine[at] - theirs[at] for at in both]) if len(both) >= 5 else None


def grouped(records: Iterable[Record]) -> list[Group]:
    """Records that differ in nothing but the seed, together."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[key_of({**_setting(record), "attack": record.config["attack"]})].append(record)
    return [Group(group) for group in groups.values()]


def _setting(record: Record) -> dict[str, Any]:
    """What stands still while adversaries are compared."""
    return {
        "dataset": record.config["dataset"],
        "victim": record.config["victim"],
        "split": record.split,
        "defense": record.config["defense"] if record.strength else None,
        "transmissions": record.transmissions,
    }


def doubts(group: Group, groups: Sequence[Group], metric: str) -> list[str]:
    """Why a score is no bound on what an adversary of these rights recovers.

    Args:
        group: Whose score it is.
        groups: All that were measured.
        metric: Which score.
    """
    found = [] if group.converged else ["not converged"]
    mine = group.one
    for other in groups:
        theirs = other.one
        if other is group or theirs.attack != mine.attack or not mine.adaptive:
            continue
        weaker = _but(mine, "strength") == _but(theirs, "strength")
        shorter = _but(mine, "steps") == _but(theirs, "steps")
        stronger = weaker and theirs.strength > mine.strength
        fewer = shorter and _steps(theirs) < _steps(mine)
        if not (stronger or fewer):
            continue
        interval = paired(other, group, metric)
        if interval and interval[0] > 0:
            found.append(
                f"{theirs.strength:g} gives more"
                if stronger
                else f"{_steps(theirs)} steps give more"
            )
    return found


def _but(record: Record, name: str) -> str:
    """Everything about a record but its seed and its strength, or but its attack's steps."""
    setting, attack = _setting(record), dict(record.config["attack"])
    if name == "strength":
        defense = record.config["defense"]
        setting["defense"] = {
            k: v for k, v in defense.items() if v != record.strength or k == "site"
        }
    else:
        attack.pop("steps", None)
    return key_of({**setting, "attack": attack})


def _steps(record: Record) -> int:
    return int(record.config["attack"].get("steps", 0))


@dataclass(frozen=True)
class Worst:
    """The best adversary of a set of rights against one defended setting.

    Attributes:
        setting: Dataset, split, defense, site, strength and transmissions in words.
        rights: The set.
        accuracy: Mean over seeds.
        best: By metric, who it is.
        doubts: By metric, why it may not be the worst.
    """

    setting: str
    rights: tuple[str, ...]
    accuracy: float
    best: dict[str, Group]
    doubts: dict[str, list[str]]


def worst_cases(records: Iterable[Record]) -> list[Worst]:
    """For every setting and every set of rights that occurs in it, the best attack within them."""
    groups = grouped(records)
    settings: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        settings[key_of(_setting(group.one))].append(group)
    found = []
    for members in settings.values():
        for rights in sorted({tuple(group.one.access) for group in members}, key=len):
            held = set(rights).union(*(IMPLIED.get(right, set()) for right in rights))
            able = [group for group in members if set(group.one.access) <= held]
            best = {m: max(able, key=lambda group: group.score(m)) for m in METRICS}
            found.append(
                Worst(
                    _words(members[0].one),
                    rights,
                    fmean(record.accuracy for record in best["ssim"].records),
                    best,
                    {metric: doubts(best[metric], groups, metric) for metric in METRICS},
                )
            )
    return found


def _words(record: Record) -> str:
    defense = f"{record.defense} {record.strength:g} on {record.site}"
    sent = f", sent {record.transmissions} times" if record.transmissions > 1 else ""
    return f"{record.dataset} {record.split}, {defense if record.strength else 'no defense'}{sent}"


def table(records: Sequence[Record]) -> str:
    """The worst cases as lines: setting, rights, accuracy, who recovers most by either metric."""
    lines = []
    last = ""
    for worst in worst_cases(records):
        if worst.setting != last:
            lines.append(f"  {worst.setting}: accuracy {worst.accuracy:.4f}")
            last = worst.setting
        told = []
        for metric, unit in (("psnr_db", " dB"), ("ssim", "")):
            group = worst.best[metric]
            why = (
                f" ({'; '.join(worst.doubts[metric])}: unreliable)" if worst.doubts[metric] else ""
            )
            told.append(
                f"{group.score(metric):.{2 if unit else 3}f}{unit} by {group.one.attack}{why}"
            )
        rights = ", ".join(worst.rights).lower() or "no right at all"
        lines.append(f"    {' | '.join(told)}   within {rights}")
    return "\n".join(lines)


def of_sweep(folder: Path, store: Path) -> str:
    """The summary of a sweep's cells, read from the store.

    Args:
        folder: Holds ``cells.jsonl``.
        store: Holds ``records/``.
    """
    path = folder / "cells.jsonl"
    if not path.exists():
        return ""
    keys = dict.fromkeys(json.loads(line)["key"] for line in path.read_text().splitlines())
    records = [read(store / "records" / key) for key in keys]
    return f"worst case over {len(records)} cells\n{table(records)}"
