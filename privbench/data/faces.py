"""Shared part of the face data sets that scikit-learn reads; the label is the person."""

import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from torch import Tensor

from privbench.data.downloaded import DownloadedSource
from privbench.data.image_data import ImageData, partition, with_test_set
from privbench.runtime.validation import VALIDATED


@dataclass(frozen=True, config=VALIDATED)
class FaceSource(DownloadedSource):
    """Faces of scikit-learn, downloaded when they are absent."""

    def fetch(self, fetch: Callable[..., Any], **options: Any) -> Any:
        """Read faces by a function of scikit-learn.

        Args:
            fetch: Such as ``sklearn.datasets.fetch_olivetti_faces``.
            options: Arguments of the function.

        Raises:
            ValueError: where the files are absent and cannot be downloaded.
        """
        try:
            # it prints the address of a download, and warns of every attempt that fails
            with redirect_stdout(sys.stderr), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Retry downloading")
                return fetch(data_home=str(self.folder), n_retries=1, **options)
        except OSError as error:
            raise self.unavailable(error, "scikit-learn's files") from error

    def divide(
        self, images: Tensor, people: NDArray[np.int64], names: list[str], test_images: int
    ) -> ImageData:
        """Hold out test images with the share of each person, and divide the others.

        Args:
            images: 8-bit ``(N, C, H, W)``.
            people: Index of each image's person ``(N,)``.
            names: Names of the people.
            test_images: Number of test images.
        """
        labels = torch.from_numpy(people).long()
        training, test = with_test_set(images, labels, test_images)
        return partition(names, training, test, aux=self.aux, aux_images=self.aux_images)


def to_8_bit(images: NDArray[np.float32]) -> Tensor:
    """Convert images in [0, 1] to 8-bit pixels."""
    return torch.from_numpy((images * 255).round().astype(np.uint8))
