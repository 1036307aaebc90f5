"""Image folders, torchvision's files, and the errors of files that are absent or broken."""

import os
import re
import tarfile
import time
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from privbench.data import decoded_images, digits
from privbench.data.cifar10 import Cifar10
from privbench.data.fashion_mnist import FashionMnist
from privbench.data.image_folder import ImageFolder
from privbench.data.mnist import Mnist
from privbench.runtime.validation import describe
from privbench.store.artifacts import Store
from tests.support import needs_mnist

FACES = Path(os.environ.get("PRIVBENCH_DATA", "absent")) / "orl-faces.tar.gz"


def _folder(root: Path, classes=("cat", "dog"), train=6, test=3, kind="png") -> Path:
    draw = np.random.default_rng(0)
    for half, count in (("train", train), ("test", test)):
        for label in classes:
            folder = root / half / label
            folder.mkdir(parents=True)
            for i in range(count):
                size = (int(draw.integers(20, 60)), int(draw.integers(20, 60)), 3)
                pixels = draw.integers(256, size=size, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:02}.{kind}")
    return root


def _source(folder: Path | None, **changes) -> ImageFolder:
    settings = {
        "name": "image_folder",
        "root": folder and str(folder),
        "shape": (3, 32, 32),
        "skip_unreadable": False,
        "aux": "disjoint",
        "aux_images": 2,
    }
    return ImageFolder(**{**settings, **changes})


def _load(source, tmp_path: Path):
    return source.load(Store(tmp_path / "store"), show_progress=False)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 30)])
def test_pictures_of_any_size_become_the_shape_that_was_asked_for(tmp_path, shape):
    """Grey or colour, dealt out into three parts."""
    data = _load(_source(_folder(tmp_path / "photos"), shape=shape), tmp_path)
    assert data.shape == shape
    assert data.classes == ("cat", "dog")
    assert (len(data.train), len(data.aux), len(data.test)) == (10, 2, 6)


@pytest.mark.skipif(not FACES.is_file(), reason="PRIVBENCH_DATA holds no orl-faces.tar.gz")
def test_the_faces_of_the_orl_archive_are_a_folder_of_images(tmp_path):
    """Four of its forty people, 92x112 pixels in grey; no face is in two subsets."""
    people = ("s01", "s02", "s03", "s04")
    with tarfile.open(FACES) as archive:
        chosen = [one for one in archive.getmembers() if Path(one.name).parent.name in people]
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.2
        archive.extractall(tmp_path, chosen, **safe)
    data = _load(_source(tmp_path / "orl-faces", shape=(1, 64, 64), aux_images=8), tmp_path)
    assert (data.classes, data.shape) == (people, (1, 64, 64))
    assert (len(data.train), len(data.aux), len(data.test)) == (20, 8, 12)
    assert data.aux.labels.bincount().tolist() == [2] * 4
    assert data.test.labels.bincount().tolist() == [3] * 4
    pixels = torch.cat([part.pixels for part in (data.train, data.aux, data.test)])
    assert len(pixels.unique(dim=0)) == 40
    assert all(20 < float(face.float().std()) < 100 for face in pixels)


def test_pictures_are_decoded_once_until_one_changes(tmp_path, monkeypatch):
    """The second start reads the store; a new time of a file is seen."""
    root = _folder(tmp_path / "photos")
    first = _load(_source(root), tmp_path)
    calls = []
    decode = decoded_images.decode_image
    monkeypatch.setattr(decoded_images, "decode_image", lambda *a: calls.append(a) or decode(*a))
    again = _load(_source(root), tmp_path)
    assert not calls
    assert again.train.fingerprint == first.train.fingerprint
    os.utime(root / "train" / "cat" / "00.png", (time.time(), time.time() + 5))
    _load(_source(root), tmp_path)
    assert len(calls) == 18


def test_a_picture_of_the_right_size_is_read_as_it_is(tmp_path):
    """Grey into colour, 16 bits by their depth, transparency and orientation without a crash."""
    grey = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(decoded_images.decode_image(tmp_path / "grey.png", (1, 32, 32))[0], grey)
    assert np.array_equal(decoded_images.decode_image(tmp_path / "grey.png", (3, 32, 32))[2], grey)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(decoded_images.decode_image(tmp_path / "deep.png", (1, 32, 32))[0], grey)
    turned = Image.fromarray(grey)
    exif = turned.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(
        decoded_images.decode_image(tmp_path / "turned.png", (1, 32, 32))[0], np.rot90(grey, -1)
    )
    Image.fromarray(np.dstack([grey] * 4), "RGBA").save(tmp_path / "clear.png")
    assert decoded_images.decode_image(tmp_path / "clear.png", (3, 32, 32)).shape == (3, 32, 32)


def test_an_unreadable_picture_is_named_or_skipped_and_counted(tmp_path):
    """By default it stops the run."""
    root = _folder(tmp_path / "photos")
    broken = root / "train" / "dog" / "03.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(
        ValueError, match=f"{broken} does not decode as an image .*skip_unreadable=true"
    ):
        _load(_source(root), tmp_path)
    data = _load(_source(root, skip_unreadable=True), tmp_path)
    assert data.notes == {"skipped": 1}
    assert len(data.train) + len(data.aux) == 11


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"root": None},
            "dataset.root must be a directory name, got null: type dataset.root=FOLDER",
        ),
        ({"shape": (2, 32, 32)}, r"dataset.shape=\[2, 32, 32\] is not an image shape"),
        ({"shape": (3, 2, 32)}, "dataset.shape=2 is out of range"),
        ({"aux": "mine"}, "dataset.aux=mine is not known: choose from disjoint, train, noise"),
        ({"aux_images": 0}, "dataset.aux_images=0 is out of range"),
        ({"skip_unreadable": 1}, "dataset.skip_unreadable=1 is not known: choose from true, false"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_read(tmp_path, change, line):
    """In one line."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its line is what is compared
        _source(tmp_path, **change)
    assert re.match(line, describe(refused.value, "dataset"))


def test_folders_that_are_missing_or_empty_are_named(tmp_path):
    """And a class with too few images, and an auxiliary set that leaves the victim none."""
    with pytest.raises(ValueError, match=r"nowhere/train is missing: .*train/<class>"):
        _load(_source(tmp_path / "nowhere"), tmp_path)
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match="empty/train is empty"):
        _load(_source(tmp_path / "empty"), tmp_path)
    few = _folder(tmp_path / "few", train=1)
    with pytest.raises(ValueError, match="class 'cat' has too few images: 1 to train on"):
        _load(_source(few), tmp_path)
    with pytest.raises(ValueError, match="dataset.aux_images=11 leaves the victim too few of 12"):
        _load(_source(_folder(tmp_path / "p"), aux_images=11), tmp_path)


def test_cifar10_reads_a_folder_of_pictures_where_one_is(tmp_path):
    """Instead of torchvision's files."""
    root = _folder(tmp_path / "cifar", classes=("airplane", "automobile"), kind="jpg")
    data = _load(Cifar10("cifar10", str(root), "disjoint", 2), tmp_path)
    assert data.shape == (3, 32, 32)
    assert data.classes == ("airplane", "automobile")


def test_a_data_set_that_is_not_to_be_had_says_what_to_type(tmp_path, monkeypatch):
    """With the reason of the failure; nothing is downloaded in a test."""

    def cut(*words, **settings):
        raise URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr("urllib.request.urlopen", cut)
    with pytest.raises(
        ValueError,
        match=r"dataset=mnist is not in .*Name or service not known.* dataset.root=FOLDER",
    ):
        _load(Mnist("mnist", str(tmp_path), "disjoint", 100), tmp_path)


@needs_mnist
def test_mnist_is_read_in_its_published_order(tmp_path):
    """The ten published test images are the ten digits."""
    data = _load(Mnist("mnist", os.environ["PRIVBENCH_DATA"], "disjoint", 10_000), tmp_path)
    assert (len(data.train), len(data.aux), len(data.test)) == (50_000, 10_000, 10_000)
    assert data.test.labels[[3, 2, 1, 18, 4, 8, 11, 0, 61, 7]].tolist() == list(range(10))
    assert data.aux.labels.bincount(minlength=10).min() > 800
    chosen = data.select_targets(20, None, seed=0)
    assert data.test.labels[chosen].bincount().tolist() == [2] * 10
    assert data.select_targets(64, None, seed=0)[:20] == chosen
    few = [data.test.labels[data.select_targets(4, None, seed)].tolist() for seed in range(20)]
    assert all(len(set(labels)) == 4 for labels in few)
    assert {label for labels in few for label in labels} == set(range(10))  # seeds widen the sample
    assert data.select_targets(20, None, seed=1) != chosen
    assert torch.equal(data.test.images[0], (data.test.images[0] * 255).round() / 255)
    assert data.train.pixels.dtype == data.aux.pixels.dtype == torch.uint8


def _idx(values: np.ndarray) -> bytes:
    """An array as an idx file holds it."""
    head = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    return head + values.astype(np.uint8).tobytes()


@pytest.mark.parametrize(("source", "folder"), [(Mnist, "MNIST"), (FashionMnist, "FashionMNIST")])
def test_torchvisions_files_are_read_where_they_lie(tmp_path, source, folder):
    """Small ones of the same layout, written here; nothing is downloaded."""
    raw = tmp_path / folder / "raw"
    raw.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for half, count in (("train", 60), ("t10k", 20)):
        images = draw.integers(256, size=(count, 28, 28))
        (raw / f"{half}-images-idx3-ubyte").write_bytes(_idx(images))
        (raw / f"{half}-labels-idx1-ubyte").write_bytes(_idx(np.arange(count) % 10))
    data = _load(source("any", str(tmp_path), "disjoint", 20), tmp_path)
    assert (len(data.train), len(data.aux), len(data.test)) == (40, 20, 20)
    assert data.shape == (1, 28, 28)
    assert torch.equal(data.test.images[:, 0] * 255, torch.from_numpy(images).float())
    assert len(data.classes) == 10


def test_digits_are_read_from_the_file_or_by_scikit_learn(monkeypatch):
    """The same numbers; the file spares the import."""
    rows = digits._rows()
    monkeypatch.setattr(digits.Path, "exists", lambda path: False)
    assert np.array_equal(rows, digits._rows())
    assert rows.shape == (1797, 65)
