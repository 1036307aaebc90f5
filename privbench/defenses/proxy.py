"""The attacker that a defense trains against: a small decoder of its own, dropped afterwards.

An attacker has a fresh and larger one (``attack=inverse``): features that mislead the proxy alone
protect nothing.
"""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from privbench.defenses.base import FitServices, TrainingImages
from privbench.defenses.deployment import Deployment
from privbench.defenses.trained import DeploymentTask, TrainedDefense

Loss = Literal["mse", "l1", "ssim"]
WIDTH, LAST, COARSE = 32, 8, 7
WINDOW = 7
"""Side of the uniform window of SSIM, as in the metric; smaller for smaller images."""
C1, C2 = 0.01**2, 0.03**2


class ProxyDecoder(nn.Module):
    """Three convolutions: at the features' grid, at the image's, and to its channels.

    Args:
        feature_shape: ``(C, h, w)``; others, as ``(T, D)`` or ``(n,)``, are spread by a linear map.
        image_shape: ``(C, H, W)``.
    """

    def __init__(self, feature_shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, *sides = image_shape
        stem: list[nn.Module]
        if len(feature_shape) == 3:
            stem = [nn.Conv2d(feature_shape[0], WIDTH, 3, padding=1)]
        else:
            grid = (LAST, min(COARSE, sides[0]), min(COARSE, sides[1]))
            stem = [
                nn.Flatten(),
                nn.Linear(math.prod(feature_shape), math.prod(grid)),
                nn.Unflatten(1, grid),
                nn.Conv2d(LAST, WIDTH, 3, padding=1),
            ]
        self.layers = nn.Sequential(
            *stem,
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.Upsample(size=tuple(sides)),
            nn.Conv2d(WIDTH, LAST, 3, padding=1),
            nn.BatchNorm2d(LAST),
            nn.ReLU(),
            nn.Conv2d(LAST, channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, v: Tensor) -> Tensor:
        """Features ``(N, *feature_shape)`` to images ``(N, C, H, W)`` in [0, 1]."""
        x_hat: Tensor = self.layers(v)
        return x_hat

    def with_fixed_weights(self, v: Tensor) -> Tensor:
        """Return the same images, with a gradient for the features and none for the weights."""
        fixed: Mapping[str, Tensor] = {n: w.detach() for n, w in self.named_parameters()}
        x_hat: Tensor = functional_call(self, dict(fixed), (v,))
        return x_hat


def reconstruction_loss(loss: Loss, x_hat: Tensor, x: Tensor) -> Tensor:
    """Return the loss that a proxy minimises: the mean square, the mean magnitude, or 1 - SSIM."""
    if loss == "ssim":
        return 1 - ssim(x_hat, x)
    return F.mse_loss(x_hat, x) if loss == "mse" else F.l1_loss(x_hat, x)


def ssim(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return the mean SSIM of images in [0, 1] (Wang et al., 2004), with a gradient.

    Uniform window, sample covariance, borders left out: the metric's, which no defense can import.
    """
    side = min(WINDOW, *x.shape[2:])
    unbiased = side**2 / max(1, side**2 - 1)
    means = [F.avg_pool2d(t, side, stride=1) for t in (x_hat, x, x_hat**2, x**2, x_hat * x)]
    a, b, aa, bb, ab = means
    variances = unbiased * (aa - a**2 + bb - b**2)
    luminance = (2 * a * b + C1) / (a**2 + b**2 + C1)
    structure: Tensor = luminance * (2 * unbiased * (ab - a * b) + C2) / (variances + C2)
    return structure.mean()


class ProxyTask(DeploymentTask):
    """Losses of a deployment and of a decoder that learns in the same steps.

    Args:
        defense: Its hyper-parameters.
        deployment: Trained in place.
        data: Training images.
        services: Device and seed.
    """

    def __init__(
        self,
        defense: TrainedDefense,
        deployment: Deployment,
        data: TrainingImages,
        services: FitServices,
    ) -> None:
        decoder = proxy_of(deployment, data, services)
        super().__init__(defense, deployment, services.seed, decoder)
        self.hyper, self.decoder = defense, decoder


@torch.no_grad()
def proxy_of(deployment: Deployment, data: TrainingImages, services: FitServices) -> ProxyDecoder:
    """Return an untrained decoder of a deployment's features, on the device."""
    image = data.pixels[:1].to(services.device).float()
    channels, height, width = image.shape[1:]
    feature_shape = tuple(deployment.edge(image).shape[1:])
    return ProxyDecoder(feature_shape, (channels, height, width)).to(services.device)
