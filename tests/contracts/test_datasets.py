"""The contract of a data source, for every yaml of the group."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from privbench.data.image_data import Source
from privbench.testing import DataSourceContract
from tests.support import cell_spec, instantiated, needs_mnist, options

DOWNLOADED = (
    "celeba", "cifar10", "cifar100", "fashion_mnist", "lfw", "mnist", "olivetti", "svhn",
)  # fmt: skip


class TestDigits(DataSourceContract):
    """scikit-learn's digits, which need no download."""

    subject = instantiated("dataset", "digits")


@needs_mnist
class TestMnist(DataSourceContract):
    """MNIST, where ``PRIVBENCH_DATA`` holds it."""

    subject = instantiated("dataset", "mnist")


class TestImageFolder(DataSourceContract):
    """A folder of two classes of random images."""

    @pytest.fixture
    def subject_under_test(self, tmp_path: Path) -> Source:
        generator = np.random.default_rng(0)
        for part, count in (("train", 8), ("test", 3)):
            for kind in ("cat", "dog"):
                folder = tmp_path / "images" / part / kind
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = generator.integers(256, size=(40, 40, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.png")
        return instantiated("dataset", "image_folder", f"dataset.root={tmp_path / 'images'}")


@pytest.mark.parametrize("name", options("dataset"))
def test_a_data_sets_yaml_builds_its_source(name):
    """By the file's name; only a folder of images must be given by its user."""
    words = ["dataset.root=/nowhere"] if name == "image_folder" else []
    source = instantiated("dataset", name, *words)
    assert source.name == name
    assert source.aux == "disjoint"


@pytest.mark.parametrize("name", DOWNLOADED)
def test_downloaded_data_sets_share_one_folder(name, monkeypatch):
    """``PRIVBENCH_DATA``."""
    monkeypatch.setenv("PRIVBENCH_DATA", "/some/folder")
    assert str(instantiated("dataset", name).root) == "/some/folder"


@pytest.mark.parametrize("name", options("dataset"))
def test_a_data_set_has_a_victim_of_its_own(name):
    """LeNet-5 for small grey images."""
    grey = name in ("digits", "fashion_mnist", "mnist")
    words = [f"dataset={name}", *(["dataset.root=/nowhere"] if name == "image_folder" else [])]
    default = cell_spec(Path("unused"), *words)
    assert default.choices["victim"] == default.config["victim"]["name"]
    assert default.choices["victim"] == ("lenet5" if grey else "cifar_cnn")


def test_a_typed_victim_replaces_the_one_of_the_data_set():
    """In either order of the two on the command line."""
    words = ["dataset=cifar10", "victim=lenet5_paper"]
    for typed in (words, words[::-1]):
        assert cell_spec(Path("unused"), *typed).config["victim"]["name"] == "lenet5_paper"
