"""Layouts of a record's fields: the one place that knows others than the present (no numpy)."""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from privbench.evaluation.metrics import BUILT_IN, metric
from privbench.store.recipes import FLAT_SCHEMA, RECORD_SCHEMA

FLAT_METRICS = (
    "psnr_db", "ssim", "ssim_gaussian", "identification", "identification_class",
    "semantic_accuracy",
)  # fmt: skip
"""Metrics of records of ``FLAT_SCHEMA``."""


def upgraded(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's fields in the layout of ``RECORD_SCHEMA``.

    Up to schema 3 a metric was four top-level fields and lists: ``ssim``, ``ssim_ci95``,
    ``floor["best"]["ssim"]`` and ``per_image["ssim"]``.

    Raises:
        ValueError: for a schema that this program does not read.
    """
    schema = fields.get("schema")
    if schema == RECORD_SCHEMA:
        return dict(fields)
    if schema != FLAT_SCHEMA:
        raise ValueError(f"its schema is {schema}, this program's {RECORD_SCHEMA}")
    best, lists = fields["floor"]["best"], fields["per_image"]
    scores = {
        name: {
            "mean": fields[name],
            "ci95": fields.get(f"{name}_ci95"),
            "baseline": best.get(name),
            "per_image": lists.get(name),
        }
        for name in FLAT_METRICS
    }
    moved = {*FLAT_METRICS, *(f"{name}_ci95" for name in FLAT_METRICS)}
    kept = {name: value for name, value in fields.items() if name not in moved}
    rest = {name: values for name, values in lists.items() if name not in FLAT_METRICS}
    changed = {"schema": RECORD_SCHEMA, "scores": scores, "metrics": {}, "per_image": rest}
    return {**kept, **changed}


SHARES = ("accuracy_undefended", "accuracy", "accuracy_single", "judge_accuracy")
"""Fields in [0, 1]."""
ROUNDING = 1e-6
"""Difference by which a mean may miss its interval or its images."""


def require_whole(fields: Mapping[str, Any]) -> None:
    """Refuse a record that contradicts itself or lacks images.

    Args:
        fields: As JSON has them, in any layout that is read.

    Raises:
        ValueError: naming the field and its value.
        KeyError, TypeError, AttributeError: where the fields are not those of a record.
    """
    whole = upgraded(fields)
    for name in SHARES:
        if not 0 <= whole[name] <= 1:
            raise ValueError(f"{name}={whole[name]} of a record is not in [0, 1]")
    for name, score in whole["scores"].items():
        _require_consistent(name, score, share=_is_share(name, whole["metrics"]))
    scored = {name: score["per_image"] for name, score in whole["scores"].items()}
    for name, values in {**scored, **whole["per_image"]}.items():
        if values is not None and len(values) != whole["targets"]:
            raise ValueError(
                f"per_image.{name} of a record has {len(values)} of {whole['targets']}"
            )


def _is_share(name: str, described: Mapping[str, Any]) -> bool:
    """Return whether a metric is a share of images; a record describes those that are not known."""
    kind = metric(name).interval if name in BUILT_IN else described.get(name, {}).get("interval")
    return kind == "wilson"


def _require_consistent(name: str, score: Mapping[str, Any], *, share: bool) -> None:
    mean, images = score["mean"], score.get("per_image")
    if share and not 0 <= mean <= 1:
        raise ValueError(f"{name}={mean} of a record is not in [0, 1]")
    low, high = score.get("ci95") or (mean, mean)
    if not (math.isfinite(mean) and low - ROUNDING <= mean <= high + ROUNDING):
        raise ValueError(f"{name}={mean} of a record is not in its interval {low}..{high}")
    if share or images is None:
        return
    if abs(fmean(images) - mean) > ROUNDING * max(1, abs(mean)):
        raise ValueError(f"{name}={mean} of a record is not the mean of its images")
