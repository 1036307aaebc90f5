"""Types of hyper-parameters, and the one line for each value that they refuse."""

import math
from dataclasses import replace
from typing import Any, Literal

import pytest
from pydantic.dataclasses import dataclass

from privbench.runtime.validation import (
    VALIDATED,
    Fraction,
    NonNegativeFloatByName,
    OptionalPositiveInt,
    PositiveFloat,
    PositiveInt,
    Text,
    describe,
    require_choice,
)


@dataclass(frozen=True, config=VALIDATED)
class Example:
    lr: PositiveFloat = 0.1
    rate: Fraction = 0.5
    steps: OptionalPositiveInt = None
    schedule: Literal["constant", "cosine"] = "constant"
    clamp: bool = True
    weight: NonNegativeFloatByName = 1.0
    name: Text = "x"
    shape: tuple[PositiveInt, PositiveInt] = (1, 1)

    def __post_init__(self) -> None:
        if self.clamp and self.rate == 1:
            raise ValueError("attack.rate=1 with attack.clamp=true")


LINES: list[tuple[dict[str, Any], str]] = [
    ({"lr": -1}, "attack.lr=-1 is out of range: choose a number above 0"),
    ({"lr": True}, "attack.lr=true is out of range: choose a number above 0"),
    ({"lr": "1"}, "attack.lr=1 is out of range: choose a number above 0"),
    ({"lr": math.nan}, "attack.lr=nan is out of range: choose a number above 0"),
    ({"lr": math.inf}, "attack.lr=inf is out of range: choose a number above 0"),
    ({"lr": None}, "attack.lr=null is out of range: choose a number above 0"),
    (
        {"rate": 1.5},
        "attack.rate=1.5 is out of range: choose a number of at least 0 and at most 1",
    ),
    ({"steps": 0}, "attack.steps=0 is out of range: choose a whole number from 1, or null"),
    ({"steps": 1.0}, "attack.steps=1.0 is out of range: choose a whole number from 1, or null"),
    ({"steps": True}, "attack.steps=true is out of range: choose a whole number from 1, or null"),
    ({"schedule": "x"}, "attack.schedule=x is not known: choose from constant, cosine"),
    ({"clamp": 1}, "attack.clamp=1 is not known: choose from true, false"),
    ({"weight": -1}, "attack.weight=-1 is out of range: choose a number of at least 0"),
    (
        {"weight": {"conv1": -1}},
        "attack.weight.conv1=-1 is out of range: choose a number of at least 0",
    ),
    ({"name": ""}, "attack.name= is not a text: type attack.name=TEXT"),
    ({"rate": 1}, "attack.rate=1 with attack.clamp=true"),
    ({"shape": (3, 0)}, "attack.shape=0 is out of range: choose a whole number from 1"),
    ({"stepz": 1}, "unknown option attack.stepz"),
]


@pytest.mark.parametrize(("values", "line"), LINES, ids=[str(values) for values, _ in LINES])
def test_a_refused_value_is_described_in_one_line(values, line):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the line is what is compared
        Example(**values)
    assert describe(refused.value, "attack") == line


def test_whole_numbers_serve_as_numbers_and_a_copy_is_checked_anew():
    example = Example(lr=2, weight={"conv1": 3})
    assert (example.lr, example.weight) == (2.0, {"conv1": 3.0})
    assert replace(example, lr=3.0).lr == 3.0
    with pytest.raises(ValueError, match="above 0"):
        replace(example, lr=0.0)


def test_an_error_that_is_no_pydantic_one_already_is_a_line():
    assert describe(ValueError("one line"), "attack") == "one line"


def test_an_option_outside_of_groups_is_named_without_one():
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the line is what is compared
        Example(lr=0)
    assert describe(refused.value, "") == "lr=0 is out of range: choose a number above 0"


def test_a_choice_that_only_the_program_knows_is_named_with_the_others():
    require_choice("workers.partition", "long", ["long", "short"])
    with pytest.raises(ValueError, match="^workers.partition=x is not known: choose from a, b$"):
        require_choice("workers.partition", "x", (name for name in "ab"))
