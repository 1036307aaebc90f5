"""Reconstruction by a diffusion model that is guided by a likelihood: the loop of DRAG (ICML 2025).

DRAG (ntuaislab/DRAG) guides each step within a sphere, as "Guidance with spherical Gaussian
constraint for conditional diffusion" (DSG, ICML 2024), and repeats it (self-recurrence). Here the
state is y = x + tau n, the published one divided by the root of its signal's share, so that any
denoiser is a diffusion model: its noise is (y - D(y, tau)) / tau. What differs from the published
loop: the guidance is the gradient of a likelihood, not of a cosine distance, and never exceeds its
natural length, for the published one of a fixed length fits the noise of a defense; its direction
is the gradient itself, not Adam's; there is no term of total variation or of the mean square; the
yaml has 25 levels for 250 steps and a share of guidance of .6 for .2; and the start of DRAG++ is a
noise level of the pixels, .3, where the published strength of .3 is a share of the timesteps, of
which the level of a linear schedule is higher. The denoiser that is trained here is no moving
average of its weights, and has some five passes over MNIST's auxiliary images.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

TINY = 1e-12
"""Smallest length that is divided by."""


@dataclass(frozen=True)
class GuidedDiffusion:
    """Sampler of images that are likely under a diffusion model and under what was received.

    Attributes:
        levels: Noise levels, falling, in units of the pixel range.
        recurrences: Repetitions of each step, k.
        rate: Largest share of the guidance in a step, g_r.
        denoise: Noisy images ``(N, C, H, W)`` and their levels ``(N,)`` to the mean of the images
            that they may show.
        negative_log: Images to -log p(v | x) of each ``(N,)``, summed over the features.
        noise: Returns standard normal noise for an image ``(C, H, W)``. All images of a batch get
            the same, so that no result depends on its place or its batch.
        after_level: Called after each level.
    """

    levels: Sequence[float]
    recurrences: int
    rate: float
    denoise: Callable[[Tensor, Tensor], Tensor]
    negative_log: Callable[[Tensor], Tensor]
    noise: Callable[[], Tensor]
    after_level: Callable[[], None]

    def __call__(self, start: Tensor) -> Tensor:
        """Return images from initial ones ``(N, C, H, W)``, to which the first level is added."""
        below = start + self.levels[0] * self.noise()
        for level, lower in pairwise(self.levels):
            y = below
            for n in range(self.recurrences):
                if n:
                    y = below + math.sqrt(level**2 - lower**2) * self.noise()
                below = self._step(y, level, lower)
            self.after_level()
        with torch.no_grad():
            return self._denoised(below, self.levels[-1])

    def _step(self, y: Tensor, level: float, lower: float) -> Tensor:
        """Return the state at the lower level: a random step of DDPM, turned towards the data."""
        x, slope = self._guidance(y, level)
        spread = lower * math.sqrt(1 - (lower / level) ** 2)
        radius = math.sqrt(y[0].numel()) * spread
        length = _length(slope)
        # the length by which the posterior's mean moves, of the score with the likelihood's added
        natural = length * (level**2 - lower**2)
        share = (natural / radius).clamp(max=self.rate)
        step = (1 - share) * spread * self.noise() - share * radius * slope / length
        step = step * (radius / _length(step))
        kept = lower**2 / level  # the root of lower² - spread²
        return x + kept * (y - x) / level + step

    def _guidance(self, y: Tensor, level: float) -> tuple[Tensor, Tensor]:
        """Return the denoised image, and the gradient of the likelihood through the denoiser."""
        y = y.detach().requires_grad_()
        x = self._denoised(y, level)
        (slope,) = torch.autograd.grad(self.negative_log(x.clamp(0, 1)).sum(), y)
        return x.detach(), slope

    def _denoised(self, y: Tensor, level: float) -> Tensor:
        return self.denoise(y, torch.full((len(y),), level, device=y.device))


def _length(t: Tensor) -> Tensor:
    """Return the Euclidean norm of each image, to divide it by ``(N, 1, 1, 1)``."""
    length: Tensor = torch.linalg.vector_norm(t.flatten(1), dim=1)
    return length.clamp_min(TINY).view(-1, 1, 1, 1)
