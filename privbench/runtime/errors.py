"""Errors as a user reads them: one line that names the value and the choices."""

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from privbench.runtime.paths import ROOT
from privbench.runtime.renamed_options import ADDED_OPTIONS, RENAMED_OPTIONS
from privbench.runtime.suggestions import choices_with, close_match, groups_with

MISSING_CHOICE = re.compile(r"Could not find '([^']+)/([^'/]+)' Available options in '[^']+': (.*)")
"""Hydra's message for a config group's choice that does not exist, on one line."""


class UserError(Exception):
    """Input that cannot be run, described in one line that names the value and the choices."""


class RefusedAttackError(ValueError):
    """An attack refuses its cell: an option of it, the machine or the setting is the reason."""


class UnsuitableAttackError(RefusedAttackError):
    """An attack refuses its cell since the defense does not admit it.

    An attack's ``check`` raises it; a sweep leaves such cells out.
    """


class SweepIncompleteError(Exception):
    """A sweep ended with cells that have no record."""


def user_message(error: BaseException) -> str:
    """Return one line for an error that the user can correct, else an empty string."""
    composition = error.__cause__
    if isinstance(composition, OmegaConfBaseException) and composition.full_key:
        parent = composition.parent_node
        fields = {str(name) for name in parent or {}} - {"hydra", "_target_"}
        return unknown_option(str(composition.full_key), sorted(fields))
    if isinstance(error, HydraException | OmegaConfBaseException):
        text = str(error).split("\nConfig search path:")[0]
        return _in_our_words(" ".join(text.replace("\n\t", ", ").replace(":, ", ": ").split()))
    if isinstance(error, UserError | OSError):
        return str(error)
    return ""


def unknown_option(option: str, choices: list[str]) -> str:
    """Describe an option that does not exist.

    Args:
        option: The full name, e.g. ``attack.stepz``.
        choices: Names of the options at the same place.

    Returns:
        One line, e.g. ``unknown option attack.stepz; attack has ...; did you mean attack.steps?``.
    """
    if option in RENAMED_OPTIONS:
        return f"unknown option {option}: it is now {RENAMED_OPTIONS[option]}"
    for added, words in ADDED_OPTIONS.items():
        if option == added or option.startswith(f"{added}."):
            return f"unknown option {option}: it is added with a plus, {words}"
    group, _, field = option.rpartition(".")
    line = f"unknown option {option}; {f'{group} has' if group else 'choose from'} "
    line += ", ".join(choices) or "no options"
    if match := close_match(field, choices):
        return f"{line}; did you mean {group}{'.' if group else ''}{match}?"
    if not group and (places := groups_with(field)):
        return f"{line}; did you mean {', '.join(f'{place}.{field}' for place in places)}?"
    others = choices_with(option)
    have = "have" if len(others) > 1 else "has"
    return f"{line}; {', '.join(others)} {have} {field}" if others else line


def _in_our_words(line: str) -> str:
    """Return Hydra's message for a choice that does not exist as every other one; others as is."""
    found = MISSING_CHOICE.search(line)
    if not found:
        return line
    group, name, listed = found.groups()
    nested = _nested_sweeps() if group == "sweeps" else []  # Hydra lists the folder itself only
    choices = [*listed.split(", "), *nested]
    same_file = [choice for choice in nested if choice.rpartition("/")[2] == name]
    match = next(iter(same_file), "") or close_match(name, choices)
    meant = f"did you mean {match}? " if match else ""
    return f"{group}={name} is not known: {meant}choose from {', '.join(choices)}"


def _nested_sweeps() -> list[str]:
    files = sorted((ROOT / "sweeps").glob("*/*.yaml"))
    return [f"{path.parent.name}/{path.stem}" for path in files if path.parent.name != "wandb"]


def describe_error(error: BaseException) -> str:
    """Describe any error in one line."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return user_message(error) or " ".join(text.split())


@contextmanager
def as_user_errors() -> Iterator[None]:
    """Turn errors in values and files into a ``UserError`` of one line within the context.

    Their causes, which a notebook would print in full, are kept where PRIVBENCH_TRACE is set.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        cause = error if os.environ.get("PRIVBENCH_TRACE") else None
        raise UserError(" ".join(str(error).split())) from cause


def print_stop(stop: KeyboardInterrupt) -> None:
    """Print that a command was stopped; once, though several places catch it."""
    if not stop.args:
        stop.args = ("stopped; the same command goes on from the last record or checkpoint",)
        print(f"privbench: {stop.args[0]}", file=sys.stderr, flush=True)


def print_error(error: BaseException, prefix: str = "") -> None:
    """Print one line for a user's error, with the trace for any other.

    Args:
        error: Error of a job, or of Hydra before any job.
        prefix: Text before an error of Hydra's that names only a value; empty for a job's error.
    """
    if isinstance(error, BrokenPipeError):
        return  # its output is read no more: see ``runtime.pipes``
    line = user_message(error)
    if prefix and not line and isinstance(error, ValueError):
        line = prefix + " ".join(str(error).split())
    elif prefix and isinstance(error, OSError) and not isinstance(error, HydraException):
        # Hydra makes a run's folder before the job begins
        reason = f"{error.strerror}: {error.filename}"
        line = f"output_dir cannot be written ({reason}): type output_dir=FOLDER"
    if not line or os.environ.get("PRIVBENCH_TRACE"):
        traceback.print_exception(error)
    print(f"privbench: {line or describe_error(error)}", file=sys.stderr)
