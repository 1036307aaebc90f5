"""Counts of a network at its splits, on the meta device: nothing is computed or trained."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, NamedTuple

import torch

from privbench.plan.cost import BITS, Counts, Work
from privbench.plan.names import CLOUD_ONLY, EDGE_ONLY
from privbench.plan.totals import Totals, Tracker, Weight, weights_of
from privbench.plan.walk import walk
from privbench.victims.split_model import INPUT, SplitModel

Shape = tuple[int, int, int]
PIXEL_BITS, LOGIT_BITS = 8, 32


class _Mark(NamedTuple):
    """Totals behind a split point, and the entries of its features."""

    operations: int
    flops: int
    activation_bytes: int
    layers: int
    entries: int

    def until(self, other: "_Mark", weights: Iterable[Weight]) -> Work:
        """Return the work from here to another mark, which reads these weights."""
        return Work(
            float(other.flops - self.flops),
            float(sum(weight.size for weight in weights)),
            float(other.activation_bytes - self.activation_bytes),
            other.layers - self.layers,
        )


START = _Mark(0, 0, 0, 0, 0)


def count(model: SplitModel, shape: Shape, classes: int) -> dict[str, Counts]:
    """Count a network at every split, with nothing and with everything on the edge.

    FLOPs are by the formulas of torch's counter: of convolutions, products of matrices and
    attention, two per multiplication. They are summed on the meta device, because the operation
    that is attention on the CPU has no formula.

    Args:
        model: Network; only its layers and shapes are read.
        shape: ``(C, H, W)`` of an image.
        classes: Number of classes.

    Returns:
        Counts by split, from ``cloud-only``, which sends 8-bit pixels, to ``edge-only``, which
        sends nothing. ``input`` is left out: it sends the normalised image.
    """
    totals, marks = _pass(deepcopy(model).to("meta").eval(), shape)
    peaks, answer = totals.peaks(), float(LOGIT_BITS * classes)

    def counted(at: _Mark, bits: dict[str, float], result: float) -> Counts:
        weights = totals.read_before(at.operations)
        edge = START.until(at, weights)
        return Counts(
            edge,
            at.until(marks[EDGE_ONLY], totals.read_from(at.operations)),
            sum(weight.trained for weight in weights),
            edge.weight_bytes + (peaks[at.operations - 1] if at.operations else 0),
            bits,
            result,
        )

    pixels = float(PIXEL_BITS * torch.Size(shape).numel())
    found = {CLOUD_ONLY: counted(START, dict.fromkeys(BITS, pixels), answer)}
    for point in model.split_points:
        if point != INPUT:
            at = marks[point]
            found[point] = counted(at, {n: float(at.entries * b) for n, b in BITS.items()}, answer)
    found[EDGE_ONLY] = counted(marks[EDGE_ONLY], dict.fromkeys(BITS, 0.0), 0.0)
    return found


def _pass(model: SplitModel, shape: Shape) -> tuple[Totals, dict[str, _Mark]]:
    """Run a network on the meta device; return its totals, with a mark behind every split point."""
    totals = Totals(weights_of(model))
    marks: dict[str, _Mark] = {}
    points = set(model.split_points)

    def mark(name: str, value: Any) -> None:
        if name in points | {EDGE_ONLY}:
            at = totals.operations, totals.flops, totals.activation_bytes, totals.layers
            marks[name] = _Mark(*at, value.numel())

    with torch.no_grad(), Tracker(totals):
        mark(EDGE_ONLY, walk(model, torch.empty(1, *shape, device="meta"), mark))
    return totals, marks


def names_of(model: SplitModel) -> dict[str, str]:
    """Return the shortest name of each split that ``split=`` accepts."""
    return dict(zip(model.split_points, model.choices(), strict=False))
