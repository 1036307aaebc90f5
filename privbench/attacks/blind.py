"""Answers that look at no feature: the floor under every score."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from privbench import checks
from privbench.attacks.base import Reconstruct
from privbench.threat import Access, View

ANSWERS = ("black", "grey", "mean", "class_mean")


@dataclass(frozen=True)
class Blind:
    """The same image for every target, or for every class that the cloud predicts.

    Attributes:
        answer: ``black``, ``grey`` (0.5), ``mean`` of the auxiliary images, or ``class_mean``, the
            mean of those of the class that the cloud predicts.
    """

    version: ClassVar[str] = "blind-1"

    answer: str = "class_mean"

    def __post_init__(self) -> None:
        """Refuse an unknown answer."""
        checks.choice("attack.answer", self.answer, ANSWERS)

    @property
    def access(self) -> Access:
        """Constants need no right, means the auxiliary images."""
        if self.answer == "class_mean":
            return Access.AUX_IMAGES | Access.AUX_LABELS
        return Access.AUX_IMAGES if self.answer == "mean" else Access.NONE

    def fit(self, view: View) -> Reconstruct:
        """Average what is to be averaged."""
        if self.answer == "class_mean":
            return self._class_means(view)
        if self.answer == "mean":
            image = view.images.mean(0)
        else:
            level = 0.0 if self.answer == "black" else 0.5
            image = torch.full(view.image_shape, level, device=view.device)
        return lambda v: image.expand(len(v), *image.shape).clone()

    def _class_means(self, view: View) -> Reconstruct:
        mean = view.images.mean(0)
        cloud, means = view.cloud, {}
        for label in view.labels.unique().tolist():
            means[label] = view.images[view.labels == label].mean(0)

        @torch.no_grad()
        def reconstruct(v: Tensor) -> Tensor:
            predicted = cloud(v.flatten(0, 1)).unflatten(0, v.shape[:2]).mean(1).argmax(1)
            # a class the adversary has no image of is answered with the mean of all
            return torch.stack([means.get(label, mean) for label in predicted.tolist()])

        return reconstruct
