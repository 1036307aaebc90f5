"""The contract of a data source."""

from pathlib import Path

import pytest
import torch

from privbench.data.image_data import ImageData, Source
from privbench.store.artifacts import Store
from privbench.testing.contract import Contract


class DataSourceContract(Contract):
    """Contract of a data source.

    Attributes:
        subject: A source whose auxiliary images are disjoint from the victim's.
    """

    @pytest.fixture
    def data(self, subject_under_test: Source, tmp_path: Path) -> ImageData:
        """Return the images of the source."""
        return subject_under_test.load(Store(tmp_path), show_progress=False)

    def test_its_subsets_are_disjoint(self, data: ImageData) -> None:
        """Training, auxiliary and test images have no image in common."""
        train, aux, test = (
            {image.numpy().tobytes() for image in subset.pixels}
            for subset in (data.train, data.aux, data.test)
        )
        assert not train & aux
        assert not train & test
        assert not aux & test

    def test_its_images_are_in_range_with_a_label_each(self, data: ImageData) -> None:
        """Float32 in [0, 1] of one shape; every label is the index of a class."""
        for subset in (data.train, data.aux, data.test):
            images = subset.images
            assert images.dtype == torch.float32
            assert 0 <= float(images.min()) <= float(images.max()) <= 1
            assert images.shape == (len(subset.labels), *data.shape)
            assert 0 <= int(subset.labels.min()) <= int(subset.labels.max()) < len(data.classes)

    def test_it_reads_the_same_images_again(
        self, data: ImageData, subject_under_test: Source, tmp_path: Path
    ) -> None:
        """From an empty store too: the fingerprints enter the keys of results."""
        again = subject_under_test.load(Store(tmp_path / "empty"), show_progress=False)
        for name in ("train", "aux", "test"):
            assert getattr(again, name).fingerprint == getattr(data, name).fingerprint
