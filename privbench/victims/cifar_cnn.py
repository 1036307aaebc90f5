"""The paper's CIFAR-10 victim: six convolutions, two fully connected layers (Table II)."""

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

from torch import nn

from privbench.victims.chain import ChainModel, FlattenLinear
from privbench.victims.split_model import Normalize, require_min_size

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY_MEAN, GREY_STD = (0.449,), (0.226,)


class CifarCNN(ChainModel):
    """Three blocks of two 3x3 convolutions and a pooling, then two fully connected layers.

    Args:
        shape: Image shape ``(C, H, W)``, from 32 pixels up.
        classes: Number of classes.
        he_init: Initialise convolutions by He et al. (ICCV 2015, Eq. 10); otherwise as torch does.

    Raises:
        ValueError: for images under 32 pixels.
    """

    version: ClassVar[str] = "cifar_cnn-1"

    aliases: ClassVar[Mapping[str, str]] = {"early": "conv11", "middle": "relu22", "late": "fc1"}

    def __init__(self, shape: tuple[int, int, int], classes: int, *, he_init: bool = True) -> None:
        require_min_size("cifar_cnn", shape, 32)
        channels, height, width = shape
        grey = channels == 1
        layers: dict[str, nn.Module] = {
            "input": Normalize(GREY_MEAN if grey else MEAN, GREY_STD if grey else STD)
        }
        for block, (inner, outer) in enumerate(pairwise((channels, 64, 128, 128)), start=1):
            layers |= {
                f"conv{block}1": nn.Conv2d(inner, outer, 3, padding=1),
                f"relu{block}1": nn.ReLU(),
                f"conv{block}2": nn.Conv2d(outer, outer, 3, padding=1),
                f"relu{block}2": nn.ReLU(),
                f"pool{block}": nn.MaxPool2d(2),
            }
        layers |= {
            "fc1": FlattenLinear(128 * (height // 8) * (width // 8), 512),
            "fc1act": nn.Sigmoid(),
            "fc2": FlattenLinear(512, classes),
        }
        super().__init__(layers)
        for layer in layers.values():
            if he_init and isinstance(layer, nn.Conv2d):
                # torch's default initialisation scales activations by .4 in each convolution
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
