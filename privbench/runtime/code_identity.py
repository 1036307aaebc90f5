"""Identities of code, which enter the keys of results, found without importing the code.

A class of the package is named by its ``version``, so that a key outlives a rename; code from
elsewhere by the SHA-256 of its source, so that an edited attack is another attack.
"""

import ast
import hashlib
import importlib.machinery
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from privbench.runtime.options import without_later_options

PACKAGE = "privbench"
HASHED = "sha256:"
REFERENCES = frozenset(
    f"hydra.utils.get_{kind}" for kind in ("class", "method", "static_method", "object")
)
"""Targets that name other code in their ``path``."""
INSTALLED = tuple(
    Path(folder).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
    if (folder := sysconfig.get_path(name))
)


@dataclass(frozen=True)
class _Module:
    """A module that was found and not imported.

    Attributes:
        name: Dotted.
        path: Its source file.
        search: Where its submodules are; empty for a plain module.
    """

    name: str
    path: Path | None
    search: tuple[str, ...] = ()


_COMPUTED: dict[str, tuple[ModuleType, str]] = {}
"""Identities of imported code: the process goes on computing with that source after an edit."""


def identity(target: str) -> str:
    """Return the identity of a class, function or module.

    Args:
        target: Its dotted name, as ``_target_`` has it; attributes may be nested.

    Returns:
        The class attribute ``version`` (of a module the constant ``VERSION``) of code of the
        package, ``sha256:`` and 12 hexadecimal digits of the source of any other. Modules that it
        imports from outside the installed libraries are part of its source.

    Raises:
        ValueError: in one line, where no source is found.
    """
    module, names = _locate(target)
    loaded = sys.modules.get(module.name)
    if loaded is not None and (known := _COMPUTED.get(target)) and known[0] is loaded:
        return known[1]
    found = _identity(module, names)
    if loaded is not None:
        _COMPUTED[target] = (loaded, found)
    return found


def source_file(target: str) -> Path:
    """Return the source file of a class, function or module, found without importing it.

    Raises:
        ValueError: in one line, where there is none.
    """
    path = _locate(target)[0].path
    assert path is not None  # _locate refuses a module without a source
    return path


def identity_of(code: Any) -> str:
    """Return the identity of a class or a function.

    Raises:
        ValueError: in one line, where no source is found.
    """
    return identity(f"{code.__module__}.{code.__qualname__}")


def described(value: Any) -> Any:
    """Describe an object for a key: the identity of its code, and its settings.

    Args:
        value: A dataclass, a partial, a function, or a container of those and of plain values.

    Raises:
        ValueError: in one line, where code has no source.
    """
    if isinstance(value, Mapping):
        return {str(name): described(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    if isinstance(value, partial):
        given = {"args": described(value.args), "keywords": described(value.keywords)}
        return {"code": identity_of(value.func), **given}
    if is_dataclass(value) and not isinstance(value, type):
        return {"code": identity_of(type(value)), **settings_of(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return identity_of(value) if hasattr(value, "__qualname__") else repr(value)


def settings_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as a configuration names them, without ``LATER_OPTIONS``."""
    target = f"{type(value).__module__}.{type(value).__qualname__}"
    settings = {field.name: described(getattr(value, field.name)) for field in fields(value)}
    kept: dict[str, Any] = without_later_options({"_target_": target, **settings})
    return {name: setting for name, setting in kept.items() if name != "_target_"}


def identities(config: Any, path: str = "") -> dict[str, str]:
    """Return the identity of every ``_target_`` within a composed configuration.

    Args:
        config: Plain containers.
        path: Their place, e.g. ``attack``.

    Returns:
        Identities by place, e.g. ``{"attack": "shadow-1", "attack.inverter": "rmle-1"}``.

    Raises:
        ValueError: in one line, where no source is found.
    """
    found = {}
    if (target := _target(config)) is not None:
        try:
            found[path] = identity(target)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    for name, value in _children(config):
        found |= identities(value, f"{path}.{name}" if path else name)
    return found


def identified(config: Any, sources: Mapping[str, str], path: str) -> Any:
    """Return a configuration with identities in place of names of classes, for a key.

    Args:
        config: Plain containers.
        sources: ``identities`` of a configuration that they are part of.
        path: Their place in it.
    """
    if isinstance(config, list | tuple):
        return [identified(value, sources, f"{path}.{name}") for name, value in _children(config)]
    if not isinstance(config, Mapping):
        return config
    kept = {name: identified(value, sources, f"{path}.{name}") for name, value in config.items()}
    if (target := _target(config)) is not None:
        known = sources[path]
        kept["_target_"] = f"{target} {known}" if known.startswith(HASHED) else known
    return kept


def _target(config: Any) -> str | None:
    target = config.get("_target_") if isinstance(config, Mapping) else None
    if not isinstance(target, str):
        return None
    return str(config.get("path")) if target in REFERENCES else target


def _children(config: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(config, Mapping):
        yield from ((str(name), value) for name, value in config.items())
    elif isinstance(config, list | tuple):
        yield from ((str(number), value) for number, value in enumerate(config))


def _locate(target: str) -> tuple[_Module, tuple[str, ...]]:
    """Find the module of a target and the attributes within it."""
    parts = target.split(".")
    chain = _chain(target)
    if not chain or chain[-1].path is None or not chain[-1].path.is_file():
        raise ValueError(
            f"no source file of {target} is found, so a change of it would go unnoticed: name code "
            "in a file on PYTHONPATH"
        )
    return chain[-1], tuple(parts[len(chain) :])


def _chain(name: str) -> list[_Module]:
    """Find the packages on the way to a dotted name, and the module; attributes are left out."""
    found: list[_Module] = []
    for part in name.split("."):
        if found and not found[-1].search:
            break
        dotted = f"{found[-1].name}.{part}" if found else part
        module = _find(dotted, found[-1].search if found else None)
        if module is None:
            break
        found.append(module)
    return found


def _find(name: str, search: Sequence[str] | None) -> _Module | None:
    """Find a module by its full name; ``importlib.util.find_spec`` would import its parents."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec: importlib.machinery.ModuleSpec | None = find(name, search) if find else None
        if spec is not None:
            inside = spec.submodule_search_locations
            path = Path(spec.origin) if spec.has_location and spec.origin else None
            return _Module(name, path, tuple(inside) if inside is not None else ())
    loaded = getattr(sys.modules.get(name), "__file__", None)  # finders do not find __main__
    return _Module(name, Path(loaded)) if loaded else None


def _identity(module: _Module, names: tuple[str, ...]) -> str:
    assert module.path is not None
    if module.name.partition(".")[0] == PACKAGE:
        stamp = module.path.stat()
        version = _version(module.path, stamp.st_mtime_ns, names[0] if names else "")
        if version is not None:
            return version
        return HASHED + _digest(module.path)[:12]
    files = sorted(_with_imports(module))
    digests = [_digest(file) for file in files]
    if len(digests) > 1:
        digests = [hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()]
    return HASHED + digests[0][:12]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@lru_cache(maxsize=256)
def _version(path: Path, mtime: int, name: str) -> str | None:
    """Read the version of a class, or without a name of the module, from a source file."""
    body: Sequence[ast.stmt] = ast.parse(path.read_bytes()).body
    if name:
        classes = (n for n in body if isinstance(n, ast.ClassDef) and n.name == name)
        body = next((node.body for node in classes), ())
    wanted = "version" if name else "VERSION"
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        named = any(isinstance(t, ast.Name) and t.id == wanted for t in targets)
        value = getattr(node, "value", None)
        if named and isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return None


def _with_imports(module: _Module) -> set[Path]:
    """Collect the source files of a module and of its imports outside installed libraries."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current.path is None or current.path in found:
            continue
        found.add(current.path)
        if current.path.suffix == ".py" and not _is_installed(current.path):
            for name in _imports(current):
                waiting += [m for m in _chain(name) if m.path and not _is_installed(m.path)]
    return found


def _is_installed(path: Path) -> bool:
    resolved = path.resolve()
    return any(resolved.is_relative_to(folder) for folder in INSTALLED)


def _imports(module: _Module) -> Iterator[str]:
    """Yield dotted names that a module imports anywhere, except the package's and Python's."""
    assert module.path is not None
    package = module.name if module.search else module.name.rpartition(".")[0]
    for node in ast.walk(ast.parse(module.path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            origin = ".".join([*(parents if node.level else []), *filter(None, [node.module])])
            names = [f"{origin}.{alias.name}" if origin else alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] not in {PACKAGE, *sys.stdlib_module_names}:
                yield name
