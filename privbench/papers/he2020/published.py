"""Numbers of the paper, and the records that have their settings."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from privbench.report.analysis.overlay import ReferencePoint
from privbench.runtime.conf_files import load_option
from privbench.runtime.options import with_later_options
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
        aux: Auxiliary images of the adversary; empty for rMLE, which has none, and for figure 15,
            whose are disjoint.
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
def attacks() -> frozenset[str]:
    """Return the names of the attacks that published numbers are of."""
    return frozenset(row.attack for row in load_published())


PAPER_IMAGES: Mapping[str, Sequence[Sequence[int]]] = {
    "mnist": [[3, 2, 1, 18, 4, 8, 11, 0, 61, 7]],
    "cifar10": [[3, 6, 25, 0, 22, 12, 4, 13, 1, 11], list(range(0, 10_000, 1000))],
}
"""Test images behind the published numbers but for figures 14 and 15, the first of each class.

CIFAR-10's have other numbers where the test set is read from a folder for each class.
"""
FIGURE_15 = [3, 2, 35, 44, 27, 23, 21, 17, 61, 73]
"""Test images of figures 14 and 15."""
CIFAR10 = {"lr": 2.3e-3, "adam_eps": 4.4e-3, "eps_before_correction": True}
"""Settings of rMLE on CIFAR-10, as in ``sweeps/he2020``: its units, and the former Adam."""
CIFAR10_WEIGHTS = {"relu12": 0.0, "pool1": 0.0, "conv22": 195.0, "pool2": 195.0}
"""Lambda at the other splits of CIFAR-10's dropout figures, as in ``sweeps/he2020``."""
CIFAR10_SHADOW = {"lr": 2.3e-2, "tv_weight": 39.0}
"""Settings of rMLE at relu22 behind a shadow without queries, which has a command of its own."""
CIFAR10_INVERSE = {"steps": 14_000, "eps_before_correction": True}
"""Training of the inverse network on CIFAR-10: 50 epochs as published, by the former Adam."""
SHADOW_TRAINING = {
    "batch": 32, "lr": 1e-3, "adam_eps": 1e-3, "amsgrad": True, "eps_before_correction": True,
    "schedule": "constant", "keep": "last",
}  # fmt: skip
"""Published training of shadows, but for its steps; ``conf/attack/shadow.yaml`` has another."""
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


def rmle_options(record: Record) -> Mapping[str, Any]:
    """Return the options of an attack, or of the one within it."""
    attack: Mapping[str, Any] = record.config["attack"]
    return _options(attack.get("inverter", attack))


def _options(attack: Mapping[str, Any]) -> dict[str, Any]:
    return with_current_names(with_later_options(attack))


def is_published(record: Record) -> bool:
    """Return whether a record has a published attack, sent once.

    Options that the paper does not give are those of our yaml; so is the training of a shadow,
    whose published one is ``SHADOW_TRAINING``, and Adam on MNIST, which is today's.
    The steps of rMLE may differ: tables and figures have different ones.
    """
    known = record.transmissions == 1 and record.attack in attacks()
    return known and not changed_options(record)


def changed_options(record: Record) -> Mapping[str, Any]:
    """Return the options of a record's attack that are not the published ones, by dotted name.

    Steps of rMLE and the precision are not among them; nor are options within another attack than
    rMLE, which ``inverter`` then names.

    Args:
        record: Of one of ``attacks``.
    """
    changed: dict[str, Any] = {}
    if record.attack != "rmle_paper":
        own = _settings(record.attack)
        if (record.dataset, record.attack) == ("cifar10", "inverse_paper"):
            own = own | CIFAR10_INVERSE
        # a record has no option that was off before there were lists of later ones
        off = {name: value for name, value in own.items() if value is None or value is False}
        options = {**off, **_options(record.config["attack"])}
        changed = _changed(options, {n: v for n, v in own.items() if n not in OF_OURS})
    if record.attack == "inverse_paper":
        return changed
    prefix = "" if record.attack == "rmle_paper" else "inverter."
    within = rmle_options(record)
    wanted, weight = _published_rmle(record)
    if within.get("_target_") != wanted["_target_"]:
        return {**changed, "inverter": within.get("_target_")}
    different = _changed(within, wanted)
    if (used := _of_split(within.get("tv_weight"), record.split)) != weight:
        different["tv_weight"] = used
    return {**changed, **{prefix + name: value for name, value in different.items()}}


def _changed(options: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options.get(name) for name in wanted if options.get(name) != wanted[name]}


def _published_rmle(record: Record) -> tuple[Mapping[str, Any], Any]:
    """Return the published settings of rMLE for a record, but for its steps, and its lambda."""
    wanted = _settings("rmle_paper")
    weight = _of_split(wanted["tv_weight"], record.split)
    if record.dataset == "cifar10":
        wanted = wanted | CIFAR10
        weight = CIFAR10_WEIGHTS.get(record.split, weight)
        if record.split == "relu22" and record.attack in ("shadow", "shadow_same"):
            wanted, weight = wanted | CIFAR10_SHADOW, CIFAR10_SHADOW["tv_weight"]
    apart = ("steps", "tv_weight", "precision")
    return {name: value for name, value in wanted.items() if name not in apart}, weight


def _of_split(weight: Any, split: str) -> Any:
    """Return lambda at a split, of one number or of numbers by split."""
    return weight.get(split, weight.get("default")) if isinstance(weight, Mapping) else weight


def is_of_curve(record: Record, defense: str, site: str) -> bool:
    """Return whether a record has the published rMLE with the steps of a defense's curve."""
    steps = {
        row.steps
        for row in _of(record.dataset, record.split, "rmle_paper")
        if row.accuracy is not None and (row.defense, row.site) == (defense, site)
    }
    return is_published(record) and record.config["attack"].get("steps") in steps


def paper_images(record: Record) -> Sequence[int]:
    """Return the ten test images behind the published numbers of a record; empty without them."""
    included = record.config.get("include") or []
    if included == FIGURE_15:
        return FIGURE_15
    known = PAPER_IMAGES.get(record.dataset, ())
    return next((ten for ten in known if set(ten) <= set(included)), ())


def published_for(record: Record) -> list[Published]:
    """Return the published numbers of a record's setting; seed and images may differ."""
    if not is_published(record):
        return []
    steps = rmle_options(record).get("steps")
    return [row for row in published_at(record) if row.steps in (None, steps)]


def published_at(record: Record) -> list[Published]:
    """Return the published numbers of a record's setting, whatever the options of its attack."""
    aux = record.config["dataset"].get("aux", "disjoint")
    return [
        row
        for row in _of(record.dataset, record.split, record.attack)
        if (row.source == "fig15") == (record.config.get("include") == FIGURE_15)
        and (row.attack == "rmle_paper" or aux == (row.aux or "disjoint"))
        and _is_defended_as(record, row)
    ]


def accuracies_at(record: Record) -> list[tuple[Published, float]]:
    """Return the published settings that have a record's defense, with their accuracies.

    Its attack, which no accuracy depends on, may be any.
    """
    return [
        (row, row.accuracy)
        for row in load_published()
        if row.accuracy is not None
        and (row.dataset, row.split) == (record.dataset, record.split)
        and _is_defended_as(record, row)
    ]


def _is_defended_as(record: Record, row: Published) -> bool:
    """Return whether a record has a row's defense and strength; without one, sites are alike."""
    same = record.strength == 0 or (row.defense, row.site) == (record.defense, record.site)
    return same and abs(row.strength - record.strength) < 1e-9


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
