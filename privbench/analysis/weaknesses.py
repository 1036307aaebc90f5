"""Weaknesses of a set of records: why its findings may not hold (no torch)."""

from collections.abc import Sequence

from privbench.analysis.advice import untried
from privbench.analysis.frame import SeedGroup
from privbench.analysis.worst_case import unreliable
from privbench.evaluation.statistics import ENOUGH_VICTIMS, FEW_IMAGES
from privbench.store.record import Record


def weaknesses(records: Sequence[Record], missing: int = 0) -> list[str]:
    """Return what weakens the findings of some records, in a few words each, the worst first.

    Args:
        records: Records of a sweep, or a selection of a store.
        missing: Number of cells without a record.
    """
    lost = [f"{missing} cells are missing"] if missing else []
    if not records:
        return lost
    found = []
    if untried(records).warnings:
        found.append("no attack knew the defense")
    doubtful = sum(bool(unreliable(SeedGroup([record]))) for record in records)
    if doubtful:
        found.append(f"{doubtful} of {len(records)} cells did not converge")
    found += lost
    images = min(record.targets for record in records)
    if images < FEW_IMAGES:
        found.append(f"few images ({images})")
    victims = len({record.seed for record in records})
    if victims < ENOUGH_VICTIMS:
        found.append("a single victim" if victims == 1 else f"only {victims} victims")
    if any(record.victim_warning for record in records):
        found.append("a victim no better than the most frequent class")
    return found
