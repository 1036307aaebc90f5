"""Trained victims in one file, to be attacked on another machine with the same weights (no torch).

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
class Kept:
    """An artefact as files hold it.

    Attributes:
        kind: ``victims`` or ``judges``.
        key: Hash of its recipe.
        sha256: Of its weights.
        recipe: What its training depends on.
        facts: About the training.
    """

    kind: str
    key: str
    sha256: str
    recipe: Mapping[str, Any]
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its place in a store, without a suffix."""
        return f"{self.kind}/{self.key}"


def kept(store: Path) -> list[Kept]:
    """Return the victims and evaluation classifiers of a store, in the order of their keys.

    Raises:
        ValueError: where there is none, or one is damaged.
    """
    found = [
        _checked(kind, path.stem, path.read_bytes(), _weights(path))
        for kind in KINDS
        for path in sorted((store / kind).glob("*.json"))
    ]
    if not any(one.kind == "victims" for one in found):
        raise ValueError(f"{store} holds no victim: give the output_dir of an earlier run")
    return found


def export(store: Path, file: Path) -> list[Kept]:
    """Write all victims and evaluation classifiers of a store to a tar file.

    Raises:
        ValueError: where there is none, or one is damaged; no file is written then.
        OSError: where the file cannot be written.
    """
    found = kept(store)
    files = [f"{one.name}{suffix}" for one in found for suffix in SUFFIXES]
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


def restore(file: Path, store: Path, *, replace: bool) -> tuple[list[Kept], list[Kept]]:
    """Put the victims and evaluation classifiers of a tar file into a store.

    Everything is checked before anything is written.

    Args:
        file: Written by ``export``.
        store: Where to.
        replace: Whether those with the same recipe and other weights give way.

    Returns:
        What was written, and what was there already.

    Raises:
        ValueError: for a file that is damaged or no such tar, and for other weights of the same
            recipe where ``replace`` is not set.
        OSError: where the file cannot be read or the store not be written.
    """
    with _opened(file) as members:
        found = _verified(members)
        there = {one.name: _sha256_in(store, one) for one in found}
        if not replace and (other := [o for o in found if there[o.name] not in ("", o.sha256)]):
            raise ValueError(
                f"{store / other[0].name} has other weights of the same recipe (sha256 "
                f"{there[other[0].name][:12]}, {file} has {other[0].sha256[:12]}; "
                f"{len(other)} such): type --replace to put those of the file in their place"
            )
        new = [one for one in found if there[one.name] != one.sha256]
        for one in new:
            with Store(store).claim(one.kind, one.key):
                for suffix in reversed(SUFFIXES):  # the json is last and commits the pair
                    write_atomically(store / f"{one.name}{suffix}", members[f"{one.name}{suffix}"])
    return new, [one for one in found if one not in new]


class _Members(Mapping[str, bytes]):
    """Contents of a tar's files by name, read when they are asked for.

    Raises:
        ValueError: for anything but the files that ``export`` writes.
    """

    def __init__(self, tar: tarfile.TarFile) -> None:
        self.tar = tar
        self.infos: dict[str, tarfile.TarInfo] = {}
        for info in tar.getmembers():
            known = info.name == MANIFEST or MEMBER.fullmatch(info.name)
            if not (info.isreg() and known) or info.name in self.infos:
                raise ValueError(f"{tar.name!s} is no file of victims (it holds {info.name})")
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
        raise ValueError(f"{file} is damaged or no file of victims ({error})") from error


def _verified(members: _Members) -> list[Kept]:
    """Every artefact of a tar, each byte checked.

    Raises:
        ValueError: naming what is wrong with the file.
    """
    where = f"{members.tar.name!s}: damaged or no file of victims"
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


def _checked(kind: str, key: str, sidecar: bytes, weights: bytes) -> Kept:
    """Return an artifact whose parts belong together.

    Raises:
        ValueError: naming it where they do not.
    """
    try:
        fields = json.loads(sidecar)
        one = Kept(kind, key, str(fields["sha256"]), dict(fields["recipe"]), dict(fields["facts"]))
        own = content_hash(one.recipe)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{kind}/{key}.json is damaged ({error!r})") from error
    if hashlib.sha256(weights).hexdigest() != one.sha256:
        raise ValueError(f"{kind}/{key}.safetensors is damaged (its SHA-256 is another one)")
    if own != key:
        raise ValueError(f"{kind}/{key} is not the artefact of its recipe, whose key is {own}")
    return one


def _sha256_in(store: Path, one: Kept) -> str:
    """SHA-256 of the same recipe's weights in a store; empty where it has none that are whole."""
    path = store / f"{one.name}.json"
    try:
        return _checked(one.kind, one.key, path.read_bytes(), _weights(path)).sha256
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
