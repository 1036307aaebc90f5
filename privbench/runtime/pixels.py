"""Conversion of 8-bit pixels, a batch at a time: images are held in a quarter of the memory."""

import torch
from torch import Tensor


def in_unit_range(x: Tensor) -> Tensor:
    """Convert 8-bit pixels to float32 in [0, 1]; return any other tensor as it is.

    >>> in_unit_range(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([0., 1.])
    """
    return x.float().div_(255) if x.dtype == torch.uint8 else x
