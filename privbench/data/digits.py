"""scikit-learn's digits: 1,797 handwritten digits that come with the package, so no download."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from privbench.data.image_data import (
    PARTITION_SEED,
    ImageData,
    check_aux,
    partition,
    stratified,
)
from privbench.runtime import checks
from privbench.store.artifacts import Store

TEST_IMAGES = 360


@dataclass(frozen=True)
class Digits:
    """8x8 pixels in 17 levels, upscaled to ``size`` x ``size``; a fifth of them is the test set.

    Attributes:
        name: Name as in ``conf/dataset/``.
        size: Side of an image in pixels.
        aux: ``disjoint``, ``train`` or ``noise``.
        aux_images: Number of auxiliary images; null for a quarter of the training images.
    """

    version: ClassVar[str] = "digits-1"

    name: str
    size: int
    aux: str
    aux_images: int | None

    def __post_init__(self) -> None:
        """Refuse values that are out of range."""
        checks.text("dataset.name", self.name)
        checks.whole("dataset.size", self.size, 8, 256)
        check_aux(self.aux, self.aux_images)

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Read them from the installed package."""
        from sklearn.datasets import load_digits

        dataset = load_digits()
        images = self._upscale(torch.from_numpy(dataset.images).float()[:, None] / 16)
        labels = torch.from_numpy(dataset.target).long()
        order = torch.tensor(stratified(labels, np.random.default_rng([PARTITION_SEED, 2])))
        test, training = order[:TEST_IMAGES], order[TEST_IMAGES:]
        return partition(
            [str(digit) for digit in range(10)],
            (images[training], labels[training]),
            (images[test], labels[test]),
            aux=self.aux,
            aux_images=self.aux_images,
        )

    def _upscale(self, images: Tensor) -> Tensor:
        """Upscale ``(N, 1, 8, 8)`` in [0, 1] to ``(N, 1, size, size)``, 8-bit."""
        large = F.interpolate(
            images, size=(self.size, self.size), mode="bicubic", align_corners=False
        )
        return (large.clamp(0, 1) * 255).round().to(torch.uint8)
