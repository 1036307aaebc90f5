"""The command line: Hydra's, with its errors in one line."""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from textwrap import shorten
from types import FrameType
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from privbench.experiment.spec import CellSpec
from privbench.runtime.errors import SweepIncompleteError, UserError, print_error
from privbench.runtime.options import RUNTIME_OPTIONS
from privbench.runtime.paths import ARGV, ROOT, register_hydra_plugins
from privbench.runtime.pipes import ends_with_its_reader

FAILED: list[Exception] = []
"""The error that ended a single run."""
PATH_OPTIONS = ("output_dir", "dataset.root", "victim.weights")
FLAGS_WITH_VALUE = (
    "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p",
    "--cfg", "-c", "--experimental-rerun",
)  # fmt: skip


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def run_job(cfg: DictConfig) -> None:
    """Run one cell; torch is imported here, so that --help answers at once."""
    from privbench.experiment.run import run

    try:
        run(_single_run(cfg))
    except Exception as error:  # Hydra would print a message of its own
        FAILED.append(error)
        print_error(error)


def _single_run(cfg: DictConfig) -> CellSpec:
    """Return the specification of the single run that Hydra has started.

    Raises:
        UserError: for a value that is missing or cannot be resolved.
    """
    folder = str(HydraConfig.get().runtime.output_dir)
    try:
        return CellSpec.of(cfg, HydraConfig.get(), folder)
    except ValueError as error:
        with suppress(OSError):
            Path(folder).rmdir()  # made by Hydra, and empty
        raise UserError(str(error)) from error


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


def require_readable(arguments: Sequence[str]) -> None:
    """Refuse overrides that Hydra cannot read, and several values without a sweep.

    Args:
        arguments: As they are passed to Hydra.

    Raises:
        UserError: naming the override and how it is written.
    """
    if {"-sc", "--shell-completion"} & set(arguments):
        return  # its words are commands
    swept = bool({"-m", "--multirun"} & set(arguments))
    for word, flag in zip(arguments, _flags(arguments), strict=True):
        if flag:
            continue
        if not _parsed(word):
            raise UserError(
                f"{word} cannot be read: type NAME=VALUE, or with -m NAME=VALUE,VALUE without "
                """spaces; text with any of ,:=()[]{}'" stands in quotes"""
            )
        if not swept and not _has_one_value(word):
            raise UserError(f"{word} has several values: add -m for a sweep over them")


def add_multirun(arguments: Sequence[str]) -> list[str]:
    """Add ``-m`` to a sweep file without flags: Hydra 1.4 parses axes before it reads the file.

    >>> add_multirun(["sweeps=smoke", "seed=0,1"])
    ['-m', 'sweeps=smoke', 'seed=0,1']
    """
    swept = any(word.startswith("sweeps=") and word != "sweeps=null" for word in arguments)
    flags = {word.partition("=")[0] for word in arguments if word.startswith("-")}
    plain = swept and flags <= set(FLAGS_WITH_VALUE) - {"--cfg", "-c"}
    return ["-m", *arguments] if plain else list(arguments)


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


def defer_to_cells(overrides: Sequence[str]) -> list[str]:
    """Defer single-valued options of groups to the cells of a sweep.

    Hydra also applies an option with a single value to the sweep's own configuration, whose groups
    are the defaults and not those that the sweep chooses: ``-m attack=inverse,shadow
    attack.queries=1000`` would be refused, because the default attack has no such option.

    Args:
        overrides: The arguments of the command line.
    """
    if not any(word in {"-m", "--multirun"} or word.startswith("sweeps=") for word in overrides):
        return list(overrides)
    deferred = []
    for word in overrides:
        name, _, value = word.partition("=")
        group, within, _ = name.lstrip("+").partition(".")
        single = value and within and group not in RUNTIME_OPTIONS and _has_one_value(word)
        # choice() does not take null; a value that is given twice is one value of an axis
        once = f"{value},{value}" if value == "null" else f"choice({value})"
        deferred.append(f"{name}={once}" if single else word)
    return deferred


def _has_one_value(override: str) -> bool:
    found = _parsed(override)
    return found is not None and not found.is_sweep_override()


def require_workers(overrides: Sequence[str]) -> None:
    """Refuse Hydra's launchers, which a sweep of privbench does not use.

    Raises:
        UserError: naming the option to use instead.
    """
    for word in overrides:
        if word.lstrip("+~").startswith("hydra/launcher="):
            raise UserError(f"{word} is not supported: use workers=joblib (or local, slurm, ray)")


def list_sweeps() -> str:
    """Return a line for each file of ``sweeps/``: its name and the beginning of its comment."""
    folder = ROOT / "sweeps"
    lines = []
    for path in sorted(folder.rglob("*.yaml")):
        header, comment, *_ = [*path.read_text().splitlines(), "", ""]
        if header == "# @package _global_":  # others are for `wandb sweep`
            name = path.relative_to(folder).with_suffix("").as_posix()
            line = shorten(f"{name}: {comment.removeprefix('# ')}", 100, placeholder=" ...")
            lines.append(line.replace("$", "$$"))  # Hydra's help is a string.Template
    return "\n".join(lines)


@ends_with_its_reader
def main() -> None:
    """Run the command line; every error that a user can correct is one line."""
    FAILED.clear()
    signal.signal(signal.SIGTERM, _stop)
    register_hydra_plugins()
    if str(Path.cwd()) not in sys.path:  # as `python -m` does, for modules of the user
        sys.path.append(str(Path.cwd()))
    OmegaConf.register_new_resolver("privbench_sweeps", list_sweeps, replace=True)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, not to Hydra's own printer
    ARGV[:] = sys.argv[1:]
    words = quote_paths(add_multirun(flags_first(ARGV)))
    sys.argv[1:] = defer_to_cells(words)
    try:
        require_workers(ARGV)
        require_readable(words)
        run_job()
    except KeyboardInterrupt:
        line = "stopped; what is unfinished is not kept, and the same command goes on"
        print(f"privbench: {line}", file=sys.stderr)
        sys.exit(130)
    except SweepIncompleteError:
        sys.exit(1)
    except Exception as error:
        print_error(error, "the configuration does not compose: ")
        sys.exit(1)
    if FAILED:
        sys.exit(1)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Handle SIGTERM like Ctrl-C: W&B's run is finished, no record is written."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
