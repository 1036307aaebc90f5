"""Memory that a data set takes: its pixels once, as 8-bit numbers, and floats where needed."""

import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from privbench.data.image_data import partition
from privbench.defenses.deployment import Deployment
from privbench.defenses.none import NoDefense
from privbench.evaluation import identification
from privbench.evaluation.identification import Candidates
from privbench.evaluation.utility import per_image_accuracy
from privbench.store.artifacts import Store
from privbench.threat import Access
from privbench.training.loop import Batches
from tests.support import granted, instantiated

COUNT, FEW = 2000, 40
SHAPE = (3, 64, 64)
BYTES = COUNT * 3 * 64 * 64
LARGEST = 300 / 246
"""Memory per byte of pixels: 20,000 images of 64x64 in colour are 246 MB, and must fit in 300."""


def _photos(root: Path, count: int) -> Path:
    """A folder of one image under many names."""
    root.mkdir()
    pixels = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "image.bmp")
    for half, share in (("train", 3), ("test", 1)):
        for label in ("cat", "dog"):
            (root / half / label).mkdir(parents=True)
            for number in range(count * share // 8):
                (root / half / label / f"{number}.bmp").hardlink_to(root / "image.bmp")
    return root


def _memory(name: str) -> int:
    """Bytes of memory by their name in Linux's status of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def _load(store: Path, root: Path) -> object:
    """Read the folder of images, decoded or from the store."""
    words = [f"dataset.root={root}", "dataset.shape=[3,64,64]"]
    data = instantiated("dataset", "image_folder", *words).load(Store(store), show_progress=False)
    assert len(data.train) + len(data.aux) + len(data.test) == int(root.name)
    return data


def _measure(results, make: Callable[[Any], object], few: Any, many: Any) -> None:
    """Send the bytes by which this process grows at most while it makes something of many images."""
    make(few)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew at the present size
    before = _memory("VmRSS")
    kept = make(many)
    results.put(_memory("VmHWM") - before)
    del kept


def _growth(make: Callable[[Any], object], few: Any, many: Any) -> int:
    """Return what ``_measure`` sends from a process that freed nothing."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=_measure, args=(results, make, few, many))
    process.start()
    process.join()
    assert process.exitcode == 0
    return results.get()


@pytest.mark.fault
@pytest.mark.parametrize("way", ["decoded", "read"])
def test_a_folder_of_images_is_in_memory_once(way, tmp_path):
    """While it is decoded, and while it is read from the store."""
    store = tmp_path / "store"
    few, many = (_photos(tmp_path / str(count), count) for count in (FEW, COUNT))
    if way == "read":
        _load(store, many)
    assert 0.5 * BYTES < _growth(partial(_load, store), few, many) < LARGEST * BYTES


def _pixels(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, *SHAPE).contiguous()


def _grant(count: int) -> object:
    """An adversary's view of auxiliary images, through an edge that is none."""
    deployment = Deployment(nn.Sequential(nn.Identity()), NoDefense(), nn.Sequential())
    return granted(deployment, _pixels(count), Access.AUX_IMAGES)


def _candidates(count: int) -> object:
    return Candidates.of(_pixels(count))


@pytest.mark.fault
@pytest.mark.parametrize(
    ("make", "floats"), [(_grant, 1), (_candidates, 1 + 58**2 / 64**2)], ids=["view", "gallery"]
)
def test_floats_are_in_memory_once(make, floats):
    """Of an adversary's images, and of a gallery's standardised images and central crops."""
    grown = _growth(make, FEW, COUNT) / BYTES
    assert 4 * floats < grown < 4 * floats + 2  # the pixels, and what a block takes


@pytest.mark.fault
def test_accuracy_is_measured_on_a_batch_of_floats_at_a_time():
    """As floats all pixels would take four times their memory."""
    pixels = torch.full((20, *SHAPE), 255, dtype=torch.uint8)
    seen = []

    def classify(images, rows):
        seen.append((images.dtype, len(images), float(images.max())))
        return images[:, None, :2, 0, 0]

    per_image_accuracy(classify, pixels, torch.zeros(20, dtype=torch.int64))
    assert seen == [(torch.float32, 16, 1.0), (torch.float32, 4, 1.0)]


def test_batches_of_pixels_are_batches_of_images():
    """Bit for bit; labels stay what they are."""
    pixels = torch.randint(256, (10, 1, 4, 4), dtype=torch.uint8)
    images, labels = pixels.float() / 255, torch.arange(10)
    assert Batches(pixels, labels, size=4).tensors[0] is pixels
    for (x, y), (expected, _) in zip(
        Batches(pixels, labels, size=4), Batches(images, labels, size=4), strict=True
    ):
        assert torch.equal(x, expected) and y.dtype == torch.int64


@pytest.mark.parametrize("count", [3, 7, 40])
def test_images_keep_their_labels_when_they_are_reordered(count):
    """Every image holds its label; the three subsets hold every image once."""
    labels = torch.arange(2 * count) % 2
    pixels = torch.arange(2 * count, dtype=torch.uint8).view(-1, 1, 1, 1)
    data = partition(
        ["a", "b"],
        (pixels.clone(), labels),
        (pixels[:2] + 100, labels[:2]),
        aux="disjoint",
        aux_images=None,
    )
    kept = torch.cat([data.aux.pixels, data.train.pixels]).flatten().tolist()
    assert sorted(kept) == list(range(2 * count))
    for subset in (data.train, data.aux):
        assert torch.equal(labels[subset.pixels.flatten().long()], subset.labels)


@pytest.mark.parametrize("count", [1, 2, 5, 64])
def test_a_gallery_is_prepared_in_blocks_as_it_would_be_at_once(count, monkeypatch):
    """Bit for bit, from pixels and from floats."""
    pixels = torch.randint(256, (count, 3, 17, 20), dtype=torch.uint8)
    floats = pixels.float() / 255
    monkeypatch.setattr(identification, "BLOCK", 1)
    for images in (pixels, floats):
        made = Candidates.of(images)
        assert torch.equal(made.pixels, identification.standardise(floats))
        assert torch.equal(made.crops, identification.central_crops(floats))


def test_an_attack_that_overwrites_its_images_has_a_copy():
    """Of floats; pixels are converted for it."""
    deployment = Deployment(nn.Sequential(nn.Identity()), NoDefense(), nn.Sequential())
    pixels = torch.full((2, 1, 4, 4), 51, dtype=torch.uint8)
    for images in (pixels, pixels.float() / 255):
        before = images.clone()
        seen = granted(deployment, images, Access.AUX_IMAGES).images
        assert torch.equal(seen, pixels.float() / 255)
        seen.zero_()
        assert torch.equal(images, before)
