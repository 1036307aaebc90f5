"""Deep image prior: white-box and without data; each image is the output of an untrained network.

Ulyanov et al., CVPR 2018; on the features of a split network it is the likelihood maximisation of
Singh et al. (DISCO, CVPR 2021).
"""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.attacks.base import Reconstruct
from privbench.attacks.components.data_terms import SquaredError
from privbench.attacks.components.image_optimizer import ImageOptimizer, Problem, Rows, Schedule
from privbench.attacks.components.objectives import Profile, annealed
from privbench.attacks.components.parametrizations import DeepImagePrior
from privbench.attacks.components.priors import total_variation
from privbench.runtime.memory_format import fast_memory_format
from privbench.runtime.validation import (
    VALIDATED,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)
from privbench.threat import Access, AdversaryView


def _require_widths(value: Any) -> tuple[int, ...]:
    """Return the channels of at least one level as a tuple: yaml gives a list."""
    widths = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not widths or any(type(width) is not int or width < 1 for width in widths):
        raise ValueError(
            f"attack.widths={list(widths)} are no channels: choose whole numbers from 1, such as "
            "[16,32,64]"
        )
    return widths


@dataclass(frozen=True, config=VALIDATED)
class DIP:
    """Search for the weights of a network whose image has the received features.

    Minimises log(ED + s²) + lambda TV, the objective of ``RMLE``, over the weights of a
    ``DeepImagePrior``; the iterate with the lowest objective is the answer, for the true image is
    not at hand to stop by. The features are taken for undefended ones, as the mean over
    transmissions.

    Attributes:
        steps: Updates of every network.
        lr: Adam's learning rate, in units of the weights.
        adam_eps: Adam's epsilon.
        amsgrad: Use the AMSGrad variant of Adam.
        schedule: Learning rate over the steps: ``constant``, or ``cosine`` down to 0.
        noise_variance: s² at the first step, as a share of the features' mean square.
        noise_variance_last: s² at the last step.
        tv_weight: Lambda; 0 leaves the network as the only prior.
        tv_beta: Beta of the total variation, He et al. Eq. (1b).
        widths: Channels of each level of the network; small images use the first levels only.
        skip: Channels of each skip connection.
    """

    version: ClassVar[str] = "dip-1"

    steps: PositiveInt
    lr: PositiveFloat
    adam_eps: NonNegativeFloat
    amsgrad: bool
    schedule: Schedule
    noise_variance: PositiveFloat
    noise_variance_last: PositiveFloat
    tv_weight: NonNegativeFloat
    tv_beta: PositiveFloat
    widths: Annotated[tuple[int, ...], BeforeValidator(_require_widths)]
    skip: PositiveInt

    @property
    def access(self) -> Access:
        """Rights: the edge's weights."""
        return Access.EDGE_WEIGHTS

    @property
    def _optimizer(self) -> ImageOptimizer:
        return ImageOptimizer(self.steps, self.lr, self.adam_eps, self.amsgrad, self.schedule)

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Return the reconstructor; nothing is trained before features arrive."""
        # channels last halves the time of convolutions and pooling
        edge = view.edge.to(memory_format=fast_memory_format(view.edge))

        def reconstruct(v: Tensor) -> Tensor:
            def pose(rows: Rows) -> Problem:
                return self._problem(edge, v[rows], view)

            return self._optimizer.minimise(pose, Profile(), self._noise_variance, view.logger)

        return reconstruct

    def _problem(self, edge: nn.Module, v: Tensor, view: AdversaryView) -> Problem:
        """Pose the problem for a batch of features ``(N, K, *feature_shape)``."""
        data_term = SquaredError(edge, v, relative=True)

        def terms(x: Tensor, noise_variance: Tensor) -> tuple[Tensor, Tensor]:
            error, penalty = data_term(x, noise_variance)
            if self.tv_weight:
                penalty = penalty + self.tv_weight * total_variation(x, self.tv_beta)
            return error, penalty

        networks = DeepImagePrior(
            len(v),
            view.image_shape,
            widths=self.widths,
            skip=self.skip,
            generator=view.generator("networks"),
            device=view.device,
        )
        return Problem(terms, networks, data_term.unit)

    def _noise_variance(self, progress: float) -> float:
        """Return s² at a progress between 0 and 1."""
        return annealed(self.noise_variance, self.noise_variance_last, progress)
