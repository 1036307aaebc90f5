"""The command that runs cells, as it is printed for a user to type again."""

import shlex
from collections.abc import Iterable

PROGRAM = "python -m privbench"


def command_of(overrides: Iterable[str], flags: Iterable[str] = (), python_path: str = "") -> str:
    """Return a command with what the user's own code and configuration need.

    Args:
        overrides: Of the cells.
        flags: Such as ``--config-dir``, and its folder.
        python_path: PYTHONPATH where classes are found through it, else empty.

    >>> command_of(["attack=mine"], ["--config-dir", "my_conf"], ".")
    'PYTHONPATH=. python -m privbench --config-dir my_conf attack=mine'
    """
    before = f"PYTHONPATH={shlex.quote(python_path)} " if python_path else ""
    return f"{before}{PROGRAM} {shlex.join([*flags, *overrides])}".strip()
