"""Records and stores made up for tests of what is read from them."""

import copy
import dataclasses
import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from privbench.evaluation.statistics import mean_interval
from privbench.report.analysis import tradeoffs
from privbench.report.analysis.images import image_loader
from privbench.report.analysis.selection import select
from privbench.report.image_sheets import ImageSheets
from privbench.runtime.conf_files import load_option
from privbench.runtime.hashing import content_hash
from privbench.store.group_keys import group_key
from privbench.store.recipes import FLAT_SCHEMA
from privbench.store.record import Record, Score, images_file
from privbench.store.sweep_log import SweepLog, now

PUBLISHED = ("rmle_paper", "inverse_paper", "shadow", "shadow_same", "shadow_queried")


def settings(attack: str, steps: int) -> dict[str, Any]:
    """A published attack's by its yaml, with steps where it descends; a stand-in for others."""
    if attack not in PUBLISHED:
        return {"steps": steps}
    options = copy.deepcopy(_yaml(attack))
    if attack == "rmle_paper":
        options["steps"] = steps
    elif attack != "inverse_paper":
        options["inverter"] = settings("rmle_paper", steps)
    return options


@functools.cache
def _yaml(attack: str) -> dict[str, Any]:
    """The options of an attack: reading them takes longer than all else of a record."""
    return load_option("attack", attack)


KNOBS = {"dropout": "rate", "gaussian": "sigma", "laplace": "scale"}


def record(
    defense: str = "dropout",
    strength: float = 0.3,
    site: str = "features",
    *,
    attack: str = "rmle",
    ssim: float = 0.5,
    accuracy: float = 0.98,
    seed: int = 0,
    dataset: str = "mnist",
    split: str = "relu2",
    targets: int = 6,
    converged: float | None = 1.0,
    adaptive: bool = False,
    steps: int = 500,
    **others: Any,
) -> Record:
    """A whole record; its images' scores lie about ``ssim``."""
    noise = np.random.default_rng([seed, int(strength * 1000)]).normal(0, 0.02, targets)
    scores = [float(s) for s in ssim + noise - noise.mean()]
    psnr = [10 + 20 * s for s in scores]
    floor = {"psnr_db": 12.0, "ssim": 0.35, "identification": 0.1, "semantic_accuracy": 1.0}
    constant = {**floor, "semantic_accuracy": 0.1}
    config = {
        "dataset": {"_target_": "d", "name": dataset, "aux": "disjoint"},
        "victim": {"_target_": "v", "epochs": 8},
        "defense": {"_target_": defense, "site": site, KNOBS.get(defense, "level"): strength},
        "attack": {"_target_": attack, **settings(attack, steps)},
        "target_indices": None,
        "include": None,
        "accuracy_draws": 3,
    }
    fields: dict[str, Any] = {
        "schema": FLAT_SCHEMA, "config": config, "sources": {}, "victim_sha256": "0" * 64, "overrides": [f"attack={attack}", f"seed={seed}"],
        "dataset": dataset, "victim": "lenet5", "split": split, "attack": attack,
        "access": ["EDGE_WEIGHTS"], "adaptive": adaptive, "defense": defense, "site": site,
        "strength": strength, "transmissions": 1, "seed": seed, "targets": targets,
        "accuracy_undefended": 0.99, "accuracy": accuracy, "accuracy_single": accuracy,
        "accuracy_ci95": (accuracy - 0.01, 1.0),
        "psnr_db": float(np.mean(psnr)), "psnr_db_ci95": mean_interval(psnr),
        "ssim": float(np.mean(scores)), "ssim_ci95": mean_interval(scores), "ssim_gaussian": ssim,
        "identification": 0.5, "identification_ci95": (0.4, 0.6), "identification_class": 0.6,
        "chance": {"identification": 0.01, "identification_class": 0.1},
        "semantic_accuracy": 0.9, "semantic_accuracy_ci95": (0.8, 1.0), "judge_accuracy": 0.99,
        "above": {}, "floor": {"best": floor, "mean": constant, "logits": floor}, "lift": floor,
        "per_image": {"index": list(range(targets)), "ssim": scores, "psnr_db": psnr,
                      "identification": [others.get("identification", 0.5)] * targets,
                      "semantic_accuracy": [others.get("semantic_accuracy", 0.9)] * targets,
                      "floor_psnr_db": [12.0] * targets, "floor_ssim": [0.35] * targets},
        "failed": 0, "converged": converged, "notes": {}, "queries": 0,
        "seconds": {"total": 1.0}, "device": "cpu", "threads": 2,
        "versions": {"privbench": "0.1.0"}, "finished": "2026-11-23T12:00:00+00:00",
    }  # fmt: skip
    if "victim_sha256" in Record.__dataclass_fields__:
        fields["victim_sha256"] = f"{seed:064x}"
    fields |= others
    fields["key"] = fields.get("key") or content_hash(
        {name: fields[name] for name in ("config", "split", "seed", "targets")}
    )
    return Record.of(fields)


def kept(outputs: Path, records: Iterable[Record]) -> Path:
    """A store that holds them, with pictures."""
    store = outputs / "store"
    for one in records:
        folder = store / "records" / one.key
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").write_bytes(one.to_json())
        generator = np.random.default_rng(one.seed)
        images = generator.integers(256, size=(one.targets, 1, 28, 28), dtype=np.uint8)
        (folder / "images.safetensors").write_bytes(images_file(images, 255 - images))
    return store


def sweep(outputs: Path, name: str, records: Iterable[Record], failed: Iterable[Record]) -> Path:
    """A sweep's folder, and the store behind it; some of its cells failed."""
    records, failed = list(records), list(failed)
    kept(outputs, records)
    ledger = SweepLog(outputs / "sweeps" / name)
    cells = [one.key for one in (*records, *failed)]
    lines: list[dict[str, Any]] = [
        {"launch": f"python -m privbench sweeps={name}", "id": "a", "at": now(), "flags": [],
         "cells": cells}
    ]  # fmt: skip
    for one in (*records, *failed):
        group = group_key(one)
        words = [*one.overrides, f"strength={one.strength:g}"]
        lines.append({"key": one.key, "overrides": words, "name": " ".join(words), "group": group})
    lines += [
        {"key": one.key, "state": "done", "at": now(), "launch": "a", "record": one.key}
        for one in records
    ]
    lines += [
        {"key": one.key, "state": "failed", "at": now(), "cause": "<script>boom</script>"}
        for one in failed
    ]
    ledger.append(json.loads(json.dumps(lines)))
    return ledger.folder


def imaged(one, scores: dict[int, float]):
    """The same record with these images' scores."""
    values = list(scores.values())
    psnr = [10 + 20 * value for value in values]
    shares = dataclasses.replace(one.scores["identification"], per_image=[0.5] * len(values))
    lists = {"ssim": _score(values), "psnr_db": _score(psnr), "identification": shares}
    images = {"index": list(scores)}
    return dataclasses.replace(one, targets=len(values), scores=lists, per_image=images)


def _score(values: list[float]) -> Score:
    ends = min(values), max(values)
    return Score(float(np.mean(values)), ends, per_image=values)


def put_images(one: Record, metric: str, values: Iterable[float]) -> None:
    """Give a record other scores of its images, and their mean."""
    images = [float(value) for value in values]
    mean = float(np.mean(images))
    one.scores[metric] = dataclasses.replace(one.scores[metric], per_image=images, mean=mean)


def rescored(one: Record, metric: str, **changes: Any) -> Record:
    """The same record with other fields of a score."""
    score = dataclasses.replace(one.scores[metric], **changes)
    return dataclasses.replace(one, scores={**one.scores, metric: score})


def with_victim(one, sha256: str):
    """The same record of a victim with these weights."""
    object.__setattr__(one, "victim_sha256", sha256 * 64)
    return one


def page_text(outputs, records) -> str:
    """The page of a store that holds these records, without its figures and tables."""
    return page_of(select(kept(outputs, records), {}), outputs)


def page_of(selection, folder) -> str:
    """The page of a selection, its data readable, without its figures, tables and drawing."""
    from privbench.report.page import page

    found = tradeoffs.panels(selection.records, selection.gaps)
    sheets = ImageSheets.read(selection.records, image_loader(selection.store))
    module = "privbench.report.page"
    with mock.patch(f"{module}.scripts", return_value=""), mock.patch(f"{module}.packed", str):
        return page(selection, found, [], {}, sheets, folder)


def rows_of(figure, kind: str) -> list[dict[str, Any]]:
    """The rows of a kind of mark in a figure."""
    return [row for row in figure.chart["data"]["values"] if row["kind"] == kind]


def spread(level: float, count: int = 24, at: int = 0) -> dict[int, float]:
    """Scores of images about a level."""
    return {at + n: level + 0.001 * (n % 5) for n in range(count)}


def records_by_steps(*levels: tuple[int, float], **others):
    """Records with these steps and levels of SSIM."""
    return [imaged(record(steps=n, **others), spread(level)) for n, level in levels]


CURVE = [(0.0, 0.8, 0.99), (0.2, 0.6, 0.985), (0.4, 0.4, 0.975), (0.8, 0.2, 0.9)]


def curve(defense="dropout", site="features", shift=0.0, **others):
    """Records of a curve; ``shift`` moves the SSIM of each defended one."""
    return [
        record(
            defense, strength, site, ssim=ssim + shift * (strength > 0), accuracy=accuracy, **others
        )
        for strength, ssim, accuracy in CURVE
    ]
