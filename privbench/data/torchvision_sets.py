"""What the data sets that torchvision reads have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from privbench.data.image_data import ImageData, check_dealing, partition
from privbench.runtime import checks


@dataclass(frozen=True)
class TorchvisionSource:
    """A data set of torchvision's, downloaded when it is absent.

    Attributes:
        name: As in ``conf/dataset/``.
        root: Folder that torchvision keeps its files in.
        aux: ``disjoint``, ``train`` or ``noise``.
        aux_images: How many; null for a quarter of the training images.
    """

    name: str
    root: str
    aux: str
    aux_images: int | None

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        checks.text("dataset.name", self.name)
        checks.text("dataset.root", self.root)
        check_dealing(self.aux, self.aux_images)

    @property
    def folder(self) -> Path:
        """The root, ``~`` spelt out."""
        return Path(self.root).expanduser()

    def read(self, kind: Callable[..., Any], alternative: str = "") -> ImageData:
        """Both halves by one of torchvision's classes.

        Raises:
            ValueError: where the files are neither there nor to be had.
        """
        halves = [self._half(kind, train, alternative) for train in (True, False)]
        classes, tensors = halves[0][0], [half[1] for half in halves]
        return partition(classes, *tensors, aux=self.aux, aux_images=self.aux_images)

    def _half(
        self, kind: Callable[..., Any], train: bool, alternative: str
    ) -> tuple[list[str], tuple[Tensor, Tensor]]:
        try:
            held = kind(str(self.folder), train=train, download=False)
        except RuntimeError:
            held = self._download(kind, train, alternative)
        images = torch.as_tensor(held.data)
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
        labels = torch.as_tensor(held.targets).long()
        return [str(name) for name in held.classes], (images, labels)

    def _download(self, kind: Callable[..., Any], train: bool, alternative: str) -> Any:
        try:
            return kind(str(self.folder), train=train, download=True)
        except (RuntimeError, OSError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"dataset={self.name} is not in {self.folder} and cannot be downloaded ({reason}): "
                f"type dataset.root=FOLDER for a folder that holds torchvision's files{alternative}"
                ", or dataset=digits, which needs no download"
            ) from error
