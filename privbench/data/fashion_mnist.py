"""Fashion-MNIST: 70,000 pictures of clothes of 28x28 pixels (Xiao, Rasul, Vollgraf)."""

from typing import ClassVar

from privbench.data.image_data import ImageData
from privbench.data.torchvision_sets import TorchvisionSource
from privbench.store.artifacts import Store


class FashionMnist(TorchvisionSource):
    """60,000 images to deal out and 10,000 to test on."""

    version: ClassVar[str] = "fashion_mnist-1"

    def load(self, store: Store, *, watched: bool) -> ImageData:
        """Read torchvision's files."""
        from torchvision.datasets import FashionMNIST

        return self.read(FashionMNIST)
