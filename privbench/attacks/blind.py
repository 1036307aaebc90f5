"""Blind baselines: reconstructions that use at most the cloud's output for a target."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.attacks.base import Reconstruct
from privbench.attacks.components import class_images
from privbench.attacks.components.class_images import ClassImages
from privbench.runtime.errors import UnsuitableAttackError
from privbench.runtime.validation import VALIDATED
from privbench.threat import Access, AdversaryView

CONSTANT = ("black", "grey", "mean")
"""Answers that do not depend on the target."""
LABEL_ONLY = (*CONSTANT, "class_mean", "class_ssim")
"""Answers that depend on the target by the predicted label only."""
Answer = Literal["black", "grey", "mean", "class_mean", "class_ssim", "logits"]
ANSWERS: tuple[Any, ...] = get_args(Answer)
NEAREST = 10
"""Auxiliary images of nearest logits that are averaged."""
BATCH = 256


@dataclass(frozen=True, config=VALIDATED)
class Blind:
    """The same image for every target, or for every class that the cloud predicts.

    Attributes:
        answer: ``black``, ``grey`` (0.5) or ``mean`` of the auxiliary images; ``class_mean``, the
            mean of those of the class that the cloud predicts, or ``class_ssim``, the image with
            the highest mean SSIM to them; ``logits``, the mean of the 10 auxiliary images whose
            undefended logits are nearest to those that the cloud computes for the target.
    """

    version: ClassVar[str] = "blind-1"

    answer: Answer = "class_mean"

    @property
    def access(self) -> Access:
        """Rights: none for constants, auxiliary images for means, clean queries for logits."""
        return {
            "mean": Access.AUX_IMAGES,
            "class_mean": Access.AUX_IMAGES | Access.AUX_LABELS,
            "class_ssim": Access.AUX_IMAGES | Access.AUX_LABELS,
            "logits": Access.AUX_IMAGES | Access.CLEAN_QUERIES,
        }.get(self.answer, Access.NONE)

    def check(self, view: AdversaryView) -> None:
        """Refuse logits behind a defense whose features the undefended edge does not give.

        Raises:
            UnsuitableAttackError: naming both shapes and the choices.
        """
        if self.answer != "logits":
            return
        clean = tuple(view.clean_query(view.images[:1]).shape[1:])
        if clean != view.feature_shape:
            others = ", ".join(answer for answer in ANSWERS if answer != "logits")
            raise UnsuitableAttackError(
                f"attack.answer=logits compares undefended features, of shape {clean}, and the "
                f"defense sends {view.feature_shape}: choose from {others}"
            )

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Compute the answers, and return the reconstructor."""
        if self.answer == "class_mean":
            return _class_means(view)
        if self.answer == "class_ssim":
            return _class_ssim(view)
        if self.answer == "logits":
            return _nearest(view)
        if self.answer == "mean":
            image = view.images.mean(0)
        else:
            level = 0.0 if self.answer == "black" else 0.5
            image = torch.full(view.image_shape, level, device=view.device)
        return lambda v: image.expand(len(v), *image.shape).clone()


FROM_IMAGES = {
    "baseline": "class_ssim",
    "code": Blind.version,
    "steps": class_images.STEPS,
    "lr": class_images.LR,
    "images": [class_images.LEAST, class_images.MOST, class_images.VALUES],
}
"""Recipe of the answers that depend on nothing of the view but the auxiliary images."""


def _logits(cloud: nn.Module, v: Tensor) -> Tensor:
    """Return the cloud's logits ``(N, classes)``, averaged over each image's transmissions."""
    logits: Tensor = cloud(v.flatten(0, 1)).unflatten(0, v.shape[:2]).mean(1)
    return logits


def _class_means(view: AdversaryView) -> Reconstruct:
    mean = view.images.mean(0)
    cloud, means = view.cloud, {}
    for label in view.labels.unique().tolist():
        means[label] = view.images[view.labels == label].mean(0)

    @torch.no_grad()
    def reconstruct(v: Tensor) -> Tensor:
        predicted = _logits(cloud, v).argmax(1)
        # the mean of all stands for a class without auxiliary images
        return torch.stack([means.get(label, mean) for label in predicted.tolist()])

    return reconstruct


def _class_ssim(view: AdversaryView) -> Reconstruct:
    answers = ClassImages(view.labels, view.image_shape, view.device)

    def optimise() -> dict[str, int]:
        answers.fill(view.images, view.labels)
        return {}

    view.fit_or_load(FROM_IMAGES, answers, optimise)
    cloud = view.cloud

    @torch.no_grad()
    def reconstruct(v: Tensor) -> Tensor:
        x_hat: Tensor = answers(_logits(cloud, v).argmax(1))
        return x_hat

    return reconstruct


LOGITS = "logits-2"
"""Version of the stored logits."""


class _AuxLogits(nn.Module):
    """Undefended logits of the auxiliary images ``(M, classes)``, as a module for the store."""

    logits: Tensor

    @torch.no_grad()
    def __init__(self, view: AdversaryView) -> None:
        super().__init__()
        probe = torch.zeros(1, *view.feature_shape, device=view.device)
        shape = len(view.images), *view.cloud(probe).shape[1:]
        self.register_buffer("logits", torch.zeros(shape, device=view.device))

    @torch.no_grad()
    def fill(self, images: Tensor, query: Callable[[Tensor], Tensor], cloud: nn.Module) -> None:
        """Compute the logits of every image from queries to the edge."""
        for part, kept in zip(images.split(BATCH), self.logits.split(BATCH), strict=True):
            kept.copy_(cloud(query(part)))


def _nearest(view: AdversaryView) -> Reconstruct:
    known, query, images, cloud = _AuxLogits(view), view.clean_query, view.images, view.cloud

    def compute() -> dict[str, int]:
        known.fill(images, query, cloud)
        return {}

    view.fit_or_load({"baseline": "logits", "code": LOGITS}, known, compute)
    count = min(NEAREST, len(images))

    @torch.no_grad()
    def reconstruct(v: Tensor) -> Tensor:
        # without matrix products, whose rounding would depend on the number of targets
        exact = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(_logits(cloud, v), known.logits, compute_mode=exact)
        rows = distances.topk(count, largest=False).indices
        return torch.stack([images[row].mean(0) for row in rows])

    return reconstruct
