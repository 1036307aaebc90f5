"""Image folders: any folder of classes, grey or colour, of any size."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from privbench.data.decoded_images import read_folders
from privbench.data.image_data import ImageData, check_aux, partition
from privbench.runtime import checks
from privbench.store.artifacts import Store


@dataclass(frozen=True)
class ImageFolder:
    """Images in ``root/train/<class>/*`` and ``root/test/<class>/*``.

    Attributes:
        name: Name as in ``conf/dataset/``.
        root: The folder.
        shape: ``(C, H, W)`` of the decoded images: the centre is cropped to these proportions and
            resized; C is 1 for grey and 3 for colour.
        skip_unreadable: Leave out, and count, files that do not decode.
        aux: ``disjoint``, ``train`` or ``noise``.
        aux_images: Number of auxiliary images; null for a quarter of the training images.
    """

    version: ClassVar[str] = "image_folder-1"

    name: str
    root: str | None
    shape: tuple[int, int, int]
    skip_unreadable: bool
    aux: str
    aux_images: int | None

    def __post_init__(self) -> None:
        """Refuse values that are out of range."""
        shape = tuple(self.shape) if isinstance(self.shape, list | tuple) else (self.shape,)
        object.__setattr__(self, "shape", shape)  # yaml gives a list; sources must be hashable
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(
                f"dataset.shape={list(shape)} is not an image shape: choose [1,H,W] or [3,H,W]"
            )
        for size in shape[1:]:
            checks.whole("dataset.shape", size, 8, 1024)
        checks.flag("dataset.skip_unreadable", self.skip_unreadable)
        check_aux(self.aux, self.aux_images)
        checks.text("dataset.name", self.name)
        if not isinstance(self.root, str) or not self.root:
            raise ValueError(
                f"dataset.root must be a directory name, got {self.root}: type dataset.root=FOLDER,"
                " which holds train/<class>/* and test/<class>/*"
            )

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Decode the images, or take them from the store."""
        read = read_folders(
            Path(self.root or "").expanduser(),
            self.shape,
            store,
            show_progress=show_progress,
            skip_unreadable=self.skip_unreadable,
        )
        return partition(
            read.classes,
            read.train,
            read.test,
            aux=self.aux,
            aux_images=self.aux_images,
            notes=read.notes,
        )
