"""Measurements on this machine: seconds of the edge, and features after compression."""

import json
import time
import zlib
from collections import defaultdict
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from privbench.plan.counts import Shape
from privbench.plan.names import EDGE_ONLY
from privbench.plan.walk import walk
from privbench.runtime.code_identity import identities
from privbench.runtime.device import DeviceConfig
from privbench.store import recipes
from privbench.store.artifacts import Artifact, Store
from privbench.victims.split_model import SplitModel

COMPRESSED_IMAGES = 64
LEVEL = 6
"""Of deflate, the default of zlib."""
WARM_UP = 2


def edge_ms(model: SplitModel, shape: Shape, runs: int) -> tuple[dict[str, float], int]:
    """Measure the edge at every split on the CPU, one image at a time.

    The seconds do not depend on the weights, which may be random.

    Args:
        model: In evaluation mode, on the CPU.
        shape: ``(C, H, W)`` of an image.
        runs: Number of passes, after two that are not counted.

    Returns:
        Median milliseconds from the image to the split by its name, ``edge-only`` for the whole
        network, and the number of threads.
    """
    threads = DeviceConfig("cpu").configure()
    seconds: dict[str, list[float]] = defaultdict(list)
    with torch.inference_mode():
        x = torch.rand(1, *shape)
        for _ in range(WARM_UP):
            walk(model, x, lambda name, value: None)
        for _ in range(runs):
            began = time.perf_counter()
            walk(model, x, lambda name, _: seconds[name].append(time.perf_counter() - began))  # noqa: B023
            seconds[EDGE_ONLY].append(time.perf_counter() - began)
    return {name: median(values) * 1e3 for name, values in seconds.items()}, threads


def is_kept(store: Path, victim: str, dataset: str) -> bool:
    """Return whether a store has any victim of these names, without reading the images."""
    for path in (store / recipes.VICTIMS).glob("*.json"):
        facts = json.loads(path.read_bytes()).get("facts", {})
        if (facts.get("victim"), facts.get("dataset")) == (victim, dataset):
            return True
    return False


def kept_victim(config: dict[str, Any], images: str, store: Store) -> Artifact | None:
    """Return the trained weights of a victim, of any number of threads; null where none are kept.

    Args:
        config: Of the plan.
        images: Fingerprint of the training images.
        store: Of the output directory.
    """
    sources = {
        **identities({"victim": config["victim"]}),
        **recipes.weights_of(config),
        "data.train": images,
    }
    wanted = recipes.victim_recipe(config, sources)
    for path in sorted((store.root / recipes.VICTIMS).glob("*.json")):
        recipe = json.loads(path.read_bytes())["recipe"]
        if {k: v for k, v in recipe.items() if k != "threads"} == wanted:
            return store.keep(recipes.VICTIMS, recipe, _refuse)
    return None


def _refuse() -> Artifact:
    raise ValueError("a victim of the store is damaged: run a cell of it, which trains it again")


def deflate_bits(model: SplitModel, x: Tensor) -> dict[str, float]:
    """Compress the features of trained weights: 8-bit levels, then deflate.

    The levels are those of the largest magnitude at the split over these images, which the edge is
    taken to know in advance. A defense is not in it: noise compresses worse.

    Args:
        model: Trained, in evaluation mode, on the CPU.
        x: Images ``(N, C, H, W)`` in [0, 1].

    Returns:
        Mean bits of an image, by layer or node.
    """
    found: dict[str, float] = {}

    def visit(name: str, value: Any) -> None:
        if isinstance(value, Tensor) and len(value) == len(x) and value.is_floating_point():
            found[name] = fmean(8 * len(zlib.compress(v.tobytes(), LEVEL)) for v in _levels(value))

    with torch.inference_mode():
        walk(model, x, visit)
    return found


def _levels(value: Tensor) -> np.ndarray[Any, np.dtype[np.int8]]:
    largest = float(value.abs().max()) or 1.0
    levels: np.ndarray[Any, np.dtype[np.int8]] = (
        (value / largest * 127).round().to(torch.int8).numpy()
    )
    return levels
