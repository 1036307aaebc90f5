"""scikit-learn's digits: 1,797 real handwritten ones inside the package, so no download."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from privbench.data.image_data import (
    PARTITION_SEED,
    ImageData,
    check_dealing,
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
        name: As in ``conf/dataset/``.
        size: Pixels a side.
        aux: ``disjoint``, ``train`` or ``noise``.
        aux_images: How many; null for a quarter of the training images.
    """

    version: ClassVar[str] = "digits-1"

    name: str
    size: int
    aux: str
    aux_images: int | None

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        checks.text("dataset.name", self.name)
        checks.whole("dataset.size", self.size, 8, 256)
        check_dealing(self.aux, self.aux_images)

    def load(self, store: Store, *, watched: bool) -> ImageData:
        """Read them from the package."""
        from sklearn.datasets import load_digits

        held = load_digits()
        small = torch.from_numpy(held.images).float()[:, None] / 16
        large = F.interpolate(
            small, size=(self.size, self.size), mode="bicubic", align_corners=False
        )
        images = (large.clamp(0, 1) * 255).round().to(torch.uint8)
        labels = torch.from_numpy(held.target).long()
        order = torch.tensor(stratified(labels, np.random.default_rng([PARTITION_SEED, 2])))
        tested, trained = order[:TEST_IMAGES], order[TEST_IMAGES:]
        return partition(
            [str(digit) for digit in range(10)],
            (images[trained], labels[trained]),
            (images[tested], labels[tested]),
            aux=self.aux,
            aux_images=self.aux_images,
        )
