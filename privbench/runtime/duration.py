"""Durations in words (no torch)."""

import re

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
"""Seconds of each unit."""


def duration(seconds: float) -> str:
    """Format seconds in a unit that fits.

    >>> [duration(seconds) for seconds in (7.2, 90, 130, 7200)]
    ['7 s', '90 s', '2 min', '2.0 h']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def seconds_of(text: str) -> float:
    """Return the seconds that a text such as ``90min``, ``1.5h`` or ``30d`` states.

    Raises:
        ValueError: for any other text, saying how to type it.

    >>> [seconds_of(text) for text in ("90min", "1.5h", "30d")]
    [5400.0, 5400.0, 2592000.0]
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]+)", text.strip())
    if not found or found[2] not in UNITS:
        raise ValueError(f"type a number and {', '.join(UNITS)}, such as 90min or 30d")
    return float(found[1]) * UNITS[found[2]]
