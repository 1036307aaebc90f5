"""Metrics: each is a file of this folder and its line in one of the lists below (no torch).

``VERSION`` is that of all metrics in the first two lists: it enters the key of every record.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from privbench.evaluation.metrics.base import Metric
from privbench.evaluation.metrics.bayes_floor import BAYES_FLOOR
from privbench.evaluation.metrics.channel_snr import CHANNEL_SNR
from privbench.evaluation.metrics.dfil import DFIL
from privbench.evaluation.metrics.edge_flops import EDGE_FLOPS
from privbench.evaluation.metrics.edge_parameters import EDGE_PARAMETERS
from privbench.evaluation.metrics.multiscale import MS_SSIM
from privbench.evaluation.metrics.payload import PAYLOAD_BITS
from privbench.evaluation.metrics.perceptual import LPIPS
from privbench.evaluation.metrics.psnr import PSNR, PSNR_CAP_DB, psnr_db, squared_error
from privbench.evaluation.metrics.recognised import (
    IDENTIFICATION,
    IDENTIFICATION_CLASS,
    SEMANTIC_ACCURACY,
)
from privbench.evaluation.metrics.structural import SSIM, SSIM_GAUSSIAN, ssim, ssim_gaussian

VERSION = "metrics-1"

RECONSTRUCTION_METRICS = (
    PSNR,
    SSIM,
    SSIM_GAUSSIAN,
    MS_SSIM,
    IDENTIFICATION,
    IDENTIFICATION_CLASS,
    SEMANTIC_ACCURACY,
)
"""Scores of every cell's reconstructions, where their images have them."""
DEPLOYMENT_METRICS = (CHANNEL_SNR, PAYLOAD_BITS, EDGE_FLOPS, EDGE_PARAMETERS)
"""Numbers of every cell's deployment; they need no attack."""
OPTIONAL_METRICS = (LPIPS, DFIL, BAYES_FLOOR)
"""Metrics of the cells that name them, of either kind: ``metrics=[lpips]``."""
PAPER_THRESHOLDS = {"psnr_db": 10.0, "ssim": 0.3}
"""Scores above which He et al. call a reconstruction good."""

RESERVED = frozenset({"accuracy", "index", "failed"})
"""Names that are no metric's, since records and tables have them."""
_KNOWN: dict[str, Metric] = {
    one.name: one for one in (*RECONSTRUCTION_METRICS, *OPTIONAL_METRICS, *DEPLOYMENT_METRICS)
}
BUILT_IN = frozenset(_KNOWN)
"""Names of the metrics of this package."""


def metric(name: str) -> Metric:
    """Return the metric of a name in a record; one that no record described has its name alone."""
    return _KNOWN.get(name) or Metric(name=name, label=name)


def known_metrics() -> list[Metric]:
    """Return all metrics, in the order in which they are shown: built-in ones first."""
    return list(_KNOWN.values())


def remarks(notes: Mapping[str, Any], decibels: Sequence[float]) -> Iterator[str]:
    """Yield sentences about the numbers of a deployment.

    Args:
        notes: Of a record; facts of a metric are under its name.
        decibels: PSNR of each image of an attack on it.
    """
    errors = [squared_error(value) for value in decibels]
    for one in known_metrics():
        if one.interval is None and isinstance(facts := notes.get(one.name), Mapping):
            yield from one.remarks(facts, errors)


def register(descriptions: Mapping[str, Mapping[str, Any]]) -> None:
    """Make the metrics known that a record describes, because the package does not have them."""
    for name, description in descriptions.items():
        if name not in _KNOWN:
            _KNOWN[name] = Metric.of_description(description)


def resolve(entries: Sequence[str]) -> list[Metric]:
    """Return the metrics that a cell asks for in addition.

    Args:
        entries: Names of ``OPTIONAL_METRICS``, or import paths of own ones: ``my_metric.METRIC``.

    Raises:
        ValueError: in one line, naming the entry and the choices.
    """
    found = [_resolved(str(entry)) for entry in entries]
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"metrics={list(entries)}: two of them have the name {twice}")
    for one in found:
        taken = one.name in BUILT_IN and one is not _KNOWN[one.name]
        if taken or one.name in RESERVED:
            raise ValueError(f"metrics={list(entries)}: the name {one.name} is taken")
        _KNOWN[one.name] = one
    return found


def target_of(entry: str) -> str:
    """Return the dotted name of the code of an entry of ``metrics``, for its identity."""
    built_in = _KNOWN.get(entry)
    return built_in.compute.__module__ if built_in else entry


def _resolved(entry: str) -> Metric:
    if entry in BUILT_IN:
        return _KNOWN[entry]
    module, _, name = entry.rpartition(".")
    if not module:
        choices = ", ".join(one.name for one in OPTIONAL_METRICS)
        raise ValueError(
            f"metrics=[{entry}] is not a metric: choose from {choices}, or name your own by its "
            "import path, such as metrics=[my_metric.METRIC]"
        )
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"metrics=[{entry}] cannot be imported: {error}") from error
    if not isinstance(found, Metric):
        kind = type(found).__name__
        raise ValueError(f"metrics=[{entry}] is a {kind}, not a Metric")  # noqa: TRY004 - bad input
    return found


__all__ = [
    "BUILT_IN",
    "DEPLOYMENT_METRICS",
    "OPTIONAL_METRICS",
    "PAPER_THRESHOLDS",
    "PSNR",
    "PSNR_CAP_DB",
    "RECONSTRUCTION_METRICS",
    "VERSION",
    "Metric",
    "known_metrics",
    "metric",
    "psnr_db",
    "register",
    "remarks",
    "resolve",
    "ssim",
    "ssim_gaussian",
    "target_of",
]
