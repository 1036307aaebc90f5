"""CelebA: 202,599 photographs of faces with 40 attributes (Liu et al., ICCV 2015)."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic.dataclasses import dataclass

from privbench.data.decoded_images import LabelledFiles, Side, read_files
from privbench.data.image_data import ImageData, partition
from privbench.data.torchvision_sets import TorchvisionSource
from privbench.runtime.validation import VALIDATED, OptionalPositiveInt, Text
from privbench.store.artifacts import Store


@dataclass(frozen=True, config=VALIDATED)
class CelebA(TorchvisionSource):
    """Aligned faces in the published halves, cropped to their central square and resized.

    Attributes, besides those of ``DownloadedSource``:
        attribute: One of the 40 attributes; the two classes are its absence and its presence.
        size: Side of an image in pixels.
        train_images: Number of training images, the first ones; null for all 162,770.
        test_images: Number of test images, the first ones; null for all 19,962.
    """

    version: ClassVar[str] = "celeba-1"

    attribute: Text
    size: Side
    train_images: OptionalPositiveInt
    test_images: OptionalPositiveInt

    def layout(self) -> tuple[tuple[int, int, int], int]:
        """Return image shape ``(C, H, W)`` and number of classes, without reading images."""
        return (3, self.size, self.size), 2

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Decode the images, or take them from the store.

        Raises:
            ValueError: for an unknown attribute, and where the files are absent.
        """
        from torchvision import datasets

        halves = {
            half: self._listed(self.open(datasets.CelebA, split=half), count)
            for half, count in (("train", self.train_images), ("test", self.test_images))
        }
        read = read_files(halves, (3, self.size, self.size), store, show_progress=show_progress)
        classes = [f"not {self.attribute}", self.attribute]
        return partition(classes, *read, aux=self.aux, aux_images=self.aux_images)

    def _listed(self, dataset: Any, count: int | None) -> LabelledFiles:
        """Return the files of one half with their labels."""
        names = [name for name in dataset.attr_names if name]
        if self.attribute not in names:
            raise ValueError(
                f"dataset.attribute={self.attribute} is not known: choose from {', '.join(names)}"
            )
        folder = Path(dataset.root) / dataset.base_folder / "img_align_celeba"
        labels = dataset.attr[:count, names.index(self.attribute)].tolist()
        return [folder / name for name in dataset.filename[:count]], labels
