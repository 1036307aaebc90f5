"""Commands that measure what records do not have."""

import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from privbench.plan.names import CLOUD_ONLY, EDGE_ONLY
from privbench.plan.option import Option
from privbench.runtime.errors import UserError
from privbench.runtime.options import LAUNCH_OPTIONS, top_level

PROGRAM = ("python", "-m", "privbench")


def commands(options: Iterable[Option], base: Sequence[str], battery: Sequence[str]) -> list[str]:
    """Return the commands that run the attacks of the battery that were not tried.

    Args:
        options: Rows of the plan.
        base: Words of data set, victim, output directory and folders of configuration.
        battery: Attacks without which a worst case is incomplete.
    """
    splits: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
    for option in options:
        if option.split in (CLOUD_ONLY, EDGE_ONLY):
            continue
        found = option.evidence
        due = battery if found is None else found.not_tried
        words = [*base, "defense=none"] if found is None else _repeated(found.overrides, base)
        if due:
            splits[tuple(due), tuple(words)].append(option.name)
    return [
        shlex.join([*PROGRAM, "-m", *words, f"split={','.join(names)}", f"attack={','.join(due)}"])
        for (due, words), names in splits.items()
    ]


def _repeated(overrides: Iterable[str], base: Sequence[str]) -> list[str]:
    """Return the overrides of a record with those of the plan, without its split and its launch."""
    kept = [
        word
        for word in overrides
        if top_level(word) not in (*LAUNCH_OPTIONS, "split", "output_dir", "device")
    ]
    names = {word.partition("=")[0] for word in kept}
    return [*(word for word in base if word.partition("=")[0] not in names), *kept]


def run(command: str, folder: Path | None = None) -> None:
    """Run a command of ``commands``.

    Raises:
        UserError: where it fails; it has printed why.
    """
    words = [sys.executable, *shlex.split(command)[1:], "sweep.report=false"]
    if subprocess.run(words, check=False, cwd=folder, stdout=sys.stderr).returncode:
        raise UserError(f"a measurement failed: {command}")
