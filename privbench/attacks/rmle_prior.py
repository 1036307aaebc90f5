"""Adaptive likelihood descent with a learned prior of images, by plug-and-play."""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.optim import Adam

from privbench.attacks.base import Reconstruct
from privbench.attacks.components.data_terms import (
    DataTerm,
    InputLikelihood,
    data_term_of,
    independent_observations,
    negative_log_likelihood,
    require_likelihood,
)
from privbench.attacks.components.denoiser import Denoiser, trained_denoiser
from privbench.attacks.components.learning import TrainingConfig
from privbench.attacks.components.plug_and_play import (
    Denoise,
    geometric,
    plug_and_play,
    require_falling,
)
from privbench.runtime.countdown import Countdown
from privbench.runtime.memory_format import fast_memory_format
from privbench.runtime.validation import VALIDATED, PositiveFloat, PositiveInt
from privbench.threat import Access, AdversaryView


@dataclass(frozen=True, config=VALIDATED)
class RMLEPrior(TrainingConfig):
    """Maximise the defense's likelihood with a denoiser of the auxiliary images as the prior.

    Minimises -log p(v | x) - log p(x) in the turns of ``plug_and_play``. The likelihood is that of
    ``rmle_adaptive`` in full: the sum over features and observations, so that against noise of a
    known variance no weight has to be chosen. Its data step is a few updates of Adam. Of a defense
    on the input the perturbed images are further unknowns: they are first found alone, as the
    images whose features are the received ones, and the clean image is then estimated from them;
    the mask of a dropout is a latent variable that the mixture likelihood sums out.

    Attributes, besides those of ``TrainingConfig``, which are the denoiser's:
        levels: Turns of data step and denoiser.
        first_level: Noise level of the denoiser in the first turn, in units of the pixel range.
        last_level: The same in the last turn; between them it falls geometrically.
        updates: Updates of a data step.
        rate: Adam's learning rate as a share of the noise level.
        inversion_steps: Updates of the perturbed images alone.
        noise_variance: s², the receiver's noise besides the defense, as a share of the features'
            mean square.
    """

    version: ClassVar[str] = "rmle_prior-1"

    levels: PositiveInt
    first_level: PositiveFloat
    last_level: PositiveFloat
    updates: PositiveInt
    rate: PositiveFloat
    inversion_steps: PositiveInt
    noise_variance: PositiveFloat

    def __post_init__(self) -> None:
        """Refuse levels that do not fall."""
        require_falling(self.first_level, self.last_level)

    @property
    def access(self) -> Access:
        """Rights: the edge's weights, the defense, and auxiliary images."""
        return Access.EDGE_WEIGHTS | Access.DEFENSE | Access.AUX_IMAGES

    def check(self, view: AdversaryView) -> None:
        """Refuse more images than there are, and a defense without a likelihood.

        Raises:
            ValueError: naming the value and the choices.
        """
        super().check(view)
        require_likelihood(view.defense, "attack=rmle, or an inverse network")

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Train the denoiser, and return the reconstructor."""
        denoiser = trained_denoiser(self, view)
        edge = view.edge.to(memory_format=fast_memory_format(view.edge))
        mean = view.images.mean(0)

        def reconstruct(v: Tensor) -> Tensor:
            observed, known = independent_observations(v, view.defense)
            start = mean.expand(len(v), *mean.shape).contiguous()
            data_term = data_term_of(edge, observed, known, start)
            if isinstance(data_term, InputLikelihood):
                lr = self.rate * self.first_level
                start = data_term.find_perturbed(self.inversion_steps, lr, self.noise_variance)
            descent = Descent(self, data_term, observed[0].numel())
            levels = geometric(self.first_level, self.last_level, self.levels)
            with Countdown(f"reconstructing {len(v)} images", len(levels)) as shown:
                x = plug_and_play(start, levels, descent, denoised(denoiser, shown))
            return x.clamp(0, 1)

        return reconstruct


class Descent:
    """The data step: Adam on the negative log-likelihood and the distance from the prior's image.

    Args:
        attack: Hyper-parameters.
        data_term: Of observations ``(N, K', *feature_shape)``.
        features: Number of entries of one target's observations.
    """

    def __init__(self, attack: RMLEPrior, data_term: DataTerm, features: int) -> None:
        self.attack, self.data_term, self.features = attack, data_term, features
        device = data_term.unit.device
        self.noise_variance = torch.tensor(attack.noise_variance, device=device)

    def __call__(self, aim: Tensor, level: float, x: Tensor) -> Tensor:
        """Return the images after the updates, from the current ones."""
        x = x.detach().clone().requires_grad_()
        unknowns = [x, *self.data_term.extra_parameters]
        rate = self.attack.rate * level
        optimizer = Adam(unknowns, lr=rate, foreach=False)
        for n in range(self.attack.updates):
            # the first half at the full rate, so that small steps end what large ones began
            optimizer.param_groups[0]["lr"] = rate * min(1, 2 - 2 * n / self.attack.updates)
            value = self._negative_log(x) + self._distance(x, aim) / (2 * level**2)
            gradients = torch.autograd.grad(value.sum(), unknowns)
            for unknown, gradient in zip(unknowns, gradients, strict=True):
                unknown.grad = gradient
            optimizer.step()
        return x.detach()

    def _negative_log(self, x: Tensor) -> Tensor:
        return negative_log_likelihood(self.data_term, x, self.noise_variance, self.features)

    @staticmethod
    def _distance(x: Tensor, aim: Tensor) -> Tensor:
        return (x - aim).square().flatten(1).sum(1)


def denoised(denoiser: Denoiser, shown: Countdown) -> Denoise:
    """Return a denoiser as plug-and-play calls it, with the progress of the turns."""

    @torch.no_grad()
    def denoise(x: Tensor, level: float) -> Tensor:
        shown.advance()
        image: Tensor = denoiser(x, torch.full((len(x),), level, device=x.device))
        return image

    return denoise
