"""The command line: Hydra, and its errors in one line."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from privbench.errors import Incomplete, tell
from privbench.places import ROOT, register

FAILED: list[Exception] = []
"""What a single run ended in."""


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def run_job(cfg: DictConfig) -> None:
    """One cell; torch and the rest are imported here, so that --help answers at once."""
    from privbench.experiment import run

    try:
        run(cfg)
    except Exception as error:  # Hydra would tell it in its own words
        FAILED.append(error)
        tell(error)


def main() -> None:
    """Run the command line; every error that a user can mend is one line."""
    FAILED.clear()
    signal.signal(signal.SIGTERM, _stop)
    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, not to Hydra's own printer
    try:
        run_job()
    except KeyboardInterrupt:
        print("privbench: stopped; nothing of the unfinished cell was kept", file=sys.stderr)
        sys.exit(130)
    except Incomplete:
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
