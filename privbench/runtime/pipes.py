"""Commands whose output is piped into a program that may stop reading, such as ``head``."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")


def ends_with_its_reader(command: Callable[P, None]) -> Callable[P, None]:
    """Return a command that ends without a word where nobody reads its output any more."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError:
            _drop_output()
        except SystemExit as stop:
            if not isinstance(stop.__context__, BrokenPipeError):
                raise
            _drop_output()
        finally:
            _flush()

    return run


def _flush() -> None:
    """Write what is buffered, which else fails as the interpreter ends, with a trace."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()


def _drop_output() -> None:
    with open(os.devnull, "w") as nothing:  # noqa: PTH123 - a device, not a path of the program
        os.dup2(nothing.fileno(), sys.__stdout__.fileno())  # type: ignore[union-attr]
