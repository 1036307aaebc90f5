"""Types of hyper-parameters, and pydantic's errors as the one line that a user reads."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Discriminator, Field, Tag, ValidationError, WrapValidator
from pydantic_core import ErrorDetails, PydanticCustomError

from privbench.runtime.options import as_typed

# strict, so that true is not the number 1 and "1" is not a number
VALIDATED = ConfigDict(arbitrary_types_allowed=True, extra="forbid", strict=True)
"""Configuration of ``pydantic.dataclasses.dataclass`` for every class of hyper-parameters."""


def expecting(choices: str) -> WrapValidator:
    """Replace the errors of a type by one that names the whole range.

    Args:
        choices: Completes "choose ...", such as ``a number above 0``.
    """

    def check(value: Any, handler: Any) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise PydanticCustomError("range", "{choices}", {"choices": choices}) from error

    return WrapValidator(check)


FiniteFloat = Annotated[float, Field(allow_inf_nan=False), expecting("a finite number")]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False), expecting("a number above 0")]
NonNegativeFloat = Annotated[
    float, Field(ge=0, allow_inf_nan=False), expecting("a number of at least 0")
]
Fraction = Annotated[
    float,
    Field(ge=0, le=1, allow_inf_nan=False),
    expecting("a number of at least 0 and at most 1"),
]
PositiveInt = Annotated[int, Field(ge=1), expecting("a whole number from 1")]
NonNegativeInt = Annotated[int, Field(ge=0), expecting("a whole number from 0")]
AtLeastTwo = Annotated[int, Field(ge=2), expecting("a whole number from 2")]
OptionalPositiveInt = Annotated[
    int | None, Field(ge=1), expecting("a whole number from 1, or null")
]
OptionalAtLeastTwo = Annotated[int | None, Field(ge=2), expecting("a whole number from 2, or null")]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1), expecting("a whole number from 0 to 4294967295")]
OptionalNonNegativeFloat = Annotated[
    float | None,
    Field(ge=0, allow_inf_nan=False),
    expecting("a number of at least 0, or null"),
]
OptionalPositiveFloat = Annotated[
    float | None, Field(gt=0, allow_inf_nan=False), expecting("a number above 0, or null")
]
Text = Annotated[str, Field(min_length=1)]

TAG = "tag:"
"""Prefix of the parts of an error's place that name a branch of a union, not an option."""
NonNegativeFloatByName = Annotated[
    Annotated[NonNegativeFloat, Tag(f"{TAG}one")]
    | Annotated[Mapping[str, NonNegativeFloat], Tag(f"{TAG}named")],
    Discriminator(lambda value: f"{TAG}named" if isinstance(value, Mapping) else f"{TAG}one"),
]
"""One number, or a number for each name."""
LITERAL = r"'([^']*)'"
"""A choice as pydantic quotes it."""
NUMBER = re.compile(r"\bnumber\b")
"""What the choices of a number say."""
MISSING = ("missing", "missing_argument")
UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")


def describe(error: ValueError, group: str) -> str:
    """Return the first fault of a configuration as one line.

    Args:
        error: Raised while the configuration was instantiated; other than pydantic's it already is
            a line.
        group: Place of the configuration, such as ``attack`` or ``attack.inverter``; empty for
            options outside of groups.

    Returns:
        Such as ``attack.lr=-1 is out of range: choose a number above 0``.
    """
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors(include_url=False)[0]
    if fault["type"] == "value_error":  # raised by the class itself, as a line
        return str(fault["ctx"]["error"])
    # positions in a list are left out: an override sets the whole list
    names = [name for name in fault["loc"] if isinstance(name, str) and not name.startswith(TAG)]
    return _line(".".join([group, *names] if group else names), fault)


def require_choice(option: str, value: Any, choices: Iterable[Any]) -> None:
    """Refuse a value that is not among choices which only the program knows.

    Args:
        option: Name of the option, with its group.
        value: Its value.
        choices: Accepted values.

    Raises:
        ValueError: naming option, value and choices.
    """
    choices = list(choices)
    if value not in choices:
        listed = ", ".join(map(str, choices))
        raise ValueError(f"{option}={as_typed(value)} is not known: choose from {listed}")


def _line(option: str, fault: ErrorDetails) -> str:
    """Return the line for an option that pydantic refused."""
    kind, value = fault["type"], fault["input"]
    if kind in MISSING:
        return f"{option} has no value: type {option}=VALUE"
    if kind in UNKNOWN:
        return f"unknown option {option}"
    if kind == "range":
        state = "not a number" if _is_word(value) else "out of range"
        state = state if NUMBER.search(fault["msg"]) else "not known"
        return f"{option}={as_typed(value)} is {state}: choose {fault['msg']}"
    if kind.startswith("string"):
        return f"{option}={as_typed(value)} is not a text: type {option}=TEXT"
    return f"{option}={as_typed(value)} is not known: {_choices(fault)}"


def _is_word(value: Any) -> bool:
    """Return whether a value is a text that shows no number."""
    try:
        float(value if isinstance(value, str) else 0)
    except ValueError:
        return True
    return False


def _choices(fault: ErrorDetails) -> str:
    """Return the choices that pydantic names, or else its own words."""
    if fault["type"] == "bool_type":
        return "choose from true, false"
    if fault["type"] == "literal_error":
        return f"choose from {', '.join(re.findall(LITERAL, fault['ctx']['expected']))}"
    return fault["msg"]
