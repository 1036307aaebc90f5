"""Inventory of a store: records and artifacts as files, and which records use which artifact."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from privbench.runtime.duration import seconds_of
from privbench.runtime.files import PART, UNFINISHED
from privbench.store.recipes import defense_recipe
from privbench.store.record import Record, read

RECORDS = "records"
DERIVED = ("accuracies", "adversaries", "baselines", "deployment_metrics", "deployments")
"""Kinds whose recipe names the weights of a victim."""
KINDS = (RECORDS, "victims", "judges", *DERIVED, "images")
"""Folders of a store; ``judges`` holds evaluation classifiers, ``images`` decoded data sets."""
FILTERS = ("dataset", "victim", "split", "attack", "defense", "site", "strength", "seed")
"""Fields of a record that select."""
NUMBERS = ("strength", "seed")
"""Those of them that are compared as numbers: ``0.60`` is ``0.6``."""
KEY = re.compile(r"[0-9a-f]{20}")


@dataclass(frozen=True)
class Item:
    """A record or an artifact as files.

    Attributes:
        kind: Its folder within the store.
        key: Of the record, or of the artifact's recipe.
        files: Its files, first the one that commits the others: without it the item is not there.
    """

    kind: str
    key: str
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Its path within the store."""
        return f"{self.kind}/{self.key}"

    @cached_property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.stat().st_size for file in self.files)

    @cached_property
    def written(self) -> datetime:
        """Time of the last change."""
        return datetime.fromtimestamp(self.files[0].stat().st_mtime, UTC)

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        """What its json holds; empty where that is damaged."""
        try:
            found = json.loads(self.files[0].read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def record(self) -> Record | None:
        """The record, where it is one that can be read."""
        try:
            return read(self.files[0]) if self.kind == RECORDS else None
        except (OSError, ValueError):
            return None

    @property
    def victim(self) -> str:
        """SHA-256 of the victim's weights that it is, or is derived from; empty without one."""
        if self.kind == "victims":
            return str(self.fields.get("sha256", ""))
        recipe = self.fields.get("recipe", {})
        return str(recipe.get("victim", {}).get("sha256", "")) if self.kind in DERIVED else ""

    def describe(self) -> str:
        """Describe what it is in a few words."""
        if self.kind == RECORDS:
            return describe_record(self.record) if self.record else "cannot be read"
        facts, recipe = self.fields.get("facts", {}), self.fields.get("recipe", {})
        inner = recipe.get("recipe", {})
        words = [*(facts.get(name) for name in ("victim", "dataset")), recipe.get("split")]
        words += [inner.get("attack"), inner.get("baseline"), recipe.get("metric")]
        if (defense := recipe.get("defense")) is not None:
            words.append(_describe_defense(defense))
        if "seed" in recipe and self.kind == "victims":
            words.append(f"seed {recipe['seed']}")
        return " ".join(str(word) for word in words if word)


def _describe_defense(recipe: Mapping[str, Any]) -> str:
    """Describe a defense by its name and its numbers, as its recipe has them."""
    name = str(recipe.get("_target_", "")).partition(" ")[0].rpartition("-")
    numbers = [f"{key} {v}" for key, v in recipe.items() if type(v) in (int, float)]
    return " ".join([name[0] or name[2], *numbers])


def describe_record(one: Record) -> str:
    """Describe what a record is of."""
    return (
        f"{one.dataset} {one.victim} {one.split}, {one.defense} {one.strength:g} on {one.site}, "
        f"{one.attack}, seed {one.seed}"
    )


def inventory(store: Path) -> list[Item]:
    """Return everything that a store holds whole, in the order of kinds and keys.

    Raises:
        ValueError: where that is nothing, and no training has begun either.
    """
    found = [item for kind in KINDS for item in _of_kind(store, kind)]
    if not found and not unfinished(store):
        raise ValueError(f"{store} holds nothing: give the output_dir of an earlier run")
    return found


def _of_kind(store: Path, kind: str) -> list[Item]:
    folder = store / kind
    if kind == RECORDS:
        paths = sorted(path.parent for path in folder.glob("*/record.json"))
        return [Item(kind, path.name, _committed(path)) for path in paths]
    paths = sorted(path for path in folder.glob("*.json") if KEY.fullmatch(path.stem))
    weights = [(path, path.with_suffix(".safetensors")) for path in paths]
    return [Item(kind, pair[0].stem, pair) for pair in weights if pair[1].is_file()]


def _committed(folder: Path) -> tuple[Path, ...]:
    """Return the files of a record, ``record.json`` first."""
    rest = sorted(path for path in folder.iterdir() if path.name != "record.json")
    return (folder / "record.json", *rest)


def unfinished(store: Path) -> list[Item]:
    """Return the checkpoints of trainings that have not ended, by kind and key."""
    paths = [path for kind in KINDS for path in sorted((store / kind).glob(f"*{UNFINISHED}"))]
    return [Item(path.parent.name, path.stem, (path,)) for path in paths]


def remains(store: Path) -> list[Item]:
    """Return files without the one that commits them, of processes that were killed."""
    found: dict[tuple[str, str], list[Path]] = {}
    for kind in KINDS:
        for path in sorted((store / kind).glob("*")):
            if path.is_dir() and KEY.fullmatch(path.name) and not (path / "record.json").exists():
                found.setdefault((kind, path.name), []).extend(sorted(path.iterdir()))
            elif path.name.endswith(PART):
                found.setdefault((kind, path.name.split(".")[1]), []).append(path)
            elif _is_half(path):
                found.setdefault((kind, path.stem), []).append(path)
    return [Item(kind, key, tuple(files)) for (kind, key), files in found.items()]


def _is_half(path: Path) -> bool:
    """Return whether a file is one of an artifact's two, and the other is not there."""
    other = {".json": ".safetensors", ".safetensors": ".json"}.get(path.suffix)
    return other is not None and not path.with_suffix(other).exists()


@dataclass(frozen=True)
class Choice:
    """A choice of items.

    Attributes:
        keys: Beginnings of keys; empty for any.
        kinds: Kinds; empty for any.
        filters: Values to keep, by field of a record; only records have such fields.
        older_than: Least age; null for any.
    """

    keys: Sequence[str]
    kinds: Sequence[str]
    filters: Mapping[str, Sequence[str]]
    older_than: timedelta | None

    @property
    def is_empty(self) -> bool:
        """True where nothing was chosen."""
        return not (self.keys or self.kinds or self.filters) and self.older_than is None

    def of(self, items: Iterable[Item]) -> list[Item]:
        """Return the items of the choice.

        Raises:
            ValueError: where a key begins none, or nothing is left.
        """
        items = list(items)
        for key in self.keys:
            if not any(self._begins(item, key) for item in items):
                raise ValueError(f"{key} is neither a sweep nor the beginning of a key: see list")
        found = [item for item in items if self._has(item)]
        if not found:
            records = [item.record for item in items if item.record is not None]
            there = f"it has {values_of(records, self.filters)}" if self.filters else "see list"
            raise ValueError(f"the store holds nothing of that choice: {there}")
        return found

    @staticmethod
    def _begins(item: Item, key: str) -> bool:
        return item.key.startswith(key) or item.name.startswith(key)

    def _has(self, item: Item) -> bool:
        if self.keys and not any(self._begins(item, key) for key in self.keys):
            return False
        if self.kinds and item.kind not in self.kinds:
            return False
        if self.older_than and datetime.now(UTC) - item.written < self.older_than:
            return False
        return not self.filters or (item.record is not None and fits(item.record, self.filters))


def values_of(records: Sequence[Record], fields: Iterable[str]) -> str:
    """Return the values that records have in these fields, in one line.

    >>> values_of([], ["split"])
    'split: none'
    """
    held = {name: {str(getattr(record, name)) for record in records} for name in fields}
    return "; ".join(
        f"{name}: {', '.join(sorted(values)) or 'none'}" for name, values in held.items()
    )


def fits(record: Record, filters: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a record has one of the values of each field.

    A split point is found by its name and as it was typed: that of a traced network is the name of
    a node of its graph, ``_2_act``, where a module's, ``2``, was typed.

    Raises:
        ValueError: where a field that is a number is compared with another text.
    """
    return all(
        _is_one_of(name, getattr(record, name), held)
        or (name == "split" and str(record.config.get(name)) in held)
        for name, held in filters.items()
    )


def _is_one_of(name: str, value: Any, held: Sequence[str]) -> bool:
    if name not in NUMBERS:
        return str(value) in held
    return any(value == number_of(name, text) for text in held)


def number_of(name: str, text: str) -> float:
    """Return the number that a field is compared with.

    Raises:
        ValueError: where the text is none.
    """
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--{name} {text}: expected a number") from None


def checked(filters: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return filters whose numbers are numbers.

    Raises:
        ValueError: naming the first that is none.
    """
    for name in filters.keys() & set(NUMBERS):
        for text in filters[name]:
            number_of(name, text)
    return {name: list(held) for name, held in filters.items()}


def age(text: str) -> timedelta:
    """Return the age that a text such as ``90min``, ``12h`` or ``30d`` states.

    Raises:
        ValueError: for any other text.

    >>> age("30d")
    datetime.timedelta(days=30)
    """
    try:
        return timedelta(seconds=seconds_of(text))
    except ValueError as error:
        raise ValueError(f"{text} is not an age: {error}") from error


def uses(record: Record, item: Item) -> bool:
    """Return whether a record's cell may have used an artifact, as far as its recipe says.

    Doubt counts as use: decoded images, for instance, name no record.
    """
    recipe = item.fields.get("recipe", {})
    if item.kind == "judges":
        return bool(recipe.get("images") == record.sources.get("data.train"))
    if item.kind == "victims":
        return item.victim == record.victim_sha256
    if item.kind not in DERIVED:
        return True
    code = recipe.get("recipe", {}).get("code")
    if item.kind == "adversaries" and code is not None and code not in _attacks_code(record):
        return False
    if "victim" not in recipe:  # learned from images alone, for all victims
        return bool(recipe.get("aux") == record.sources.get("data.aux"))
    return (
        item.victim == record.victim_sha256
        and recipe.get("split") in (None, record.split)
        and (recipe.get("defense") is None or recipe["defense"] == _defense(record))
    )


def _attacks_code(record: Record) -> set[str]:
    """Return the identities of a record's attack, and of attacks that it runs."""
    return {code for place, code in record.sources.items() if place.split(".")[0] == "attack"}


def _defense(record: Record) -> Any:
    """Return a record's defense as recipes name it."""
    try:
        return defense_recipe(record.config, record.sources, record.strength)
    except KeyError:  # a record of an earlier version
        return None


def users(item: Item, records: Iterable[Record]) -> list[Record]:
    """Return the records whose cells may have used an artifact."""
    return [record for record in records if uses(record, item)]
