"""Evidence of records about a plan's splits: accuracy, worst-case leakage, what was not tried."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from privbench.evaluation.metrics import PSNR
from privbench.evaluation.metrics import metric as metric_of
from privbench.report.analysis.channels import defines
from privbench.report.analysis.frame import SeedGroup, grouped
from privbench.report.analysis.labels import (
    attack_name,
    describe_access,
    describe_defense,
    leakage,
    shown_metrics,
)
from privbench.report.analysis.worst_case import (
    ComparableAttacks,
    RelatedGroups,
    caveats,
    within_rights,
)
from privbench.store.group_keys import setting_key
from privbench.store.recipes import FILES, files_stamp
from privbench.store.record import Record

ELSEWHERE = ("root", "aux", "aux_images")
"""Options of a data set that change no victim, where its files are the same."""


@dataclass(frozen=True)
class Leak:
    """Worst case of one score.

    Attributes:
        score: Of the strongest adversary.
        low: Lower end of its interval over images; minus infinity where there is none.
        high: Upper end; infinity where there is none.
        by: Its attack.
        access: Its rights, in words.
        baseline: Score of the best blind guess.
        caveats: Reasons why a stronger adversary may exist.
    """

    score: float
    low: float
    high: float
    by: str
    access: str
    baseline: float
    caveats: Sequence[str] = ()

    def more_than_blind(self, metric: str) -> bool:
        """Return whether it is above the blind baseline, by its interval where it has one."""
        ends = [end for end in (self.low, self.high) if math.isfinite(end)] or [self.score]
        return min(leakage(end, metric) for end in ends) > leakage(self.baseline, metric)


@dataclass(frozen=True)
class Evidence:
    """What records say of a split behind a defense.

    Attributes:
        split: Split point.
        defense: In words; ``no defense`` without one.
        transmissions: How often each image is sent.
        accuracy: Share of test images, with the defense; the lowest of several settings.
        undefended: The same without it.
        leaks: Worst case by score, over all adversaries and settings.
        by_rights: The same over the adversaries within each set of rights, in words.
        tried: Attacks that were run.
        not_tried: Attacks of the battery that were not.
        victims: Number of victims.
        bounds: Sentences about bounds on the attack of the highest PSNR, where records have any.
        deployed: Numbers of the deployment, such as ``payload_bits``.
        encoded: Whether the defense sends a code of its own, in place of one float per entry.
        overrides: Of the command that made a record, without its attack, with all of the seeds.
    """

    split: str
    defense: str
    transmissions: int
    accuracy: float
    undefended: float
    leaks: Mapping[str, Leak]
    by_rights: Mapping[str, Mapping[str, Leak]]
    tried: Sequence[str]
    not_tried: Sequence[str]
    victims: int
    bounds: Sequence[str]
    deployed: Mapping[str, float]
    encoded: bool
    overrides: Sequence[str]

    @property
    def defended(self) -> bool:
        """Whether a defense runs, or an image is sent more than once."""
        return self.defense != "no defense" or self.transmissions > 1


def matching(
    records: Iterable[Record], dataset: Mapping[str, Any], victim: Mapping[str, Any]
) -> list[Record]:
    """Return the records of the same classifier, trained on the same images by the same recipe.

    A folder of pictures is the same where names and sizes of the pictures are.
    """
    stamp = files_stamp(dataset.get("root"))

    def images(options: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in options.items() if name not in ELSEWHERE}

    return [
        record
        for record in records
        if dict(record.config["victim"]) == dict(victim)
        and images(record.config["dataset"]) == images(dataset)
        and record.sources.get(FILES, stamp) == stamp
    ]


def collect(
    records: Iterable[Record], battery: Sequence[str], adaptive: Sequence[str]
) -> list[Evidence]:
    """Return the evidence for each split and defense that records have.

    Settings that differ in targets are compared with their own attacks only, and the worst of them
    counts.

    Args:
        records: Of one classifier.
        battery: Attacks that a worst case should include.
        adaptive: Attacks that it should include behind a defense.
    """
    rows: dict[tuple[str, str, int], list[SeedGroup]] = defaultdict(list)
    measured = grouped(records)
    related = RelatedGroups(measured)
    for group in measured:
        one = group.first
        defense = describe_defense(one.defense, one.strength, one.site)
        rows[one.split, defense, one.transmissions].append(group)
    return [
        _evidence(row, groups, related, adaptive if groups[0].first.strength else battery)
        for row, groups in rows.items()
    ]


def _evidence(
    row: tuple[str, str, int],
    groups: Sequence[SeedGroup],
    related: RelatedGroups,
    due: Iterable[str],
) -> Evidence:
    attacks = [group for group in groups if group.first.attack != "blind"]
    tried = {group.first.attack for group in attacks}
    one = groups[0].first
    return Evidence(
        *row,
        min(group.accuracy for group in groups),
        min(fmean(r.accuracy_undefended for r in group.records) for group in groups),
        _leaks(attacks, related),
        _by_rights(attacks, related),
        sorted(tried),
        [name for name in due if name not in tried],
        len(frozenset().union(*(group.victims for group in groups))),
        _bounds(attacks),
        {name: one.score(name) for name in one.scores if metric_of(name).interval is None},
        one.site != "input" and defines(one, "payload_bits"),
        _overrides(groups),
    )


def _bounds(groups: Iterable[SeedGroup]) -> list[str]:
    bounded = [group for group in groups if group.has(PSNR.name) and group.remarks]
    strongest = max(bounded, key=lambda group: group.score(PSNR.name), default=None)
    return strongest.remarks if strongest else []


def _overrides(groups: Sequence[SeedGroup]) -> list[str]:
    words = groups[0].first.overrides
    seeds = sorted({seed for group in groups for seed in group.seeds})
    typed = [] if seeds == [0] else [f"seed={','.join(map(str, seeds))}"]
    return [word for word in words if not word.startswith(("attack", "seed="))] + typed


def _by_rights(groups: Sequence[SeedGroup], related: RelatedGroups) -> dict[str, dict[str, Leak]]:
    """Return the worst cases within each set of rights that an attack has, the fewest first."""
    held = {tuple(group.first.access) for group in groups}
    return {
        describe_access(rights): _leaks(within_rights(rights, groups), related)
        for rights in sorted(held, key=lambda rights: (len(rights), rights))
    }


def _leaks(groups: Sequence[SeedGroup], related: RelatedGroups) -> dict[str, Leak]:
    """Return the worst case by score over the settings of these groups."""
    settings: dict[str, list[SeedGroup]] = defaultdict(list)
    for group in groups:
        settings[setting_key(group.key)].append(group)
    found: dict[str, Leak] = {}
    for members in settings.values():
        compared = ComparableAttacks.of(members)
        records = [record for group in compared.groups for record in group.records]
        for metric in shown_metrics(records, "summary"):
            leak = _leak(compared, related, metric)
            before = found.get(metric)
            if before is None or leakage(leak.score - before.score, metric) > 0:
                found[metric] = leak
    return found


def _leak(compared: ComparableAttacks, related: RelatedGroups, metric: str) -> Leak:
    worst = compared.strongest(metric)
    low, high = worst.recorded_interval(metric) or (-math.inf, math.inf)
    reasons = [*caveats(worst, related, metric), *compared.notes]
    by, access = attack_name(worst.first), describe_access(worst.first.access)
    return Leak(worst.score(metric), low, high, by, access, worst.baseline(metric), reasons)
