"""Search for numeric options of an attack by Optuna's tree-structured Parzen estimator.

Bergstra et al. 2011, as ``optuna.samplers.TPESampler``. The search is seeded and remembers nothing
by itself: where scores are kept, the same search begun again proposes the same trials, and so goes
on where it was stopped.
"""

import math
import typing
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib.util import find_spec
from types import UnionType
from typing import Any

from privbench.runtime.validation import describe

PLACE = "attack.search"
"""The option that holds the ranges."""
RANDOM = 4
"""Trials that are random before the estimator proposes, whatever their number: so a search of more
trials goes on from one of fewer."""


@dataclass(frozen=True)
class Range:
    """Values that are tried of an option.

    Attributes:
        low: Least value.
        high: Largest value.
        log: Whether equal factors are equally likely, rather than equal differences.
        whole: Whether only whole numbers are tried.
    """

    low: float
    high: float
    log: bool
    whole: bool

    def suggest(self, trial: Any, name: str) -> float:
        """Return the value of one of Optuna's trials."""
        if self.whole:
            return int(trial.suggest_int(name, int(self.low), int(self.high), log=self.log))
        return float(trial.suggest_float(name, self.low, self.high, log=self.log))

    def holds(self, value: float) -> bool:
        """Return whether a value is in the range."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Number:
    """A numeric option of an attack.

    Attributes:
        whole: Whether it is a whole number.
        value: Its configured value; null where the attack chooses one.
    """

    whole: bool
    value: float | None


def numeric_options(attack: Any) -> dict[str, Number]:
    """Return the fields of an attack that are numbers, also those that are null as configured.

    One of an attack within it has a name of two parts: ``network.lr``.
    """
    if not is_dataclass(attack):
        return {}
    hints, found = typing.get_type_hints(type(attack)), dict[str, Number]()
    for field in fields(attack):
        value: Any = getattr(attack, field.name)
        kind = _kind(hints[field.name])
        if kind and (value is None or isinstance(value, kind | int)):
            found[field.name] = Number(kind is int, typing.cast(float | None, value))
        within = numeric_options(value)
        found |= {f"{field.name}.{name}": number for name, number in within.items()}
    return found


def with_options(attack: Any, values: Mapping[str, float]) -> Any:
    """Return an attack with other options, named as by ``numeric_options``.

    Raises:
        ValueError: for options that the attack refuses.
    """
    own: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    within: dict[str, dict[str, float]] = defaultdict(dict)
    for name in values.keys() - own.keys():
        part, _, rest = name.partition(".")
        within[part][rest] = values[name]
    own |= {part: with_options(getattr(attack, part), found) for part, found in within.items()}
    return replace(attack, **own)


def _flat(wanted: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return ranges by names as ``network.lr``, which the command line sets in groups."""
    found: dict[str, Any] = {}
    for name, ends in wanted.items():
        grouped = isinstance(ends, Mapping)
        found |= _flat(ends, f"{before}{name}.") if grouped else {before + name: ends}
    return found


def _kind(hint: Any) -> type | None:
    """Return the kind of number of an annotation, null where it is none."""
    several = isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union
    kinds = typing.get_args(hint) if several else (hint,)
    return next((kind for kind in (float, int) if kind in kinds), None)


def ranges_of(attack: Any, wanted: Mapping[str, Any]) -> dict[str, Range]:
    """Return the ranges of an attack's options.

    Args:
        attack: Whose options are searched.
        wanted: ``[low, high]`` or ``[low, high, "log"]`` by the name of a numeric option; of an
            attack within it in a mapping of its own.

    Raises:
        ValueError: naming the option and the choices, also where Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise ValueError(f"{PLACE} needs Optuna: pip install 'privbench[search]'")
    numbers, wanted = numeric_options(attack), _flat(wanted)
    if not wanted:
        raise ValueError(f"{PLACE} is empty: choose from {', '.join(numbers)}")
    for name in wanted:
        if name not in numbers:
            raise ValueError(
                f"{PLACE}.{name} is not a number of attack.inner: choose from {', '.join(numbers)}"
            )
    found = {name: _range(name, ends, numbers[name].whole) for name, ends in wanted.items()}
    for name, one in found.items():
        for end in (one.low, one.high):
            _require_allowed(attack, name, end)
    return found


def _range(name: str, ends: Any, whole: bool) -> Range:
    kinds = (int,) if whole else (int, float)
    listed = list(ends) if isinstance(ends, list | tuple) else []
    numbers = [end for end in listed[:2] if isinstance(end, kinds) and not isinstance(end, bool)]
    if len(numbers) != 2 or listed[2:] not in ([], ["log"]) or numbers[0] >= numbers[1]:
        example = "[1,8] or [1,8,log], whole numbers" if whole else "[0.1,40] or [0.1,40,log]"
        raise ValueError(f"{PLACE}.{name}={ends} is not a range: choose {example}, the lower first")
    if listed[2:] and numbers[0] <= 0:
        raise ValueError(f"{PLACE}.{name}={ends} has no logarithm: choose a lower end above 0")
    low, high = numbers if whole else map(float, numbers)
    return Range(low, high, bool(listed[2:]), whole)


def _require_allowed(attack: Any, name: str, end: float) -> None:
    try:
        with_options(attack, {name: end})
    except ValueError as error:
        place = ".".join([PLACE, *name.split(".")[:-1]])
        raise ValueError(describe(error, place)) from error


def search(
    score: Callable[[Mapping[str, float]], float | None],
    ranges: Mapping[str, Range],
    first: Mapping[str, float | None],
    trials: int,
    seed: int,
) -> tuple[dict[str, float], list[float | None]]:
    """Return the values with the lowest score, and the scores of all trials in order.

    Args:
        score: Of values by name, to be minimised; null of values that do not go together.
        ranges: Of the values.
        first: Tried first, where all of it is in the ranges.
        trials: Number of trials.
        seed: Of the proposals.

    Raises:
        ValueError: where no trial's values go together.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM)
    study = optuna.create_study(sampler=sampler)
    given = {name: value for name in ranges if (value := first[name]) is not None}
    if len(given) == len(ranges) and all(ranges[name].holds(v) for name, v in given.items()):
        study.enqueue_trial(given)
    scores: list[float | None] = []
    lowest, best = math.inf, dict[str, float]()
    for _ in range(trials):
        trial = study.ask()
        values = {name: one.suggest(trial, name) for name, one in ranges.items()}
        found = score(values)
        if found is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, found)
            if found < lowest:
                lowest, best = found, values
        scores.append(found)
    if not best:
        shown = ", ".join(f"{PLACE}.{n}=[{r.low:g},{r.high:g}]" for n, r in ranges.items())
        raise ValueError(f"no trial of {shown} was allowed: choose ranges that go together")
    return best, scores
