"""Selection of the records that can be compared with the paper, whatever else a store holds."""

from collections import defaultdict
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from privbench.papers.he2020.published import FIGURE_15, published_for
from privbench.report.analysis.frame import SeedGroup, grouped
from privbench.report.analysis.tradeoffs import attack_of
from privbench.runtime.hashing import content_hash
from privbench.runtime.options import without_later_options
from privbench.store.group_keys import group_key
from privbench.store.record import Record

ROUNDED = "bf16-mixed"
"""Precision of cells that multiply in bf16."""


def comparable(records: Iterable[Record], gaps: Container[str] = ()) -> list[Record]:
    """Return the records that can be compared, whatever else a store holds.

    Cells that multiplied in bf16 count as those in float32, which come first where both are there.
    Records are then those of ``_same_targets``, of each attack without the seeds of ``unmoved`` in
    any setting, then the seeds that keep most records: a group that lacks one is left out.
    Attacks that train networks may have fewer seeds than others: every comparison is on the seeds
    that both sides have.

    Args:
        records: Records of any settings.
        gaps: Keys of groups that lack a seed of their sweep: those count for none whose keys
            change with the precision.
    """
    kept: list[Record] = []
    for same in _same_targets(of_either_precision(records, gaps)):
        by_attack: dict[str, list[SeedGroup]] = defaultdict(list)
        lost = {(attack_of(record), record.seed) for record in _unmoved(same)}
        moved = [record for record in same if (attack_of(record), record.seed) not in lost]
        for group in grouped(moved):
            by_attack[attack_of(group.first)].append(group)
        for groups in by_attack.values():
            kept += _of_common_seeds(groups)
    return kept


def unmoved(records: Iterable[Record]) -> list[Record]:
    """Return the records whose attack left every image at its start, where other victims' moved.

    No unit of the split point is active on the grey start of the published attack for some initial
    weights, so that its gradient is 0: its score there is the start's, and says nothing about the
    defense or the split point.
    """
    same = _same_targets(of_either_precision(records))
    return [record for alike in same for record in _unmoved(alike)]


def stayed(record: Record) -> bool:
    """Return whether the attack of a record left all of its images at their start."""
    return record.notes.get("never_moved") == 1


def in_bf16(record: Record) -> bool:
    """Return whether the attack of a record, or its training, multiplied in bf16."""
    return record.notes.get("precision") == ROUNDED


def of_either_precision(records: Iterable[Record], gaps: Container[str] = ()) -> list[Record]:
    """Return the records as if all of their attacks were in float32, one of each cell.

    Of a cell in both precisions it is that in float32.
    """
    found: dict[tuple[str, int, str], Record] = {}
    for record in sorted(records, key=in_bf16):
        # the option too, which a machine without fast bf16 does not follow
        attack = without_later_options(_in_float32(record.config["attack"]))
        either = replace(record, config={**record.config, "attack": attack})
        key, own = group_key(either), group_key(record)
        if key == own or own not in gaps:
            found.setdefault((key, record.seed, record.victim_sha256), either)
    return list(found.values())


def _in_float32(attack: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _in_float32(value)
        if isinstance(value, Mapping)
        else ("32-true" if name == "precision" else value)
        for name, value in attack.items()
    }


def _unmoved(same: Iterable[Record]) -> list[Record]:
    found = []
    for group in grouped(same):
        still = [record for record in group.records if stayed(record)]
        found += still if len(still) < len(group.records) else []
    return found


def _same_targets(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield what was sent once, of each data set of the commonest victim and choice of targets.

    Figure 15 has images of its own and comes apart.
    """
    by_setting: dict[tuple[str, bool], list[Record]] = defaultdict(list)
    for record in of_usual_victim(r for r in records if not r.config["target_indices"]):
        by_setting[record.dataset, record.config.get("include") == FIGURE_15].append(record)
    for room in by_setting.values():
        yield commonest(room, _targets)


def of_usual_victim(records: Iterable[Record]) -> Iterator[Record]:
    """Yield the records of targets sent once, of the commonest victim of each data set."""
    once = [record for record in records if record.transmissions == 1]
    return commonest_of_each(once, dataset_of, recipe)


def of_usual_data(records: Iterable[Record]) -> Iterator[Record]:
    """Yield the records of ``of_usual_victim`` with the commonest options of their data set."""
    return commonest_of_each(of_usual_victim(records), dataset_of, data_options)


def dataset_of(record: Record) -> str:
    """Return the name of a record's data set."""
    return record.dataset


def recipe(record: Record) -> Mapping[str, Any]:
    """Return the options of a record's victim."""
    options: Mapping[str, Any] = record.config["victim"]
    return options


def _of_common_seeds(groups: Sequence[SeedGroup]) -> Iterable[Record]:
    """Yield records of the seeds that keep most, of groups that have all of these."""
    sets = dict.fromkeys(frozenset(group.seeds) for group in groups)

    def kept(seeds: frozenset[int]) -> tuple[int, int]:
        return len(seeds) * sum(seeds <= {*group.seeds} for group in groups), len(seeds)

    seeds = max(sets, key=kept)
    for group in groups:
        if seeds <= set(group.seeds):
            yield from (record for record in group.records if record.seed in seeds)


def _targets(record: Record) -> Any:
    config = record.config
    images = record.targets, config.get("include"), config["accuracy_draws"]
    return [data_options(record), *images]


def data_options(record: Record) -> dict[str, Any]:
    """Return the options of a record's data, but for its folder and for which auxiliary images."""
    return {n: v for n, v in record.config["dataset"].items() if n not in ("aux", "root")}


def commonest_of_each(
    records: Iterable[Record],
    group: Callable[[Record], Hashable],
    fact: Callable[[Record], Any],
) -> Iterator[Record]:
    """Yield the records of each group that share its commonest value of a fact."""
    groups: dict[Hashable, list[Record]] = defaultdict(list)
    for record in records:
        groups[group(record)].append(record)
    for own in groups.values():
        yield from commonest(own, fact)


def commonest(records: Sequence[Record], fact: Callable[[Record], Any]) -> list[Record]:
    """Return the records that share the commonest value of a fact.

    It is that of most published settings; where several have as many, that of most records.
    """
    by_value: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_value[content_hash({"fact": fact(record)})].append(record)

    def common(value: str) -> tuple[int, int, str]:
        held = by_value[value]
        settings = {row for record in held for row in published_for(record)}
        return len(settings), len(held), value

    return by_value[max(by_value, key=common)] if by_value else []
