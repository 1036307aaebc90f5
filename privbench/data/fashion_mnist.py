"""Fashion-MNIST: 70,000 images of clothes of 28x28 pixels (Xiao, Rasul, Vollgraf, 2017)."""

from typing import ClassVar

from privbench.data.image_data import ImageData
from privbench.data.torchvision_sets import TorchvisionSource
from privbench.store.artifacts import Store


class FashionMnist(TorchvisionSource):
    """60,000 training images, to divide between victim and adversary, and 10,000 test images."""

    version: ClassVar[str] = "fashion_mnist-1"

    def layout(self) -> tuple[tuple[int, int, int], int]:
        """Return image shape ``(C, H, W)`` and number of classes, without reading images."""
        return (1, 28, 28), 10

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Read torchvision's files."""
        from torchvision.datasets import FashionMNIST

        return self.read(FashionMNIST)
