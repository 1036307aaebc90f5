"""Memory formats in which convolutions are fast, and right."""

import torch
from torch import nn

SAFE = 16
"""Channels come in blocks of so many, at which the faulty kernel writes within its memory."""


def fast_memory_format(network: nn.Module) -> torch.memory_format:
    """Return channels last, unless the network has a convolution that fails in it on the CPU.

    The gradient of a strided 1x1 convolution, as in a residual network's shortcuts, overwrites
    foreign memory in torch 2.14 where its channels do not fill whole blocks.

    >>> fast_memory_format(nn.Conv2d(3, 8, 3, stride=2))
    torch.channels_last
    >>> fast_memory_format(nn.Conv2d(4, 8, 1, stride=2))
    torch.contiguous_format
    """
    if any(isinstance(layer, nn.Conv2d) and _fails(layer) for layer in network.modules()):
        return torch.contiguous_format
    return torch.channels_last


def _fails(layer: nn.Conv2d) -> bool:
    whole = layer.in_channels % SAFE == layer.out_channels % SAFE == 0
    return layer.kernel_size == (1, 1) and layer.stride != (1, 1) and not whole
