"""Search for numeric options of an attack by Optuna's tree-structured Parzen estimator.

Bergstra et al. 2011, as ``optuna.samplers.TPESampler``. The search is seeded and remembers nothing
by itself: where scores are kept, the same search begun again proposes the same trials, and so goes
on where it was stopped.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib.util import find_spec
from typing import Any

from privbench.runtime.validation import describe

PLACE = "attack.search"
"""The option that holds the ranges."""
RANDOM = 4
"""One trial in so many is random before the estimator proposes, and at least two are."""


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


def numeric_options(attack: Any) -> dict[str, float]:
    """Return the fields of an attack that are numbers, with their values."""
    values = (
        {f.name: getattr(attack, f.name) for f in fields(attack)} if is_dataclass(attack) else {}
    )
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def ranges_of(attack: Any, wanted: Mapping[str, Any]) -> dict[str, Range]:
    """Return the ranges of an attack's options.

    Args:
        attack: Whose options are searched.
        wanted: ``[low, high]`` or ``[low, high, "log"]`` by the name of a numeric option.

    Raises:
        ValueError: naming the option and the choices, also where Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise ValueError(f"{PLACE} needs Optuna: pip install 'privbench[search]'")
    numbers = numeric_options(attack)
    if not wanted:
        raise ValueError(f"{PLACE} is empty: choose from {', '.join(numbers)}")
    for name in wanted:
        if name not in numbers:
            raise ValueError(
                f"{PLACE}.{name} is not a number of attack.inner: choose from {', '.join(numbers)}"
            )
    found = {name: _range(name, ends, numbers[name]) for name, ends in wanted.items()}
    for name, one in found.items():
        for end in (one.low, one.high):
            _require_allowed(attack, name, end)
    return found


def _range(name: str, ends: Any, value: float) -> Range:
    whole = isinstance(value, int)
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
        replace(attack, **{name: end})
    except ValueError as error:
        raise ValueError(describe(error, PLACE)) from error


def search(
    score: Callable[[Mapping[str, float]], float],
    ranges: Mapping[str, Range],
    first: Mapping[str, float],
    trials: int,
    seed: int,
) -> tuple[dict[str, float], list[float]]:
    """Return the values with the lowest score, and the scores of all trials in order.

    Args:
        score: Of values by name, to be minimised.
        ranges: Of the values.
        first: Tried first, where all of it is in the ranges.
        trials: Number of trials.
        seed: Of the proposals.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    startup = max(2, trials // RANDOM)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
    study = optuna.create_study(sampler=sampler)
    if all(one.holds(first[name]) for name, one in ranges.items()):
        study.enqueue_trial({name: first[name] for name in ranges})
    scores: list[float] = []
    best: dict[str, float] = {}
    for _ in range(trials):
        trial = study.ask()
        values = {name: one.suggest(trial, name) for name, one in ranges.items()}
        found = score(values)
        study.tell(trial, found)
        if not scores or found < min(scores):
            best = values
        scores.append(found)
    return best, scores
