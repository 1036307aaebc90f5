"""Identities of code, which enter the keys of results, found without importing the code.

A class of the package is named by its ``version``, so that a key outlives a rename; code from
elsewhere by the SHA-256 of its source and the versions of what it imports of the package, so that
an edited attack is another attack, and so is one whose base class changed.
"""

import ast
import hashlib
import importlib.machinery
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
LIBRARIES = frozenset({"torch", "torchvision", "torchmetrics", "numpy", "scipy", "sklearn"})
"""Installed libraries that are named by one file: a record holds the versions of those that
compute, and to read all modules of one would take seconds."""


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
        package, ``sha256:`` and 12 hexadecimal digits of the source of any other. Part of its
        source are the modules that it imports from outside the installed libraries or, installed
        itself, from its own one, and the versions of the package's classes that these import, for
        it may inherit or call them.

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
        try:
            spec: importlib.machinery.ModuleSpec | None = find(name, search) if find else None
        except KeyError:  # a folder without __init__.py in a package that is not imported
            return _Module(
                name, None, tuple(f"{at}/{name.rpartition('.')[2]}" for at in search or ())
            )
        if spec is not None:
            inside = spec.submodule_search_locations
            path = Path(spec.origin) if spec.has_location and spec.origin else None
            return _Module(name, path, tuple(inside) if inside is not None else ())
    loaded = getattr(sys.modules.get(name), "__file__", None)  # finders do not find __main__
    return _Module(name, Path(loaded)) if loaded else None


def _identity(module: _Module, names: tuple[str, ...]) -> str:
    assert module.path is not None
    if module.name.partition(".")[0] == PACKAGE:
        version = _versions_in(module.path).get(names[0] if names else "")
        return HASHED + _digest(module.path)[:12] if version is None else version
    modules = _with_imports(module)
    parts = [*sorted(_digest(path) for path in modules), *_versions_used(modules.values())]
    whole = parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()
    return HASHED + whole[:12]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _versions_in(path: Path) -> Mapping[str, str]:
    """Return the versions that a source file states: of its classes, and under "" its own."""
    return _read_versions(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _read_versions(path: Path, mtime: int) -> Mapping[str, str]:
    body = ast.parse(path.read_bytes()).body
    places = {n.name: ("version", n.body) for n in body if isinstance(n, ast.ClassDef)}
    stated = {name: _stated(*place) for name, place in places.items()}
    stated[""] = _stated("VERSION", body)
    return {name: version for name, version in stated.items() if version is not None}


def _stated(wanted: str, body: Sequence[ast.stmt]) -> str | None:
    """Return the string that statements assign to a name."""
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        named = any(isinstance(t, ast.Name) and t.id == wanted for t in targets)
        value = getattr(node, "value", None)
        if named and isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return None


def _versions_used(modules: Iterable[_Module]) -> list[str]:
    """Return the versions of the package's classes that outside modules import, in order.

    Of a name that is no class with a version it is those of all classes in its module.
    """
    names = {name for module in modules for name in _imports(module) if _top(name) == PACKAGE}
    found: set[str] = set()
    for name in names:
        module, *_ = reversed(_chain(name))
        if module.path is not None and module.path.suffix == ".py":
            stated = _versions_in(module.path)
            used = name.removeprefix(f"{module.name}.").partition(".")[0]
            found |= {stated[used]} if used in stated else set(stated.values())
    return sorted(found)


def _with_imports(module: _Module) -> dict[Path, _Module]:
    """Collect a module and what it imports, by source file.

    Installed libraries are left out, but for the other modules of the one that it is part of.
    """
    own = _top(module.name)
    home = own if own not in LIBRARIES else None
    found: dict[Path, _Module] = {}
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current.path is None or current.path in found:
            continue
        found[current.path] = current
        if _is_followed(current, home):
            names = (name for name in _imports(current) if _top(name) != PACKAGE)
            waiting += [m for name in names for m in _chain(name) if _is_followed(m, home)]
    return found


def _is_followed(module: _Module, home: str | None) -> bool:
    """Return whether the imports of a module, itself among them, are part of a source."""
    return module.path is not None and (_top(module.name) == home or not _is_installed(module.path))


def _is_installed(path: Path) -> bool:
    resolved = path.resolve()
    return any(resolved.is_relative_to(folder) for folder in INSTALLED)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _imports(module: _Module) -> Iterator[str]:
    """Yield dotted names that a module imports anywhere, except Python's."""
    assert module.path is not None
    if module.path.suffix != ".py":
        return
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
        yield from (name for name in names if _top(name) not in sys.stdlib_module_names)
