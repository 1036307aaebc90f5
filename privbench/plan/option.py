"""Options of a plan: a split, behind a defense where records have one, with all that is known."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from privbench.plan.cost import BITS, Cost, Counts, Setup, cost_of
from privbench.plan.evidence import Evidence, Leak
from privbench.plan.names import CLOUD_ONLY, EDGE_ONLY
from privbench.report.analysis.labels import leakage


class Span(NamedTuple):
    """Leakage with its interval; more is worse."""

    low: float
    score: float
    high: float


@dataclass(frozen=True)
class Option:
    """A row of the plan.

    Attributes:
        split: Split point as the victim names it, ``cloud-only`` or ``edge-only``.
        name: Shortest name of the split that ``split=`` accepts.
        counts: Counted, of the defended edge where records have its numbers.
        cost: Modelled.
        evidence: Of records; null where there is none.
        accuracy: Share of test images; null where it was not measured.
        measured_ms: Median milliseconds of the edge on this machine; null where not measured.
        deflate_bits: Mean bits of int8 features after deflate; null without a trained victim.
    """

    split: str
    name: str
    counts: Counts
    cost: Cost
    evidence: Evidence | None = None
    accuracy: float | None = None
    measured_ms: float | None = None
    deflate_bits: float | None = None

    @property
    def transmissions(self) -> int:
        """How often each image is sent."""
        return self.evidence.transmissions if self.evidence else 1

    @property
    def label(self) -> str:
        """Split, and defense and transmissions where there are any."""
        if self.evidence is None or not self.evidence.defended:
            return self.name
        defense = self.evidence.defense.replace(" on features", "").replace("no defense", "")
        sent = f"x{self.transmissions}" if self.transmissions > 1 else ""
        return " ".join(filter(None, (self.name, defense, sent)))

    @property
    def sends(self) -> bool:
        """Whether anything is sent."""
        return self.split != EDGE_ONLY

    def leak(self, metric: str) -> Leak | None:
        """Return the measured worst case; null where there is none."""
        return self.evidence.leaks.get(metric) if self.evidence else None

    def span(self, metric: str) -> Span | None:
        """Return the leakage; null where it is unknown.

        It is infinite where the image itself is sent, and minus infinity where nothing is.
        """
        if self.split in (CLOUD_ONLY, EDGE_ONLY):
            return Span(*[math.inf if self.split == CLOUD_ONLY else -math.inf] * 3)
        found = self.leak(metric)
        if found is None:
            return None
        ends = sorted(leakage(end, metric) for end in (found.low, found.high))
        return Span(ends[0], leakage(found.score, metric), ends[1])

    def payload_kb(self, payload: str) -> float:
        """Return the kilobytes (1e3) that an image takes, over all of its transmissions."""
        return self.counts.payload_bits[payload] * self.transmissions / 8e3

    def at(self, setup: Setup) -> "Option":
        """Return the option with its cost in another setup."""
        return replace(self, cost=cost_of(self.counts, setup, self.transmissions))


def deployed_counts(counts: Counts, evidence: Evidence) -> Counts:
    """Return counts with the numbers of a defended deployment where records have them.

    A code takes its own bits in any format, at most those of the victim's features. Weights are the
    victim's and those that the defense adds, of four bytes each.
    """
    deployed = evidence.deployed
    sent = deployed.get("payload_bits", counts.payload_bits["fp32"])
    if evidence.encoded:
        payload = {name: min(sent, bits) for name, bits in counts.payload_bits.items()}
        payload["fp32"] = sent
    else:
        payload = {name: sent * bits / BITS["fp32"] for name, bits in BITS.items()}
    parameters = int(deployed.get("edge_parameters", counts.parameters))
    added = 4.0 * (parameters - counts.parameters)
    flops = deployed.get("edge_flops", counts.edge.flops)
    weight_bytes = counts.edge.weight_bytes + added
    return replace(
        counts,
        edge=replace(counts.edge, flops=flops, weight_bytes=weight_bytes),
        parameters=parameters,
        memory_bytes=counts.memory_bytes + added,
        payload_bits=payload,
    )
