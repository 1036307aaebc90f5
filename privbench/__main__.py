"""The command line: Hydra, and its errors in one line."""

import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

PACKAGE = Path(__file__).parent
# a wheel carries conf/ and sweeps/ inside the package, a checkout has them beside it
ROOT = PACKAGE if (PACKAGE / "conf" / "config.yaml").exists() else PACKAGE.parent


FAILED: list[str] = []
"""One line for each cell of this process that failed."""
SWEPT: dict[Path, Path] = {}
"""Folders of the sweeps of this process, and the stores that hold their records."""


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def run_job(cfg: DictConfig) -> None:
    """One cell; torch and the rest are imported here, so that --help answers at once."""
    from privbench.experiment import run

    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        SWEPT[Path(hydra_config.runtime.output_dir)] = Path(cfg.output_dir) / "store"
    try:
        run(cfg)
    except Exception as error:  # the other cells of a sweep go on
        FAILED.append(one_line(error) or type(error).__name__)
        _tell(error)


def main() -> None:
    """Run the command line; every error that a user can mend is one line."""
    FAILED.clear()
    SWEPT.clear()
    signal.signal(signal.SIGTERM, _stop)
    register_resolvers()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, not to Hydra's own printer
    try:
        run_job()
    except KeyboardInterrupt:
        print("privbench: stopped; nothing of the unfinished cell was kept", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        FAILED.append(str(error))
        _tell(error, "the configuration does not compose: ")
    _summarise()
    if FAILED:
        sys.exit(1)


def _summarise() -> None:
    """A sweep ends in its worst cases: who recovers most of what, within which rights."""
    if not SWEPT:  # nor is numpy imported for a --help
        return
    from privbench import summary

    for folder, store in SWEPT.items():
        if told := summary.of_sweep(folder, store):
            print(told)
            (folder / "summary.txt").write_text(told + "\n")


def register_resolvers() -> None:
    """What the yaml files ask of the program: where it lies, and whether a folder is one."""
    OmegaConf.register_new_resolver("privbench_root", lambda: str(ROOT), replace=True)
    OmegaConf.register_new_resolver("privbench_folder", _folder, replace=True)


def _folder(name: object) -> str:
    """Refused before Hydra makes it."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"output_dir={name} is no folder: type output_dir=FOLDER")
    return name


def _tell(error: Exception, before: str = "") -> None:
    """One line for what a user can mend, the trace for what we should.

    Args:
        error: Of a job, or of Hydra before any job.
        before: Words for an error of Hydra's that names no more than a value.
    """
    line = one_line(error)
    if before and not line and isinstance(error, ValueError):
        line = before + " ".join(str(error).split())
    elif before and isinstance(error, OSError) and not isinstance(error, HydraException):
        # Hydra makes a run's folder before the job begins
        reason = f"{error.strerror}: {error.filename}"
        line = f"output_dir cannot be written ({reason}): type output_dir=FOLDER"
    if not line or os.environ.get("PRIVBENCH_TRACE"):
        traceback.print_exception(error)
    print(f"privbench: {line or f'{type(error).__name__}: {error}'}", file=sys.stderr)


def one_line(error: BaseException) -> str:
    """What a user can mend, in one line that names the value and the choices; else nothing."""
    if isinstance(error.__cause__, OmegaConfBaseException) and (key := error.__cause__.full_key):
        parent = error.__cause__.parent_node
        options = sorted({str(name) for name in parent or {}} - {"hydra", "_target_"})
        group = str(key).rpartition(".")[0]
        choices = f"{group} has" if group else "choose from"
        return f"{key} is no option: {choices} {', '.join(options)}"
    if isinstance(error, HydraException | OmegaConfBaseException):
        text = str(error).split("\nConfig search path:")[0]
        return " ".join(text.replace("\n\t", ", ").replace(":, ", ": ").split())
    if type(error).__name__ == "Refused" or isinstance(error, OSError):
        return str(error)
    return ""


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends like Ctrl-C: W&B's run is finished, no record is written."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
