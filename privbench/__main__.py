"""The command line: Hydra, and its errors in one line."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

from privbench.runtime.errors import SweepIncompleteError, tell
from privbench.runtime.options import RUNTIME_OPTIONS
from privbench.runtime.paths import ARGV, ROOT, register_hydra_plugins

FAILED: list[Exception] = []
"""What a single run ended in."""


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def run_job(cfg: DictConfig) -> None:
    """One cell; torch and the rest are imported here, so that --help answers at once."""
    from privbench.experiment.run import run
    from privbench.sweep.compose import single_run

    try:
        run(single_run(cfg))
    except Exception as error:  # Hydra would tell it in its own words
        FAILED.append(error)
        tell(error)


def defer_to_cells(words: list[str]) -> list[str]:
    """A sweep's words: what is its cells' alone is written so that Hydra leaves it to them.

    Hydra gives an option that has one value to the configuration of the sweep itself too, whose
    groups are the defaults and not what the sweep chooses: ``-m attack=inverse,shadow
    attack.queries=1000`` would be refused, for the default attack has none.

    Args:
        words: Of the command line.
    """
    if not any(word in {"-m", "--multirun"} or word.startswith("sweeps=") for word in words):
        return words
    told = []
    for word in words:
        name, _, value = word.partition("=")
        group, within, _ = name.lstrip("+").partition(".")
        single = value and within and group not in RUNTIME_OPTIONS and _has_one_value(word)
        told.append(f"{name}=choice({value})" if single else word)
    return told


def _has_one_value(word: str) -> bool:
    try:
        return not OverridesParser.create().parse_override(word).is_sweep_override()
    except HydraException:
        return False  # Hydra says what is wrong with it


def main() -> None:
    """Run the command line; every error that a user can mend is one line."""
    FAILED.clear()
    signal.signal(signal.SIGTERM, _stop)
    register_hydra_plugins()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, not to Hydra's own printer
    ARGV[:] = sys.argv[1:]
    sys.argv[1:] = defer_to_cells(ARGV)
    try:
        run_job()
    except KeyboardInterrupt:
        print("privbench: stopped; nothing of the unfinished cell was kept", file=sys.stderr)
        sys.exit(130)
    except SweepIncompleteError:
        sys.exit(1)
    except Exception as error:
        tell(error, "the configuration does not compose: ")
        sys.exit(1)
    if FAILED:
        sys.exit(1)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends like Ctrl-C: W&B's run is finished, no record is written."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
