"""Rank-1 identification: recognition of the true image among candidates."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from privbench.runtime.pixels import in_unit_range

TIE = 1e-5
"""Similarities closer than this are equal: sums in another order differ by up to 3e-6."""
MIN_CONTRAST = 1e-6
"""Standard deviation of pixels below which an image has no contrast."""
MAX_SHIFT = 3
"""Pixels by which a reconstruction may be shifted, in both directions, and still be identified."""
MAX_SIMILARITIES = 8_000_000
"""Number of similarities held in memory at once."""
BLOCK = 500_000
"""Number of pixels that are prepared at once."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Images to choose from, prepared for the two comparisons of ``identified``.

    Attributes:
        pixels: Standardised images ``(M, C*H*W)``.
        crops: Standardised ``central_crops`` ``(M, D)``.
    """

    pixels: Tensor
    crops: Tensor

    @classmethod
    def of(cls, images: Tensor) -> "Candidates":
        """Prepare images ``(M, C, H, W)``, 8-bit or in [0, 1], a block at a time."""
        # at least two images in each: torch adds up a single one in another order
        blocks = images.tensor_split(max(1, min(len(images) // 2, images.numel() // BLOCK)))

        def prepared(prepare: Callable[[Tensor], Tensor]) -> Tensor:
            return _joined(len(images), (prepare(in_unit_range(block)) for block in blocks))

        return cls(prepared(standardise), prepared(central_crops))

    def at(self, rows: Tensor) -> "Candidates":
        """Return some of the images."""
        return Candidates(self.pixels[rows], self.crops[rows])


def _joined(count: int, parts: Iterable[Tensor]) -> Tensor:
    """Concatenate parts ``(n, D)`` of ``count`` rows in all, each freed when the next is made."""
    joined, at = torch.empty(0), 0
    for part in parts:
        joined = joined if at else part.new_empty(count, part.shape[1])
        joined[at : at + len(part)] = part
        at += len(part)
    return joined


def identified(x_hat: Tensor, target_indices: Tensor, gallery: Candidates) -> Tensor:
    """Test whether the true image is the most similar one to its reconstruction.

    An adversary with a list of candidates may compare in either of two ways, and an image counts as
    identified where one of them finds it (so a random guess has at most two in M):

    - in place: Pearson's correlation of the pixels, which neither brightness nor contrast changes.
      The sharper comparison for a poor reconstruction that is not shifted.
    - over shifts and sign: the largest absolute correlation between the central crop of the
      candidate and the part of the reconstruction under it, over all shifts by up to
      ``min(3, side // 8)`` pixels in both directions.

    Images that tie share one hit, and a reconstruction without contrast ties with all.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)``.
        target_indices: Index in the gallery of the true image of each ``(N,)``.
        gallery: Images to choose from.

    Returns:
        ``(N,)`` in [0, 1].
    """
    size = max(1, MAX_SIMILARITIES // len(gallery.pixels))
    batches = zip(x_hat.split(size), target_indices.split(size), strict=True)
    return torch.cat(
        [
            torch.maximum(
                identified_in_place(batch, rows, gallery.pixels),
                identified_over_shifts(batch, rows, gallery.crops),
            )
            for batch, rows in batches
        ]
    )


def identified_in_place(x_hat: Tensor, target_indices: Tensor, pixels: Tensor) -> Tensor:
    """Identify by Pearson's correlation, ``(N,)`` in [0, 1]."""
    similarity = standardise(x_hat) @ pixels.T
    true_similarity = similarity.gather(1, target_indices[:, None])
    better = similarity > true_similarity + TIE
    ties = (similarity - true_similarity).abs() <= TIE
    return torch.where(better.any(1), 0.0, 1.0 / ties.sum(1))


def identified_over_shifts(x_hat: Tensor, target_indices: Tensor, crops: Tensor) -> Tensor:
    """Identify by the largest absolute correlation over shifts, ``(N,)`` in [0, 1]."""
    distinct, which = x_hat.unique(dim=0, return_inverse=True)
    true_similarity = _true_similarity(distinct, which, crops[target_indices])
    kept, similarity = _undominated(distinct, _largest(true_similarity, which), crops)
    position = torch.full((len(distinct),), -1, device=which.device)
    position[kept] = torch.arange(len(kept), device=which.device)
    found = position[which] >= 0
    of_all, of_true = similarity[position[which[found]]], true_similarity[found, None]
    ties = ((of_all - of_true).abs() <= TIE).sum(1).clamp_min(1)
    shares = torch.zeros(len(x_hat), device=x_hat.device)
    shares[found] = torch.where((of_all > of_true + TIE).any(1), 0.0, 1.0 / ties)
    return shares


def _true_similarity(distinct: Tensor, which: Tensor, true_crops: Tensor) -> Tensor:
    """Compute the similarity ``(N,)`` of ``distinct[which]`` to the crops of their true images."""
    largest = torch.zeros(len(which), device=true_crops.device)
    shifts, count = _shifts(distinct), max(1, MAX_SIMILARITIES // true_crops.numel())
    for first in range(0, len(shifts), count):
        windows = _shifted_crops(distinct, shifts[first : first + count])
        similarity = (windows[:, which] * true_crops).sum(2).abs_()
        largest = torch.maximum(largest, similarity.amax(0))
    return largest


def _largest(true_similarity: Tensor, which: Tensor) -> Tensor:
    """Return, for each distinct reconstruction, the largest similarity to one of its images."""
    largest = torch.zeros(int(which.max()) + 1, device=true_similarity.device)
    return largest.scatter_reduce(0, which, true_similarity, "amax")


def _undominated(distinct: Tensor, true_similarity: Tensor, crops: Tensor) -> tuple[Tensor, Tensor]:
    """Find reconstructions to which no candidate is more similar than a true image.

    A reconstruction is dropped at the first shift where another candidate is more similar.

    Args:
        distinct: Reconstructions ``(U, C, H, W)``.
        true_similarity: Largest similarity to a true image ``(U,)``.
        crops: ``central_crops`` of the candidates ``(M, D)``.

    Returns:
        Their indices ``(R,)``, and their similarities to all candidates ``(R, M)``.
    """
    kept = torch.arange(len(distinct), device=distinct.device)
    similarity = torch.zeros(len(distinct), len(crops), device=distinct.device)
    left = _shifts(distinct)
    count = 1  # the first shift alone drops most of the poor reconstructions
    while left and len(kept):
        windows = _shifted_crops(distinct[kept], left[:count])
        torch.maximum(similarity, (windows @ crops.T).abs_().amax(0), out=similarity)
        holds = similarity.amax(1) <= true_similarity[kept] + TIE
        kept, similarity, left = kept[holds], similarity[holds], left[count:]
        count = max(1, MAX_SIMILARITIES // max(1, len(kept) * max(crops.shape)))
    return kept, similarity


def identified_within_class(
    x_hat: Tensor,
    target_indices: Tensor,
    labels: Tensor,
    gallery: Candidates,
    among_all: Tensor,
) -> Tensor:
    """Identify among the candidates of the true image's class.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)``.
        target_indices: Index in the gallery of the true image of each ``(N,)``.
        labels: Labels of the gallery ``(M,)``.
        gallery: Images to choose from.
        among_all: ``identified`` of the same; an image that is found among all candidates needs no
            other search.

    Returns:
        ``(N,)`` in [0, 1].
    """
    shares = among_all.clone()
    open_labels = torch.where(among_all < 1, labels[target_indices], -1)
    for label in open_labels[open_labels >= 0].unique():
        same_class = open_labels == label
        members = (labels == label).nonzero().flatten()
        positions = torch.searchsorted(members, target_indices[same_class])
        shares[same_class] = identified(x_hat[same_class], positions, gallery.at(members))
    return shares


def central_crops(images: Tensor) -> Tensor:
    """Return the part of images ``(N, C, H, W)`` inside all shifts, standardised ``(N, D)``."""
    return _shifted_crops(images, _shifts(images)[:1])[0]


def _shifts(images: Tensor) -> list[tuple[int, int]]:
    """Return the shifts ``(dy, dx)`` that images ``(N, C, H, W)`` are tested at, by length."""
    reach = _reach(images)
    steps = range(-reach, reach + 1)
    return sorted(((dy, dx) for dy in steps for dx in steps), key=lambda s: s[0] ** 2 + s[1] ** 2)


def _reach(images: Tensor) -> int:
    return min(MAX_SHIFT, min(images.shape[-2:]) // 8)


def _shifted_crops(images: Tensor, shifts: Sequence[tuple[int, int]]) -> Tensor:
    """Return the part under a candidate's central crop at ``S`` shifts, ``(S, N, D)``."""
    reach = _reach(images)
    height, width = (side - 2 * reach for side in images.shape[-2:])
    corners = [(reach + dy, reach + dx) for dy, dx in shifts]
    parts = [images[..., y : y + height, x : x + width] for y, x in corners]
    return standardise(torch.cat(parts)).view(len(shifts), len(images), -1)


def standardise(images: Tensor) -> Tensor:
    """Subtract each image's mean and scale to norm 1 ``(N, C*H*W)``; 0 where all pixels are equal.

    The inner product of two such vectors is Pearson's correlation.
    """
    pixels = images.flatten(1)
    pixels = pixels - pixels.mean(1, keepdim=True)
    norm = pixels.norm(dim=1, keepdim=True)
    least = MIN_CONTRAST * pixels.shape[1] ** 0.5
    return torch.where(norm > least, pixels / norm.clamp_min(least), torch.zeros_like(pixels))
