"""Output of a cell: its files in the store, and its description for trackers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from privbench.experiment.plan import CellPlan, store_of
from privbench.runtime.files import write_atomically
from privbench.runtime.hashing import content_hash
from privbench.store import record as results
from privbench.store.record import Record
from privbench.tracking.base import History, RunDescription

IMAGES = "reconstructions.png"
HISTORY = "history.json"


def record_folder(plan: CellPlan) -> Path:
    """Return the directory of a cell's record and images."""
    return store_of(plan.cell).root / "records" / plan.key


def output_paths(plan: CellPlan) -> dict[str, Path]:
    """Return the files of a cell that a user opens, by name."""
    folder = record_folder(plan)
    return {"images": folder / IMAGES, "record": folder / "record.json"}


def write_record(
    record: Record, plan: CellPlan, x: Tensor, x_hat: Tensor, history: History
) -> None:
    """Write a record, its images and its history; the record last, as it commits them.

    Args:
        record: Of the cell.
        plan: Of the cell.
        x: Targets ``(N, C, H, W)``.
        x_hat: Reconstructions ``(N, C, H, W)``.
        history: Trainings and progress of the attack, for trackers that receive them later.
    """
    record.validate()
    text, folder, paths = record.to_json(), record_folder(plan), output_paths(plan)
    folder.mkdir(parents=True, exist_ok=True)
    originals, recovered = (
        (images.nan_to_num(0).clamp(0, 1) * 255).round().byte().cpu().numpy()
        for images in (x, x_hat)
    )
    images = results.images_file(originals, recovered)
    write_atomically(folder / "images.safetensors", images)
    write_atomically(folder / HISTORY, json.dumps(history, default=_plain).encode())
    write_atomically(paths["images"], results.image_sheet(originals, recovered))
    write_atomically(paths["record"], text)


def _plain(value: Any) -> float | str:
    """Return a scalar that an attack logged as JSON can hold it: a tensor as its number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def run_description(plan: CellPlan) -> RunDescription:
    """Return the description of a cell for the tracker."""
    cell, spec, names = plan.cell, plan.cell.spec, plan.cell.choices
    strength = f"{names['defense']} {cell.defense.strength:g} {cell.defense.site}"
    full = f"{names['dataset']} {plan.split} {strength} {names['attack']} s{cell.seed}"
    sweep = Path(spec.output_dir).name if spec.in_sweep else None
    tags = [names[group] for group in ("dataset", "victim", "attack", "defense")]
    return RunDescription(
        name=(spec.name or sweep) if sweep else f"{full} {plan.key[:6]}",
        group=sweep,
        tags=[*tags, plan.split],
        config=cell.config,
        run_id=content_hash({"sweep": sweep, "key": plan.key}),
    )


def tracker_summary(record: Record) -> Mapping[str, Any]:
    """Return the record's scalars, as a dashboard sorts by them."""
    plain = {
        name: value for name, value in vars(record).items() if isinstance(value, str | int | float)
    }
    means = {name: score.mean for name, score in record.scores.items()}
    intervals = {name: score.ci95 for name, score in record.scores.items()}
    ends = {
        f"{name}_{end}": value
        for name, interval in {**intervals, "accuracy": record.accuracy_ci95}.items()
        if interval is not None  # one image has none
        for end, value in zip(("low", "high"), interval, strict=True)
    }
    baseline = {f"floor_{metric}": value for metric, value in record.floor["best"].items()}
    logits = {f"floor_logits_{metric}": value for metric, value in record.floor["logits"].items()}
    gain = {f"lift_{metric}": value for metric, value in record.lift.items()}
    seconds = {f"{name}_seconds": value for name, value in record.seconds.items()}
    return {**plain, **means, **ends, **baseline, **logits, **gain, **seconds}
