"""The training task of classifiers: cross-entropy, on augmented images if wanted."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from privbench.runtime.memory_format import fast_memory_format
from privbench.training.task import TrainingTask
from privbench.victims.split_model import SplitModel

Interpolation = Literal["bilinear", "nearest"]
"""How values between the pixels of an image are found."""


class ClassificationTask(TrainingTask):
    """Cross-entropy of a classifier's logits.

    Args:
        network: Trained in place.
        augment: Augment the images.
        mirror: Mirror them too.
        interpolation: Of augmented images.
        generator: Generator of the augmentation.
    """

    def __init__(
        self,
        network: SplitModel,
        *,
        augment: bool,
        generator: torch.Generator,
        mirror: bool = True,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        layout = fast_memory_format(network)
        super().__init__(network.to(memory_format=layout))
        self.memory_format = layout
        self.augment, self.generator = augment, generator
        self.mirror, self.interpolation = mirror, interpolation

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Compute ``loss`` and ``accuracy`` of images ``(B, C, H, W)`` with labels ``(B,)``."""
        images, labels = batch
        if self.augment:
            images = augmented(
                images, self.generator, mirror=self.mirror, interpolation=self.interpolation
            )
        logits = self.network(images.contiguous(memory_format=self.memory_format))
        loss = F.cross_entropy(logits, labels)
        return {"loss": loss, "accuracy": (logits.detach().argmax(1) == labels).float().mean()}


def augmented(
    images: Tensor,
    generator: torch.Generator,
    *,
    mirror: bool = True,
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """Flip, rotate, shift and scale each image at random: the paper's augmentation for CIFAR.

    Args:
        images: ``(B, C, H, W)``.
        generator: On the CPU, so that every device sees the same draws.
        mirror: Flip them; not where mirrored images are of another class.
        interpolation: How values between pixels are found: ``bilinear`` blurs images a little.

    Returns:
        Images of the same shape; black where the original image ends.
    """
    count = len(images)
    flip, turn, scale, right, down = torch.rand(5, count, generator=generator)
    angle = (turn - 0.5) * 2 * torch.pi * 10 / 180
    zoom = 1 / (0.9 + 0.2 * scale)
    side = torch.where(flip < 0.5, -1.0, 1.0) if mirror else torch.ones(count)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    # the grid spans [-1, 1]: a shift of 10 % of the image is 0.2 of it
    rows = [side * cos, -sin, (right - 0.5) * 0.4, side * sin, cos, (down - 0.5) * 0.4]
    maps = torch.stack(rows, dim=1).view(count, 2, 3).to(images.device, images.dtype)
    grid = nn.functional.affine_grid(maps, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, mode=interpolation, align_corners=False)
