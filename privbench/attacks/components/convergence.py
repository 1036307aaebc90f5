"""Convergence of an image optimisation: by its own course, and by a longer run of the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

SETTLED = 0.1
"""Largest share of the objective's whole fall, or of the objective itself, that the second half of
the steps may have brought. A run limited by its learning rate goes 18 % of its way there under a
cosine schedule and 50 % under a constant one. A smaller share would reject runs that a longer one
confirms: halfway the noise variance is coarse, which under strong noise accounts for 6 %."""
STRAYED = 0.5
"""Largest share of an image's whole distance from its start that the second half may have moved it.
"""
NEVER_MOVED = 0.02
"""RMS distance from its start, in units of the pixel range, below which an image never moved: five
of 256 grey levels, and the prior alone takes the noise of the start ``dark`` (RMS 0.0144) away."""
EXPLAINED = 1e-2
"""Share of the features' mean square below which the start itself may be the answer."""
MET = 1e-8
"""The same below which features are matched to rounding, which a longer run cannot improve."""
GAINED = 0.05
"""Largest share by which the objective of a longer run may lie lower. By arithmetic alone, in
batches of other sizes, runs of LeNet-5 at fc1 end up to 0.03 apart; cut to a tenth of their steps,
at relu2, they lie 0.14 above those of twice as many in the median. After 500 steps at relu2, 32 of
32 images gain less by 1,000; behind dropout of 0.6, 25, and the other seven up to 11 dB."""
APART = 0.15
"""Largest distance between the images of a longer run and those of the run, as a share of their way
from the start. The objective alone is not enough: published rMLE at relu2 of LeNet-5 falls by 4 %
from 1,000 to 2,000 steps, while its images move by 23 % and gain 3 dB."""
WORTH_CONFIRMING = 0.95
"""Share of settled images from which a longer run is made: a score with fewer is called unreliable
without it (``store.record.RELIABLE``), and it costs a small run of twice the steps."""


@dataclass(frozen=True)
class Path:
    """Course of a batch of images during an optimisation.

    Attributes:
        start: Images ``(N, C, H, W)`` before the first step.
        halfway: Images after half of the steps.
        end: The best iterates.
        values: The objective of these three ``(3, N)`` under the last noise variance, not negative.
        unexplained: Data term of the best iterates as a share of the features' mean square,
            ``(N,)``.
        finite: True where the optimisation stayed finite ``(N,)``.
    """

    start: Tensor
    halfway: Tensor
    end: Tensor
    values: Tensor
    unexplained: Tensor
    finite: Tensor

    @property
    def never_moved(self) -> Tensor:
        """Images that are still at their start, which does not explain their features ``(N,)``."""
        still: Tensor = _rms(self.end - self.start) < NEVER_MOVED
        return still & (self.unexplained > EXPLAINED) & self.finite

    @property
    def settled(self) -> Tensor:
        """Images that moved, and that the second half of the steps changed little ``(N,)``."""
        first, halfway, last = self.values
        # <=, so that features met exactly from the start count as settled
        fallen = halfway - last <= SETTLED * (first - last).maximum(halfway)
        near = _rms(self.end - self.halfway) <= STRAYED * _rms(self.end - self.start)
        settled: Tensor = fallen & near & self.finite & first.isfinite()
        return settled & ~self.never_moved

    @property
    def met(self) -> Tensor:
        """Images whose features are matched to rounding ``(N,)``."""
        return self.unexplained <= MET

    def confirmed(self, rows: Tensor, longer: Tensor, gained: Tensor) -> int:
        """Count the images that a longer run leaves unchanged within tolerance.

        Args:
            rows: Indices of the images of the longer run ``(n,)``.
            longer: Images after the longer run ``(n, C, H, W)``.
            gained: Share of the objective that the longer run took away ``(n,)``.
        """
        end = self.end[rows]
        near = _rms(longer - end) <= APART * _rms(end - self.start[rows])
        return int((((gained <= GAINED) & near) | self.met[rows]).sum())


def share(chosen: Tensor) -> float:
    """Return the share of true entries ``(N,)`` as a quotient of integers.

    In float32 19 of 20 would be less than 0.95.
    """
    return int(chosen.sum()) / len(chosen)


def sample(settled: Tensor) -> Tensor:
    """Return indices of a few settled images, evenly over the batch: one in 16, at most four."""
    rows = settled.nonzero().flatten()
    count = min(len(rows), 4, max(1, len(settled) // 16))
    return rows[torch.linspace(0, len(rows) - 1, count, device=rows.device).round().long()]


@contextmanager
def undrawn(device: torch.device) -> Iterator[None]:
    """Restore torch's global generators after the block, whatever a network draws within it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _rms(difference: Tensor) -> Tensor:
    return difference.flatten(1).square().mean(1).sqrt()
