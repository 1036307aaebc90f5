"""SVHN: colour photographs of house numbers, 32x32 pixels (Netzer et al., 2011)."""

from typing import Any, ClassVar

import numpy as np
import torch

from privbench.data.image_data import ImageData, LabelledPixels, partition
from privbench.data.torchvision_sets import TorchvisionSource
from privbench.store.artifacts import Store


class SVHN(TorchvisionSource):
    """73,257 training images, to divide between victim and adversary, and 26,032 test images."""

    version: ClassVar[str] = "svhn-1"

    def layout(self) -> tuple[tuple[int, int, int], int]:
        """Return image shape ``(C, H, W)`` and number of classes, without reading images."""
        return (3, 32, 32), 10

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Read torchvision's files; the label is the digit in the middle."""
        from torchvision import datasets

        training, test = (
            _pixels(self.open(datasets.SVHN, split=half)) for half in ("train", "test")
        )
        classes = [str(digit) for digit in range(10)]
        return partition(classes, training, test, aux=self.aux, aux_images=self.aux_images)


def _pixels(dataset: Any) -> LabelledPixels:
    images = torch.from_numpy(np.ascontiguousarray(dataset.data))
    return images, torch.as_tensor(dataset.labels).long()
