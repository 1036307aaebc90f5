"""ResNet-18 for small images, He et al. (CVPR 2016), with the stem of its CIFAR variants."""

from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from privbench.victims.split_model import require_min_size
from privbench.victims.traced import TracedModel

STAGES = 4


class ResNet18(TracedModel):
    """A 3x3 convolution without pooling, then four stages of two basic blocks.

    Args:
        shape: Image shape ``(C, H, W)``, from 16 pixels up.
        classes: Number of classes.
        width: Channels of the first stage; each later one has twice as many. 64 as published.

    Raises:
        ValueError: for images under 16 pixels.
    """

    version: ClassVar[str] = "resnet18-1"

    def __init__(self, shape: tuple[int, int, int], classes: int, *, width: int = 64) -> None:
        require_min_size("resnet18", shape, 16)
        channels = shape[0]
        super().__init__(
            partial(_network, channels, classes, width),
            shape,
            classes,
            (0.5,) * channels,
            (0.5,) * channels,
            {"early": "relu", "middle": "layer2", "late": "layer4"},
        )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: torchvision's block, whose import takes seconds.

    Args:
        inner: Channels of its input.
        outer: Channels of its output.
        stride: Of the first convolution.
        shortcut: Brings the input to the output's shape; null for the identity.
    """

    def __init__(
        self, inner: int, outer: int, stride: int = 1, shortcut: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(N, C, H, W)``."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        summed: Tensor = self.relu(out + shortcut)
        return summed


def _network(channels: int, classes: int, width: int) -> nn.Module:
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(channels, width, 3, padding=1, bias=False),
        "bn1": nn.BatchNorm2d(width),
        "relu": nn.ReLU(),
    }
    inner = width
    for stage in range(STAGES):
        outer, stride = width << stage, 1 if stage == 0 else 2
        shortcut = None
        if stage > 0:
            shortcut = nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride=stride, bias=False), nn.BatchNorm2d(outer)
            )
        first, second = BasicBlock(inner, outer, stride, shortcut), BasicBlock(outer, outer)
        layers[f"layer{stage + 1}"] = nn.Sequential(first, second)
        inner = outer
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    layers["fc"] = nn.Linear(inner, classes)
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    for layer in network.modules():
        # on the meta device there is nothing to draw, and normal_ would import torch.compile
        if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return network
