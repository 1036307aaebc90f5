"""Durations in words (no torch)."""


def duration(seconds: float) -> str:
    """Format seconds in a unit that fits.

    >>> [duration(seconds) for seconds in (7.2, 89, 130, 7200)]
    ['7 s', '89 s', '2 min', '2.0 h']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
