"""Keys of groups of records: of a setting and an attack in it, without the seed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from privbench.runtime.hashing import content_hash
from privbench.runtime.options import flat
from privbench.store.recipes import FILES
from privbench.store.record import Record

ROOT = "root"
"""Option of a data set that says where it lies, and not which images it has."""
TEST = "data.test"
"""Place of the test images' fingerprint among the sources."""
STRENGTHS = ("rate", "weight", "sigma", "scale", "epsilon", "levels", "target")
"""Options that give a defense its strength; ``rate`` in a defense that has a ``weight`` too."""


def group_of(
    config: Mapping[str, Any],
    sources: Mapping[str, str],
    split: str,
    strength: float,
    transmissions: int,
    targets: int,
) -> str:
    """Return the key of a group: of a setting and an attack in it, without the seed.

    Args:
        config: Configuration of a cell.
        sources: Of the cell, which identify its images wherever they lie.
        split: Split point, the last layer of the edge.
        strength: Strength of the defense.
        transmissions: Times that each image is sent.
        targets: Number of target images.
    """
    setting = {
        "dataset": images_of(config, sources),
        "victim": config["victim"],
        "split": split,
        "defense": config["defense"] if strength else None,
        "transmissions": transmissions,
        # balanced targets are another choice of images for each seed, so their number stands
        "targets": [config["target_indices"] or targets, config.get("include")],
        "accuracy_draws": config["accuracy_draws"],
    }
    return f"{content_hash(setting)}-{content_hash({'attack': config['attack']})}"


def images_identity(sources: Mapping[str, str]) -> str:
    """Return what identifies a cell's images: names and sizes of files, else the test images.

    Args:
        sources: Of the cell; empty in records of earlier versions.
    """
    return sources.get(FILES) or sources.get(TEST) or ""


def images_of(config: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of a cell's data, its folder replaced by their identity.

    Args:
        config: Configuration of the cell.
        sources: Of the cell; where they do not identify the images, the folder stands.
    """
    options = dict(config["dataset"])
    identity = images_identity(sources)
    if identity and ROOT in options:
        options[ROOT] = identity
    return options


def group_key(record: Record, **changed: Any) -> str:
    """Return ``group_of`` a record, with parts of its configuration changed."""
    config = {**record.config, **changed}
    setting = record.split, record.strength, record.transmissions, record.targets
    return group_of(config, record.sources, *setting)


def setting_key(group: str) -> str:
    """Return the part of a group's key that attacks in the same setting share."""
    return group.partition("-")[0]


def key_without(record: Record, name: str) -> str:
    """Return a group's key that leaves out the strength, the steps or the transmissions."""
    if name == "strength":
        return group_key(record, defense=_without_strength(record))
    if name == "transmissions":
        return group_key(replace(record, transmissions=1))
    return group_key(record, attack=_without_steps(record.config["attack"]))


def _without_strength(record: Record) -> dict[str, Any]:
    """Return the options of the defense without the one that gives the strength, by dotted name.

    It has the strength or its inverse for a value. Of several, one with a name of ``STRENGTHS``
    counts before others, one of the defense before one of its channel.
    """
    strength, options = record.strength, flat(record.config["defense"])
    given = (strength, round(1 / strength, 9)) if strength else (strength,)

    def rank(name: str) -> tuple[bool, int, int]:
        option = name.rpartition(".")[2]
        at = STRENGTHS.index(option) if option in STRENGTHS else len(STRENGTHS)
        return option not in STRENGTHS, name.count("."), at

    # True is 1 to an operator
    found = [name for name, value in options.items() if type(value) is not bool and value in given]
    chosen = min(found, key=rank, default=None)
    return {name: value for name, value in options.items() if name != chosen}


def _without_steps(attack: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_steps(value) if isinstance(value, Mapping) else value
        for name, value in attack.items()
        if name != "steps"
    }
