"""Options that no other one dominates, beyond overlapping intervals of leakage."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

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


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the volume that points dominate within a reference point; less is better.

    It is cut into slabs along the last axis, each with the volume of the points below it.

    Args:
        points: Of any number of axes; those beyond the reference dominate nothing.
        reference: The worst value of each axis.
    """
    inside = sorted(
        (p for p in points if all(a < b for a, b in zip(p, reference, strict=True))),
        key=lambda point: point[-1],
    )
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - inside[0][0]
    levels = [*(point[-1] for point in inside), reference[-1]]
    return sum(
        (high - low) * hypervolume([point[:-1] for point in inside[:at]], reference[:-1])
        for at, (low, high) in enumerate(pairwise(levels), start=1)
        if high > low
    )


@dataclass(frozen=True)
class Volume:
    """Share of a box that the splits behind each defense dominate, to compare defenses by.

    Attributes:
        axes: Latency, share of errors, and leakage.
        best: Least value of each axis, over the options of all defenses.
        reference: A tenth of the range beyond the largest value of each axis, so that the worst
            by one axis counts by the others.
        shares: Hypervolume over that of the box, by defense.
    """

    axes: Sequence[str]
    best: Sequence[float]
    reference: Sequence[float]
    shares: Mapping[str, float]


def volumes(options: Sequence[Option], metric: str) -> Volume | None:
    """Return the hypervolumes of defenses whose accuracy and leakage were measured; null for one.

    Cloud-only and edge-only have no measured leakage, and take no part.
    """
    points: dict[str, list[list[float]]] = {}
    for option in options:
        span, evidence = option.span(metric), option.evidence
        if evidence and span and option.accuracy is not None and math.isfinite(span.score):
            point = [option.cost.latency_s * 1e3, 1 - option.accuracy, span.score]
            points.setdefault(evidence.defense, []).append(point)
    if len(points) < 2:
        return None
    columns = list(zip(*(p for held in points.values() for p in held), strict=True))
    best = [min(column) for column in columns]
    worst = [max(column) + (max(column) - min(column)) / 10 for column in columns]
    sides = [high - low for low, high in zip(best, worst, strict=True)]
    # an axis on which all are equal tells no two defenses apart
    used = [at for at, side in enumerate(sides) if side > 0]
    scaled = {
        name: [[(point[at] - best[at]) / sides[at] for at in used] for point in held]
        for name, held in points.items()
    }
    shares = {name: hypervolume(held, [1.0] * len(used)) for name, held in scaled.items() if used}
    return Volume(["latency_ms", "error", metric], best, worst, shares)
