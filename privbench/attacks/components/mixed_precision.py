"""The edge in bf16, for descents that need no exact features."""

from collections import OrderedDict

import torch
from torch import Tensor, nn


class MixedPrecisionEdge(nn.Sequential):
    """An edge that multiplies in bf16, with features and gradients in float32.

    A part of it, such as ``edge[1:]``, does the same. Rounding limits how far features can be
    matched, and so the PSNR where it is high in float32: 65 dB for 83 at relu1 of LeNet-5, in the
    test; under 20 dB it costs little (``sweeps/he2020/README.md``, CIFAR-10).

    Args:
        layers: The edge's, by name.
    """

    @classmethod
    def of(cls, edge: nn.Sequential) -> "MixedPrecisionEdge":
        """Return an edge's layers, which it shares, in bf16."""
        return cls(OrderedDict(edge.named_children()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of images ``(N, C, H, W)``."""
        # without its cache, since a captured graph would keep weights of another step
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            for layer in self:
                x = layer(x)
        return x.float()
