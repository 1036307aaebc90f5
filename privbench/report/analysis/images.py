"""Images of records: originals and reconstructions, with their scores in words (no torch)."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from privbench.evaluation.metrics import known_metrics
from privbench.report.analysis.tradeoffs import Point
from privbench.store.record import Record

ImageLoader = Callable[[Record], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Return a record's originals and reconstructions, ``(N, C, H, W)`` each."""
GridImage = tuple[NDArray[np.uint8], str] | None
"""Image ``(C, H, W)`` with its caption; null for a gap."""


def image_loader(store: Path) -> ImageLoader:
    """Return a loader of the images that a store keeps with its records."""

    def read(record: Record) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        path = store / "records" / record.key / "images.safetensors"
        try:
            tensors = load_file(path)
            return tensors["targets"], tensors["reconstructions"]
        except (OSError, SafetensorError, KeyError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error

    return read


def reconstruction_of(point: Point | None, seed: int, index: int, read: ImageLoader) -> GridImage:
    """Return the reconstruction of a test image by the record of a seed; null without it."""
    for record in point.group.records if point else ():
        if record.seed == seed and index in record.per_image["index"]:
            at = record.per_image["index"].index(index)
            with suppress(ValueError):  # its images are missing: a gap
                return read(record)[1][at], _caption(record, at)
    return None


def original_of(record: Record, index: int, read: ImageLoader) -> GridImage:
    """Return a test image as a record keeps it; null where its images are missing."""
    with suppress(ValueError):  # its images are missing: a gap
        return read(record)[0][record.per_image["index"].index(index)], ""
    return None


def _caption(record: Record, at: int) -> str:
    """Return an image's scores by the metrics of curves, with a digit less than in tables."""
    shown = [metric for metric in known_metrics() if "curves" in metric.show]
    found = {m: values[at] for m in shown if (values := record.columns.get(m.name)) is not None}
    return " / ".join(
        f"{value:.{max(0, m.decimals - 1)}f}{f' {m.unit}' if m.unit else ''}"
        for m, value in found.items()
    )
