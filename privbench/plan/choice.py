"""The choice of a plan: limits, the objective, and the reason why each option was not chosen."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from privbench.evaluation.metrics import known_metrics
from privbench.plan.cost import Setup
from privbench.plan.option import Option
from privbench.report.analysis.labels import leakage, metric_label, number
from privbench.runtime.validation import require_choice

OBJECTIVES = ("latency", "energy", "memory", "payload", "leakage")
COSTS = ("latency_ms", "energy_j", "memory_mb", "payload_kb")
"""Limits that are no score of records."""
UNITS = {"latency": "ms", "energy": "J", "memory": "MB", "payload": "kB", "leakage": ""}


@dataclass(frozen=True)
class Limits:
    """What an option must keep to.

    Attributes:
        largest: Upper limits, by cost or score; null for none.
        smallest: Lower limits: ``accuracy`` and ``throughput_hz``; null for none.
    """

    largest: Mapping[str, float | None]
    smallest: Mapping[str, float | None]

    def __post_init__(self) -> None:
        """Refuse a limit that is no number, or of no known score.

        Raises:
            ValueError: naming the option and the choices.
        """
        names = [*COSTS, *(metric.name for metric in known_metrics())]
        for group, limits in (("max", self.largest), ("min", self.smallest)):
            for name, value in limits.items():
                if group == "max":
                    require_choice("max", name, names)
                wrong = isinstance(value, bool) or not isinstance(value, int | float)
                if value is not None and (wrong or not math.isfinite(value)):
                    raise ValueError(f"{group}.{name}={value} is out of range: choose a number")

    def given(self) -> dict[str, float]:
        """Return the upper limits that are set."""
        return {name: value for name, value in self.largest.items() if value is not None}

    def reasons(self, option: Option, setup: Setup) -> list[str]:
        """Return why an option breaks the limits; empty where it keeps to all of them."""
        found = [
            reason
            for name, limit in self.given().items()
            if (reason := _above(name, limit, option, setup))
        ]
        least = self.smallest.get("accuracy")
        if least is not None and option.accuracy is None:
            found.append("accuracy not measured")
        elif least is not None and option.accuracy is not None and option.accuracy < least:
            found.append(f"accuracy {option.accuracy:.4f} < {least:g}")
        rate = self.smallest.get("throughput_hz")
        if rate is not None and option.cost.throughput_hz < rate:
            found.append(f"{option.cost.throughput_hz:.3g} images/s < {rate:g}")
        return found


def _above(name: str, limit: float, option: Option, setup: Setup) -> str:
    if name not in COSTS:
        return _leaks_more(name, limit, option)
    objective, unit = name.split("_", maxsplit=1)[0], UNITS[name.split("_", maxsplit=1)[0]]
    value = value_of(objective, option, setup)
    if value is None:
        return f"energy unknown: no power of {setup.platform.name}"
    return f"{amount(value)} {unit} > {limit:g} {unit}" if value > limit else ""


def _leaks_more(metric: str, limit: float, option: Option) -> str:
    span, label = option.span(metric), metric_label(metric)
    if span is None:
        return f"{label} not measured"
    if span.score <= leakage(limit, metric):
        return ""
    found = option.leak(metric)
    if found is None:
        return "sends the image"
    met = leakage(found.baseline, metric) > leakage(limit, metric)
    blind = f", as does a blind guess, {number(found.baseline, metric)}" * met
    return f"{label} {number(found.score, metric)} > {limit:g}{blind}"


def amount(value: float) -> str:
    """Format a cost with three significant digits; small ones with three decimal places.

    >>> amount(0.012345), amount(81.23), amount(1234567.0), amount(0.0001), amount(0.0)
    ('0.012', '81.2', '1234567', '<.001', '0')
    """
    if 0 < value < 0.0005:
        return "<.001"
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 1 or not value else f"{value:.3f}"


def value_of(objective: str, option: Option, setup: Setup, metric: str = "") -> float | None:
    """Return what is minimised, in the unit of ``UNITS``; null where it is not known."""
    if objective == "leakage":
        span = option.span(metric)
        return None if span is None else span.score
    values: dict[str, Callable[[], float | None]] = {
        "latency": lambda: option.cost.latency_s * 1e3,
        "energy": lambda: option.cost.energy_j,
        "memory": lambda: option.counts.memory_bytes / 1e6,
        "payload": lambda: option.payload_kb(setup.payload),
    }
    return values[objective]()


@dataclass(frozen=True)
class Choice:
    """The result of a choice.

    Attributes:
        ranking: Options within the limits, the best first.
        rejected: Why each other option is not the best, by its label.
    """

    ranking: Sequence[Option]
    rejected: Mapping[str, str]

    @property
    def best(self) -> Option | None:
        """The recommended option; null where none keeps to the limits."""
        return self.ranking[0] if self.ranking else None


def choose(
    options: Sequence[Option], limits: Limits, objective: str, metric: str, setup: Setup
) -> Choice:
    """Choose the option within the limits that minimises an objective.

    Among equal ones the least leakage decides, then the latency. Unknown leakage breaks a limit of
    it, and ranks behind known leakage but before the image itself; it is no least leakage.

    Args:
        options: Rows of the plan.
        limits: Their limits.
        objective: One of ``OBJECTIVES``.
        metric: Score that is minimised as leakage, and decides between equal options.
        setup: Profiles and format of the costs.
    """
    reasons = {option.label: limits.reasons(option, setup) for option in options}
    kept = [option for option in options if not reasons[option.label]]
    ranking = sorted(kept, key=lambda option: _rank(option, objective, metric, setup))
    rejected = {label: "; ".join(why) for label, why in reasons.items() if why}
    if objective == "leakage" and ranking and ranking[0].span(metric) is None:
        rejected |= {option.label: f"{metric_label(metric)} not measured" for option in ranking}
        return Choice([], rejected)
    for option in ranking[1:]:
        rejected[option.label] = _more(ranking[0], option, objective, metric, setup)
    return Choice(ranking, rejected)


def _rank(option: Option, objective: str, metric: str, setup: Setup) -> tuple[Any, ...]:
    span = option.span(metric)
    return (
        _placed(value_of(objective, option, setup, metric)),
        _placed(None if span is None else span.score),
        option.cost.latency_s,
    )


def _placed(value: float | None) -> tuple[int, float]:
    """Return a key that puts unknown values behind known ones and before the infinite."""
    if value is None:
        return 1, 0.0
    return (2, 0.0) if value == math.inf else (0, value)


def _more(best: Option, option: Option, objective: str, metric: str, setup: Setup) -> str:
    """Say by how much an option is worse than the best one."""
    values: list[Any] = [value_of(objective, one, setup, metric) for one in (option, best)]
    if None in values:
        return f"within the limits; {objective} not known"
    if objective == "leakage":
        return "within the limits; more leakage than the best"
    mine, least = (amount(value) for value in values)
    unit = UNITS[objective]
    sign = "=" if values[0] == values[1] else ">"
    return f"within the limits; {objective} {mine} {unit} {sign} {least} {unit} of {best.label}"
