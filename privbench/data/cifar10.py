"""CIFAR-10: 60,000 colour photographs of 32x32 pixels (Krizhevsky)."""

from typing import ClassVar

from privbench.data.image_data import ImageData, partition
from privbench.data.pictures import read_folders
from privbench.data.torchvision_sets import TorchvisionSource
from privbench.store.artifacts import Store


class Cifar10(TorchvisionSource):
    """50,000 images to deal out and 10,000 to test on.

    Where ``root`` holds ``train/<class>/*`` and ``test/<class>/*`` instead of torchvision's files,
    those pictures are read.
    """

    version: ClassVar[str] = "cifar10-1"

    def load(self, store: Store, *, watched: bool) -> ImageData:
        """Read torchvision's files, or pictures."""
        if (self.folder / "train").is_dir():
            read = read_folders(self.folder, (3, 32, 32), store, watched=watched)
            return partition(*read.halves, aux=self.aux, aux_images=self.aux_images)
        from torchvision.datasets import CIFAR10

        return self.read(CIFAR10, alternative=" or train/<class>/* and test/<class>/*")
