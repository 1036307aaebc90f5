"""Calibration: constants of a platform from measured times of networks."""

import csv
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from scipy.optimize import nnls

from privbench.plan.cost import Work
from privbench.plan.counts import count
from privbench.plan.names import EDGE_ONLY
from privbench.victims.torchvision_models import Architecture
from privbench.victims.traced import TracedModel

SHAPE, CLASSES = (3, 224, 224), 1000
TERMS = ("gflops", "weight_gbps", "activation_gbps")
COLUMNS = ["network", "ms"]
LEAST = 1e-6
"""Share of the time of some network under which a term is not determined."""


def fit(works: Sequence[Work], seconds: Sequence[float]) -> tuple[dict[str, float], float]:
    """Fit the constants of the latency model, by least squares of relative errors.

    Args:
        works: Of whole networks.
        seconds: Time of each on the device.

    Returns:
        Throughputs in 1e9 a second by term, and the error as a factor: ``exp`` of the root mean
        square of the logarithms of prediction over measurement.

    Raises:
        ValueError: for fewer networks than terms, and for a term that they do not determine.
    """
    if len(works) < len(TERMS):
        raise ValueError(f"calibration needs at least {len(TERMS)} networks, got {len(works)}")
    terms = np.array([[w.flops, w.weight_bytes, w.activation_bytes] for w in works]) / 1e9
    times = np.array(seconds)
    inverse, _ = nnls(terms / times[:, None], np.ones(len(times)))
    shares = (terms * inverse / times[:, None]).max(axis=0)
    if unknown := [name for name, share in zip(TERMS, shares, strict=True) if share < LEAST]:
        raise ValueError(
            f"these networks do not determine {', '.join(unknown)}: add networks that differ in "
            "weights and in size of features, such as alexnet, vgg16 and mobilenet_v2"
        )
    error = math.exp(float(np.sqrt(np.mean(np.log(terms @ inverse / times) ** 2))))
    return dict(zip(TERMS, (1 / inverse).tolist(), strict=True)), error


def read(path: Path) -> dict[str, float]:
    """Read a table of networks and milliseconds, columns ``network`` and ``ms``.

    Raises:
        ValueError: in one line, for other columns and for values that are no times.
    """
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        if table.fieldnames != COLUMNS:
            raise ValueError(f"calibrate={path} has columns {table.fieldnames}, expected {COLUMNS}")
        rows = list(table)
    try:
        found = {row["network"]: float(row["ms"]) for row in rows}
    except (ValueError, TypeError) as error:
        raise ValueError(f"calibrate={path}: {error}") from error
    if wrong := [name for name, value in found.items() if not 0 < value < math.inf]:
        raise ValueError(f"calibrate={path}: ms of {wrong[0]} is no number above 0")
    return found


def whole(network: str) -> Work:
    """Return the work of a classifier of torchvision on an image of 224x224.

    Raises:
        ValueError: for an unknown name.
    """
    build = partial(Architecture(network), SHAPE, CLASSES)
    with torch.device("meta"):
        model = TracedModel(build, SHAPE, CLASSES).eval()
    return count(model, SHAPE, CLASSES)[EDGE_ONLY].edge


def platform_yaml(name: str, times: Mapping[str, float], origin: str) -> str:
    """Return the yaml of a platform, for a folder that ``--config-dir`` names.

    Args:
        name: Of the platform.
        times: Milliseconds by network.
        origin: Where they come from.
    """
    works = [whole(network) for network in times]
    constants, error = fit(works, [value / 1e3 for value in times.values()])
    source = (
        f"fitted to {len(times)} networks of 224x224 in {origin}, in-sample error a factor of "
        f"{error:.2f}"
    )
    fields = {
        "_target_": "privbench.plan.profiles.Platform",
        "name": name,
        **{term: float(f"{value:.4g}") for term, value in constants.items()},
        "layer_us": 0.0,
        "active_w": None,
        "idle_w": None,
        "source": {**dict.fromkeys(TERMS, source), "layer_us": "not in the fit"},
    }
    header = f"# {name}, calibrated by python -m privbench.plan calibrate={origin}\n"
    return header + OmegaConf.to_yaml(fields)
