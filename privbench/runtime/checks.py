"""Ranges of hyper-parameters: one clear line that names the value and the choices."""

import math
from collections.abc import Iterable
from typing import Any


def number(
    name: str, value: Any, low: float, high: float = math.inf, *, above: bool = False
) -> None:
    """Refuse what is no finite number within ``[low, high]``.

    Args:
        name: The option as the user types it.
        value: What was given.
        low: Smallest value allowed, or the open lower end where ``above`` is set.
        high: Largest value allowed.
        above: Leave ``low`` itself out.

    Raises:
        ValueError: naming option, value and range.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and low <= value <= high and not (above and value == low):
        return
    end = "" if math.isinf(high) else f" and at most {high:g}"
    raise ValueError(
        f"{name}={value} is out of range: choose a number {'above' if above else 'of at least'} "
        f"{low:g}{end}"
    )


def whole(name: str, value: Any, low: int, high: float = math.inf) -> None:
    """Refuse what is no whole number within ``[low, high]``.

    Raises:
        ValueError: naming option, value and range.
    """
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return
    end = "" if math.isinf(high) else f" to {int(high)}"
    raise ValueError(f"{name}={value} is out of range: choose a whole number from {low}{end}")


def whole_or_null(name: str, value: Any, low: int) -> None:
    """``whole``, where null leaves it open.

    Raises:
        ValueError: naming option, value and range.
    """
    if value is not None:
        whole(name, value, low)


def choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Refuse what is not among the choices.

    Raises:
        ValueError: naming option, value and choices.
    """
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{name}={value} is not known: choose from {', '.join(map(str, choices))}")


def text(name: str, value: Any) -> None:
    """Refuse what is no text.

    Raises:
        ValueError: naming option and value.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name}={value} is no text: type {name}=TEXT")


def flag(name: str, value: Any) -> None:
    """Refuse what is neither true nor false.

    Raises:
        ValueError: naming option and value.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value} is not known: choose from true, false")  # noqa: TRY004 - as all
