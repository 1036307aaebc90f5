"""The image most similar to the images of a class, by structural similarity."""

import torch
from torch import Tensor, nn

WINDOW = 7
C1 = 0.01**2
C2 = 0.03**2 * (WINDOW**2 - 1) / WINDOW**2
"""For a sample covariance: sums over the window are divided by its pixels less one."""

STEPS, LR = 60, 0.2
MOST, LEAST = 400, 4
"""Images of a class that are averaged over."""
VALUES = 4_000_000
"""Pixels of all classes together; large images leave fewer of each class, ``LEAST`` at least."""


class LocalSsim:
    """Mean structural similarity of one image to fixed ones, differentiable: ``metrics.ssim``.

    The local moments of the fixed images are computed once. A mean over windows is two products
    with a band matrix, which is several times faster than average pooling.

    Args:
        images: ``(M, C, H, W)`` in [0, 1].
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.rows, self.columns = (_band(size, images) for size in images.shape[-2:])
        self.mean = self._pool(images)
        self.variance = self._pool(images**2) - self.mean**2

    def __call__(self, image: Tensor) -> Tensor:
        """Return the similarity of an image ``(C, H, W)`` to each of the fixed ones ``(M,)``."""
        mean = self._pool(image)
        variance = self._pool(image**2) - mean**2
        covariance = self._pool(image * self.images) - mean * self.mean
        similarity = (2 * mean * self.mean + C1) * (2 * covariance + C2)
        scale = (mean**2 + self.mean**2 + C1) * (variance + self.variance + C2)
        return (similarity / scale).flatten(1).mean(1)

    def _pool(self, images: Tensor) -> Tensor:
        return self.rows @ (images @ self.columns.T)


def _band(size: int, like: Tensor) -> Tensor:
    """Return the matrix that averages over windows along one side ``(size - 6, size)``."""
    inside = torch.ones(size, size, device=like.device, dtype=like.dtype).triu()
    return inside.tril(WINDOW - 1)[: size - WINDOW + 1] / WINDOW


@torch.enable_grad()
def most_similar(images: Tensor) -> Tensor:
    """Find the image of highest mean SSIM to all of these, by gradient ascent from their mean.

    Adam takes ``STEPS`` steps, projected to [0, 1]; the best iterate is the answer.

    Args:
        images: ``(M, C, H, W)``.

    Returns:
        ``(C, H, W)``.
    """
    ssim = LocalSsim(images)
    image = images.mean(0).requires_grad_()
    optimizer = torch.optim.Adam([image], lr=LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    best, answer = -torch.inf, image.detach().clone()
    for step in range(STEPS + 1):
        score = ssim(image).mean()
        if score.item() > best:
            best, answer = score.item(), image.detach().clone()
        if step < STEPS:
            (image.grad,) = torch.autograd.grad(-score, image)
            optimizer.step()
            schedule.step()
            image.detach().clamp_(0, 1)
    return answer


class ClassImages(nn.Module):
    """One image for each class that has images, and one of all for the classes that have none.

    Args:
        labels: Of the images ``(M,)``.
        shape: Of one image ``(C, H, W)``.
        device: Where the images are.
    """

    labels: Tensor
    answers: Tensor

    def __init__(self, labels: Tensor, shape: tuple[int, int, int], device: torch.device) -> None:
        super().__init__()
        self.register_buffer("labels", labels.unique())
        self.register_buffer("answers", torch.zeros(len(self.labels) + 1, *shape, device=device))

    def fill(self, images: Tensor, labels: Tensor) -> None:
        """Compute each answer from the first images of its class.

        Args:
            images: ``(M, C, H, W)``.
            labels: ``(M,)``.
        """
        count = VALUES // (len(self.labels) * images[0].numel())
        count = min(MOST, max(LEAST, count))
        parts = [images[labels == label][:count] for label in self.labels]
        for answer, part in zip(self.answers, [*parts, images[:count]], strict=True):
            answer.copy_(most_similar(part))

    def forward(self, predicted: Tensor) -> Tensor:
        """Return the images ``(N, C, H, W)`` of predicted classes ``(N,)``."""
        same = predicted[:, None] == self.labels
        place = torch.where(same.any(1), same.int().argmax(1), len(self.labels))
        return self.answers[place]
