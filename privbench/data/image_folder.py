"""One's own images: any folder of classes, grey or colour, of any size."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from privbench.data.image_data import ImageData, check_dealing, partition
from privbench.data.pictures import read_folders
from privbench.runtime import checks
from privbench.store.artifacts import Store


@dataclass(frozen=True)
class ImageFolder:
    """Pictures in ``root/train/<class>/*`` and ``root/test/<class>/*``.

    Attributes:
        name: As in ``conf/dataset/``.
        root: Their folder.
        shape: ``(C, H, W)`` that every picture is brought to: its middle is cut to the proportions
            and resized; C is 1 for grey and 3 for colour.
        skip_unreadable: Leave out, and count, what does not decode.
        aux: ``disjoint``, ``train`` or ``noise``.
        aux_images: How many; null for a quarter of the training images.
    """

    version: ClassVar[str] = "image_folder-1"

    name: str
    root: str | None
    shape: tuple[int, int, int]
    skip_unreadable: bool
    aux: str
    aux_images: int | None

    def __post_init__(self) -> None:
        """Refuse what is out of range, and a folder that is none."""
        shape = tuple(self.shape) if isinstance(self.shape, list | tuple) else (self.shape,)
        object.__setattr__(self, "shape", shape)  # yaml has lists, a key wants what hashes
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(
                f"dataset.shape={list(shape)} is no image's: choose [1,H,W] or [3,H,W]"
            )
        for size in shape[1:]:
            checks.whole("dataset.shape", size, 8, 1024)
        checks.flag("dataset.skip_unreadable", self.skip_unreadable)
        check_dealing(self.aux, self.aux_images)
        checks.text("dataset.name", self.name)
        if not isinstance(self.root, str) or not self.root:
            raise ValueError(
                f"dataset.root={self.root} is no folder: type dataset.root=FOLDER, which holds "
                "train/<class>/* and test/<class>/*"
            )

    def load(self, store: Store, *, watched: bool) -> ImageData:
        """Decode the pictures, or take them from the store."""
        read = read_folders(
            Path(self.root or "").expanduser(),
            self.shape,
            store,
            watched=watched,
            skip_unreadable=self.skip_unreadable,
        )
        return partition(*read.halves, aux=self.aux, aux_images=self.aux_images, notes=read.notes)
