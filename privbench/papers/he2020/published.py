"""The paper's numbers, beside the records that have its settings."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from privbench.report.overlay import ReferencePoint
from privbench.runtime.paths import ROOT
from privbench.store.record import Record

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


@cache
def _of(dataset: str, split: str, attack: str) -> tuple[Published, ...]:
    wanted = (dataset, split, attack)
    return tuple(row for row in everything() if (row.dataset, row.split, row.attack) == wanted)


@cache
def _attacks() -> frozenset[str]:
    return frozenset(row.attack for row in everything())


FIGURE_15 = [3, 2, 35, 44, 27, 23, 21, 17, 61, 73]
"""Figures 14 and 15 have ten test images of their own."""
CIFAR10 = {"lr": 2.3e-3, "eps": 4.4e-3}
"""rMLE's units where images are not MNIST's: as in ``conf/attack/rmle_paper.yaml``."""
OF_OURS = ("defaults", "inverter", "precision")
"""What makes no other attack: the arithmetic, and what is looked at by itself."""


@cache
def _settings(attack: str) -> dict[str, Any]:
    """An attack's own, by its yaml."""
    told = OmegaConf.load(ROOT / "conf" / "attack" / f"{attack}.yaml")
    return cast(dict[str, Any], OmegaConf.to_container(told))


def _rmle(record: Record) -> Mapping[str, Any]:
    """The settings of an attack, or of the one within it."""
    attack: Mapping[str, Any] = record.config["attack"]
    inner: Mapping[str, Any] = attack.get("inverter", attack)
    return inner


def is_published(record: Record) -> bool:
    """Whether its attack, the one within it, and its single transmission are the paper's.

    What the paper does not tell, such as how a shadow is trained, is as our yaml has it. The steps
    of rMLE are no matter here: tables and figures have others.
    """
    if record.transmissions != 1 or record.attack not in _attacks():
        return False
    rmle = _rmle(record)
    if record.attack != "rmle_paper":
        own = _settings(record.attack)
        if any(record.config["attack"].get(k) != v for k, v in own.items() if k not in OF_OURS):
            return False
    return record.attack == "inverse_paper" or _is_rmle(rmle, record)


def _is_rmle(told: Mapping[str, Any], record: Record) -> bool:
    wanted = _settings("rmle_paper") | (CIFAR10 if record.dataset == "cifar10" else {})
    weights, weight = wanted.pop("tv_weight"), told.get("tv_weight")
    if isinstance(weight, Mapping):
        weight = weight.get(record.split, weight.get("default"))
    return weight == weights.get(record.split, weights["default"]) and all(
        told.get(name) == value for name, value in wanted.items() if name != "steps"
    )


def beside(record: Record) -> list[Published]:
    """The published numbers whose setting is this record's, seed and images apart."""
    if not is_published(record):
        return []
    config = record.config
    return [
        row
        for row in _of(record.dataset, record.split, record.attack)
        if row.steps in (None, _rmle(record).get("steps"))
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
        for row in _of(record.dataset, record.split, record.attack)
        if row.accuracy is not None
        and (row.defense, row.site) == (record.defense, record.site)
        and row.steps == record.config["attack"].get("steps")
    ]
    return [row for row in found if row.source == found[0].source]  # relu2 is in two figures


def overlay(record: Record) -> list[ReferencePoint]:
    """Return the published numbers of a record's settings, and those of its curve."""
    return [
        ReferencePoint(row.strength, row.accuracy, row.psnr_db, row.ssim, same_strength)
        for rows, same_strength in ((beside(record), True), (curve(record), False))
        for row in rows
    ]
