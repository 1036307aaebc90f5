"""Shared part of the data sets that torchvision reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic.dataclasses import dataclass

from privbench.data.image_data import Aux, ImageData, LabelledPixels, partition
from privbench.runtime.downloads import describe_failure
from privbench.runtime.validation import VALIDATED, OptionalPositiveInt, Text


@dataclass(frozen=True, config=VALIDATED)
class TorchvisionSource:
    """A data set of torchvision, downloaded when it is absent.

    Attributes:
        name: Name as in ``conf/dataset/``.
        root: Folder of torchvision's files.
        aux: ``disjoint``, ``train`` or ``noise``.
        aux_images: Number of auxiliary images; null for a quarter of the training images.
    """

    name: Text
    root: Text
    aux: Aux
    aux_images: OptionalPositiveInt

    @property
    def folder(self) -> Path:
        """The root with ``~`` expanded."""
        return Path(self.root).expanduser()

    def read(self, dataset_class: Callable[..., Any], alternative: str = "") -> ImageData:
        """Read training and test images by a class of torchvision.

        Args:
            dataset_class: Such as ``torchvision.datasets.MNIST``.
            alternative: Other contents of ``root`` that are accepted, for the error.

        Raises:
            ValueError: where the files are absent and cannot be downloaded.
        """
        classes, training = self._read_half(dataset_class, True, alternative)
        _, test = self._read_half(dataset_class, False, alternative)
        return partition(classes, training, test, aux=self.aux, aux_images=self.aux_images)

    def _read_half(
        self, dataset_class: Callable[..., Any], train: bool, alternative: str
    ) -> tuple[list[str], LabelledPixels]:
        try:
            dataset = dataset_class(str(self.folder), train=train, download=False)
        except RuntimeError:
            dataset = self._download(dataset_class, train, alternative)
        images = torch.as_tensor(dataset.data)
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
        labels = torch.as_tensor(dataset.targets).long()
        return [str(name) for name in dataset.classes], (images, labels)

    def _download(self, dataset_class: Callable[..., Any], train: bool, alternative: str) -> Any:
        try:
            return dataset_class(str(self.folder), train=train, download=True)
        except (RuntimeError, OSError) as error:
            raise ValueError(
                f"dataset={self.name} is not in {self.folder} and cannot be downloaded "
                f"({describe_failure(error)}): type dataset.root=FOLDER for a folder that holds "
                f"torchvision's files{alternative}, or dataset=digits, which needs no download"
            ) from error
