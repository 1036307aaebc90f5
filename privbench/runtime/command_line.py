"""Words of a command line, as Hydra reads them, and the errors in them."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

from privbench.runtime.errors import UserError
from privbench.runtime.options import as_typed
from privbench.runtime.paths import ROOT

PATH_OPTIONS = ("output_dir", "dataset.root", "victim.weights")
CONFIG_DIR = ("--config-dir", "-cd")
FLAGS_WITH_VALUE = (
    *CONFIG_DIR, "--config-name", "-cn", "--config-path", "-cp", "--package", "-p",
    "--cfg", "-c", "--experimental-rerun",
)  # fmt: skip


def flags_first(arguments: Sequence[str]) -> list[str]:
    """Move Hydra's flags before the overrides: its parser takes no override after a second flag.

    >>> flags_first(["workers=slurm", "-m", "defense.rate=0.1,0.2"])
    ['-m', 'workers=slurm', 'defense.rate=0.1,0.2']
    """
    flags = _flags(arguments)
    order = sorted(range(len(flags)), key=lambda index: not flags[index])
    return [arguments[index] for index in order]


def _flags(arguments: Sequence[str]) -> list[bool]:
    """Return which arguments are flags, or the value of one, and no overrides."""
    previous = ["", *arguments]
    return [
        argument.startswith("-")
        or before in FLAGS_WITH_VALUE
        or (before in {"--info", "-i"} and "=" not in argument)
        for before, argument in zip(previous, arguments, strict=False)
    ]


def config_folders(arguments: Sequence[str]) -> list[str]:
    """Return the words that name folders of configuration.

    >>> config_folders(["-m", "--config-dir", "conf", "seed=1"])
    ['--config-dir', 'conf']
    """
    found: list[str] = []
    for at, word in enumerate(arguments):
        if word.startswith(tuple(f"{flag}=" for flag in CONFIG_DIR)):
            found.append(word)
        elif word in CONFIG_DIR:
            found += arguments[at : at + 2]
    return found


def require_readable(arguments: Sequence[str], several: str) -> None:
    """Refuse overrides that Hydra cannot read, and several values without a sweep.

    Args:
        arguments: As they are passed to Hydra.
        several: What is said of an override with several values.

    Raises:
        UserError: naming the override and how it is written.
    """
    if {"-sc", "--shell-completion"} & set(arguments):
        return  # its words are commands
    swept = bool({"-m", "--multirun"} & set(arguments))
    folders = [ROOT / "conf", *_folders(arguments)]
    for word, flag in zip(arguments, _flags(arguments), strict=True):
        if flag:
            continue
        if not _parsed(word):
            raise UserError(
                f"{word} cannot be read: type NAME=VALUE, several values as NAME=VALUE,VALUE "
                """without spaces; text with any of ,:=()[]{}'" stands in quotes"""
            )
        if not swept and not has_one_value(word):
            raise UserError(f"{word} has several values: {several}")
        _require_name(word, folders)


def _folders(arguments: Sequence[str]) -> list[Path]:
    """Return the folders of configuration that the words name."""
    words = config_folders(arguments)
    return [Path(word.partition("=")[2] or word) for word in words if word not in CONFIG_DIR]


def _require_name(word: str, folders: Sequence[Path]) -> None:
    """Refuse a choice of a config group that is no name: Hydra's own error names no group.

    Raises:
        UserError: naming the choices, and what was probably meant.
    """
    found = _parsed(word)
    group = found.key_or_group if found else ""
    if not found or found.is_delete() or not any((folder / group).is_dir() for folder in folders):
        return
    value = found.value()
    for one in value.list if isinstance(value, ChoiceSweep) else [value]:
        if one is not None and not isinstance(one, bool | int | float):
            continue
        paths = (path for folder in folders for path in (folder / group).glob("*.yaml"))
        names = sorted({path.stem for path in paths})
        meant = "none" if not one and "none" in names else ""
        if group == "workers" and isinstance(one, int) and one > 1:
            meant = f"joblib workers.jobs={one}"
        before = f"did you mean {group}={meant}? " if meant else ""
        typed = f"{found.get_key_element()}={as_typed(one)}"
        raise UserError(f"{typed} is not known: {before}choose from {', '.join(names)}")


def quote_paths(overrides: Sequence[str]) -> list[str]:
    """Quote folder names with characters that Hydra's grammar reserves.

    >>> quote_paths(["output_dir=/tmp/my (first) run", "seed=1"])
    ["output_dir='/tmp/my (first) run'", 'seed=1']
    """
    return [_quoted(word) if word.startswith(PATH_OPTIONS) else word for word in overrides]


def _quoted(override: str) -> str:
    name, _, value = override.partition("=")
    if not value or name not in PATH_OPTIONS or _parsed(override):
        return override
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'"


@cache
def _parsed(override: str) -> Override | None:
    """Return an override as Hydra reads it; null where it cannot."""
    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        return None


def has_one_value(override: str) -> bool:
    """Return whether an override is no sweep."""
    found = _parsed(override)
    return found is not None and not found.is_sweep_override()
