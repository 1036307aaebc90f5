"""Options that no other one dominates, beyond overlapping intervals of leakage."""

from collections.abc import Sequence
from dataclasses import dataclass

from privbench.plan.option import Option, Span


@dataclass(frozen=True)
class Position:
    """Place of an option on all axes; less is better on each.

    Attributes:
        costs: Exact values.
        leakage: With its interval.
    """

    costs: tuple[float, ...]
    leakage: Span

    def dominates(self, other: "Position") -> bool:
        """Return whether it is nowhere worse, its leakage beyond the intervals, and better once."""
        no_worse = all(a <= b for a, b in zip(self.costs, other.costs, strict=True))
        if not no_worse or self.leakage.high > other.leakage.low:
            return False
        return self.costs != other.costs or self.leakage.score < other.leakage.score

    def would_dominate(self, other: "Position") -> bool:
        """Return whether it dominates by the scores alone."""
        return self._exact().dominates(other._exact())

    def _exact(self) -> "Position":
        return Position(self.costs, Span(*[self.leakage.score] * 3))


def marks(positions: Sequence[Position]) -> list[str]:
    """Return the mark of each position.

    It is ``*`` for one that no other dominates, ``~`` where only overlapping intervals keep it
    from being dominated, and empty for a dominated one.
    """
    found = []
    for one in positions:
        if any(other.dominates(one) for other in positions):
            found.append("")
        else:
            found.append("~" if any(o.would_dominate(one) for o in positions) else "*")
    return found


def front(options: Sequence[Option], metric: str) -> dict[str, str]:
    """Return the mark of each option by its label, for all whose leakage is known.

    The axes are latency, energy and accuracy where they are known of all of these options, memory,
    and leakage.
    """
    known = [(option, span) for option in options if (span := option.span(metric)) is not None]
    energy = all(option.cost.energy_j is not None for option, _ in known)
    accuracy = all(option.accuracy is not None for option, _ in known)
    positions = [
        Position(
            (
                option.cost.latency_s,
                option.counts.memory_bytes,
                *([option.cost.energy_j or 0.0] if energy else []),
                *([-(option.accuracy or 0.0)] if accuracy else []),
            ),
            span,
        )
        for option, span in known
    ]
    return dict(zip([option.label for option, _ in known], marks(positions), strict=True))
