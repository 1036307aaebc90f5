"""scikit-learn's digits: 1,797 handwritten digits that come with the package, so no download."""

from importlib.metadata import distribution
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from privbench.data.image_data import Aux, ImageData, partition, with_test_set
from privbench.runtime.validation import VALIDATED, OptionalPositiveInt, Text, expecting
from privbench.store.artifacts import Store

TEST_IMAGES = 360


@dataclass(frozen=True, config=VALIDATED)
class Digits:
    """8x8 pixels in 17 levels, upscaled to ``size`` x ``size``; a fifth of them is the test set.

    Attributes:
        name: Name as in ``conf/dataset/``.
        size: Side of an image in pixels.
        aux: ``disjoint``, ``train`` or ``noise``.
        aux_images: Number of auxiliary images; null for a quarter of the training images.
    """

    version: ClassVar[str] = "digits-1"

    name: Text
    size: Annotated[int, Field(ge=8, le=256), expecting("a whole number from 8 to 256")]
    aux: Aux
    aux_images: OptionalPositiveInt

    def layout(self) -> tuple[tuple[int, int, int], int]:
        """Return image shape ``(C, H, W)`` and number of classes, without reading images."""
        return (1, self.size, self.size), 10

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Read them from the installed package."""
        rows = torch.from_numpy(_rows())
        images = self._upscale(rows[:, :64].reshape(-1, 1, 8, 8).float() / 16)
        labels = rows[:, 64].long()
        training, test = with_test_set(images, labels, TEST_IMAGES)
        return partition(
            [str(digit) for digit in range(10)],
            training,
            test,
            aux=self.aux,
            aux_images=self.aux_images,
        )

    def _upscale(self, images: Tensor) -> Tensor:
        """Upscale ``(N, 1, 8, 8)`` in [0, 1] to ``(N, 1, size, size)``, 8-bit."""
        large = F.interpolate(
            images, size=(self.size, self.size), mode="bicubic", align_corners=False
        )
        return (large.clamp(0, 1) * 255).round().to(torch.uint8)


def _rows() -> NDArray[np.float64]:
    """Read 64 pixels from 0 to 16 and a label for each image ``(1797, 65)``.

    The package's own ``load_digits`` imports SciPy and pandas for seconds, to read the same file.
    """
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    if Path(str(file)).exists():
        return np.loadtxt(str(file), delimiter=",")
    from sklearn.datasets import load_digits

    dataset = load_digits()
    return np.column_stack([dataset.data, dataset.target])
