"""Notes that tell settings of the same data set and split point apart (no torch)."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from privbench.runtime.hashing import content_hash
from privbench.store.group_keys import ROOT, images_identity
from privbench.store.record import Record

MOST_LISTED = 3
"""Image indices of a list that a note names."""
NAME = "victim.name"
IMAGES = "images"
"""Name of the beginning of a hash that identifies the images."""
Facts = dict[str, Any]
"""Options of a setting by their dotted names."""


def setting_notes(records: Mapping[str, Record]) -> dict[str, str]:
    """Return for each setting the options that differ among settings of the same name.

    Args:
        records: A record of each setting, by the setting's key.
    """
    alike: dict[tuple[Any, ...], dict[str, Record]] = defaultdict(dict)
    for key, one in records.items():
        alike[one.dataset, one.split, one.transmissions][key] = one
    notes = {key: text for same in alike.values() for key, text in _notes(_facts(same)).items()}
    return {key: notes[key] for key in records}


def _facts(records: Mapping[str, Record]) -> dict[str, Facts]:
    """Return the facts of settings; a folder is one where the pictures are not the same."""
    identities = {images_identity(record.sources) for record in records.values()}
    one_root = len(identities) == 1 and "" not in identities
    return {key: _facts_of(record, one_root=one_root) for key, record in records.items()}


def _facts_of(record: Record, *, one_root: bool) -> Facts:
    config = record.config
    data = {n: v for n, v in config["dataset"].items() if not (one_root and n == ROOT)}
    if not one_root:  # a folder whose pictures have changed has the name of before
        data[IMAGES] = images_identity(record.sources)[:6]
    return {
        NAME: record.victim,
        **{f"victim.{name}": value for name, value in config["victim"].items()},
        **{f"dataset.{name}": value for name, value in data.items()},
        "targets": (record.targets, *(config["target_indices"] or config.get("include") or ())),
        "accuracy_draws": config["accuracy_draws"],
    }


def _notes(facts: Mapping[str, Facts]) -> dict[str, str]:
    """Return a distinct note for each of some settings; empty for a single one."""
    by_name = _told_by_name(facts)
    notes = {
        key: ", ".join(
            _text(name, value, by_name=by_name)
            for name, value in mine.items()
            if any(other.get(name) != value for other in facts.values())
            and not (by_name and name.startswith("victim.") and name != NAME)
        )
        for key, mine in facts.items()
    }
    count = Counter(notes.values())
    return {
        key: note if count[note] == 1 else f"{note}, {content_hash(facts[key])[:4]}".lstrip(", ")
        for key, note in notes.items()
    }


def _told_by_name(facts: Mapping[str, Facts]) -> bool:
    """Return whether victims of the same name have the same options."""
    options = {
        (mine[NAME], str([item for item in mine.items() if item[0].startswith("victim.")]))
        for mine in facts.values()
    }
    return len(options) == len({name for name, _ in options})


def _text(name: str, value: Any, *, by_name: bool) -> str:
    """Return an option in words; long lists of images are cut, and a victim's name stands alone."""
    if name == NAME and by_name:
        return str(value)
    if name == "targets":
        count, *chosen = value
        more = ",..." if len(chosen) > MOST_LISTED else ""
        among = f" with {','.join(map(str, chosen[:MOST_LISTED]))}{more}" if chosen else ""
        return f"targets {count}{among}"
    return f"{name.partition('.')[2] or name} {value}"
