"""Labelled images in memory, and their partition among victim, adversary and test."""

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privbench.runtime.pixels import in_unit_range
from privbench.store.artifacts import Store

Aux = Literal["disjoint", "train", "noise"]
"""Images of the adversary, see ``partition``."""
PARTITION_SEED = 20_201_122
"""Seed of the partition: a data set is divided the same way whatever a cell's seed is."""

LabelledPixels = tuple[Tensor, Tensor]
"""8-bit images ``(N, C, H, W)`` and their labels ``(N,)``."""
RankToPosition = Callable[[NDArray[np.int64], int], NDArray[np.float64] | NDArray[np.int64]]
"""Sort key of a class's images from their ranks and their number."""


@dataclass(frozen=True, eq=False)
class Subset:
    """Images with their labels.

    Attributes:
        pixels: ``(N, C, H, W)``, uint8, a quarter of the memory that float32 takes.
        labels: ``(N,)``, int64.
        fingerprint: Hash of classes, pixels and labels.
    """

    pixels: Tensor
    labels: Tensor
    fingerprint: str

    @property
    def images(self) -> Tensor:
        """Images ``(N, C, H, W)`` in [0, 1], float32; a new tensor at each access."""
        return in_unit_range(self.pixels)

    def at(self, rows: Sequence[int]) -> Tensor:
        """Return some of the images in [0, 1]; only these are converted."""
        return in_unit_range(self.pixels[list(rows)])

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set in three disjoint subsets (``aux="train"`` and ``"noise"`` replace ``aux``).

    Attributes:
        classes: Names, in the order of the labels.
        train: Images that the victim is trained on.
        aux: Images that the adversary holds.
        test: Images that targets are selected from and accuracy is measured on.
        notes: Counts for the record, e.g. ``skipped`` unreadable files.
        seed_text: Text that all seeds derive from, besides the cell's; where it is empty, the
            fingerprint of the test images, which no adversary holds.
    """

    classes: tuple[str, ...]
    train: Subset
    aux: Subset
    test: Subset
    notes: dict[str, int] = field(default_factory=dict)
    seed_text: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""
        channels, height, width = self.test.pixels.shape[1:]
        return channels, height, width

    def select_targets(
        self, count: int, named: Sequence[int] | None, seed: int, include: Sequence[int] = ()
    ) -> list[int]:
        """Select the images to attack.

        Args:
            count: Number of targets, balanced over the classes as far as these suffice; a smaller
                selection is the beginning of a larger one. Fewer targets than classes are of
                classes that the seed chooses, and are in no order.
            named: Test indices that replace the selection.
            seed: Seed of the random order.
            include: Test indices that come first among the ``count``.

        Returns:
            Indices within the test images.

        Raises:
            ValueError: naming what was requested and how many images there are.
        """
        available = len(self.test)
        if named is not None:
            _require_indices("target_indices", named, available)
            return list(named)
        if not max(1, len(include)) <= count <= available:
            raise ValueError(
                f"targets={count}: choose {max(1, len(include))} to {available}, the size of the "
                "test set"
            )
        order = balanced(self.test.labels, np.random.default_rng([seed, PARTITION_SEED]))
        if count < (present := len(self.test.labels.unique())):
            of_each = np.random.default_rng([seed, PARTITION_SEED, 1]).permutation(order[:present])
            order[:present] = [int(row) for row in of_each]
        if not include:
            return order[:count]
        _require_indices("include", include, available)
        return _complete(include, order, self.test.labels.tolist(), count)


def _complete(include: Sequence[int], order: list[int], labels: list[int], count: int) -> list[int]:
    """Complete ``include`` to ``count`` indices with the class counts of ``order[:count]``."""
    selected, included = list(include), set(include)
    quota = Counter(labels[index] for index in order[:count])
    quota.subtract(labels[index] for index in include)
    candidates = [index for index in order if index not in included]
    for index in candidates:
        if quota[labels[index]] > 0 and len(selected) < count:
            selected.append(index)
            quota[labels[index]] -= 1
    # where included images exceed the quota of a class, any other class fills up
    chosen = set(selected)
    left = [index for index in candidates if index not in chosen]
    return selected + left[: count - len(selected)]


class Source(Hashable, Protocol):
    """A frozen dataclass that reads one data set."""

    @property
    def name(self) -> str:
        """Name as in ``conf/dataset/``."""

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Read the data set.

        Args:
            store: Cache for decoded images.
            show_progress: Show bars rather than lines in the log.

        Raises:
            ValueError: in one line, naming the fault and the option to change.
        """


def _require_indices(option: str, indices: Sequence[int], count: int) -> None:
    wrong = [index for index in indices if not _is_index(index, count)]
    if wrong or not indices or len(set(indices)) < len(indices):
        listed = ",".join(map(str, indices))
        raise ValueError(f"{option}=[{listed}]: choose different numbers from 0 to {count - 1}")


def _is_index(value: object, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count


def partition(
    classes: Sequence[str],
    training: LabelledPixels,
    test: LabelledPixels,
    *,
    aux: str,
    aux_images: int | None,
    notes: dict[str, int] | None = None,
) -> ImageData:
    """Divide training images between victim and adversary.

    The victim's images are the same for every ``aux``, so that rows of a table share their victim.
    The training images are reordered in place, and the subsets are parts of that tensor: a data set
    is in memory once. The caller gives them away.

    Args:
        classes: Names of the classes.
        training: 8-bit images ``(N, C, H, W)`` and labels ``(N,)`` to divide, reordered in place.
        test: 8-bit images and labels of the test set.
        aux: Images of the adversary: ``disjoint``: images that the victim is not trained on;
            ``train``: some that it is trained on; ``noise``: uniformly random pixels and labels.
        aux_images: Their number; null for a quarter of the training images.
        notes: Counts for the record.

    Raises:
        ValueError: naming a class, or the number of auxiliary images, that does not suffice.
    """
    images, labels = training
    count = aux_images if aux_images is not None else len(labels) // 4
    _require_enough(classes, labels, test[1], count)
    order = stratified(labels, np.random.default_rng(PARTITION_SEED))
    images, labels = _reorder(images, order), labels[order]
    if aux == "noise":
        aux_part = _noise(images.shape[1:], count, len(classes))
    elif aux == "train":
        _require_at_most(count, len(labels) - count)
        aux_part = images[count : 2 * count], labels[count : 2 * count]
    else:
        aux_part = images[:count], labels[:count]
    return ImageData(
        tuple(classes),
        train=subset_of(classes, images[count:], labels[count:]),
        aux=subset_of(classes, *aux_part),
        test=subset_of(classes, *test),
        notes=notes or {},
    )


def with_test_set(
    images: Tensor, labels: Tensor, test: int
) -> tuple[LabelledPixels, LabelledPixels]:
    """Hold out test images of a data set that has none, with the class shares of the whole.

    Args:
        images: 8-bit images ``(N, C, H, W)``.
        labels: ``(N,)``.
        test: Number of test images.

    Returns:
        Training images and test images, with their labels.
    """
    order = torch.tensor(stratified(labels, np.random.default_rng([PARTITION_SEED, 2])))
    held_out, training = order[:test], order[test:]
    return (images[training], labels[training]), (images[held_out], labels[held_out])


def _require_enough(
    classes: Sequence[str], training: Tensor, test: Tensor, aux_images: int
) -> None:
    """Refuse a class with too few labels, and more auxiliary images than can be given away."""
    for label, name in enumerate(classes):
        train_count, test_count = int((training == label).sum()), int((test == label).sum())
        if train_count < 2 or test_count < 1:
            raise ValueError(
                f"class {name!r} has too few images: {train_count} to train on and {test_count} to "
                "test on, where it needs at least 2 and 1"
            )
    largest = len(training) - 2 * len(classes)
    if aux_images > largest:
        raise ValueError(
            f"dataset.aux_images={aux_images} leaves the victim too few of {len(training)} images: "
            f"choose 1 to {largest}"
        )


def _require_at_most(aux_images: int, largest: int) -> None:
    """Refuse more auxiliary images than the victim has, where they are its own."""
    if aux_images > largest:
        raise ValueError(
            f"dataset.aux_images={aux_images}: choose 1 to {largest}, the victim's images"
        )


def _reorder(images: Tensor, order: list[int]) -> Tensor:
    """Reorder images so that place i holds image ``order[i]``, without a second copy of them.

    Every cycle of the permutation is followed once, with one image set aside.
    """
    images = images.contiguous()
    values, done = images.numpy(), np.zeros(len(order), dtype=bool)
    for start in range(len(order)):
        if done[start]:
            continue
        aside, place = values[start].copy(), start
        while (source := order[place]) != start:
            values[place] = values[source]
            done[place], place = True, source
        values[place], done[place] = aside, True
    return images


def subset_of(classes: Sequence[str], images: Tensor, labels: Tensor) -> Subset:
    """Put 8-bit images and labels under the hash of classes, pixels and labels."""
    digest = hashlib.sha256(repr((tuple(classes), tuple(images.shape))).encode())
    for tensor in (images, labels.long()):
        digest.update(tensor.contiguous().numpy().data)
    return Subset(images, labels.long(), digest.hexdigest()[:20])


def _noise(shape: Sequence[int], count: int, classes: int) -> LabelledPixels:
    generator = np.random.default_rng([PARTITION_SEED, 1])
    pixels = generator.integers(256, size=(count, *shape), dtype=np.uint8)
    return torch.from_numpy(pixels), torch.from_numpy(generator.integers(classes, size=count))


def balanced(labels: Tensor, generator: np.random.Generator) -> list[int]:
    """Return all indices in a random order whose every prefix holds classes equally often.

    An image of each class follows an image of each class, always in the order of the labels.
    """
    return _ordered(labels, generator, lambda rank, count: rank)


def stratified(labels: Tensor, generator: np.random.Generator) -> list[int]:
    """Return all indices in a random order whose every prefix has the class shares of the whole."""
    return _ordered(labels, generator, lambda rank, count: (rank + 0.5) / count)


def _ordered(labels: Tensor, generator: np.random.Generator, position: RankToPosition) -> list[int]:
    values = labels.numpy()
    positions = np.empty(len(values))
    for label in np.unique(values):
        rows = generator.permutation(np.flatnonzero(values == label))
        positions[rows] = position(np.arange(len(rows)), len(rows))
    return [int(row) for row in np.lexsort((values, positions))]
