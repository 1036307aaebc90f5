"""Pretrained diffusion models, loaded by the library diffusers, as denoisers."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

PREDICTIONS = ("epsilon", "sample", "v_prediction")
"""What a network of diffusers may predict."""


class PretrainedDenoiser(nn.Module):
    """An unconditional diffusion model of images in [-1, 1] as a denoiser of images in [0, 1].

    The model knows the states a x + b n of its timesteps, with a² + b² = 1. An image with noise of
    level tau is such a state where b / a = 2 tau, once it is scaled; between two timesteps the time
    is interpolated in log(b / a), and outside of them it is the nearest one.

    Args:
        network: A ``UNet2DModel``.
        scheduler: Its scheduler, which names the noise of each timestep.
    """

    ratios: Tensor

    def __init__(self, network: Any, scheduler: Any) -> None:
        super().__init__()
        self.network, self.predicts = network, scheduler.config.prediction_type
        signal = scheduler.alphas_cumprod.double()
        self.register_buffer("ratios", ((1 - signal) / signal).sqrt().log())

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Denoise ``(N, C, H, W)``, each image with its level ``(N,)``."""
        ratio = (2 * level).view(-1, 1, 1, 1)
        a = (1 + ratio.square()).rsqrt()
        b = ratio * a
        state = a * (2 * x - 1)
        # a model that learned the variance too gives it in further channels
        output = self.network(state, self.timestep(level)).sample[:, : x.shape[1]]
        if self.predicts == "epsilon":
            mean: Tensor = (state - b * output) / a
        else:
            mean = output if self.predicts == "sample" else a * state - b * output
        return (mean + 1) / 2

    def timestep(self, level: Tensor) -> Tensor:
        """Return the time of each level ``(N,)``, a fraction of one between two timesteps."""
        wanted = (2 * level).double().log()
        above = torch.searchsorted(self.ratios, wanted).clamp(1, len(self.ratios) - 1)
        low, high = self.ratios[above - 1], self.ratios[above]
        share = ((wanted - low) / (high - low)).clamp(0, 1)
        return (above - 1 + share).float()


@lru_cache(maxsize=1)
def load_pretrained(name: str) -> PretrainedDenoiser:
    """Load an unconditional diffusion model.

    Args:
        name: A folder that diffusers saved a pipeline in, or the name of one that it downloads.

    Raises:
        ValueError: if diffusers is missing, or the model cannot be loaded or is of another kind.
    """
    try:
        from diffusers import DiffusionPipeline, UNet2DModel
    except ImportError as error:
        raise ValueError(
            "attack.model needs diffusers: pip install 'privbench[diffusion]', or choose "
            "attack.model=null"
        ) from error
    try:
        with torch.device("cpu"):  # a check on meta tensors would keep a model without weights
            pipeline = DiffusionPipeline.from_pretrained(name)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"attack.model={name} cannot be loaded ({reason}): choose a folder that diffusers "
            "saved a pipeline in, or the name of one that can be downloaded"
        ) from error
    network, scheduler = getattr(pipeline, "unet", None), getattr(pipeline, "scheduler", None)
    predicts = getattr(getattr(scheduler, "config", None), "prediction_type", None)
    coded = any(getattr(pipeline, part, None) is not None for part in ("vqvae", "vae"))
    if not isinstance(network, UNet2DModel) or predicts not in PREDICTIONS or coded:
        raise ValueError(
            f"attack.model={name} is a {type(pipeline).__name__}: choose an unconditional model of "
            "pixels, such as a DDPMPipeline"
        )
    if network.class_embedding is not None:
        raise ValueError(
            f"attack.model={name} needs the class of an image: choose an unconditional model"
        )
    with torch.device("cpu"):
        return PretrainedDenoiser(network, scheduler).eval().requires_grad_(False)


def check_pretrained(name: str, image_shape: tuple[int, int, int]) -> None:
    """Refuse a model that makes images of another shape.

    Raises:
        ValueError: naming both shapes, or the reason why the model cannot be loaded.
    """
    config: Any = load_pretrained(name).network.config
    size = config.sample_size
    height, width = (size, size) if isinstance(size, int) else size or image_shape[1:]
    made = (config.in_channels, height, width)
    if made != tuple(image_shape):
        raise ValueError(
            f"attack.model={name} makes images of shape {made} and the data set has "
            f"{tuple(image_shape)}: choose a model of the data set's, or attack.model=null"
        )
