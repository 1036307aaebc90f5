"""Regularised maximum likelihood estimation (rMLE), white-box, He et al. section III-A."""

import math
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from privbench.attacks.base import Reconstruct
from privbench.attacks.components.data_terms import (
    DataTerm,
    data_term_of,
    independent_observations,
    require_likelihood,
)
from privbench.attacks.components.image_optimizer import ImageOptimizer, Problem, Rows, Schedule
from privbench.attacks.components.mixed_precision import MixedPrecisionEdge
from privbench.attacks.components.objectives import Profile, Squared, annealed
from privbench.attacks.components.parametrizations import Pixels
from privbench.attacks.components.priors import total_variation
from privbench.runtime.memory_format import fast_memory_format
from privbench.runtime.validation import (
    VALIDATED,
    NonNegativeFloat,
    NonNegativeFloatByName,
    PositiveFloat,
    PositiveInt,
)
from privbench.threat import Access, AdversaryView

Prior = Callable[[Tensor], Tensor | float]
"""Noise variance s² to the weight lambda of the total variation."""
OBJECTIVES: Mapping[str, type[Profile] | type[Squared]] = {"profile": Profile, "squared": Squared}


@dataclass(frozen=True, config=VALIDATED)
class RMLE:
    """Search for the image whose features match the received ones, He et al. Eq. (1).

    ``squared`` is Eq. (1c) itself, ED + lambda TV. ``profile`` is log(ED + s²) + lambda TV, the
    same likelihood with an unknown noise variance; ED is then in units of the features' mean
    square, so that one lambda serves every split of every victim, and s² falls geometrically over
    the first nine tenths of the steps, from coarse to fine.
    ED is the mean over features of the squared difference.

    Attributes:
        steps: Updates of every image.
        lr: Adam's learning rate, in units of the pixel range [0, 1].
        adam_eps: Adam's epsilon.
        amsgrad: Use the AMSGrad variant of Adam.
        eps_before_correction: Add epsilon before the bias correction of the second moment, as
            PyTorch did before 1.3.
        schedule: Learning rate over the steps: ``constant``, or ``cosine`` down to 0.
        objective: ``profile`` or ``squared``.
        noise_variance: s² at the first step, as a share of the features' mean square; used by
            ``profile``.
        noise_variance_last: s² at the last step.
        tv_weight: Lambda: one number, or a number for each split by its name, and one named
            ``default`` for the others. 0 switches the prior off.
        tv_beta: Beta of Eq. (1b), > 0.
        init: Initial image: ``black``, ``grey``, ``random`` (uniform in [0, 1]) or ``dark``
            (uniform in [0, 0.05], since where no unit responds to black its gradient is zero).
        clamp: Keep pixels in [0, 1] after each step.
        adaptive: Use the likelihood of the defense in place of ED, summed over the observations
            that ``pool`` makes of the transmissions (for a defense on the input: over all
            transmissions). A naive attack treats their mean as undefended features.
        precision: ``32-true``, or ``bf16-mixed`` to multiply in bf16 where that is faster.
    """

    version: ClassVar[str] = "rmle-1"

    steps: PositiveInt = 500
    lr: PositiveFloat = 0.4
    adam_eps: NonNegativeFloat = 1e-8
    amsgrad: bool = False
    schedule: Schedule = "cosine"
    objective: Literal["profile", "squared"] = "profile"
    noise_variance: NonNegativeFloat = 1.0
    noise_variance_last: PositiveFloat = 3e-4
    tv_weight: NonNegativeFloatByName = 4.0
    tv_beta: PositiveFloat = 1.0
    init: Literal["black", "grey", "random", "dark"] = "dark"
    clamp: bool = True
    adaptive: bool = False
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    eps_before_correction: bool = False

    def __post_init__(self) -> None:
        """Refuse options that do not fit together."""
        if isinstance(self.tv_weight, Mapping) and "default" not in self.tv_weight:
            raise ValueError("attack.tv_weight names splits but no default: add default=NUMBER")
        if self.noise_variance < self.noise_variance_last:
            raise ValueError(
                f"attack.noise_variance={self.noise_variance} is out of range: choose a number of "
                f"at least {self.noise_variance_last:g} (attack.noise_variance_last)"
            )
        if self.adaptive and self.objective != "profile":
            raise ValueError(
                f"attack.objective={self.objective} has no likelihood: with attack.adaptive=true "
                "choose profile"
            )

    @property
    def access(self) -> Access:
        """Rights: the edge's weights, and the defense if the attack is adaptive."""
        return Access.EDGE_WEIGHTS | (Access.DEFENSE if self.adaptive else Access.NONE)

    def check(self, view: AdversaryView) -> None:
        """Refuse a defense without a likelihood if the attack is adaptive.

        Raises:
            ValueError: naming the defense.
        """
        if self.adaptive:
            require_likelihood(view.defense, "attack=rmle, or an inverse network")

    @property
    def _optimizer(self) -> ImageOptimizer:
        return ImageOptimizer(
            self.steps, self.lr, self.adam_eps, self.amsgrad, self.schedule,
            self.eps_before_correction,
        )  # fmt: skip

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Return the reconstructor; nothing is trained."""
        # channels last halves the time of convolutions and pooling
        edge = view.edge.to(memory_format=fast_memory_format(view.edge))
        if view.device_config.precision(self.precision) == "bf16-mixed":
            edge = MixedPrecisionEdge.of(edge)
            view.logger.note(precision="bf16-mixed")
        start, weight = self._initial_image(view), self._weight(view.split)
        defense = view.defense if self.adaptive else None

        def reconstruct(v: Tensor) -> Tensor:
            observed, known = independent_observations(v, defense)

            def pose(rows: Rows) -> Problem:
                part = observed[rows]
                batch = start.expand(len(part), *start.shape).contiguous()
                data_term = data_term_of(
                    edge, part, known, batch, relative=self.objective == "profile"
                )
                prior = self._prior(weight, observed.shape[1] if known else 1, data_term)
                return self._problem(data_term, prior, batch)

            return self._optimizer.minimise(
                pose, OBJECTIVES[self.objective](), self._noise_variance, view.logger
            )

        return reconstruct

    def _prior(self, weight: float, count: int, data_term: DataTerm) -> Prior:
        """Return lambda for a data term that is a mean over observations.

        Evidence is their sum, so lambda is divided by their number. If every observation has a
        perturbed image among the unknowns, lambda falls to that share only as the noise variance
        reaches its end: divided from the start, 16 transmissions of Gaussian noise of 0.4 at
        LeNet-5's relu2 give 23 dB instead of 28.

        Args:
            weight: Lambda for one observation.
            count: Observations of each image, K'.
            data_term: Data term of the observations.
        """
        span = math.log(self.noise_variance_last / self.noise_variance)
        if count == 1 or not data_term.extra_parameters or span == 0:
            return lambda noise_variance: weight / count

        def gradual(noise_variance: Tensor) -> Tensor:
            progress = torch.log(noise_variance / self.noise_variance) / span
            return weight * torch.pow(1 / count, progress.clamp(0, 1))

        return gradual

    def _problem(self, data_term: DataTerm, prior: Prior, start: Tensor) -> Problem:
        """Pose Eq. (1c) for a batch of images."""

        def terms(x: Tensor, noise_variance: Tensor) -> tuple[Tensor, Tensor]:
            error, penalty = data_term(x, noise_variance)
            weight = prior(noise_variance)
            if isinstance(weight, Tensor) or weight:
                penalty = penalty + weight * total_variation(x, self.tv_beta)
            return error, penalty

        pixels = Pixels(start, clamp=self.clamp)
        return Problem(terms, pixels, data_term.unit, data_term.extra_parameters)

    def _initial_image(self, view: AdversaryView) -> Tensor:
        """Return one image ``(C, H, W)`` for all targets, so that none depends on its place."""
        if self.init in ("black", "grey"):
            level = 0.0 if self.init == "black" else 0.5
            return torch.full(view.image_shape, level, device=view.device)
        draw = torch.rand(view.image_shape, generator=view.generator("start")).to(view.device)
        return draw if self.init == "random" else 0.05 * draw

    def _weight(self, split: str) -> float:
        """Return lambda at a split."""
        if isinstance(self.tv_weight, Mapping):
            return self.tv_weight.get(split, self.tv_weight["default"])
        return self.tv_weight

    def _noise_variance(self, progress: float) -> float:
        """Return s² at a progress between 0 and 1."""
        return annealed(self.noise_variance, self.noise_variance_last, progress)
