"""What every data source ends in, and how its images are dealt out."""

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privbench.runtime import checks
from privbench.store.artifacts import Store

AUX = ("disjoint", "train", "noise")
Place = Callable[[NDArray[np.int64], int], NDArray[np.float64] | NDArray[np.int64]]
PARTITION_SEED = 20_201_122
"""Seed of the dealing into parts: a data set is cut the same way whatever a cell's seed is."""


@dataclass(frozen=True, eq=False)
class Subset:
    """Images ``(N, C, H, W)`` in [0, 1], float32, their labels ``(N,)``, int64, and their hash."""

    images: Tensor
    labels: Tensor
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images in memory, in three parts that share none (but ``aux="train"``, which says so).

    Attributes:
        classes: Names, in the order of the labels.
        train: The victim's.
        aux: The adversary's.
        test: Where targets and usability come from.
        notes: What reading them brought up, e.g. pictures that were skipped.
    """

    classes: tuple[str, ...]
    train: Subset
    aux: Subset
    test: Subset
    notes: dict[str, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""
        channels, height, width = self.test.images.shape[1:]
        return channels, height, width

    def choose(
        self, count: int, named: Sequence[int] | None, seed: int, include: Sequence[int] = ()
    ) -> list[int]:
        """Indices of the targets within the test images.

        Args:
            count: How many, balanced over the classes as far as these go; a smaller count is the
                beginning of a larger one.
            named: Instead of ``count``, the indices themselves.
            seed: Of the draw.
            include: Indices that are among the ``count``, at their head.

        Raises:
            ValueError: naming what was asked for and how many there are.
        """
        held = len(self.test)
        if named is not None:
            _require_indices("target_indices", named, held)
            return list(named)
        if not max(1, len(include)) <= count <= held:
            least = max(1, len(include))
            raise ValueError(f"targets={count}: choose {least} to {held}, the size of the test set")
        order = balanced(self.test.labels, np.random.default_rng([seed, PARTITION_SEED]))
        if not include:
            return order[:count]
        _require_indices("include", include, held)
        chosen, labels = list(include), self.test.labels.tolist()
        room = Counter(labels[index] for index in order[:count])
        room.subtract(labels[index] for index in chosen)
        others = [index for index in order if index not in set(include)]
        for index in others:
            if room[labels[index]] > 0 and len(chosen) < count:
                chosen.append(index)
                room[labels[index]] -= 1
        # where the included ones crowd a class, the rest comes from any other
        left = [index for index in others if index not in set(chosen)]
        return chosen + left[: count - len(chosen)]


class Source(Hashable, Protocol):
    """A frozen dataclass that reads one data set."""

    @property
    def name(self) -> str:
        """As in ``conf/dataset/``."""

    def load(self, store: Store, *, watched: bool) -> ImageData:
        """Read everything.

        Raises:
            ValueError: what is wrong and what to type, in one line.
        """


def _require_indices(option: str, indices: Sequence[int], held: int) -> None:
    wrong = [index for index in indices if not _is_index(index, held)]
    if wrong or not indices or len(set(indices)) < len(indices):
        listed = ",".join(map(str, indices))
        raise ValueError(f"{option}=[{listed}]: choose different numbers from 0 to {held - 1}")


def _is_index(value: object, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count


def check_dealing(aux: str, aux_images: int | None) -> None:
    """Refuse settings of the auxiliary set that are out of range."""
    checks.choice("dataset.aux", aux, AUX)
    if aux_images is not None:
        checks.whole("dataset.aux_images", aux_images, 1)


def partition(
    classes: Sequence[str],
    training: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    aux: str,
    aux_images: int | None,
    notes: dict[str, int] | None = None,
) -> ImageData:
    """Deal training images out to victim and adversary.

    The victim's part is the same for every ``aux``, so that rows of a table share their victim.

    Args:
        classes: Their names.
        training: 8-bit images ``(N, C, H, W)`` and labels ``(N,)``.
        test: The same, for the test.
        aux: ``disjoint``: images the victim never sees; ``train``: some of the victim's own;
            ``noise``: uniformly random images with random labels.
        aux_images: How many; null for a quarter of the training images.
        notes: What reading brought up.

    Raises:
        ValueError: where a class has too few images.
    """
    images, labels = training
    wanted = aux_images if aux_images is not None else len(labels) // 4
    for index, name in enumerate(classes):
        held, tested = int((labels == index).sum()), int((test[1] == index).sum())
        if held < 2 or tested < 1:
            raise ValueError(
                f"class {name!r} has too few images: {held} to train on and {tested} to test on, "
                "where it needs at least 2 and 1"
            )
    if wanted > len(labels) - 2 * len(classes):
        raise ValueError(
            f"dataset.aux_images={wanted} leaves the victim too few of {len(labels)} images: "
            f"choose 1 to {len(labels) - 2 * len(classes)}"
        )
    order = stratified(labels, np.random.default_rng(PARTITION_SEED))
    kept, given = order[wanted:], order[:wanted]
    parts = [_rows(training, kept), _rows(training, given), test]
    if aux == "train":
        if wanted > len(kept):
            raise ValueError(
                f"dataset.aux_images={wanted}: choose 1 to {len(kept)}, the victim's images"
            )
        parts[1] = _rows(training, kept[:wanted])
    elif aux == "noise":
        parts[1] = _noise(images.shape[1:], wanted, len(classes))
    train, given_part, tested_part = (_ready(classes, *part) for part in parts)
    return ImageData(tuple(classes), train, given_part, tested_part, notes or {})


def _ready(classes: Sequence[str], images: Tensor, labels: Tensor) -> Subset:
    """8-bit images to [0, 1], under the hash of what they are."""
    digest = hashlib.sha256(repr((tuple(classes), tuple(images.shape))).encode())
    for tensor in (images, labels.long()):
        digest.update(tensor.contiguous().numpy().data)
    return Subset(images.float().div_(255), labels.long(), digest.hexdigest()[:20])


def _rows(training: tuple[Tensor, Tensor], rows: list[int]) -> tuple[Tensor, Tensor]:
    """Some of the images with their labels."""
    picked = torch.tensor(rows, dtype=torch.int64)
    return training[0][picked], training[1][picked]


def _noise(shape: Sequence[int], count: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng([PARTITION_SEED, 1])
    pixels = generator.integers(256, size=(count, *shape), dtype=np.uint8)
    return torch.from_numpy(pixels), torch.from_numpy(generator.integers(classes, size=count))


def balanced(labels: Tensor, generator: np.random.Generator) -> list[int]:
    """All indices in an order whose every beginning holds classes equally often."""
    return _ordered(labels, generator, lambda rank, held: rank)


def stratified(labels: Tensor, generator: np.random.Generator) -> list[int]:
    """All indices in an order whose every beginning holds classes as often as the whole does."""
    return _ordered(labels, generator, lambda rank, held: (rank + 0.5) / held)


def _ordered(labels: Tensor, generator: np.random.Generator, place: Place) -> list[int]:
    values = labels.numpy()
    places = np.empty(len(values))
    for label in np.unique(values):
        rows = generator.permutation(np.flatnonzero(values == label))
        places[rows] = place(np.arange(len(rows)), len(rows))
    return [int(row) for row in np.lexsort((values, places))]
