"""Evaluation classifier: recognises labels in reconstructions, independently of the victim.

Its architecture differs from every victim's, its seed from every cell's, and it is trained
separately (Zhang et al., CVPR 2020: attack accuracy by an evaluation classifier).
"""

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from privbench.runtime.hashing import derive_seed
from privbench.victims.chain import ChainModel, FlattenLinear
from privbench.victims.split_model import Normalize
from privbench.victims.training import VictimConfig

SEED = derive_seed(0, "judge")
"""Seed outside the range of cells' seeds, which have 32 bits."""
SIDE = 64
"""Pixels of an image's longer side that suffice to recognise its label."""


def averaged(shape: tuple[int, int, int]) -> int:
    """Return the side of the squares of pixels that the classifier averages, for an image shape.

    >>> [averaged((3, side, side)) for side in (28, 64, 127, 128, 224)]
    [1, 1, 1, 2, 3]
    """
    return max(1, max(shape[1:]) // SIDE)


class EvaluationClassifier(ChainModel):
    """Three strided convolutions, each normalised within its image, and the mean over positions.

    Batch statistics would be those of clean images: a classifier with batch normalisation
    recognises three in ten class means, this one all of them. Images whose longer side has 128
    pixels or more are averaged down first: labels are recognised there as well, in a ninth of the
    time at 224.

    Args:
        shape: Image shape ``(C, H, W)``.
        classes: Number of classes.
    """

    version: ClassVar[str] = "judge-1"

    aliases: ClassVar[Mapping[str, str]] = {"early": "conv1", "middle": "relu2", "late": "pool"}

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        channels = shape[0]
        layers: dict[str, nn.Module] = {
            "input": Normalize((0.5,) * channels, (0.5,) * channels),
        }
        if (factor := averaged(shape)) > 1:
            layers["average"] = nn.AvgPool2d(factor)
        for block, width in enumerate((16, 32, 64), start=1):
            layers |= {
                f"conv{block}": nn.Conv2d(channels, width, 5, stride=2, padding=2, bias=False),
                f"norm{block}": nn.GroupNorm(8, width),
                f"relu{block}": nn.ReLU(),
            }
            channels = width
        super().__init__(
            {**layers, "pool": nn.AdaptiveAvgPool2d(1), "fc": FlattenLinear(channels, classes)}
        )


EVALUATION_CLASSIFIER = VictimConfig(
    name="evaluation classifier",
    model=EvaluationClassifier,
    epochs=3,
    min_steps=200,
    batch=128,
    lr=4e-3,
    weight_decay=1e-2,
    augment=False,
    precision="32-true",
)
"""Recipe of its training, on the victim's training images."""
