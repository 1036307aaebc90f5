"""Cells from names and keyword arguments, composed by Hydra as the command line composes them."""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from privbench.experiment.spec import CellSpec
from privbench.runtime.errors import UserError, describe_error, unknown_option
from privbench.runtime.paths import ROOT, register_hydra_plugins
from privbench.runtime.suggestions import close_match

GROUPS = ("attack", "defense")
"""Groups whose options a keyword names without the group, where they are chosen by name."""


def composed(
    choices: Mapping[str, str],
    values: Mapping[str, Any],
    knobs: Mapping[str, Any],
    output_dir: str,
) -> CellSpec:
    """Return the specification of a cell.

    Args:
        choices: Option of each config group that is not the default.
        values: Options at the top of the configuration.
        knobs: Options by name. ``steps`` is one of the attack or of the defense, whichever has it;
            ``attack__inverter__steps`` is ``attack.inverter.steps``. A name for a nested group
            chooses its option, ``attack__inverter="rmle"``.
        output_dir: Folder of the store.

    Raises:
        UserError: in one line, for an unknown choice or option.
    """
    words = [*(f"{group}={name}" for group, name in choices.items()), "tracker=none"]
    named = [group for group in GROUPS if group in choices]
    register_hydra_plugins()
    try:
        cfg = _compose(*words)
        options = {_option(knob, cfg, named): value for knob, value in knobs.items()}
        nested = {n: value for n, value in options.items() if _is_choice(cfg, n, value)}
        if nested:
            cfg = _compose(*words, *(f"{_group(n)}={v}" for n, v in nested.items()))
    except HydraException as error:
        raise UserError(describe_error(error)) from None
    for name in options.keys() - nested.keys():
        OmegaConf.update(cfg, name, options[name], merge=True)
    for name, value in {**values, "output_dir": output_dir}.items():
        OmegaConf.update(cfg, name, value)
    return CellSpec.of(cfg, cfg.hydra, output_dir)


def _compose(*words: str) -> DictConfig:
    """Return the composed configuration with Hydra's own; to compose takes 100 ms, a copy 3."""
    made: DictConfig = pickle.loads(_composed_bytes(words))
    return made


@lru_cache(maxsize=16)
def _composed_bytes(words: tuple[str, ...]) -> bytes:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return pickle.dumps(compose("config", list(words), return_hydra_config=True))


def _is_choice(cfg: DictConfig, option: str, value: Any) -> bool:
    """Return whether a value is the name of a nested group's choice."""
    return isinstance(value, str) and OmegaConf.is_dict(OmegaConf.select(cfg, option))


def _group(option: str) -> str:
    """Return the group of a nested option: ``attack@attack.inverter``."""
    return f"{option.partition('.')[0]}@{option}"


def _option(knob: str, cfg: DictConfig, groups: Sequence[str]) -> str:
    """Return the full name of the option that a keyword names.

    Raises:
        UserError: where there is none, or more than one.
    """
    if "__" in knob:
        option = knob.replace("__", ".")
        parent, _, field = option.rpartition(".")
        fields = _fields(OmegaConf.select(cfg, parent))
        if field not in fields:
            raise UserError(unknown_option(option, fields))
        return option
    places = [group for group in groups if knob in _fields(cfg[group])]
    if not places:
        known = [field for group in groups for field in _fields(cfg[group])]
        meant = f"did you mean {match}? " if (match := close_match(knob, known)) else ""
        raise UserError(f"unknown option {knob}; {meant}{'; '.join(_options_of(cfg, groups))}")
    if len(places) > 1:
        spelled = " or ".join(f"{group}__{knob}" for group in places)
        raise UserError(f"{knob} is an option of attack and defense: write {spelled}")
    return f"{places[0]}.{knob}"


def _options_of(cfg: DictConfig, groups: Sequence[str]) -> Iterator[str]:
    """Yield what options each choice has: ``attack=rmle has steps, lr``."""
    for group in groups:
        name = cfg.hydra.runtime.choices[group]
        yield f"{group}={name} has {', '.join(_fields(cfg[group])) or 'none'}"


def _fields(node: Any) -> list[str]:
    return sorted(set(map(str, node)) - {"_target_"}) if OmegaConf.is_dict(node) else []
