"""The result of a battery: a line for each defended setting (no torch)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from privbench.report.analysis.frame import SeedGroup, grouped
from privbench.report.analysis.labels import (
    attack_name,
    bracket,
    describe_aux,
    describe_defense,
    describe_split,
    leakage,
    shown_metrics,
    with_unit,
)
from privbench.report.analysis.selection import Selection
from privbench.report.analysis.worst_case import ComparableAttacks, unreliable
from privbench.store.battery import Battery
from privbench.store.group_keys import setting_key
from privbench.store.record import Record
from privbench.store.sweep_log import CellStatus


def battery_lines(
    battery: Battery, records: Sequence[Record], missing: Sequence[CellStatus] = ()
) -> list[str]:
    """Return what a battery was, a sentence a defended setting, and what it did not try.

    Args:
        battery: Of a sweep.
        records: Of its cells, whichever sweep computed them.
        missing: Its cells without a record.
    """
    gaps = {entry.group for entry in missing}
    found: dict[tuple[str, ...], list[SeedGroup]] = defaultdict(list)
    for group in grouped(records):
        if group.key not in gaps:  # it lacks a seed
            found[_setting(group.first)].append(group)
    settings = [_sentence(battery, groups, missing) for groups in found.values()]
    return [_heading(battery, records, missing), *settings, *_left_out(battery)]


def lines_of_selection(selection: Selection) -> list[str]:
    """Return ``battery_lines`` of a selection; none where its sweep is no battery."""
    if not (selection.battery and selection.records):
        return []
    missing = [entry for entry, *_ in selection.missing]
    return battery_lines(selection.battery, selection.records, missing)


def _heading(battery: Battery, records: Sequence[Record], missing: Sequence[CellStatus]) -> str:
    """Return name and version, and where the records come from."""
    named = f"battery={battery.name}, version {battery.version}"
    if battery.changed:
        named += f", but for {', '.join(battery.changed)}: not the standard battery"
    counts = [f"{len(records)} cell{'s' * (len(records) != 1)}"]
    if missing:
        counts.append(f"{len(missing)} more without a record")
    if others := sum(record.battery != battery.mark for record in records):
        counts.append(f"{others} computed outside of it, of the same configuration")
    return f"{named}: {', '.join(counts)}"


def _setting(record: Record) -> tuple[str, ...]:
    """Return what a sentence is about: a defended split, however often targets are sent."""
    split = describe_split(record.dataset, record.split) + describe_aux(record)
    defense = describe_defense(record.defense, record.strength, record.site)
    return record.victim, split, defense


def _sentence(battery: Battery, groups: Sequence[SeedGroup], missing: Sequence[CellStatus]) -> str:
    """Return the highest scores against a defense, by which attack, and what was not tried."""
    one = groups[0].first
    victim, split, defense = _setting(one)
    shown = shown_metrics((r for group in groups for r in group.records), "summary")
    scores = [_highest(groups, metric) for metric in shown]
    undefended = fmean(record.accuracy_undefended for record in groups[0].records)
    parts = [*scores, f"accuracy undefended {undefended:.4f}"]
    keys = {setting_key(group.key) for group in groups}
    parts += _not_compared(groups)
    if untried := _untried(battery, keys, missing):
        parts.append(f"not tried: {', '.join(untried)}")
    return f"{defense} ({split} of {victim}): {'; '.join(parts)}"


def _not_compared(groups: Sequence[SeedGroup]) -> list[str]:
    """Return the attacks that are left out, since they met other victims than the others."""
    held = _by_setting(groups).values()
    return list(dict.fromkeys(note for one in held for note in ComparableAttacks.of(one).notes))


def _by_setting(groups: Sequence[SeedGroup]) -> Mapping[str, list[SeedGroup]]:
    found: dict[str, list[SeedGroup]] = defaultdict(list)
    for group in groups:
        found[setting_key(group.key)].append(group)
    return found


def _highest(groups: Sequence[SeedGroup], metric: str) -> str:
    """Return the highest score over all attacks and transmissions, with attack and accuracy."""
    held = _by_setting(groups).values()
    strongest = (ComparableAttacks.of(one).strongest(metric) for one in held)
    best = max(strongest, key=lambda group: leakage(group.score(metric), metric))
    interval = bracket(best.recorded_interval(metric), best.images, metric)
    sent = best.first.transmissions
    times = f", sent {sent} times" if sent > 1 else ""
    doubt = f", {', '.join(unreliable(best))}" if unreliable(best) else ""
    score = f"{with_unit(best.score(metric), metric)}{interval}"
    return f"{score} by {attack_name(best.first)}{times} (accuracy {best.accuracy:.4f}{doubt})"


def _untried(battery: Battery, keys: set[str], missing: Iterable[CellStatus]) -> list[str]:
    """Return the attacks that did not meet a setting, with the reason where it is the setting's."""
    unsuitable = {
        one.attack: f"{one.attack} (not applicable: {one.reason})"
        for one in battery.unsuitable
        if setting_key(one.group) in keys
    }
    unfinished = {
        f"{entry.attack.partition('=')[2]} (no record)"
        for entry in missing
        if setting_key(entry.group) in keys
    }
    return [*sorted(unfinished), *unsuitable.values(), *battery.untried]


def _left_out(battery: Battery) -> list[str]:
    """Return the reasons why a battery does not have an attack, for those that have one."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for attack, reason in battery.untried.items():
        if reason:
            reasons[reason].append(attack)
    listed = "; ".join(f"{', '.join(attacks)}: {reason}" for reason, attacks in reasons.items())
    return [f"not part of it: {listed}"] if listed else []
