"""CIFAR-100: 60,000 colour photographs of 32x32 pixels in 100 classes (Krizhevsky, 2009)."""

from typing import ClassVar

from privbench.data.image_data import ImageData
from privbench.data.torchvision_sets import TorchvisionSource
from privbench.store.artifacts import Store


class Cifar100(TorchvisionSource):
    """50,000 training images, to divide between victim and adversary, and 10,000 test images."""

    version: ClassVar[str] = "cifar100-1"

    def layout(self) -> tuple[tuple[int, int, int], int]:
        """Return image shape ``(C, H, W)`` and number of classes, without reading images."""
        return (3, 32, 32), 100

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Read torchvision's files."""
        from torchvision.datasets import CIFAR100

        return self.read(CIFAR100)
