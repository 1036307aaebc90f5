"""The paper's numbers, beside the records that have its settings."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from privbench.results import Record

NUMBERS = ("accuracy", "psnr_db", "ssim")


@dataclass(frozen=True)
class Published:
    """A number of the paper's.

    Attributes:
        source: Table or figure.
        dataset: Its name here.
        split: The layer.
        attack: The yaml that is this adversary.
        steps: Of rMLE, a shadow's inverter too; null where there is none. Figure 15's are ours.
        aux: Which images the adversary has; empty for any.
        defense: Its name here.
        site: Where it stands.
        strength: How strong it is.
        accuracy: Null where it was not printed.
        psnr_db: Mean of ten images; null where it cannot be read off a figure.
        ssim: The same.
    """

    source: str
    dataset: str
    split: str
    attack: str
    steps: int | None
    aux: str
    defense: str
    site: str
    strength: float
    accuracy: float | None
    psnr_db: float | None
    ssim: float | None


@cache
def everything() -> tuple[Published, ...]:
    """All of them, in the paper's order."""
    with (Path(__file__).parent / "published.csv").open(newline="") as file:
        next(file)  # where they are from
        return tuple(
            Published(
                row["source"],
                row["dataset"],
                row["split"],
                row["attack"],
                int(row["steps"]) if row["steps"] else None,
                row["aux"],
                row["defense"],
                row["site"],
                float(row["strength"]),
                *(float(row[name]) if row[name] else None for name in NUMBERS),
            )
            for row in csv.DictReader(file)
        )


FIGURE_15 = [3, 2, 35, 44, 27, 23, 21, 17, 61, 73]
"""Figures 14 and 15 have ten test images of their own."""
RMLE = {
    "schedule": "constant", "start": "grey", "clamp": False, "objective": "squared",
    "amsgrad": True, "tv_beta": 2.0,
}  # fmt: skip
INVERSE = {"decoder": "paper", "steps": 28000, "lr": 1e-3, "images": None, "queries": None}
RATES = {"mnist": (5e-3, 2e-3), "cifar10": (2.3e-3, 4.4e-3)}
"""The published learning rate and epsilon, in the units of images in [0, 1]."""
WEIGHTS = {"conv1": 0.04, "fc1": 40.0, "conv11": 0.2, "relu22": 195.0, "relu32": 195.0}
"""rMLE's weight of total variation by split, 4 elsewhere: as in ``conf/attack/rmle_paper.yaml``."""


def _rmle(record: Record) -> Mapping[str, Any]:
    """The settings of an attack, or of the one within it."""
    attack: Mapping[str, Any] = record.config["attack"]
    inner: Mapping[str, Any] = attack.get("inverter", attack)
    return inner


def is_published(record: Record) -> bool:
    """Whether its attack, the one within it, and its single transmission are the paper's."""
    if record.transmissions != 1:
        return False
    attack, rmle = record.config["attack"], _rmle(record)
    if record.attack == "inverse_paper":
        return all(attack.get(name) == value for name, value in INVERSE.items())
    if record.attack != "rmle_paper" and (rmle is attack or attack.get("images") is not None):
        return False
    weight = rmle.get("tv_weight")
    if isinstance(weight, Mapping):
        weight = weight.get(record.split, weight.get("default"))
    return (
        all(rmle.get(name) == value for name, value in RMLE.items())
        and (rmle.get("lr"), rmle.get("eps")) == RATES.get(record.dataset)
        and weight == WEIGHTS.get(record.split, 4.0)
    )


def beside(record: Record) -> list[Published]:
    """The published numbers whose setting is this record's, seed and images apart."""
    if not is_published(record):
        return []
    config = record.config
    return [
        row
        for row in everything()
        if (row.dataset, row.split, row.attack) == (record.dataset, record.split, record.attack)
        and row.steps in (None, _rmle(record).get("steps"))
        and (row.source == "fig15") == (config.get("include") == FIGURE_15)
        and row.aux in ("", config["dataset"].get("aux", "disjoint"))
        and abs(row.strength - record.strength) < 1e-9
        and (record.strength == 0 or (row.defense, row.site) == (record.defense, record.site))
    ]


def curve(record: Record) -> list[Published]:
    """The published curve that a record's defense lies on, whatever its strength."""
    if not is_published(record) or record.strength == 0:
        return []
    found = [
        row
        for row in everything()
        if row.accuracy is not None
        and (row.dataset, row.split, row.attack) == (record.dataset, record.split, record.attack)
        and (row.defense, row.site) == (record.defense, record.site)
        and row.steps == record.config["attack"].get("steps")
    ]
    return [row for row in found if row.source == found[0].source]  # relu2 is in two figures
