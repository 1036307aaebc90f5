"""Suggestions for options that do not exist: close names and other choices."""

import difflib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from omegaconf import OmegaConf

from privbench.runtime.options import CONFIG_GROUPS
from privbench.runtime.paths import ROOT


def close_match(name: str, choices: Iterable[str]) -> str:
    """Return the choice that ``name`` probably stands for, or an empty string.

    >>> close_match("rmel", ["rmle", "blind"])
    'rmle'
    >>> close_match("foo", ["rmle", "blind"])
    ''
    """
    return next(iter(difflib.get_close_matches(name, list(choices), n=1, cutoff=0.7)), "")


def groups_with(field: str) -> list[str]:
    """Return the groups of a cell that have a choice with such an option.

    >>> groups_with("sigma"), groups_with("foo")
    (['defense'], [])
    """
    return [group for group in CONFIG_GROUPS if choices_with(f"{group}.{field}")]


def choices_with(option: str) -> list[str]:
    """Return ``GROUP=CHOICE`` for every yaml of the option's group that has such a field.

    >>> choices_with("defense.sigma")
    ['defense=gaussian']
    """
    group, _, field = option.partition(".")
    folder = ROOT / "conf" / group
    names = sorted(path.stem for path in folder.glob("*.yaml")) if field else []
    return [f"{group}={name}" for name in names if field in fields(folder / f"{name}.yaml")]


@cache
def fields(path: Path) -> frozenset[str]:
    """Return the fields of a yaml and of the yamls of the same folder in its defaults list."""
    config = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    if not isinstance(config, dict):
        return frozenset()
    parents = [name for name in config.pop("defaults", []) if isinstance(name, str)]
    inherited = [fields(path.with_name(f"{name}.yaml")) for name in parents if name != "_self_"]
    return frozenset(map(str, config)).union(*inherited)
