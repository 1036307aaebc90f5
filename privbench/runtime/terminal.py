"""Text of a fixed width for a terminal: sentences, commands, tables (no torch)."""

import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from textwrap import wrap

WIDTH = 100
"""Columns of a terminal."""
ROOM = 24
"""Least columns for the text behind a table's columns; with fewer it has a line of its own."""
Line = tuple[list[str], str]
"""A line of a table: columns of a fixed width, and the text behind them."""


def columns() -> int:
    """Return the columns of the terminal that output goes to; 100 for a pipe or a file."""
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH


def shortened(text: str, room: int) -> str:
    """Return a text with its middle cut out where it has more characters than there is room.

    >>> shortened("defense=gaussian defense.sigma=0.5", 20), shortened("seed=0", 20)
    ('defense=g….sigma=0.5', 'seed=0')
    """
    if len(text) <= room:
        return text
    end = room // 2
    return f"{text[: room - end - 1]}…{text[len(text) - end :]}"


def labelled(label: str, texts: Iterable[str]) -> list[str]:
    """Wrap sentences behind a label that the first one shows."""
    lines = []
    for at, text in enumerate(texts):
        lines += wrapped(text, 7, f"{label:<7}" if at == 0 else "")
    return lines


def wrapped(text: str, indent: int, before: str = "") -> list[str]:
    """Wrap a text that is indented, with words before it in its first line."""
    return _wrap(text, before or " " * indent, " " * indent)


def _wrap(text: str, first: str, rest: str, width: int = WIDTH) -> list[str]:
    return wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,  # nor paths and options at their hyphens
        break_on_hyphens=False,
    )


def command_lines(before: str, command: str) -> list[str]:
    """Return a command behind a few words, in lines that a shell joins."""
    words = " ".join(shlex.quote(word).replace(" ", "\0") for word in shlex.split(command))
    lines = _wrap(f"{before} {words}", " " * 7, " " * 9, WIDTH - 2)
    return " \\\n".join(lines).replace("\0", " ").split("\n")


def aligned(body: Sequence[Line | str]) -> list[str]:
    """Align the columns; a text of its own, and the last column, are wrapped."""
    rows = [line for line, _ in (one for one in body if not isinstance(one, str))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for one in body:
        if isinstance(one, str):
            lines += wrapped(one, 6)
            continue
        values, last = one
        head = values[0].ljust(widths[0])
        numbers = (value.rjust(width) for value, width in zip(values[1:], widths[1:], strict=True))
        before = "  ".join([head, *numbers, ""])
        if len(before) > WIDTH - ROOM:
            lines += [before.rstrip(), *wrapped(last, 6)]
        else:
            lines += wrapped(last, len(before), before)
    return lines
