"""Content-addressed artifacts: made once and loaded afterwards, by any number of processes."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import BaseFileLock, FileLock, Timeout

from privbench.runtime.files import PART, UNFINISHED, atomic_file, is_locked, write_atomically
from privbench.runtime.hashing import content_hash
from privbench.runtime.paths import ROOT

if TYPE_CHECKING:
    from torch import Tensor

LOG = logging.getLogger(__name__)

Stamps = tuple[tuple[int, int], ...]
"""Time of change in nanoseconds and size in bytes of an artifact's files."""


@dataclass(frozen=True)
class Artifact:
    """Tensors, and facts about them that are loaded with them.

    Attributes:
        tensors: By name.
        facts: Anything that JSON can hold.
        sha256: Of the file that holds the tensors, as ``sha256sum`` prints it; empty before the
            store holds them.
    """

    tensors: "Mapping[str, Tensor]"
    facts: Mapping[str, Any]
    sha256: str = ""


@dataclass(frozen=True)
class Store:
    """A folder of artifacts.

    A pair of files for each artifact, ``<kind>/<key>.safetensors`` and ``.json``; the json is
    written last, holds the other's SHA-256, and so commits it: a killed process leaves none.

    Attributes:
        root: Made when the first artifact is kept.
    """

    root: Path

    def keep(
        self,
        kind: str,
        recipe: Mapping[str, Any],
        make: Callable[[], Artifact],
        *,
        exclusive: bool = False,
    ) -> Artifact:
        """Return the artifact of a recipe, made by ``make`` unless it is there.

        Of many processes that need it at once, one makes it and the others wait; if that one is
        killed, the next one makes it.

        Args:
            kind: The folder within the store.
            recipe: Everything that the artifact depends on.
            make: Its maker.
            exclusive: Give the tensors to the caller, who may change them: they are kept in memory
                by no one else, and read without a second copy.
        """
        path = self.root / kind / f"{content_hash(recipe)}.safetensors"
        load = _load_exclusive if exclusive else _load
        if (found := _read(path, load)) is not None:
            return found
        with self.claim(kind, path.stem):
            if (found := _read(path, load)) is not None:
                return found
            made = make()
            made = replace(made, sha256=_write(path, made.tensors))
            sidecar = {"sha256": made.sha256, "recipe": recipe, "facts": made.facts}
            write_atomically(path.with_suffix(".json"), json.dumps(sidecar, indent=1).encode())
            return made

    def facts(self, kind: str, recipe: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the facts of a recipe's artifact without its tensors; empty where it is absent."""
        path = self.root / kind / f"{content_hash(recipe)}.json"
        try:
            facts: Mapping[str, Any] = json.loads(path.read_bytes())["facts"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return facts

    def unfinished(self, kind: str, recipe: Mapping[str, Any]) -> Path:
        """Return the file for the state of a training until its artifact is kept."""
        return self.root / kind / f"{content_hash(recipe)}{UNFINISHED}"

    @contextmanager
    def claim(self, kind: str, key: str) -> Iterator[None]:
        """Hold a key exclusively while the block runs; a dead process's claim ends with it.

        Half-written files of a killed owner are removed.
        """
        lock = self._lock(kind, key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            LOG.info("another process makes %s/%s: waiting for it", kind, key)
            lock.acquire()
        try:
            self._remove_parts(kind, key)
            yield
        finally:
            lock.release()

    @contextmanager
    def claim_unless_held(self, kind: str, key: str) -> Iterator[bool]:
        """Hold a key like ``claim`` while the block runs, or yield false where a process has it."""
        lock = self._lock(kind, key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            self._remove_parts(kind, key)
            yield True
        finally:
            lock.release()

    def held(self) -> list[str]:
        """Return the names of all keys that processes hold now, such as ``records/KEY``."""
        locks = sorted(self.root.glob("*/*.lock"))
        return [f"{path.parent.name}/{path.stem}" for path in locks if is_locked(path)]

    def _lock(self, kind: str, key: str) -> BaseFileLock:
        folder = self.root / kind
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{key}.lock")

    def _remove_parts(self, kind: str, key: str) -> None:
        folder = self.root / kind
        for place in (folder, folder / key):
            for part in place.glob(f".*{PART}"):
                if place != folder or part.name.startswith(f".{key}."):
                    part.unlink(missing_ok=True)


def announce(store: Store) -> None:
    """Name a store in the log if it is new, as all is trained again there, or elsewhere than usual.

    In the repository ``outputs`` is the usual place; elsewhere it lies in the working directory.
    """
    if text := announcement(store):
        LOG.info(text)


def announcement(store: Store) -> str:
    """Return the line of ``announce``; empty where there is nothing to say."""
    if not (store.root / "victims").exists():
        return f"new store: {store.root}"
    return "" if Path.cwd().is_relative_to(ROOT) else f"store: {store.root}"


def _read(path: Path, load: Callable[[Path, Stamps], Artifact]) -> Artifact | None:
    """Read an artifact if it is whole; name a damaged one in a warning."""
    try:
        stamps = [file.stat() for file in (path, path.with_suffix(".json"))]
        return load(path, tuple((stamp.st_mtime_ns, stamp.st_size) for stamp in stamps))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        LOG.warning("%s is damaged (%s): it is made again", path, error)
        return None


@lru_cache(maxsize=16)
def _load(path: Path, stamps: Stamps) -> Artifact:
    """Load an artifact; a few stay in memory from cell to cell while their files are the same.

    Raises:
        ValueError: where they are damaged.
    """
    from safetensors.torch import load

    data = path.read_bytes()
    facts = _verified_facts(path, hashlib.sha256(data).hexdigest())
    return Artifact(load(data), *facts)


def _load_exclusive(path: Path, stamps: Stamps) -> Artifact:
    """Load an artifact that stays in no cache; its file is mapped, and copied where it is changed.

    Raises:
        ValueError: where it is damaged.
    """
    from safetensors.torch import load_file

    facts = _verified_facts(path, _sha256(path))
    return Artifact(load_file(path), *facts)


def _verified_facts(path: Path, sha256: str) -> tuple[Mapping[str, Any], str]:
    """Return the facts of an artifact and its SHA-256, where it is the one it was written with.

    Raises:
        ValueError: where it is not.
    """
    sidecar = json.loads(path.with_suffix(".json").read_bytes())
    if sha256 != sidecar["sha256"]:
        raise ValueError("its SHA-256 is not the one it was written with")
    return sidecar["facts"], sha256


def _write(path: Path, tensors: "Mapping[str, Tensor]") -> str:
    """Write tensors without a second copy of them in memory, and return the file's SHA-256.

    Raises:
        OSError: where the disk is full or cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_file(path) as part:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part)
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from error
        return _sha256(part)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
