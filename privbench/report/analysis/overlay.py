"""Reference points: numbers from elsewhere, such as a paper's, to draw over measured ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from privbench.store.record import Record


@dataclass(frozen=True)
class ReferencePoint:
    """A number from elsewhere that has the settings of a record.

    Attributes:
        strength: Strength of the defense.
        accuracy: Share of test images classified correctly; null where it is not given.
        psnr_db: Mean PSNR in dB; null where it is not given.
        ssim: Mean SSIM; null where it is not given.
        same_strength: Whether it has the record's own strength; otherwise it is another point of
            the curve that the record lies on.
    """

    strength: float
    accuracy: float | None
    psnr_db: float | None
    ssim: float | None
    same_strength: bool

    def score(self, metric: str) -> float | None:
        """Return its score by a metric; null where it is not given."""
        value: float | None = getattr(self, metric, None)
        return value


Overlay = Callable[[Record], Sequence[ReferencePoint]]
"""Return the reference points of a record: those of its settings and of its curve."""


def no_overlay(_record: Record) -> Sequence[ReferencePoint]:
    """Return no reference point: the overlay of a report without published numbers."""
    return ()


def reference(overlay: Overlay, record: Record) -> ReferencePoint | None:
    """Return the first reference point of exactly the record's settings."""
    return next((point for point in overlay(record) if point.same_strength), None)


def reference_curve(overlay: Overlay, record: Record) -> list[ReferencePoint]:
    """Return the reference curve that a record lies on, weak to strong; empty without any."""
    points = [point for point in overlay(record) if not point.same_strength]
    return sorted(points, key=lambda point: point.strength)
