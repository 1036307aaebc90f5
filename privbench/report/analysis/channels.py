"""Methods of a record's channel, read off the source of its class (no torch).

Importing a defense imports torch, which takes a report seconds.
"""

import ast
from functools import cache

from privbench.runtime.code_identity import source_file
from privbench.store.record import Record

CHANNEL_CLASS = "channel_class"
"""Attribute of a defense that names the class of its channel."""


def defines(record: Record, *methods: str) -> bool:
    """Return whether the channel of a record's defense, or a base of it, defines one of these.

    The class of the channel is named by the defense's class, else it is that of its option
    ``channel``, else the defense is its own channel. Defaults in ``defenses.base`` do not count.
    """
    defense = record.config["defense"]
    named = _channel_class(*_parts(defense.get("_target_", "")))
    target = named or defense.get("channel", defense).get("_target_", "")
    return _defines(*_parts(target), methods)


def _parts(target: object) -> tuple[str, str]:
    """Return module and name of a class."""
    module, _, name = str(target).rpartition(".")
    return module, name


@cache
def _defines(module: str, name: str, methods: tuple[str, ...]) -> bool:
    return any(
        isinstance(node, ast.FunctionDef) and node.name in methods
        for found in _lineage(module, name)
        for node in found.body
    )


@cache
def _channel_class(module: str, name: str) -> str:
    """Return the dotted name of a defense's channel class; empty where its class has none."""
    values = (
        node.value.value
        for found in _lineage(module, name)
        for node in found.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == CHANNEL_CLASS
        and isinstance(node.value, ast.Constant)
    )
    return str(next(values, ""))


def _lineage(module: str, name: str) -> list[ast.ClassDef]:
    """Return the definitions of a class and its bases, without those of ``defenses.base``."""
    tree = _source(module)
    if tree is None or module == "privbench.defenses.base":
        return []
    found = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name), None)
    if found is None:
        return []
    imported = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    bases = [base.id for base in found.bases if isinstance(base, ast.Name)]
    inherited = (_lineage(*imported.get(base, (module, base))) for base in bases)
    return [found, *(one for line in inherited for one in line)]


def _source(module: str) -> ast.Module | None:
    try:
        path = source_file(module)
    except ValueError:
        return None
    return ast.parse(path.read_bytes()) if path.suffix == ".py" else None
