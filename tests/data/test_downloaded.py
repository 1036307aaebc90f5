"""Data sets of torchvision and scikit-learn, on small files of the same layout, written here."""

import pickle
from pathlib import Path
from urllib.error import URLError

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import _base
from torchvision import datasets

from privbench.data.image_data import Source
from privbench.store.artifacts import Store
from privbench.testing import DataSourceContract
from tests.support import instantiated

DRAW = np.random.default_rng(0)


def _cifar100(root: Path, monkeypatch) -> list[str]:
    """Pickled batches and names; their checksums are those of the whole data set."""
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", None]])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [["test", None]])
    monkeypatch.setitem(datasets.CIFAR100.meta, "md5", None)
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, count in (("train", 600), ("test", 100)):
        pixels = DRAW.integers(256, size=(count, 3072), dtype=np.uint8)
        entry = {"data": pixels, "fine_labels": [number % 100 for number in range(count)]}
        (folder / name).write_bytes(pickle.dumps(entry))
    names = [f"kind {number}" for number in range(100)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))
    return ["dataset.aux_images=100"]


def _svhn(root: Path, monkeypatch) -> list[str]:
    """Matlab files, images last, the digit 0 labelled 10."""
    root.mkdir(parents=True)
    for half, count in (("train", 60), ("test", 20)):
        entry = [None, f"{half}_32x32.mat", None]
        monkeypatch.setitem(datasets.SVHN.split_list, half, entry)
        pixels = DRAW.integers(256, size=(32, 32, 3, count), dtype=np.uint8)
        labels = np.arange(count)[:, None] % 10 + 1
        savemat(root / entry[1], {"X": pixels, "y": labels})
    return ["dataset.aux_images=20"]


def _celeba(root: Path, monkeypatch) -> list[str]:
    """Lists and JPEG files of 178x218; every second face is male."""
    files = [(None, None, name) for _, _, name in datasets.CelebA.file_list]
    monkeypatch.setattr(datasets.CelebA, "file_list", files)
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06}.jpg" for number in range(1, 31)]
    for name in names:
        pixels = DRAW.integers(256, size=(218, 178, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "img_align_celeba" / name)
    lists = {
        "list_attr_celeba.txt": ["30", "Young Male Smiling "]
        + [f"{name} -1 {1 if number % 2 else -1}  1" for number, name in enumerate(names)],
        "identity_CelebA.txt": [f"{name} 1" for name in names],
        "list_bbox_celeba.txt": ["30", "image_id x_1"] + [f"{name} 1" for name in names],
        "list_landmarks_align_celeba.txt": ["30", "eye_x"] + [f"{name} 1" for name in names],
        "list_eval_partition.txt": [f"{n} {0 if at < 20 else 2}" for at, n in enumerate(names)],
    }
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return ["dataset.train_images=16", "dataset.test_images=6", "dataset.aux_images=4"]


def _olivetti(root: Path, monkeypatch) -> list[str]:
    """A matrix with a face in a row."""
    root.mkdir(parents=True)
    joblib.dump(DRAW.random((400, 4096), dtype=np.float32), root / "olivetti_py3.pkz")
    return []


def _lfw(root: Path, monkeypatch) -> list[str]:
    """A folder for each person, one of whom has too few images."""
    folder = root / "lfw_home"
    for person, count in (("Ada_Lovelace", 8), ("Alan_Turing", 6), ("Someone_Else", 2)):
        (folder / "lfw_funneled" / person).mkdir(parents=True)
        for number in range(count):
            pixels = DRAW.integers(256, size=(250, 250, 3), dtype=np.uint8)
            path = folder / "lfw_funneled" / person / f"{person}_{number:04}.jpg"
            Image.fromarray(pixels).save(path)
    for name in ("pairsDevTrain.txt", "pairsDevTest.txt", "pairs.txt"):
        (folder / name).touch()
    return ["dataset.min_faces=5", "dataset.size=32"]


WRITERS = {
    "cifar100": _cifar100,
    "svhn": _svhn,
    "celeba": _celeba,
    "olivetti": _olivetti,
    "lfw": _lfw,
}
EXPECTED = {  # shape, classes, images of train, aux and test
    "cifar100": ((3, 32, 32), 100, (500, 100, 100)),
    "svhn": ((3, 32, 32), 10, (40, 20, 20)),
    "celeba": ((3, 64, 64), 2, (12, 4, 6)),
    "olivetti": ((1, 64, 64), 40, (210, 70, 120)),
    "lfw": ((3, 32, 32), 2, (9, 3, 2)),
}


@pytest.fixture(params=WRITERS)
def named(request, tmp_path, monkeypatch) -> tuple[str, Source]:
    """A name, and its source on small files."""
    root = tmp_path / "files"
    words = WRITERS[request.param](root, monkeypatch)
    return request.param, instantiated("dataset", request.param, f"dataset.root={root}", *words)


class TestDownloaded(DataSourceContract):
    """The contract, for each of them."""

    @pytest.fixture
    def subject_under_test(self, named) -> Source:
        return named[1]


def test_small_files_of_the_same_layout_are_read(named, tmp_path):
    """Shape, classes and sizes; every class is tested on."""
    name, source = named
    data = source.load(Store(tmp_path / "store"), show_progress=False)
    sizes = tuple(map(len, (data.train, data.aux, data.test)))
    assert (data.shape, len(data.classes), sizes) == EXPECTED[name]
    assert len(data.test.labels.unique()) == len(data.classes)
    assert data.train.pixels.dtype == torch.uint8


def test_an_attribute_of_celeba_is_its_label(tmp_path, monkeypatch):
    """One that does not exist is refused with the choices."""
    words = [f"dataset.root={tmp_path}", *_celeba(tmp_path, monkeypatch)]
    data = instantiated("dataset", "celeba", *words).load(Store(tmp_path), show_progress=False)
    assert data.classes == ("not Male", "Male")
    assert data.test.labels.tolist() == [0, 1, 0, 1, 0, 1]
    source = instantiated("dataset", "celeba", *words, "dataset.attribute=Bald")
    with pytest.raises(ValueError, match="dataset.attribute=Bald .* Young, Male, Smiling$"):
        source.load(Store(tmp_path), show_progress=False)


@pytest.mark.parametrize("name", WRITERS)
def test_files_that_are_not_to_be_had_are_named_in_one_line(name, tmp_path, monkeypatch):
    """With the reason of the failure; nothing is downloaded in a test."""

    def cut(*words, **settings):
        raise URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr("urllib.request.urlopen", cut)
    monkeypatch.setattr(_base, "urlretrieve", cut)
    monkeypatch.setattr(datasets.celeba, "download_file_from_google_drive", cut)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    source = instantiated("dataset", name, f"dataset.root={tmp_path}")
    with pytest.raises(ValueError, match=f"dataset={name} is not in .*Name or service") as caught:
        source.load(Store(tmp_path / "store"), show_progress=False)
    assert "dataset.root=FOLDER" in str(caught.value) and "\n" not in str(caught.value)
