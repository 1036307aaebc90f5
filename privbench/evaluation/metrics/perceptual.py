"""Learned perceptual image patch similarity, LPIPS (Zhang et al. 2018), with AlexNet.

The weights of AlexNet are never downloaded by a cell: torch's cache has to hold them.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privbench.evaluation.metrics.base import Metric, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from privbench.evaluation.reference import Reference

VERSION = "lpips-1"
WEIGHTS = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
MIN_SIDE = 64
"""Smaller images are enlarged to it, bilinearly: AlexNet's layers need 63 pixels."""
BATCH = 64
"""Images that go through AlexNet together."""


def weights_file() -> Path:
    """Return where torch's cache has AlexNet's weights."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS.rpartition("/")[2]


def lpips(x_hat: "Tensor", x: "Tensor") -> "Tensor":
    """Compute the perceptual distance of each image.

    Args:
        x_hat: Reconstructions ``(N, C, H, W)`` in [0, 1]; grey ones count as equal channels.
        x: Images of the same shape.

    Returns:
        Distances ``(N,)``, 0 for equal images.
    """
    import torch

    net = _network(str(weights_file())).to(x.device)
    pairs = zip(_prepared(x_hat).split(BATCH), _prepared(x).split(BATCH), strict=True)
    with torch.no_grad():
        distances = [net(one, other, normalize=True).flatten() for one, other in pairs]
    return torch.cat(distances)


def _prepared(images: "Tensor") -> "Tensor":
    """Return images as AlexNet takes them: three channels, at least ``MIN_SIDE`` pixels."""
    from torch.nn.functional import interpolate

    scale = MIN_SIDE / min(images.shape[-2:])
    if scale > 1:
        size = [max(MIN_SIDE, round(side * scale)) for side in images.shape[-2:]]
        images = interpolate(images, size=size, mode="bilinear", align_corners=False)
    return images if images.shape[1] == 3 else images[:, :1].expand(-1, 3, -1, -1)


@lru_cache(maxsize=1)
def _network(_file: str) -> Any:
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    return _NoTrainLpips(net="alex")


def _compute(x_hat: "Tensor", reference: "Reference") -> "Tensor":
    return lpips(x_hat, reference.x)


def _requires(shape: Shape) -> str:
    if shape[0] not in (1, 3):
        return f"needs grey or RGB images, these have {shape[0]} channels"
    file = weights_file()
    if file.is_file():
        return ""
    return f"needs the weights of AlexNet, and nothing is downloaded here: put {WEIGHTS} at {file}"


LPIPS = Metric(
    name="lpips", label="LPIPS", higher_leaks=False, compute=_compute, requires=_requires
)
