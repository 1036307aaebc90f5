"""Shared part of the data sets that torchvision reads."""

from collections.abc import Callable
from typing import Any

import torch
from pydantic.dataclasses import dataclass

from privbench.data.downloaded import DownloadedSource
from privbench.data.image_data import ImageData, LabelledPixels, partition
from privbench.runtime.validation import VALIDATED


@dataclass(frozen=True, config=VALIDATED)
class TorchvisionSource(DownloadedSource):
    """A data set of torchvision, downloaded when it is absent."""

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

    def open(self, dataset_class: Callable[..., Any], alternative: str = "", **half: Any) -> Any:
        """Open one half of a data set of torchvision; download it where it is absent.

        Args:
            dataset_class: Its class.
            alternative: Other contents of ``root`` that are accepted, for the error.
            half: The class's argument for the half, such as ``train=True`` or ``split="test"``.

        Raises:
            ValueError: where the files are absent and cannot be downloaded.
        """
        try:
            return dataset_class(str(self.folder), **half, download=False)
        except RuntimeError:
            return self._download(dataset_class, alternative, half)

    def _read_half(
        self, dataset_class: Callable[..., Any], train: bool, alternative: str
    ) -> tuple[list[str], LabelledPixels]:
        dataset = self.open(dataset_class, alternative, train=train)
        images = torch.as_tensor(dataset.data)
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
        labels = torch.as_tensor(dataset.targets).long()
        return [str(name) for name in dataset.classes], (images, labels)

    def _download(
        self, dataset_class: Callable[..., Any], alternative: str, half: dict[str, Any]
    ) -> Any:
        try:
            return dataset_class(str(self.folder), **half, download=True)
        except (RuntimeError, OSError) as error:
            raise self.unavailable(error, f"torchvision's files{alternative}") from error
