"""Keys of stored results: pure functions of a configuration and its sources (no torch).

*Sources* are identities of code by their place in the configuration, those of the evaluation, and
fingerprints of the data: everything that numbers depend on and no configuration holds.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from privbench.evaluation.metrics import target_of
from privbench.runtime.code_identity import HASHED, identified, identities, identity
from privbench.runtime.hashing import content_hash

SCHEMA = 3
"""Part of the key of every record, and of what the harness computes for several of them: raised
whenever the harness gives other numbers, and for nothing else."""
UNNAMED_SCHEMA = 3
"""The schema of records and artifacts that name none, as they were before it could be raised."""
FLAT_SCHEMA = 3
"""Records with a top-level field for each metric; ``record.upgraded`` reads them."""
RECORD_SCHEMA = 4
"""Layout of a record's fields."""
GROUPS = ("dataset", "victim", "defense", "attack")
EVALUATION = {
    "evaluation.metrics": "privbench.evaluation.metrics",
    "evaluation.classifier": "privbench.experiment.evaluation_classifier.EvaluationClassifier",
    "evaluation.baselines": "privbench.attacks.blind.Blind",
}
"""Code that every record's scores come from."""
FILES = "data.files"
VICTIMS = "victims"
WEIGHTS = "victim.weights"
MODEL = "attack.model"
HARNESS = "harness"
"""Place of ``SCHEMA`` among a record's sources."""

Config = Mapping[str, Any]
Sources = Mapping[str, str]


def code_of(config: Config) -> dict[str, str]:
    """Return the identities of the code that a cell's numbers come from, the harness too, by place.

    Raises:
        ValueError: in one line, where no source is found.
    """
    named = (
        identities({group: config[group] for group in GROUPS})
        | weights_of(config)
        | model_of(config)
    )
    evaluation = {place: identity(target) for place, target in EVALUATION.items()}
    return named | evaluation | metrics_of(config) | {HARNESS: _stated(SCHEMA)}


def metrics_of(config: Config) -> dict[str, str]:
    """Return the identities of the metrics that a cell names, by place; no key contains them.

    Raises:
        ValueError: in one line, where no source is found.
    """
    return {f"metrics.{entry}": identity(target_of(entry)) for entry in config.get("metrics") or []}


def sources_of(config: Config, fingerprints: Mapping[str, str]) -> dict[str, str]:
    """Return a cell's sources.

    Args:
        config: The cell's.
        fingerprints: Of ``train``, ``aux`` and ``test`` images.

    Raises:
        ValueError: in one line, where no source is found.
    """
    data = {f"data.{part}": fingerprint for part, fingerprint in fingerprints.items()}
    files = files_stamp(config["dataset"].get("root"))
    return code_of(config) | data | ({FILES: files} if files else {})


def harness() -> dict[str, int]:
    """Return the part of a recipe that names the harness, for what it computes or hands on.

    Accuracies, numbers of deployments and adversaries have it. Victims, fitted defenses and the
    evaluation classifier are trained by code with versions of its own.
    """
    return {} if SCHEMA == UNNAMED_SCHEMA else {"schema": SCHEMA}


def _stated(schema: int) -> str:
    return f"schema-{schema}"


def threads(config: Config) -> dict[str, int]:
    """Return ``{"threads": N}`` where a number was typed: workers assign theirs elsewhere."""
    typed = config.get("device", {}).get("threads")
    return {} if typed is None else {"threads": typed}


def weights_of(config: Config) -> dict[str, str]:
    """Return the SHA-256 of the file that a victim's weights come from, where it has one."""
    path = Path(str(config["victim"].get("weights") or ""))
    if not path.is_file():
        return {}
    stamp = path.stat()
    return {WEIGHTS: HASHED + _sha256(path, stamp.st_mtime_ns, stamp.st_size)}


def model_of(config: Config) -> dict[str, str]:
    """Return a hash of the folder that an attack's pretrained model is in, where it has one."""
    name = _model(config["attack"])
    folder = Path(str(name)).expanduser() if name else None
    if folder is None or not folder.is_dir():
        return {}
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        stamp = path.stat()
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name} {_sha256(path, stamp.st_mtime_ns, stamp.st_size)}\n".encode())
    return {MODEL: HASHED + digest.hexdigest()[:12]}


def _model(attack: Mapping[str, Any]) -> Any:
    """Return the pretrained model of an attack, or of the one within it."""
    inner = (_model(value) for value in attack.values() if isinstance(value, Mapping))
    return attack.get("model") or next(filter(None, inner), None)


@lru_cache(maxsize=64)
def _sha256(path: Path, mtime: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def victim_recipe(config: Config, sources: Sources) -> dict[str, Any]:
    """Return everything that a victim's training depends on."""
    victim = identified(config["victim"], sources, "victim")
    if WEIGHTS in sources:  # whatever the file's name
        victim["weights"] = sources[WEIGHTS]
    return {
        "victim": {name: value for name, value in victim.items() if name != "name"},
        "images": sources["data.train"],
        "seed": config["seed"],
        **threads(config),
    }


def defense_recipe(config: Config, sources: Sources, strength: float) -> Any:
    """Return everything that a defense's effect depends on: null at strength 0, at either site."""
    return identified(config["defense"], sources, "defense") if strength > 0 else None


def cell_key(
    config: Config, sources: Sources, *, split: str, targets: Sequence[int], strength: float
) -> str:
    """Return the key of a cell's record: a hash of all that its numbers depend on.

    Args:
        config: The cell's, as plain containers.
        sources: Its ``sources_of``.
        split: Layer behind which the victim is cut, its alias resolved.
        targets: Indices of the attacked images within the test images.
        strength: Of the defense.
    """
    return content_hash(
        {
            "schema": SCHEMA,
            "victim": victim_recipe(config, sources),
            "split": split,
            "defense": defense_recipe(config, sources, strength),
            "attack": identified(config["attack"], sources, "attack"),
            "dataset": sources["dataset"],
            "aux": sources["data.aux"],
            "test": sources["data.test"],
            "targets": targets,
            "transmissions": config["transmissions"],
            "accuracy_draws": config["accuracy_draws"] if strength else 1,
            "evaluation": {place: sources[place] for place in EVALUATION},
            **({MODEL: sources[MODEL]} if MODEL in sources else {}),
        }
    )


def outdated(record: Mapping[str, Any], store: Path) -> list[str]:
    """Return why a record would be computed again; nothing where it would not.

    Args:
        record: Its fields, as read from json.
        store: The store that holds it, with the victims of now.

    Raises:
        ValueError: where it has no such fields.
    """
    if record.get("schema") not in (FLAT_SCHEMA, RECORD_SCHEMA):
        return [f"schema {record.get('schema')} is now {RECORD_SCHEMA}"]
    try:
        config, sources = record["config"], record["sources"]
        if not sources:
            return []
        found = [*_changed_code(config, sources), *_changed_files(config, sources)]
        replaced = victim_replaced(config, sources, record["victim_sha256"], store)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a whole record: {error!r}") from error
    return [*found, *([replaced] if replaced else [])]


def victim_replaced(config: Config, sources: Sources, sha256: str, store: Path) -> str:
    """Return a line where the store's victim of this recipe has other weights than a record's.

    A store without that victim contradicts nothing: the line is empty.
    """
    if not sources:
        return ""
    path = store / VICTIMS / f"{content_hash(victim_recipe(config, sources))}.json"
    try:
        now = str(json.loads(path.read_bytes())["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    if now == sha256 or not path.with_suffix(".safetensors").is_file():
        return ""
    return f"victim: replaced (sha256 {sha256[:12]} is now {now[:12]})"


def _changed_code(config: Config, sources: Sources) -> list[str]:
    found = []
    try:
        now = code_of(config)
    except ValueError as error:
        return [str(error)]
    for place in sorted(now.keys() | {p for p in sources if not p.startswith("data.")}):
        unnamed = _stated(UNNAMED_SCHEMA) if place == HARNESS else "nothing"
        before, after = sources.get(place, unnamed), now.get(place, "nothing")
        if before == after:
            continue
        if before.startswith(HASHED) and after.startswith(HASHED):
            found.append(f"{place}: its source has changed ({before} is now {after})")
        else:
            found.append(f"{place}: {before} is now {after}")
    return found


def _changed_files(config: Config, sources: Sources) -> list[str]:
    before, root = sources.get(FILES), config["dataset"].get("root")
    if before is None or before == files_stamp(root):
        return []
    return [f"dataset: names or sizes of the pictures in {root} have changed"]


def files_stamp(root: Any) -> str:
    """Return a hash of the names and sizes of the pictures in a folder of ``train`` and ``test``.

    Cheap enough to tell without decoding that pictures came, went or changed; empty for any other
    kind of data set.
    """
    folder = Path(root).expanduser() if isinstance(root, str) and root else None
    if folder is None or not all((folder / half).is_dir() for half in ("train", "test")):
        return ""
    digest = hashlib.sha256()
    for half in ("train", "test"):
        for label in sorted(e.name for e in os.scandir(folder / half) if e.is_dir()):
            for entry in sorted(os.scandir(folder / half / label), key=lambda entry: entry.name):
                if entry.is_file() and not entry.name.startswith("."):
                    size = entry.stat().st_size
                    digest.update(f"{half}/{label}/{entry.name} {size}\n".encode())
    return digest.hexdigest()[:12]
