"""Archive of trained victims, to attack the same weights on another machine (no torch).

The file is a tar: ``privbench.json`` first, which lists the SHA-256 of every other member, then
``victims/KEY.safetensors`` and ``.json``, and the same of evaluation classifiers (``judges``).
"""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privbench.runtime.files import PART, write_atomically
from privbench.runtime.hashing import content_hash
from privbench.store.artifacts import Store

KINDS = ("victims", "judges")
MANIFEST = "privbench.json"
FORMAT = 1
SUFFIXES = (".json", ".safetensors")
MEMBER = re.compile(rf"({'|'.join(KINDS)})/([0-9a-f]{{20}})\.(json|safetensors)")


@dataclass(frozen=True)
class StoredArtifact:
    """An artifact as its two files hold it.

    Attributes:
        kind: ``victims`` or ``judges``.
        key: Hash of its recipe.
        sha256: SHA-256 of the file of weights.
        recipe: Everything that the training depends on.
        facts: Facts about the training.
    """

    kind: str
    key: str
    sha256: str
    recipe: Mapping[str, Any]
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Path within a store, without a suffix."""
        return f"{self.kind}/{self.key}"


def stored_artifacts(store: Path) -> list[StoredArtifact]:
    """Return the victims and evaluation classifiers of a store, in the order of their keys.

    Raises:
        ValueError: if there is no victim, or an artifact is damaged.
    """
    found = [
        _checked(kind, path.stem, path.read_bytes(), _weights(path))
        for kind in KINDS
        for path in sorted((store / kind).glob("*.json"))
    ]
    if not any(artifact.kind == "victims" for artifact in found):
        raise ValueError(f"{store} holds no victim: give the output_dir of an earlier run")
    return found


def export(store: Path, file: Path) -> list[StoredArtifact]:
    """Write all victims and evaluation classifiers of a store to a tar file.

    Raises:
        ValueError: if there is no victim, or an artifact is damaged; no file is written then.
        OSError: if the file cannot be written.
    """
    found = stored_artifacts(store)
    files = [f"{artifact.name}{suffix}" for artifact in found for suffix in SUFFIXES]
    sums = {name: hashlib.sha256((store / name).read_bytes()).hexdigest() for name in files}
    manifest = {"format": FORMAT, "sha256": sums}
    part = file.with_name(f".{file.name}{PART}")
    try:
        with tarfile.open(part, "w") as tar:
            _add(tar, MANIFEST, json.dumps(manifest, indent=1).encode())
            for name in files:
                _add(tar, name, (store / name).read_bytes())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return found


def restore(
    file: Path, store: Path, *, replace: bool
) -> tuple[list[StoredArtifact], list[StoredArtifact]]:
    """Put the victims and evaluation classifiers of a tar file into a store.

    Everything is checked before anything is written.

    Args:
        file: Archive that ``export`` wrote.
        store: Directory of the store.
        replace: Overwrite artifacts with the same recipe and different weights.

    Returns:
        The artifacts that were written, and those that the store already had.

    Raises:
        ValueError: if the file is damaged or not such an archive, or if the store has different
            weights of the same recipe and ``replace`` is false.
        OSError: if the file cannot be read or the store cannot be written.
    """
    with _opened(file) as members:
        found = _verified(members)
        present = {item.name: _sha256_in(store, item) for item in found}
        if not replace:
            _require_same_weights(found, present, file, store)
        new = [item for item in found if present[item.name] != item.sha256]
        for item in new:
            with Store(store).claim(item.kind, item.key):
                for suffix in reversed(SUFFIXES):  # the json is last and commits the pair
                    name = f"{item.name}{suffix}"
                    write_atomically(store / name, members[name])
    return new, [item for item in found if item not in new]


def _require_same_weights(
    found: list[StoredArtifact], present: Mapping[str, str], file: Path, store: Path
) -> None:
    """Refuse artifacts of which the store has different weights."""
    different = [item for item in found if present[item.name] not in ("", item.sha256)]
    if different:
        first = different[0]
        raise ValueError(
            f"{store / first.name} has other weights of the same recipe (sha256 "
            f"{present[first.name][:12]}, {file} has {first.sha256[:12]}; "
            f"{len(different)} such): type --replace to put those of the file in their place"
        )


class _Members(Mapping[str, bytes]):
    """Contents of a tar's files by name, read on access.

    Raises:
        ValueError: for any file that ``export`` does not write.
    """

    def __init__(self, tar: tarfile.TarFile) -> None:
        self.tar = tar
        self.infos: dict[str, tarfile.TarInfo] = {}
        for info in tar.getmembers():
            known = info.name == MANIFEST or MEMBER.fullmatch(info.name)
            if not (info.isreg() and known) or info.name in self.infos:
                raise ValueError(f"{tar.name!s} is not a file of victims (it holds {info.name})")
            self.infos[info.name] = info

    def __getitem__(self, name: str) -> bytes:
        opened = self.tar.extractfile(self.infos[name])
        assert opened is not None  # only links and folders open as nothing
        return opened.read()

    def __iter__(self) -> Iterator[str]:
        return iter(self.infos)

    def __len__(self) -> int:
        return len(self.infos)


@contextmanager
def _opened(file: Path) -> Iterator[_Members]:
    try:
        with tarfile.open(file, "r:") as tar:
            yield _Members(tar)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{file} is damaged or not a file of victims ({error})") from error


def _verified(members: _Members) -> list[StoredArtifact]:
    """Return every artifact of a tar after checking each byte.

    Raises:
        ValueError: naming the fault of the file.
    """
    where = f"{members.tar.name!s}: damaged or not a file of victims"
    try:
        manifest = json.loads(members[MANIFEST])
        sums, form = dict(manifest["sha256"]), manifest["format"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where} ({MANIFEST} is missing or cannot be read)") from error
    if form != FORMAT:
        raise ValueError(f"{where} (its format is {form}, this program reads {FORMAT})")
    if strange := sums.keys() ^ (members.keys() - {MANIFEST}):
        raise ValueError(f"{where} ({min(strange)} is missing or not listed)")
    for name, expected in sums.items():
        if hashlib.sha256(members[name]).hexdigest() != expected:
            raise ValueError(f"{where} (the SHA-256 of {name} is not the listed one)")
    found = []
    for name in sorted({name.rpartition(".")[0] for name in sums}):
        kind, _, key = name.partition("/")
        try:
            found.append(_checked(kind, key, *(members[f"{name}{end}"] for end in SUFFIXES)))
        except KeyError as error:
            raise ValueError(f"{where} ({error.args[0]} is missing)") from error
        except ValueError as error:
            raise ValueError(f"{where} ({error})") from error
    if not found:
        raise ValueError(f"{where} (it holds no victim)")
    return found


def _checked(kind: str, key: str, sidecar: bytes, weights: bytes) -> StoredArtifact:
    """Return an artifact whose parts belong together.

    Raises:
        ValueError: naming the artifact, if they do not.
    """
    try:
        fields = json.loads(sidecar)
        recipe, facts = dict(fields["recipe"]), dict(fields["facts"])
        artifact = StoredArtifact(kind, key, str(fields["sha256"]), recipe, facts)
        expected = content_hash(recipe)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{kind}/{key}.json is damaged ({error!r})") from error
    if hashlib.sha256(weights).hexdigest() != artifact.sha256:
        raise ValueError(f"{kind}/{key}.safetensors is damaged (its SHA-256 differs)")
    if expected != key:
        raise ValueError(f"{kind}/{key} is not the artifact of its recipe, whose key is {expected}")
    return artifact


def _sha256_in(store: Path, stored: StoredArtifact) -> str:
    """Return the SHA-256 of the weights of a recipe in a store; empty if absent or damaged."""
    path = store / f"{stored.name}.json"
    try:
        return _checked(stored.kind, stored.key, path.read_bytes(), _weights(path)).sha256
    except (FileNotFoundError, ValueError):
        return ""


def _weights(sidecar: Path) -> bytes:
    try:
        return sidecar.with_suffix(".safetensors").read_bytes()
    except FileNotFoundError:
        return b""


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
