"""CIFAR-10: 60,000 colour photographs of 32x32 pixels (Krizhevsky, 2009)."""

from typing import ClassVar

from privbench.data.decoded_images import read_folders
from privbench.data.image_data import ImageData, partition
from privbench.data.torchvision_sets import TorchvisionSource
from privbench.store.artifacts import Store


class Cifar10(TorchvisionSource):
    """50,000 training images, to divide between victim and adversary, and 10,000 test images.

    Where ``root`` holds ``train/<class>/*`` and ``test/<class>/*`` instead of torchvision's files,
    these image files are read.
    """

    version: ClassVar[str] = "cifar10-1"

    def layout(self) -> tuple[tuple[int, int, int], int]:
        """Return image shape ``(C, H, W)`` and number of classes, without reading images."""
        return (3, 32, 32), 10

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Read torchvision's files, or a folder of images."""
        if (self.folder / "train").is_dir():
            read = read_folders(self.folder, (3, 32, 32), store, show_progress=show_progress)
            return partition(
                read.classes, read.train, read.test, aux=self.aux, aux_images=self.aux_images
            )
        from torchvision.datasets import CIFAR10

        return self.read(CIFAR10, alternative=" or train/<class>/* and test/<class>/*")
