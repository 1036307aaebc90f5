"""Distinct names of defenses that differ in another option than their strength."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from privbench.runtime.options import flat_options
from privbench.store.record import Record

Options = Mapping[str, str]


def with_distinct_defenses(records: Iterable[Record]) -> list[Record]:
    """Return records whose defenses bear the options that distinguish them, in their names.

    ``dp_gaussian`` with ``train=none`` and with ``train=both`` are two defenses, each with its own
    strengths. Options that only give the strength distinguish none.
    """
    held = list(records)
    alike: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in held:
        if record.strength:
            alike[record.defense, record.site].append(record)
    names: dict[str, str] = {}
    for (defense, _), members in alike.items():
        options = {record.key: flat_options(record.config["defense"]) for record in members}
        distinguishing = _distinguishing(members, options)
        for record in members:
            has = options[record.key]
            own = [f"{name} {has[name]}" for name in distinguishing if name in has]
            names[record.key] = " ".join([defense, *own])
    return [replace(one, defense=names.get(one.key, one.defense)) for one in held]


def _distinguishing(records: Iterable[Record], options: Mapping[str, Options]) -> list[str]:
    """Return the options in which records of one strength differ, or that are no numbers.

    An option that a record does not have, since it is of an earlier version, is as in the others.
    """
    values: dict[str, dict[float, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        for name, value in options[record.key].items():
            if not name.endswith("_target_"):
                values[name][record.strength].add(value)
    return [
        name
        for name, by_strength in values.items()
        if any(len(found) > 1 for found in by_strength.values())
        or (
            len(words := {text for found in by_strength.values() for text in found}) > 1
            and not all(map(_is_number, words))
        )
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
