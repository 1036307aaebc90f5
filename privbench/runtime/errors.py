"""Errors as a user reads them: one line that names the value and the choices."""

import os
import sys
import traceback

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException


class UserError(Exception):
    """Input that cannot be run, told in one line that names the value and the choices."""


class SweepIncompleteError(Exception):
    """A sweep ended with cells that have no record."""


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
    if isinstance(error, UserError | OSError):
        return str(error)
    return ""


def cause(error: BaseException) -> str:
    """One line for any error."""
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return one_line(error) or " ".join(told.split())


def tell(error: BaseException, before: str = "") -> None:
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
    print(f"privbench: {line or cause(error)}", file=sys.stderr)
