"""What a sweep says at its end: the worst case for every defense (no torch).

A defense is as good as the best adversary against it, so adversaries are compared within what they
are allowed: an attack stands for every set of rights that holds its own.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from privbench.intervals import Interval, bca
from privbench.keys import key_of
from privbench.ledger import Entry, Ledger
from privbench.results import Record, read

METRICS = {"psnr_db": "{:.2f} dB", "ssim": "SSIM {:.3f}", "identification": "{:.0%} identified"}
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

    def floor(self, metric: str) -> float:
        """What a blind guess scores on the same images, mean over seeds."""
        return fmean(record.floor["best"][metric] for record in self.records)

    def images(self, metric: str) -> dict[int, dict[int, float]]:
        """Scores by image and seed."""
        found: dict[int, dict[int, float]] = defaultdict(dict)
        for record in self.records:
            columns = record.per_image["index"], record.per_image[metric]
            for index, value in zip(*columns, strict=True):
                found[index][record.seed] = value
        return found

    @property
    def converged(self) -> bool:
        """Whether enough images did, where there is anything that converges."""
        told = [record.converged for record in self.records if record.converged is not None]
        return not told or fmean(told) >= RELIABLE


def paired(one: Group, other: Group, metric: str) -> Interval | None:
    """95 % interval of ``one`` less ``other`` over the images of both; null without five of them.

    An image's differences, a seed each, are averaged first: images are what is drawn from many.
    """
    found = [fmean(seeds.values()) for seeds in differences(one, other, metric).values()]
    return bca(found) if len(found) >= 5 else None


def differences(one: Group, other: Group, metric: str) -> dict[int, dict[int, float]]:
    """``one`` less ``other`` by image and seed, where both have both."""
    mine, theirs = one.images(metric), other.images(metric)
    return {
        image: {seed: mine[image][seed] - theirs[image][seed] for seed in seeds}
        for image in sorted(mine.keys() & theirs.keys())
        if (seeds := sorted(mine[image].keys() & theirs[image].keys()))
    }


def grouped(records: Iterable[Record]) -> list[Group]:
    """Records that differ in nothing but the seed, together."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[group_key(record)].append(record)
    return [Group(group) for group in groups.values()]


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
    return f"{key_of(setting)}-{key_of({'attack': config['attack']})}"


def group_key(record: Record, **changed: Any) -> str:
    """``group_of`` a record, with parts of its configuration changed."""
    config = {**record.config, **changed}
    return group_of(config, record.split, record.strength, record.transmissions, record.targets)


def setting_key(group: str) -> str:
    """What stands still while adversaries are compared: of a group's key, all but the attack."""
    return group.partition("-")[0]


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
        fewer = shorter and steps(theirs) < steps(mine)
        if not (stronger or fewer):
            continue
        interval = paired(other, group, metric)
        if interval and interval[0] > 0:
            found.append(
                f"{theirs.strength:g} gives more"
                if stronger
                else f"{steps(theirs)} steps give more"
            )
    return found


def _but(record: Record, name: str) -> str:
    """Everything about a record but its seed and its strength, or but its attack's steps."""
    if name == "strength":
        defense = record.config["defense"]
        kept = {k: v for k, v in defense.items() if v != record.strength or k == "site"}
        return group_key(record, defense=kept)
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


@dataclass(frozen=True)
class Worst:
    """The best adversary of a set of rights against one defended setting.

    Attributes:
        key: Of the setting.
        setting: Dataset, split, defense, site, strength and transmissions in words.
        rights: The set.
        accuracy: Mean over seeds.
        best: By metric, who it is.
        doubts: By metric, why it may not be the worst.
    """

    key: str
    setting: str
    rights: tuple[str, ...]
    accuracy: float
    best: dict[str, Group]
    doubts: dict[str, list[str]]


def worst_cases(records: Iterable[Record], gaps: Mapping[str, Any] | None = None) -> list[Worst]:
    """For every setting and every set of rights that occurs in it, the best attack within them.

    Args:
        records: Measured.
        gaps: Groups that lack a seed: they have no mean.
    """
    groups = [group for group in grouped(records) if group_key(group.one) not in (gaps or {})]
    settings: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        settings[setting_key(group_key(group.one))].append(group)
    found = []
    for members in settings.values():
        for rights in sorted(
            {tuple(group.one.access) for group in members}, key=lambda held: (len(held), held)
        ):
            held = set(rights).union(*(IMPLIED.get(right, set()) for right in rights))
            able = [group for group in members if set(group.one.access) <= held]
            best = {m: max(able, key=lambda group: group.score(m)) for m in METRICS}
            found.append(
                Worst(
                    setting_key(group_key(members[0].one)),
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
    if (aux := record.config["dataset"].get("aux", "disjoint")) != "disjoint":
        sent += f", auxiliary images: {aux}"
    return f"{record.dataset} {record.split}, {defense if record.strength else 'no defense'}{sent}"


def _name(record: Record) -> str:
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
        told: dict[str, list[str]] = defaultdict(list)
        for metric, form in METRICS.items():
            group, why = worst.best[metric], "; ".join(worst.doubts[metric])
            by = f" by {_name(group.one)}" + (f" (unreliable: {why})" if why else "")
            told[by].append(form.format(group.score(metric)))
        scores = " | ".join(", ".join(scores) + by for by, scores in told.items())
        rights = ", ".join(worst.rights).lower() or "no right at all"
        lines.append(f"    within {rights}: {scores}")
    return "\n".join(lines)


def of_cells(ledger: Ledger) -> tuple[list[Record], list[tuple[Entry, str]]]:
    """Whole records, and every other cell with why it has none; a damaged one is none."""
    records, missing = [], []
    for entry in ledger.entries().values():
        path = ledger.record(entry) if ledger.done(entry) else None
        why = entry.why
        if path:
            try:
                records.append(read(path))
                continue
            except (OSError, ValueError) as error:
                why = str(error)
        missing.append((entry, why))
    return records, missing


def of_sweep(ledger: Ledger) -> str:
    """The summary of a sweep's cells, read from the store."""
    records, missing = of_cells(ledger)
    if not records:
        return ""
    gaps: dict[str, list[str]] = defaultdict(list)
    for entry, _ in missing:
        gaps[entry.group].append(entry.name or "the cell")
    lacking = f", {len(missing)} more have no record" if missing else ""
    return f"worst case over {len(records)} cells{lacking}\n{table(records, gaps)}"
