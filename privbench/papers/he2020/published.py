"""Numbers of the paper, and the records that have their settings."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from privbench.report.analysis.overlay import ReferencePoint
from privbench.runtime.conf_files import load_option
from privbench.store.record import Record

METRICS = ("ssim", "psnr_db")
"""Scores of reconstructions that the paper reports."""
NUMBERS = ("accuracy", "psnr_db", "ssim")


@dataclass(frozen=True)
class Published:
    """A published setting with its numbers.

    Attributes:
        source: Table or figure.
        dataset: Name of the data set.
        split: Split point, the last layer of the edge.
        attack: Name of the attack's yaml.
        steps: Steps of rMLE, also as the inverter of a shadow; null without it. Those of figure 15
            are ours.
        aux: Auxiliary images of the adversary; empty for any.
        defense: Name of the defense.
        site: ``features`` or ``input``.
        strength: Strength of the defense.
        accuracy: Share of test images classified correctly; null where it is not published.
        psnr_db: Mean over ten images in dB; null where it cannot be read off a figure.
        ssim: Mean over ten images; null where it cannot be read off a figure.
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
def load_published() -> tuple[Published, ...]:
    """Return all published numbers in the paper's order."""
    with (Path(__file__).parent / "published.csv").open(newline="") as file:
        next(file)  # the sources
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
    return tuple(row for row in load_published() if (row.dataset, row.split, row.attack) == wanted)


@cache
def _attacks() -> frozenset[str]:
    return frozenset(row.attack for row in load_published())


FIGURE_15 = [3, 2, 35, 44, 27, 23, 21, 17, 61, 73]
"""Test images of figures 14 and 15."""
CIFAR10 = {"lr": 2.3e-3, "adam_eps": 4.4e-3}
"""Settings of rMLE in the units of CIFAR-10, as in ``conf/attack/rmle_paper.yaml``."""
OF_OURS = ("defaults", "inverter", "precision")
"""Options that are compared elsewhere or do not change the attack."""


RENAMED = {"eps": "adam_eps", "start": "init", "resolution": "noise_variance",
           "resolution_last": "noise_variance_last", "teacher": "supervision"}  # fmt: skip
"""Former names of options in older records, with the current ones."""
RENAMED_VALUES = {"supervision": {"cloud": "labels", "answers": "queries"}}
"""Former values of options by their current name."""


def with_current_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options under their current names, so that older records compare with the yamls.

    >>> with_current_names({"eps": 1e-8, "teacher": "cloud"})
    {'adam_eps': 1e-08, 'supervision': 'labels'}
    """
    found: dict[str, Any] = {}
    for former, value in options.items():
        name = RENAMED.get(former, former)
        renamed = RENAMED_VALUES.get(name, {})
        found[name] = renamed.get(value, value) if isinstance(value, str) else value
    return found


@cache
def _settings(attack: str) -> dict[str, Any]:
    """Return the options of an attack's yaml."""
    return load_option("attack", attack)


def _rmle(record: Record) -> Mapping[str, Any]:
    """Return the options of an attack, or of the one within it."""
    attack: Mapping[str, Any] = record.config["attack"]
    return with_current_names(attack.get("inverter", attack))


def is_published(record: Record) -> bool:
    """Return whether a record has a published attack, sent once.

    Options that the paper does not give, such as the training of a shadow, are those of our yaml.
    The steps of rMLE may differ: tables and figures have different ones.
    """
    if record.transmissions != 1 or record.attack not in _attacks():
        return False
    rmle = _rmle(record)
    if record.attack != "rmle_paper":
        own = _settings(record.attack)
        # a record has no option that is off and younger than the attack, so that its key is kept
        off = {name: value for name, value in own.items() if value is None or value is False}
        options = off | with_current_names(record.config["attack"])
        if any(options.get(name) != own[name] for name in own if name not in OF_OURS):
            return False
    return record.attack == "inverse_paper" or _is_rmle(rmle, record)


def _is_rmle(options: Mapping[str, Any], record: Record) -> bool:
    wanted = _settings("rmle_paper") | (
        with_current_names(CIFAR10) if record.dataset == "cifar10" else {}
    )
    weights, weight = wanted.pop("tv_weight"), options.get("tv_weight")
    if isinstance(weight, Mapping):
        weight = weight.get(record.split, weight.get("default"))
    return weight == weights.get(record.split, weights["default"]) and all(
        options.get(name) == value for name, value in wanted.items() if name != "steps"
    )


def published_for(record: Record) -> list[Published]:
    """Return the published numbers of a record's setting; seed and images may differ."""
    if not is_published(record):
        return []
    config, steps = record.config, _rmle(record).get("steps")
    return [
        row
        for row in _of(record.dataset, record.split, record.attack)
        if row.steps in (None, steps)
        and (row.source == "fig15") == (config.get("include") == FIGURE_15)
        and row.aux in ("", config["dataset"].get("aux", "disjoint"))
        and abs(row.strength - record.strength) < 1e-9
        and (record.strength == 0 or (row.defense, row.site) == (record.defense, record.site))
    ]


def curve(record: Record) -> list[Published]:
    """Return the published curve of a record's defense, at all strengths."""
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
        for rows, same_strength in ((published_for(record), True), (curve(record), False))
        for row in rows
    ]
