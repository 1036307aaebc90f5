"""What was recovered and what still works: per-image scores, tensors in and tensors out."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from privbench.deployment import max_batch_size

VERSION = "metrics-1"
PSNR_CAP_DB = 100.0
GOOD = {"psnr_db": 10.0, "ssim": 0.3}
WINDOW = 7
# scikit-image divides the window's variances by n - 1, torchmetrics by n; in the quotient that is
# a smaller second constant, (K2 L)^2 (n - 1) / n
_K2 = 0.03 * math.sqrt((WINDOW**2 - 1) / WINDOW**2)


def psnr_db(x_hat: Tensor, x: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image, peak 1.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)`` in [0, 1].
        x: Images of the same shape.

    Returns:
        Decibels ``(N,)``, at most 100 (equal images have no ratio).
    """
    ratio = peak_signal_noise_ratio(x_hat, x, data_range=1.0, dim=(1, 2, 3), reduction="none")
    return ratio.clamp(max=PSNR_CAP_DB)


def ssim(x_hat: Tensor, x: Tensor) -> Tensor:
    """Structural similarity of each image as the paper computes it: scikit-image's defaults.

    A 7x7 uniform window, sample covariance, data range 1, borders cropped (see ``psnr_db``).
    """
    return _ssim(x_hat, x, WINDOW, {"gaussian_kernel": False, "k2": _K2})


def ssim_gaussian(x_hat: Tensor, x: Tensor) -> Tensor:
    """Structural similarity as Wang et al. (2004): an 11x11 Gaussian window, sigma 1.5."""
    return _ssim(x_hat, x, 11, {"gaussian_kernel": True, "sigma": 1.5})


def _ssim(x_hat: Tensor, x: Tensor, kernel_size: int, settings: dict[str, Any]) -> Tensor:
    _, full = structural_similarity_index_measure(
        x_hat,
        x,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
        kernel_size=kernel_size,
        **settings,
    )
    rim = kernel_size // 2  # torchmetrics reflects the image there, scikit-image leaves it out
    return full[..., rim:-rim, rim:-rim].flatten(1).mean(1)


@dataclass(frozen=True)
class Reference:
    """What reconstructions are held against.

    Attributes:
        x: The targets ``(N, C, H, W)``.
        rows: Their numbers in the gallery.
        gallery: The whole test set ``(M, C, H, W)``.
        labels: Its labels ``(M,)``.
        judge: An independent classifier: images ``(N, C, H, W)`` to logits.
        judge_accuracy: Of that one on the gallery.
    """

    x: Tensor
    rows: Sequence[int]
    gallery: Tensor
    labels: Tensor
    judge: Callable[[Tensor], Tensor]
    judge_accuracy: float = 1.0

    @cached_property
    def candidates(self) -> "Candidates":
        """The gallery as ``identified`` compares with it."""
        return Candidates(centred(self.gallery), middles(self.gallery))


@dataclass(frozen=True)
class Scores:
    """Per-image scores of a set of reconstructions.

    Attributes:
        psnr_db: Decibels.
        ssim: 7x7 uniform window.
        ssim_gaussian: 11x11 Gaussian window.
        identification: Whether the true image is the nearest of the whole test set, see
            ``identified``.
        identification_class: Whether it is the nearest of those of its class.
        semantic_accuracy: Whether the judge reads the true label.
        failed: Whether the reconstruction was not finite.
    """

    psnr_db: list[float]
    ssim: list[float]
    ssim_gaussian: list[float]
    identification: list[float]
    identification_class: list[float]
    semantic_accuracy: list[float]
    failed: list[bool]

    def means(self) -> dict[str, float]:
        """The mean over images of each score."""
        return {
            name: math.fsum(values) / len(values)
            for name, values in vars(self).items()
            if name != "failed"
        }

    def above(self) -> dict[str, float]:
        """Share of images above what He et al. call good: PSNR > 10 dB, SSIM > 0.3."""
        return {
            name: sum(value > bar for value in getattr(self, name)) / len(self.failed)
            for name, bar in GOOD.items()
        }


@torch.no_grad()
def score(x_hat: Tensor, truth: Reference, constants: Sequence[Tensor]) -> Scores:
    """Every score of every image; one that is not finite is scored as the worst constant answer.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)``.
        truth: What they are held against.
        constants: Answers of the same shape that looked at nothing.
    """
    x = truth.x
    failed = ~x_hat.isfinite().flatten(1).all(1)
    shown = torch.where(failed.view(-1, 1, 1, 1), torch.zeros_like(x_hat), x_hat)
    columns = {}
    for name, metric in {"psnr_db": psnr_db, "ssim": ssim, "ssim_gaussian": ssim_gaussian}.items():
        columns[name] = metric(shown, x)
        if failed.any():
            worst = torch.stack([metric(answer, x) for answer in constants]).amin(0)
            columns[name] = torch.where(failed, worst, columns[name])
    rows = torch.as_tensor(truth.rows, device=truth.labels.device)
    labels = truth.labels[rows]
    distinct, which = shown.unique(dim=0, return_inverse=True)  # a blind answer has few images
    among_all = identified(shown, rows, truth.candidates)
    columns |= {
        "identification": among_all,
        "identification_class": _within_class(shown, rows, truth, among_all),
        "semantic_accuracy": (truth.judge(distinct).argmax(1)[which] == labels) & ~failed,
    }
    lists = {name: values.double().tolist() for name, values in columns.items()}
    return Scores(**lists, failed=failed.tolist())


TIE = 1e-5
"""Similarities closer than this are equal: sums in another order differ by up to 3e-6."""
FLAT = 1e-6
"""Images of less contrast, as the standard deviation of their pixels, have none."""
SHIFT = 3
"""Pixels by which a reconstruction may be moved, in both directions, and still be recognised."""
AT_ONCE = 8_000_000
"""Similarities that are held in memory together."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """A gallery, for the two comparisons of ``identified``.

    Attributes:
        whole: Images, centred ``(M, C*H*W)``.
        middles: Their ``middles`` ``(M, D)``.
    """

    whole: Tensor
    middles: Tensor

    def at(self, rows: Tensor) -> "Candidates":
        """Some of the images."""
        return Candidates(self.whole[rows], self.middles[rows])


def identified(x_hat: Tensor, rows: Tensor, gallery: Candidates) -> Tensor:
    """Rank-1 identification: is the true image the most similar one to its reconstruction?

    An adversary with a list of candidates may compare in either of two ways, and an image counts as
    identified where one of them finds it (so a random guess has at most two in M):

    - as it is: centred cosine (Pearson's correlation of the pixels), which neither brightness nor
      contrast changes. The sharper one for a poor reconstruction in its place.
    - over shifts and sign: the largest absolute centred cosine between the middle of the gallery's
      image and the part of the reconstruction that lies under it, over all shifts by up to
      ``min(3, side // 8)`` pixels in both directions.

    Images that tie share the one hit, and what has no contrast ties with all.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)``.
        rows: The number in the gallery of each one's true image ``(N,)``.
        gallery: The images to choose from.

    Returns:
        ``(N,)`` in [0, 1].
    """
    size = max(1, AT_ONCE // len(gallery.whole))
    parts = zip(x_hat.split(size), rows.split(size), strict=True)
    return torch.cat([
        torch.maximum(_in_place(part, own, gallery.whole), _over_shifts(part, own, gallery.middles))
        for part, own in parts
    ])  # fmt: skip


def _in_place(x_hat: Tensor, rows: Tensor, whole: Tensor) -> Tensor:
    """Identification by centred cosine, ``(N,)``."""
    alike = centred(x_hat) @ whole.T
    own = alike.gather(1, rows[:, None])
    nearer, level = alike > own + TIE, (alike - own).abs() <= TIE
    return torch.where(nearer.any(1), 0.0, 1.0 / level.sum(1))


def _over_shifts(x_hat: Tensor, rows: Tensor, gallery: Tensor) -> Tensor:
    distinct, which = x_hat.unique(dim=0, return_inverse=True)
    own = _own(distinct, which, gallery[rows])
    kept, alike = _contenders(distinct, _largest(own, which), gallery)
    place = torch.full((len(distinct),), -1, device=which.device)
    place[kept] = torch.arange(len(kept), device=which.device)
    found = place[which] >= 0
    near, mine = alike[place[which[found]]], own[found, None]
    level = ((near - mine).abs() <= TIE).sum(1).clamp_min(1)
    shares = torch.zeros(len(x_hat), device=x_hat.device)
    shares[found] = torch.where((near > mine + TIE).any(1), 0.0, 1.0 / level)
    return shares


def _own(distinct: Tensor, which: Tensor, true: Tensor) -> Tensor:
    """Similarity ``(N,)`` of the reconstructions ``distinct[which]`` to their true ``middles``."""
    best = torch.zeros(len(which), device=true.device)
    for window in _windows(distinct):
        best = torch.maximum(best, (window[which] * true).sum(1).abs())
    return best


def _largest(own: Tensor, which: Tensor) -> Tensor:
    """For each distinct reconstruction the largest similarity to one of its true images."""
    largest = torch.zeros(int(which.max()) + 1, device=own.device)
    return largest.scatter_reduce(0, which, own, "amax")


def _contenders(distinct: Tensor, own: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstructions to which no image of the gallery is more similar than a true one.

    A reconstruction is dropped at the first shift where another image is more similar.

    Args:
        distinct: ``(U, C, H, W)``.
        own: Largest similarity to a true image ``(U,)``.
        gallery: ``middles`` ``(M, D)``.

    Returns:
        Which ones they are ``(R,)``, and their similarities to all images ``(R, M)``.
    """
    kept = torch.arange(len(distinct), device=distinct.device)
    alike = torch.zeros(len(distinct), len(gallery), device=distinct.device)
    for window in _windows(distinct):
        if (shown := window[kept]).any():
            torch.maximum(alike, (shown @ gallery.T).abs_(), out=alike)
        holds = alike.amax(1) <= own[kept] + TIE
        if not holds.all():
            kept, alike = kept[holds], alike[holds]
        if not len(kept):
            break
    return kept, alike


def _within_class(x_hat: Tensor, rows: Tensor, truth: Reference, among_all: Tensor) -> Tensor:
    """The same as ``identified``, among the gallery's images of each one's class.

    Whose true image is the most similar one of the whole gallery needs no other search.
    """
    shares = among_all.clone()
    labels = torch.where(among_all < 1, truth.labels[rows], -1)
    for label in labels[labels >= 0].unique():
        mine = labels == label
        members = (truth.labels == label).nonzero().flatten()
        places = torch.searchsorted(members, rows[mine])
        shares[mine] = identified(x_hat[mine], places, truth.candidates.at(members))
    return shares


def middles(images: Tensor) -> Tensor:
    """What of each image ``(N, C, H, W)`` lies in it at every shift, centred ``(N, D)``."""
    return next(_windows(images))


def _windows(images: Tensor) -> Iterator[Tensor]:
    """The part under a gallery's middle at each shift, centred ``(N, D)``; small shifts first."""
    height, width = images.shape[-2:]
    reach = min(SHIFT, min(height, width) // 8)
    steps = range(-reach, reach + 1)
    shifts = sorted(((dy, dx) for dy in steps for dx in steps), key=lambda s: s[0] ** 2 + s[1] ** 2)
    for top, left in ((reach + dy, reach + dx) for dy, dx in shifts):
        inside = images[..., top : top + height - 2 * reach, left : left + width - 2 * reach]
        yield centred(inside)


def centred(images: Tensor) -> Tensor:
    """Pixels ``(N, C*H*W)`` less their mean, of norm 1; of norm 0 where all are equal."""
    pixels = images.flatten(1)
    pixels = pixels - pixels.mean(1, keepdim=True)
    norm = pixels.norm(dim=1, keepdim=True)
    least = FLAT * pixels.shape[1] ** 0.5
    return torch.where(norm > least, pixels / norm.clamp_min(least), torch.zeros_like(pixels))


def correct(
    classify: Callable[[Tensor, range], Tensor],
    images: Tensor,
    labels: Tensor,
    copies: int = 1,
) -> Tensor:
    """Share of right answers for each image.

    Args:
        classify: Images ``(B, C, H, W)`` and their numbers to logits ``(B, answers, classes)``.
        images: ``(N, C, H, W)``.
        labels: ``(N,)``.
        copies: How many copies of an image ``classify`` holds in memory: the more, the fewer images
            it is given at once.

    Returns:
        ``(N,)`` in [0, 1]: over the answers of an image.
    """
    shares = []
    batch = max(1, max_batch_size(images) // copies)
    for begin in range(0, len(images), batch):
        rows = range(begin, min(begin + batch, len(images)))
        answers = classify(images[begin : rows.stop], rows).argmax(2)
        shares.append((answers == labels[begin : rows.stop, None]).double().mean(1))
    return torch.cat(shares)
