"""The command line: Hydra's, with its errors in one line."""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from types import FrameType
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from privbench.experiment.spec import CellSpec
from privbench.runtime.command_line import (
    FLAGS_WITH_VALUE,
    config_folders,
    flags_first,
    has_one_value,
    quote_paths,
    require_readable,
)
from privbench.runtime.errors import SweepIncompleteError, UserError, print_error, print_stop
from privbench.runtime.files import remove_empty
from privbench.runtime.options import RUNTIME_OPTIONS
from privbench.runtime.paths import ARGV, ROOT, register_hydra_plugins
from privbench.runtime.pipes import ends_with_its_reader

FAILED: list[Exception] = []
"""The error that ended a single run."""


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
        spec = CellSpec.of(cfg, HydraConfig.get(), folder)
    except ValueError as error:
        remove_empty(Path(folder))  # made by Hydra
        raise UserError(str(error)) from error
    return replace(spec, flags=config_folders(ARGV))


def add_multirun(arguments: Sequence[str]) -> list[str]:
    """Add ``-m`` to a sweep file without flags: Hydra 1.4 parses axes before it reads the file.

    >>> add_multirun(["sweeps=smoke", "seed=0,1"])
    ['-m', 'sweeps=smoke', 'seed=0,1']
    """
    swept = any(word.startswith("sweeps=") and word != "sweeps=null" for word in arguments)
    flags = {word.partition("=")[0] for word in arguments if word.startswith("-")}
    plain = swept and flags <= set(FLAGS_WITH_VALUE) - {"--cfg", "-c"}
    return ["-m", *arguments] if plain else list(arguments)


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
        single = value and within and group not in RUNTIME_OPTIONS and has_one_value(word)
        # choice() does not take null; a value that is given twice is one value of an axis
        once = f"{value},{value}" if value == "null" else f"choice({value})"
        deferred.append(f"{name}={once}" if single else word)
    return deferred


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
        require_readable(words, "add -m for a sweep over them")
        run_job()
    except KeyboardInterrupt as stop:
        print_stop(stop)
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
