"""Layouts of a record's fields: the one place that knows others than the present (no numpy)."""

from collections.abc import Mapping
from typing import Any

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


def incomplete(fields: Mapping[str, Any]) -> str:
    """Return the name of a list of a record that lacks images; empty where all are whole.

    Raises:
        KeyError, TypeError, ValueError: where the fields are not those of a record.
    """
    whole = upgraded(fields)
    scored = {name: score["per_image"] for name, score in whole["scores"].items()}
    lists = {**scored, **whole["per_image"]}
    short = [n for n, v in lists.items() if v is not None and len(v) < whole["targets"]]
    return short[0] if short else ""
