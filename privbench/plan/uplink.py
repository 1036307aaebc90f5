"""Uplink rates at which the choice changes, in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from privbench.plan.choice import Choice, Limits, choose, value_of
from privbench.plan.cost import Setup
from privbench.plan.option import Option

SLOWEST, FASTEST = 0.01, 10_000.0
"""Rates in Mbit/s between which the choice is looked for."""


@dataclass(frozen=True)
class Window:
    """Uplink rates with one choice.

    Attributes:
        low: Lowest rate in Mbit/s.
        high: Highest rate in Mbit/s.
        label: Label of the option; empty where none keeps to the limits.
    """

    low: float
    high: float
    label: str


@dataclass(frozen=True)
class _Line:
    """A cost as ``offset + slope * s`` in the seconds ``s`` that a megabit takes."""

    offset: float
    slope: float

    def crosses(self, other: "_Line") -> float | None:
        """Return where two lines meet; null where they are parallel."""
        if self.slope == other.slope:
            return None
        return (other.offset - self.offset) / (self.slope - other.slope)


@dataclass(frozen=True)
class Sensitivity:
    """The question that is asked at every rate.

    Attributes:
        options: Rows of the plan.
        limits: Their limits.
        objective: What is minimised.
        metric: Score of the leakage.
        setup: Profiles and format, at the profile's own rate.
    """

    options: Sequence[Option]
    limits: Limits
    objective: str
    metric: str
    setup: Setup

    def choice(self, mbps: float) -> Choice:
        """Return the choice at an uplink rate."""
        setup = self.setup.at_uplink(mbps)
        moved = [option.at(setup) for option in self.options]
        return choose(moved, self.limits, self.objective, self.metric, setup)

    def windows(self) -> list[Window]:
        """Return the ranges of uplink rates with one choice, the slowest first.

        Latency and energy are linear in the time of a bit, apart from the rate above which the
        power is constant. The choice can change only where two of these lines cross, where one
        meets a limit, or at that rate; each is solved for, and the choice between two is computed.
        """
        found: list[Window] = []
        for low, high in pairwise(sorted({SLOWEST, *self._changes(), FASTEST})):
            best = self.choice((low * high) ** 0.5).best
            label = best.label if best else ""
            if found and found[-1].label == label:
                found[-1] = Window(found[-1].low, high, label)
            else:
                found.append(Window(low, high, label))
        return found

    def _changes(self) -> list[float]:
        """Return all rates at which the choice can change."""
        bend = self.setup.network.max_mbps
        found = [bend]
        for slow, fast in ((SLOWEST, bend), (bend, FASTEST)):
            if slow < fast:
                found += [rate for rate in self._between(slow, fast) if slow < rate < fast]
        return [rate for rate in found if SLOWEST < rate < FASTEST]

    def _between(self, slow: float, fast: float) -> list[float]:
        times: list[float | None] = []
        for objective, limit in (("latency", "latency_ms"), ("energy", "energy_j")):
            lines = self._lines(objective, slow, fast)
            most = self.limits.largest.get(limit)
            if most is not None:
                times += [line.crosses(_Line(most, 0.0)) for line in lines]
            if objective in (self.objective, "latency"):  # latency decides between equal ones
                times += [one.crosses(other) for one, other in combinations(lines, 2)]
        if rate := self.limits.smallest.get("throughput_hz"):
            lines = [
                _through(slow, fast, *self._network_s(option, slow, fast))
                for option in self.options
            ]
            times += [line.crosses(_Line(1 / rate, 0.0)) for line in lines]
        return [1 / time for time in times if time is not None and time > 0]

    def _lines(self, objective: str, slow: float, fast: float) -> list[_Line]:
        ends = [self.setup.at_uplink(rate) for rate in (slow, fast)]
        found = []
        for option in self.options:
            values = [value_of(objective, option.at(setup), setup) for setup in ends]
            if values[0] is not None and values[1] is not None:
                found.append(_through(slow, fast, values[0], values[1]))
        return found

    def _network_s(self, option: Option, slow: float, fast: float) -> tuple[float, float]:
        first, second = (
            option.at(self.setup.at_uplink(rate)).cost.network_s for rate in (slow, fast)
        )
        return first, second


def _through(slow: float, fast: float, at_slow: float, at_fast: float) -> _Line:
    """Return the line of a cost through its values at two rates."""
    slope = (at_slow - at_fast) / (1 / slow - 1 / fast)
    return _Line(at_fast - slope / fast, slope)
