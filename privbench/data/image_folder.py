"""Image folders: any folder of classes, grey or colour, of any size."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from privbench.data.decoded_images import Side, read_folders
from privbench.data.image_data import Aux, ImageData, partition
from privbench.runtime.options import as_typed
from privbench.runtime.validation import VALIDATED, OptionalPositiveInt, Text
from privbench.store.artifacts import Store


def _require_shape(value: Any) -> tuple[Any, ...]:
    """Return a shape as a tuple: yaml gives a list, but sources must be hashable."""
    shape = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(
            f"dataset.shape={list(shape)} is not an image shape: choose [1,H,W] or [3,H,W]"
        )
    return shape


def _require_directory_name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(
            f"dataset.root must be a directory name, got {as_typed(value)}: "
            "type dataset.root=FOLDER, which holds train/<class>/* and test/<class>/*"
        )
    return value


@dataclass(frozen=True, config=VALIDATED)
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

    name: Text
    root: Annotated[str, BeforeValidator(_require_directory_name)]
    shape: Annotated[tuple[int, Side, Side], BeforeValidator(_require_shape)]
    skip_unreadable: bool
    aux: Aux
    aux_images: OptionalPositiveInt

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Decode the images, or take them from the store."""
        read = read_folders(
            Path(self.root).expanduser(),
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
