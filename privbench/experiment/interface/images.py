"""Images that a caller holds in memory, checked, in the place of the data set."""

from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, TypeGuard, cast

import numpy as np
import torch
from torch import Tensor

from privbench.data.image_data import ImageData, Subset, stratified, subset_of
from privbench.experiment.interface.network import GivenNetwork
from privbench.runtime.errors import UserError
from privbench.store.artifacts import Store

Labelled = Tensor | tuple[Tensor, Tensor]
"""Images ``(N, C, H, W)``, uint8 or in [0, 1], with their labels ``(N,)`` or without."""


@dataclass(frozen=True, eq=False)
class GivenImages:
    """Images in memory as the data set.

    Attributes:
        name: For messages.
        data: Its subsets; ``test`` holds the targets.
    """

    version: ClassVar[str] = "given_images-2"

    name: str
    data: ImageData

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Return the data."""
        return self.data

    def described(self) -> dict[str, Any]:
        """Describe them for keys, which contain the fingerprints besides."""
        return {"_target_": f"{__name__}.{type(self).__name__}", "name": self.name}


class AbsentImages:
    """Stands for training images that were not given."""

    fingerprint = "absent"

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse to be read.

        Raises:
            UserError: naming the argument.
        """
        raise UserError(
            "this defense trains or measures on the victim's training images: pass "
            "train=(images, labels), or aux= the name of a data set that has them"
        )


def given_data(
    targets: Subset, aux: Subset | None, train: Subset | None, classes: int, seed_text: str
) -> ImageData:
    """Return a data set of given images.

    Args:
        targets: The images to attack.
        aux: Images of the adversary; without any, a black one tells a view the shape.
        train: Images of the victim; without any, their use is an error.
        classes: Number of classes.
        seed_text: Of ``ImageData``.

    Raises:
        ValueError: where an adversary would hold a target, or shapes differ.
    """
    names = class_names(classes)
    for name, subset in (("aux", aux), ("train", train)):
        if subset is not None:
            _require_same_shape(name, subset.pixels, targets.pixels)
    if aux is not None:
        _require_no_target(aux.pixels, targets.pixels)
    black = subset_of(names, torch.zeros_like(targets.pixels[:1]), torch.zeros(1).long())
    known = train or cast("Subset", AbsentImages())
    return ImageData(tuple(names), known, aux or black, targets, seed_text=seed_text)


def class_names(classes: int) -> list[str]:
    """Name classes by their numbers."""
    return [str(number) for number in range(classes)]


def labelled(
    name: str,
    given: Labelled,
    network: GivenNetwork,
    classes: int,
    device: torch.device,
    like: Tensor,
) -> Subset:
    """Return images with their labels, or with the network's answers where they have none.

    They are in a random order whose every part has the class shares of the whole.

    Args:
        name: Of the argument, for errors.
        given: Images, or images and labels.
        network: Answers.
        classes: Number of its logits.
        device: Where it answers.
        like: The targets, whose shape they must have.

    Raises:
        ValueError: in one line, naming the argument.
    """
    images, labels = given if has_labels(given) else (given, None)
    pixels = checked_pixels(name, images)
    _require_same_shape(name, pixels, like)
    if labels is None:
        found = network.logits(pixels, device).argmax(1)
    else:
        found = checked_labels(name, labels, len(pixels), classes)
    if name == "aux":
        _require_no_target(pixels, like)  # in the caller's order, which the error names
    # parts are held out and measured on by position: every part has the classes of the whole
    order = stratified(found, np.random.default_rng(0))
    return subset_of(class_names(classes), pixels[order], found[order])


def has_labels(given: object) -> TypeGuard[tuple[Tensor, Tensor]]:
    """Return whether images come with labels."""
    return isinstance(given, tuple | list) and len(given) == 2


def checked_pixels(name: str, images: Any) -> Tensor:
    """Return images as a tensor on the CPU, uint8 or float32 in [0, 1].

    Args:
        name: Of the argument, for the error.
        images: A tensor or an array ``(N, C, H, W)``.

    Raises:
        ValueError: in one line, for another shape, type or range.
    """
    try:
        x = torch.as_tensor(images).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(images).__name__
        raise ValueError(f"{name} must be a tensor (N, C, H, W), got {kind}") from error
    if x.dim() != 4 or not len(x):
        raise ValueError(f"{name} must have the shape (N, C, H, W), got {tuple(x.shape)}")
    if not (x.dtype == torch.uint8 or x.is_floating_point()):
        raise ValueError(f"{name} must be uint8 or float in [0, 1], got {x.dtype}")
    return x if x.dtype == torch.uint8 else _in_range(name, x.float())


def _in_range(name: str, x: Tensor) -> Tensor:
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and high <= 1):  # which NaN fails too
        raise ValueError(
            f"{name} must lie in [0, 1], got {low:g} to {high:g}: pass images without "
            "normalisation, and its constants as mean= and std="
        )
    return x


def checked_labels(name: str, labels: Any, count: int, classes: int) -> Tensor:
    """Return labels as int64 ``(N,)``.

    Raises:
        ValueError: in one line, for another number, or for a class that the model lacks.
    """
    found = torch.as_tensor(labels).detach().cpu()
    if found.shape != (count,) or found.is_floating_point():
        got = f"{tuple(found.shape)} {found.dtype}"
        raise ValueError(f"{name}: expected {count} whole numbers as labels, got {got}")
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= classes:
        raise ValueError(f"{name}: labels {low} to {high} do not fit the model's {classes} logits")
    return found.long()


def _require_same_shape(name: str, pixels: Tensor, like: Tensor) -> None:
    got, expected = tuple(pixels.shape[1:]), tuple(like.shape[1:])
    if got != expected:
        raise ValueError(f"{name} has images of shape {got}, the targets have {expected}")


def _require_no_target(aux: Tensor, targets: Tensor) -> None:
    """Refuse images of the adversary that contain a target."""
    held = {_bytes(row): number for number, row in enumerate(targets)}
    for number, row in enumerate(aux):
        if (target := held.get(_bytes(row))) is not None:
            raise ValueError(
                f"image {number} of aux is target {target}: no adversary holds a target, leave it "
                "out of either"
            )


def _bytes(image: Tensor) -> bytes:
    """Return the 8-bit pixels of an image."""
    pixels = image if image.dtype == torch.uint8 else (image * 255).round().to(torch.uint8)
    return pixels.contiguous().numpy().tobytes()
