"""A learned prior of images: a network that denoises them at any noise level.

Trained on auxiliary images alone, it is the same for every victim, split and defense. A minimiser
of its loss is the posterior mean E[x | x + n], whose distance from the noisy image is the gradient
of the smoothed log-prior (Tweedie's formula): (D(x, tau) - x) / tau².
"""

import math
from dataclasses import fields
from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from privbench.attacks.components.learning import TrainingConfig, held_out
from privbench.runtime.validation import VALIDATED
from privbench.threat import Access, AdversaryView
from privbench.training.task import TrainingTask

LEVELS = (0.01, 3.0)
"""Smallest and largest noise level of the training, in units of the pixel range."""
FROM_AUX_IMAGES = "auxiliary images"
"""Value of a recipe's ``of`` for networks that depend on nothing else of a view."""
BATCH = 256


class Denoiser(nn.Module):
    """Noisy images and their noise levels to the mean of the images that they may show.

    Input and output are scaled such that the layers see unit variance at every level (Karras et
    al., "Elucidating the design space of diffusion-based generative models", 2022, table 1). The
    layers are a U-Net of two scales, on blocks of 2x2 pixels.

    Args:
        image_shape: ``(C, H, W)``.
        width: Channels at half of the image's resolution; twice as many at a quarter.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, image_shape: tuple[int, int, int], width: int = 32) -> None:
        super().__init__()
        channels = image_shape[0]
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("spread", torch.ones(()))
        self.stem = nn.Conv2d(4 * channels + 1, width, 3, padding=1)
        self.above = nn.Sequential(Block(width), Block(width))
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.below = nn.Sequential(*(Block(2 * width) for _ in range(4)))
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.last = nn.Sequential(Block(width), Block(width), nn.SiLU())
        self.out = nn.Conv2d(width, 4 * channels, 3, padding=1)

    def calibrate(self, images: Tensor) -> None:
        """Set the scale of the input from images ``(M, C, H, W)``."""
        self.mean.copy_(images.mean((0, 2, 3)).view_as(self.mean))
        self.spread.copy_((images - self.mean).square().mean().sqrt().clamp_min(1e-3))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Denoise ``(N, C, H, W)``, each image with its level ``(N,)``, in units of the pixels."""
        keep, add, centred, level = self._scaled(x, level)
        return self.mean + keep * centred + add * self._layers(centred, level)

    def weighted_error(self, x: Tensor, noisy: Tensor, level: Tensor) -> Tensor:
        """Return the mean squared error of the layers' output, which weighs all levels equally."""
        keep, add, centred, level = self._scaled(noisy, level)
        wanted = (x - self.mean - keep * centred) / add
        return (self._layers(centred, level) - wanted).square().mean()

    def _scaled(self, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the shares of input and layers in the output, and the layers' input."""
        level = level.view(-1, 1, 1, 1)
        total = (level.square() + self.spread.square()).sqrt()
        keep, add = (self.spread / total).square() * total, level * self.spread / total
        return keep, add, (x - self.mean) / total, level

    def _layers(self, x: Tensor, level: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")
        blocks = F.pixel_unshuffle(padded, 2)
        shown = (level.log() / 4).expand(-1, 1, *blocks.shape[-2:])
        above = self.above(self.stem(torch.cat([blocks, shown], 1)))
        joined = above + self.up(self.below(self.down(above)))
        return F.pixel_shuffle(self.out(self.last(joined)), 2)[..., :height, :width]


class Block(nn.Module):
    """Two convolutions parallel to a shortcut, which add nothing before the training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, t: Tensor) -> Tensor:
        """``(N, width, h, w)`` to the same shape."""
        added: Tensor = self.second(F.silu(self.first(F.silu(t))))
        return t + added


class DenoiserTask(TrainingTask):
    """Squared error of images with noise of levels that are uniform in their logarithm."""

    name = "the denoiser"

    def __init__(self, network: Denoiser, view: AdversaryView) -> None:
        super().__init__(network)
        self.denoiser, self.view, self.draws = network, view, view.generator("noise")

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return the losses of images ``(B, C, H, W)``."""
        (x,) = batch
        # the same noise in every validation
        draws = self.draws if self.network.training else self.view.generator("held-out noise")
        least, most = (math.log(level) for level in LEVELS)
        place = torch.rand(len(x), generator=draws).to(x.device)
        noise = torch.randn(x.shape, generator=draws).to(x.device)
        level = (least + (most - least) * place).exp()
        noisy = x + level.view(-1, 1, 1, 1) * noise
        return {"loss": self.denoiser.weighted_error(x, noisy, level)}


@dataclass(frozen=True, config=VALIDATED)
class DenoiserTraining(TrainingConfig):
    """Hyper-parameters of a denoiser, which every attack that has one shares."""

    # the name of the attack that trained it first, so that stores keep their denoisers
    version: ClassVar[str] = "rmle_prior-1"

    @classmethod
    def of(cls, training: TrainingConfig) -> "DenoiserTraining":
        """Return the hyper-parameters of an attack's denoiser, without the attack's own."""
        return cls(
            **{field.name: getattr(training, field.name) for field in fields(TrainingConfig)}
        )


def trained_denoiser(attack: TrainingConfig, view: AdversaryView) -> Denoiser:
    """Train a denoiser on the auxiliary images, or load it; frozen.

    Args:
        attack: Its hyper-parameters of a training.
        view: Only its auxiliary images are used.
    """
    training, own = DenoiserTraining.of(attack), view.restricted_to(Access.AUX_IMAGES)
    with view.torch_seed("denoiser"):
        network = Denoiser(view.image_shape).to(view.device)

    def learn() -> dict[str, Any]:
        images = own.images[: training.images]
        last = len(images) - held_out(len(images))
        network.calibrate(images[:last])
        task = DenoiserTask(network, own)
        return training.train(task, (images[:last],), (images[last:],), own)

    training.fit_or_load("denoiser", network, own, learn, of=FROM_AUX_IMAGES)
    return network
