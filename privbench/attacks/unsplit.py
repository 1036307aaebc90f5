"""UnSplit (Erdogan et al., WPES 2022): image and edge from the features and the layers alone."""

import copy
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Adam

from privbench.attacks.base import Reconstruct
from privbench.attacks.components.priors import total_variation
from privbench.runtime.countdown import Countdown
from privbench.runtime.validation import VALIDATED, NonNegativeFloat, PositiveFloat, PositiveInt
from privbench.threat import Access, AdversaryView

GROUP = 16
"""Targets whose clones are in memory together."""
Weights = dict[str, Tensor]


@dataclass(frozen=True, config=VALIDATED)
class UnSplit:
    """Search for an image and for the weights of a clone of the edge in turns.

    Algorithm 1 of the paper: with ED the mean squared difference between the clone's features and
    the received ones, ``steps`` of Adam on the image minimise ED + lambda TV + lambda_2 times the
    image's mean square, as many on the clone minimise ED, and so on. The adversary knows the edge's
    layers and has neither images nor queries. ED is in units of the features' mean square, so that
    one lambda serves every split. The signs of the clone's weights are as free as the image, so
    that a negative explains the features as well; lambda_2, of the published code, prefers the
    darker of the two. In that code one clone is carried from target to target, so that the order of
    the targets matters, and an image takes 100,000 updates with a rate of 1e-3; here every target
    has a clone of its own, and all begin with the same weights. The features are the mean over
    transmissions.

    Attributes:
        rounds: Turns of image and clone.
        steps: Updates of each in one turn.
        lr: Adam's learning rate (AMSGrad) of the image, in units of the pixel range.
        clone_lr: The same of the clone, in units of its weights.
        tv_weight: Lambda.
        tv_beta: Beta of the total variation, He et al. Eq. (1b); the paper's is 2.
        square_weight: Lambda_2, of the mean square of the image.
    """

    version: ClassVar[str] = "unsplit-2"

    rounds: PositiveInt
    steps: PositiveInt
    lr: PositiveFloat
    clone_lr: PositiveFloat
    tv_weight: NonNegativeFloat
    tv_beta: PositiveFloat
    square_weight: NonNegativeFloat

    @property
    def access(self) -> Access:
        """Rights: the edge's layers, without their weights."""
        return Access.EDGE_STRUCTURE

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Return the reconstructor; nothing is trained before features arrive."""
        clone = view.fresh_edge().to(view.device).eval()
        # exactly grey is zero in the network's units, where layers without biases have no gradient
        draw = torch.rand(view.image_shape, generator=view.generator("start"))
        start = (0.475 + 0.05 * draw).to(view.device)

        def reconstruct(v: Tensor) -> Tensor:
            groups = v.mean(1).split(GROUP)
            with Countdown(f"reconstructing {len(v)} images", self.rounds * len(groups)) as shown:
                return torch.cat([self._searched(clone, part, start, shown) for part in groups])

        return reconstruct

    def _searched(self, clone: nn.Sequential, v: Tensor, start: Tensor, shown: Countdown) -> Tensor:
        """Return the images ``(N, C, H, W)`` of features ``(N, *feature_shape)``."""
        search = Search(clone, v, start, self.tv_weight, self.tv_beta, self.square_weight)
        image = Adam([search.x], lr=self.lr, amsgrad=True, foreach=False)
        # Adam refuses an empty list, which it would get of an edge without weights
        unknown = list(search.weights.values()) or [search.x]
        clones = Adam(unknown, lr=self.clone_lr, amsgrad=True, foreach=False)
        for _ in range(self.rounds):
            for _ in range(self.steps):
                search.set_image_gradient()
                image.step()
                search.x.clamp_(0, 1)
            for _ in range(self.steps if search.weights else 0):
                search.set_weight_gradients()
                clones.step()
            shown.advance()
        return search.x


class Search:
    """Images and clones of a group of targets, and the gradients of their objectives.

    Args:
        clone: The edge's layers, in evaluation mode.
        v: Features ``(N, *feature_shape)``.
        start: Initial image of all targets ``(C, H, W)``.
        tv_weight: Lambda.
        tv_beta: Beta.
        square_weight: Lambda_2.
    """

    def __init__(
        self,
        clone: nn.Sequential,
        v: Tensor,
        start: Tensor,
        tv_weight: float,
        tv_beta: float,
        square_weight: float,
    ) -> None:
        self.v, self.scale = v, v.flatten(1).square().mean(1).clamp_min(1e-12)
        self.x = start.repeat(len(v), 1, 1, 1)
        copies, constants = stack_module_state([clone] * len(v))
        self.weights = {name: weight.detach().clone() for name, weight in copies.items()}
        self.constants: Weights = constants
        layers = copy.deepcopy(clone).to("meta")

        def error(
            weights: Weights, constants: Weights, x: Tensor, v: Tensor, scale: Tensor
        ) -> Tensor:
            with sdpa_kernel(SDPBackend.MATH):  # the others have no rule for a batch of weights
                made: Tensor = functional_call(layers, (weights, constants), (x[None],))
            return (made[0] - v).square().mean() / scale

        def penalised(
            x: Tensor, weights: Weights, constants: Weights, v: Tensor, scale: Tensor
        ) -> Tensor:
            variation = tv_weight * total_variation(x[None], tv_beta)[0]
            return (
                error(weights, constants, x, v, scale)
                + variation
                + square_weight * x.square().mean()
            )

        self._by_image, self._by_weights = vmap(grad(penalised)), vmap(grad(error))

    def set_image_gradient(self) -> None:
        """Compute the gradient of ED and both penalties in the images."""
        self.x.grad = self._by_image(self.x, self.weights, self.constants, self.v, self.scale)

    def set_weight_gradients(self) -> None:
        """Compute the gradients of ED in the clones' weights."""
        gradients = self._by_weights(self.weights, self.constants, self.x, self.v, self.scale)
        for name, gradient in gradients.items():
            self.weights[name].grad = gradient
