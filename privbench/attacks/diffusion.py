"""Guided diffusion (DRAG, ICML 2025): white-box, with a diffusion model as the prior of images."""

from typing import ClassVar

import torch
from pydantic import SkipValidation
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.attacks.base import Attack, Reconstruct, check_inner
from privbench.attacks.components.data_terms import (
    DataTerm,
    InputLikelihood,
    SquaredError,
    data_term_of,
    independent_observations,
    negative_log_likelihood,
    require_likelihood,
)
from privbench.attacks.components.denoiser import trained_denoiser
from privbench.attacks.components.guided_diffusion import GuidedDiffusion
from privbench.attacks.components.learning import TrainingConfig, held_out, reconstruction_losses
from privbench.attacks.components.plug_and_play import geometric, require_falling
from privbench.attacks.components.pretrained import check_pretrained, load_pretrained
from privbench.attacks.components.start_network import (
    believed,
    require_start_network,
    rights,
)
from privbench.runtime.countdown import Countdown
from privbench.runtime.memory_format import fast_memory_format
from privbench.runtime.validation import VALIDATED, Fraction, PositiveFloat, PositiveInt, Text
from privbench.threat import Access, AdversaryView

CEILING_IMAGES = 4
"""Held-out images on which the prior's ceiling is measured."""
FEWEST = 2
"""Levels: the features guide the steps between them."""
INVERSION_LR = 0.15
"""Adam's first learning rate for perturbed images alone, in units of the pixel range."""


@dataclass(frozen=True, config=VALIDATED)
class Diffusion(TrainingConfig):
    """Sample an image by a diffusion model, guided by the likelihood of the received features.

    The model is a denoiser trained on the auxiliary images, or a pretrained one. With a network
    (DRAG++) the network's answer is diffused to a level and sampled from there. The prior's
    ceiling, in the record as ``prior_ceiling_db``, is the PSNR of the same loop where held-out
    images themselves are received in place of features.

    Attributes, besides those of ``TrainingConfig``, which are the denoiser's:
        model: Name or folder of a pretrained unconditional model of diffusers; null trains one.
        network: Attack whose answer is the start; null for noise.
        adaptive: Use the likelihood of the defense; otherwise features are taken for undefended
            ones with noise of an unknown variance.
        levels: Noise levels, between which each step goes.
        first_level: The first one, in units of the pixel range.
        last_level: The last one; between them they fall geometrically.
        start_level: Level to which a network's answer is diffused; higher ones are left out.
        recurrences: Repetitions of each step, k.
        rate: Largest share of the guidance in a step, g_r.
        inversion_steps: Updates of the perturbed images alone, for a defense on the input.
        noise_variance: s², the receiver's noise besides the defense, as a share of the features'
            mean square.
    """

    version: ClassVar[str] = "diffusion-2"

    model: Text | None
    network: SkipValidation[Attack | None]
    adaptive: bool
    levels: PositiveInt
    first_level: PositiveFloat
    last_level: PositiveFloat
    start_level: PositiveFloat
    recurrences: PositiveInt
    rate: Fraction
    inversion_steps: PositiveInt
    noise_variance: PositiveFloat

    def __post_init__(self) -> None:
        """Refuse levels that do not fall or are too few, and a network that is not an attack."""
        require_falling(self.first_level, self.last_level)
        if self.levels < FEWEST:
            raise ValueError(
                f"attack.levels={self.levels} is out of range: choose {FEWEST} or more, for a step "
                "goes from one to the next"
            )
        if self.network is not None:
            require_start_network(self.network)
            if len(self.start_levels) < FEWEST:
                least = self.noise_levels[-FEWEST]
                raise ValueError(
                    f"attack.start_level={self.start_level} is out of range: choose a number of "
                    f"at least {least:g}, so that {FEWEST} levels are left"
                )

    @property
    def access(self) -> Access:
        """Rights: the edge's weights, auxiliary images, and the defense if it is adaptive."""
        return rights(adaptive=self.adaptive)

    def check(self, view: AdversaryView) -> None:
        """Refuse what training, model and network refuse, and a defense without a likelihood.

        Raises:
            ValueError: naming the value and the choices.
        """
        super().check(view)
        if self.adaptive:
            require_likelihood(view.defense, "attack=diffusion, or an inverse network")
        if self.model is not None:
            check_pretrained(self.model, view.image_shape)
        if self.network is not None:
            check_inner(self.network, believed(view, adaptive=self.adaptive))

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Train or load model and network, and return the reconstructor."""
        assumed = believed(view, adaptive=self.adaptive)
        sampler = Sampler(self, self._denoiser(view), view)
        turns = (len(self.start_levels) - 1) * self.recurrences
        view.logger.note(prior_ceiling_db=sampler.ceiling_db(), turns=turns)
        answer = self.network.fit(assumed) if self.network is not None else sampler.mean
        edge = view.edge.to(memory_format=fast_memory_format(view.edge))

        def reconstruct(v: Tensor) -> Tensor:
            v = v if self.adaptive else v.mean(1, keepdim=True)
            observed, known = independent_observations(v, assumed.defense)
            start = answer(v)
            data_term = data_term_of(edge, observed, known, start)
            if isinstance(data_term, InputLikelihood):
                data_term.find_perturbed(self.inversion_steps, INVERSION_LR, self.noise_variance)
                data_term.fix_perturbed()
            return sampler(data_term, observed[0].numel(), start, self.start_levels)

        return reconstruct

    @property
    def noise_levels(self) -> list[float]:
        """Return all noise levels."""
        return geometric(self.first_level, self.last_level, self.levels)

    @property
    def start_levels(self) -> list[float]:
        """Return the noise levels from that of the start on."""
        levels = self.noise_levels
        return levels if self.network is None else [n for n in levels if n <= self.start_level]

    def _denoiser(self, view: AdversaryView) -> nn.Module:
        if self.model is None:
            return trained_denoiser(self, view)
        return load_pretrained(self.model).to(view.device)


class Sampler:
    """Guided sampling, each time with the same random numbers.

    Args:
        attack: Hyper-parameters.
        denoiser: The prior.
        view: The adversary's; only its images and random numbers are used.
    """

    def __init__(self, attack: Diffusion, denoiser: nn.Module, view: AdversaryView) -> None:
        self.attack, self.denoiser, self.view = attack, denoiser, view
        self.noise_variance = torch.tensor(attack.noise_variance, device=view.device)

    def __call__(
        self, data_term: DataTerm, features: int, start: Tensor, levels: list[float]
    ) -> Tensor:
        """Return images from initial ones ``(N, C, H, W)``.

        Args:
            data_term: Of observations ``(N, K', *feature_shape)``.
            features: Number of entries of one target's observations.
            start: Images to which the first level's noise is added.
            levels: Noise levels.
        """
        draws = self.view.generator("diffusion")
        with Countdown(f"reconstructing {len(start)} images", len(levels)) as shown:
            sample = GuidedDiffusion(
                levels=levels,
                recurrences=self.attack.recurrences,
                rate=self.attack.rate,
                denoise=self.denoiser,
                negative_log=lambda x: negative_log_likelihood(
                    data_term, x, self.noise_variance, features
                ),
                noise=lambda: torch.randn(start.shape[1:], generator=draws).to(start.device),
                after_level=shown.advance,
            )
            return sample(start).clamp(0, 1)

    def mean(self, v: Tensor) -> Tensor:
        """Return the mean auxiliary image for each of the features ``(N, ...)``."""
        mean = self.view.images.mean(0)
        return mean.expand(len(v), *mean.shape).contiguous()

    def ceiling_db(self) -> float:
        """Return the PSNR of images that are received themselves, in place of features."""
        x = self.view.images[-min(CEILING_IMAGES, held_out(len(self.view.images))) :]
        data_term = SquaredError(nn.Identity(), x.unsqueeze(1), relative=True)
        x_hat = self(data_term, x[0].numel(), self.mean(x), self.attack.noise_levels)
        return float(reconstruction_losses(x_hat, x)["psnr_db"])
