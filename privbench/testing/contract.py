"""The base of contracts, and the images that they use."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

TARGETS, TRANSMISSIONS, AUX_IMAGES, CLASSES = 4, 2, 96, 10
IMAGE_SHAPE = (1, 28, 28)
SPLIT = "relu2"


def smooth_images(count: int, shape: tuple[int, int, int] = IMAGE_SHAPE, seed: int = 1) -> Tensor:
    """Return images ``(count, *shape)`` in [0, 1] of one smooth disc each."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(count, 2, 1, 1, generator=generator) * 0.4 + 0.3
    rows = torch.linspace(0, 1, height).view(1, height, 1) - centres[:, 0]
    columns = torch.linspace(0, 1, width).view(1, 1, width) - centres[:, 1]
    discs = torch.sigmoid(8 - 8 * (rows.square() + columns.square()) / 0.05)
    return discs[:, None].repeat(1, channels, 1, 1)


class Contract:
    """Base of the contracts.

    Attributes:
        subject: The object under test.
    """

    subject: ClassVar[Any]

    @pytest.fixture
    def subject_under_test(self) -> Any:
        """Return the object under test."""
        return self.subject
