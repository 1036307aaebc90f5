"""LeNet-5, the paper's MNIST victim (He et al. Table II)."""

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from privbench.victims.chain import ChainModel, FlattenLinear
from privbench.victims.split_model import Normalize, require_min_size


class LeNet5(ChainModel):
    """Two 5x5 convolutions and three fully connected layers, for images from 28 pixels up.

    Args:
        shape: Image shape ``(C, H, W)``.
        classes: Number of classes.

    Raises:
        ValueError: for images under 28 pixels.
    """

    version: ClassVar[str] = "lenet5-1"

    aliases: ClassVar[Mapping[str, str]] = {"early": "conv1", "middle": "relu2", "late": "fc1"}

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        require_min_size("lenet5", shape, 28)
        channels, height, width = shape
        halved = [((size - 4) // 2 - 4) // 2 for size in (height, width)]
        super().__init__(
            {
                "input": Normalize((0.5,) * channels, (0.5,) * channels),
                "conv1": nn.Conv2d(channels, 8, 5),
                "relu1": nn.ReLU(),
                "pool1": nn.MaxPool2d(2),
                "conv2": nn.Conv2d(8, 16, 5),
                "relu2": nn.ReLU(),
                "pool2": nn.MaxPool2d(2),
                "fc1": FlattenLinear(16 * halved[0] * halved[1], 120),
                "fc1act": nn.ReLU(),
                "fc2": FlattenLinear(120, 84),
                "fc2act": nn.ReLU(),
                "fc3": FlattenLinear(84, classes),
            }
        )
