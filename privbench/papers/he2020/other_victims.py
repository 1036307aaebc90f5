"""Victims of another recipe or of other data than most, and their accuracies."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from privbench.papers.he2020.comparable import (
    commonest_of_each,
    data_options,
    of_either_precision,
    of_usual_data,
    of_usual_victim,
    recipe,
)
from privbench.papers.he2020.comparison import describe_defended
from privbench.papers.he2020.published import accuracies_at
from privbench.report.analysis.labels import number
from privbench.report.analysis.tables import Rows
from privbench.report.analysis.worst_case import listed
from privbench.runtime.options import as_typed, flat, with_later_options
from privbench.store.record import Record

Options = Mapping[str, Any]
Victims = dict[tuple[int, str], Record]
"""A record of each victim, by its seed and the hash of its weights."""


def with_unusual_options(records: Iterable[Record]) -> Iterable[tuple[Record, Options]]:
    """Yield the records of targets sent once, with what of victim and data is unusual.

    Usual are the commonest victim of a data set, the commonest recipe of another victim, and the
    data set's commonest options.
    """
    once = [record for record in of_either_precision(records) if record.transmissions == 1]
    victims = {record.dataset: record.victim for record in of_usual_victim(once)}
    data = {r.dataset: data_options(r) for r in of_usual_data(once)}
    recipes = {_named(r): recipe(r) for r in commonest_of_each(once, _named, recipe)}
    for record in sorted(once, key=lambda record: record.key):
        other = {} if record.victim == victims[record.dataset] else {"victim": record.victim}
        other |= _differing("victim", recipe(record), recipes[_named(record)])
        other |= _differing("dataset", data_options(record), data[record.dataset])
        yield record, other


def in_words(options: Options) -> str:
    """Return options as they are typed."""
    return " ".join(f"{name}={as_typed(value)}" for name, value in options.items())


def accuracies(records: Iterable[Record]) -> tuple[Rows, list[Record]]:
    """Return the accuracies of unusual victims next to the published and the usual ones.

    An accuracy is that of any attack under the defense, of most draws, the mean over the victims;
    both are of the same seeds where they share any.

    Args:
        records: Of any settings.

    Returns:
        The table, and a record of each of its accuracies.
    """
    found: dict[tuple[str, str], dict[str, Victims]] = defaultdict(lambda: defaultdict(dict))
    published: dict[tuple[str, str], float] = {}
    for record, options in sorted(with_unusual_options(records), key=_draws):
        for row, accuracy in accuracies_at(record):
            place = row.source, describe_defended(row)
            published.setdefault(place, accuracy)  # curves share the point without a defense
            found[place][in_words(options)][record.seed, record.victim_sha256] = record
    rows: Rows = [["where", "setting", "departure", "published", "usual victim", "this one"]]
    used: list[Record] = []
    for place in sorted(found):
        usual = found[place].pop("", {})
        for words, victims in sorted(found[place].items()):
            compared = _of_shared_seeds(usual, victims)
            numbers = number(published[place], "accuracy"), *map(_mean, compared)
            rows.append([*place, words, *numbers])
            used += [record for victims in compared for record in victims.values()]
    return rows, used


def _draws(found: tuple[Record, Options]) -> int:
    """Return over how many draws of a defense a record's accuracy is the mean."""
    draws: int = found[0].config["accuracy_draws"]
    return draws


def shared_seeds(*sides: Iterable[Record]) -> set[int]:
    """Return the seeds that all sides have records of."""
    return set.intersection(*({record.seed for record in side} for side in sides))


def _of_shared_seeds(*sides: Victims) -> list[Victims]:
    """Return the victims of the seeds that all sides have; all of them where there is none."""
    shared = shared_seeds(*(victims.values() for victims in sides))
    return [
        {at: record for at, record in victims.items() if at[0] in shared or not shared}
        for victims in sides
    ]


def _mean(victims: Victims) -> str:
    """Return the mean accuracy of victims and their seeds; a dash without any."""
    if not victims:
        return "-"
    mean = number(fmean(record.accuracy for record in victims.values()), "accuracy")
    return f"{mean} ({listed(seed for seed, _ in victims)})"


def _named(record: Record) -> tuple[str, str]:
    return record.dataset, record.victim


def _differing(group: str, options: Options, usual: Options) -> dict[str, Any]:
    own, others = flat(with_later_options(options)), flat(with_later_options(usual))
    return {f"{group}.{n}": own[n] for n in own if n not in others or own[n] != others[n]}
