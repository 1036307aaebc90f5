"""Suggestions for options that do not exist: close names, renamed options, other choices."""

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from omegaconf import OmegaConf

from privbench.runtime.paths import ROOT

RENAMED_OPTIONS: Mapping[str, str] = {
    "trainer": "device",
    "attack.eps": "attack.adam_eps",
    "attack.start": "attack.init",
    "attack.resolution": "attack.noise_variance",
    "attack.resolution_last": "attack.noise_variance_last",
    "attack.teacher": "attack.supervision",
    "attack.settings": "attack.trials",
    "workers.at_once": "workers.max_parallel",
}
"""Options of earlier versions with their present names."""


def close_match(name: str, choices: Iterable[str]) -> str:
    """Return the choice that ``name`` probably stands for, or an empty string.

    >>> close_match("rmel", ["rmle", "blind"])
    'rmle'
    >>> close_match("foo", ["rmle", "blind"])
    ''
    """
    return next(iter(difflib.get_close_matches(name, list(choices), n=1, cutoff=0.7)), "")


def renamed_option(name: str) -> str:
    """Return the present name of an option of an earlier version, or an empty string.

    >>> renamed_option("trainer.threads"), renamed_option("attack.inverter.eps")
    ('device.threads', 'attack.inverter.adam_eps')
    >>> renamed_option("attack.steps")
    ''
    """
    parts = name.split(".")
    for old, new in RENAMED_OPTIONS.items():
        group, _, field = old.partition(".")
        if parts[0] != group or (field and parts[-1] != field):
            continue
        kept = parts[1:-1] if field else parts[1:]
        return ".".join([new.partition(".")[0], *kept, *new.split(".")[1:]])
    return ""


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
