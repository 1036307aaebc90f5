"""The command line: Hydra, and its errors in one line."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

PACKAGE = Path(__file__).parent
# a wheel carries conf/ and sweeps/ inside the package, a checkout has them beside it
ROOT = PACKAGE if (PACKAGE / "conf" / "config.yaml").exists() else PACKAGE.parent


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def run_job(cfg: DictConfig) -> None:
    """One cell; torch and the rest are imported here, so that --help answers at once."""
    from privbench.experiment import run

    run(cfg)


def main() -> None:
    """Run the command line; every error that a user can mend is one line."""
    signal.signal(signal.SIGTERM, _stop)
    OmegaConf.register_new_resolver("privbench_root", lambda: str(ROOT), replace=True)
    wants_trace = bool(os.environ.get("HYDRA_FULL_ERROR"))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, not to Hydra's own printer
    try:
        run_job()
    except KeyboardInterrupt:
        _leave("stopped", 130)
    except Exception as error:
        if wants_trace or not (line := one_line(error)):
            raise
        _leave(line, 1)


def one_line(error: BaseException) -> str:
    """What a user can mend, in one line that names the value and the choices; else nothing."""
    if isinstance(error.__cause__, OmegaConfBaseException) and (key := error.__cause__.full_key):
        parent = error.__cause__.parent_node
        options = sorted(map(str, parent or {}))
        group, _, name = str(key).rpartition(".")
        return f"{key} is no option: {group or 'choose'} has {', '.join(options)}"
    if isinstance(error, HydraException | OmegaConfBaseException):
        text = str(error).split("\nConfig search path:")[0]
        return " ".join(text.replace("\n\t", ", ").replace(":, ", ": ").split())
    if type(error).__name__ == "Refused" or isinstance(error, OSError):
        return str(error)
    return ""


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends like Ctrl-C: W&B's run is finished, no record is written."""
    raise KeyboardInterrupt


def _leave(line: str, code: int) -> NoReturn:
    print(f"privbench: {line}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
