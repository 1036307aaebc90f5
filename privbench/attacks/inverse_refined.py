"""A likelihood descent that starts from a network's answer and has it as its prior."""

from typing import Any, ClassVar

import torch
from pydantic import SkipValidation
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.attacks.base import Attack, Reconstruct, check_inner
from privbench.attacks.components.data_terms import (
    data_term_of,
    independent_observations,
    mean_square,
    require_likelihood,
)
from privbench.attacks.components.image_optimizer import ImageOptimizer, Problem, Rows
from privbench.attacks.components.learning import held_out
from privbench.attacks.components.objectives import Profile, annealed
from privbench.attacks.components.parametrizations import Pixels
from privbench.attacks.components.priors import ResidualPrior, total_variation
from privbench.attacks.components.refinement import (
    NOISES,
    Calibration,
    Mixture,
    correlation_of_rows,
    excess_losses,
    losses_of,
)
from privbench.attacks.components.start_network import (
    believed,
    require_start_network,
    rights,
)
from privbench.defenses.deployment import Deployment
from privbench.runtime.code_identity import described, identity_of
from privbench.runtime.memory_format import fast_memory_format
from privbench.runtime.validation import (
    VALIDATED,
    AtLeastTwo,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)
from privbench.threat import Access, AdversaryView
from privbench.threat.view import AttackLogger, DeferredFacts, NullLogger

WEIGHTS = (0.25, 1.0, 4.0, 16.0)
"""Weights of the network's prior that are tried; 1 is Bayes' rule for independent errors."""
DEPENDENT = 0.2
"""Correlation of the sizes of residual and features that refutes a naive adversary's likelihood. On
auxiliary images of MNIST behind relu2 it is at most .11 for Gaussian and Laplace noise, at least
.35 for dropout of .1 to .6, and .27 for perturbed inputs; the descent is worse than the network for
the latter two."""
UNEXPLAINED = 4.0
"""Share of the features left unexplained, as a multiple of the largest one of held-out images, from
which the residual is tested."""
PRIORS = 1000
"""Held-out images, at most, whose errors make the prior."""


@dataclass(frozen=True, config=VALIDATED)
class InverseRefined:
    """Refine a network's answer by the likelihood of the received features.

    Minimises log(ED + s²) + (w / m) (x - x0)ᵀ S⁻¹ (x - x0), from x0: the data term of ``RMLE`` for
    m features, and a Gaussian prior around the network's answer x0, whose covariance S is that of
    the network's errors on auxiliary images it was not trained on, by the contrast of the answer at
    each pixel (``ResidualPrior``). With w = 1 this is the negative log-posterior if those errors
    did not depend on the features; since the network has used the features already, w is chosen on
    further held-out images, and so are the network's answer alone and a descent from it with total
    variation instead of the prior. What is chosen is least worse than the better of these two parts
    in both squared error and 1 - SSIM: noise in dark areas that a likelihood leaves behind costs
    little of the former and much of the latter.

    Without the right to know the defense the held-out features are undefended ones, and so may say
    nothing of the received ones. Then the likelihood, which takes noise for independent of the
    features, is tested on each target. Where the features are explained less well than the held-out
    ones were, and the residual is larger where they are, as behind dropout, the network's answer
    stands. Where the residual is independent of them, the descent is done again with the
    combination that was best for held-out features with white noise added, of the amount that left
    as much unexplained.

    Attributes:
        network: The attack whose answer is refined; it needs no more than edge weights, auxiliary
            images and, where this attack is adaptive, the defense.
        adaptive: Train the network and descend with the defense's likelihood; otherwise features
            are taken for undefended ones.
        images: Held-out images on which the combination is chosen, at most half of them.
        steps: Updates of every image.
        lr: Adam's learning rate, in units of the pixel range.
        noise_variance: s² at the first step, as a share of the features' mean square.
        noise_variance_last: s² at the last step.
        tv_weight: Weight of the total variation where it takes the prior's place.
        tv_beta: Beta of the total variation, He et al. Eq. (1b).
    """

    version: ClassVar[str] = "inverse_refined-5"

    network: SkipValidation[Attack]
    adaptive: bool
    images: AtLeastTwo
    steps: PositiveInt
    lr: PositiveFloat
    noise_variance: PositiveFloat
    noise_variance_last: PositiveFloat
    tv_weight: NonNegativeFloat
    tv_beta: PositiveFloat

    def __post_init__(self) -> None:
        """Refuse a network that is not an attack, or one that needs further rights."""
        require_start_network(self.network)

    @property
    def access(self) -> Access:
        """Rights: the edge's weights, auxiliary images, and the defense if it is adaptive."""
        return rights(adaptive=self.adaptive)

    def check(self, view: AdversaryView) -> None:
        """Refuse what the network refuses, and too few images to hold out.

        Raises:
            ValueError: naming the value and the choices.
        """
        check_inner(self.network, self._believed(view))
        if held_out(len(view.images)) < 4:
            raise ValueError(
                f"the auxiliary set holds {len(view.images)} images where 40 are needed, four of "
                "which are held out: raise dataset.aux_images"
            )
        if self.adaptive:
            require_likelihood(view.defense, "attack=inverse_refined or an inverse network")

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Fit the network, measure its errors, choose the combination; return the reconstructor."""
        believed = self._believed(view)
        refinement = Refinement(self, believed)
        recipe = {
            "attack": "inverse_refined",
            "code": identity_of(type(self)),
            "settings": described(self),
            "transmissions": view.transmissions,
        }
        view.fit_or_load(recipe, refinement.calibration, refinement.calibrate)
        return lambda v: refinement(self.observed(v), view)

    def _believed(self, view: AdversaryView) -> AdversaryView:
        """Return the view with the defense that the adversary believes in."""
        return believed(view, adaptive=self.adaptive)

    def observed(self, v: Tensor) -> Tensor:
        """Return features as a naive adversary takes them: one undefended transmission."""
        return v if self.adaptive else v.mean(1, keepdim=True)

    @property
    def mixtures(self) -> list[Mixture]:
        """Return the combinations that are tried."""
        weighted = [Mixture(network=weight) for weight in WEIGHTS]
        return [Mixture(descend=False), Mixture(tv=self.tv_weight), *weighted]

    @property
    def optimizer(self) -> ImageOptimizer:
        """Return the optimizer of the descent."""
        return ImageOptimizer(self.steps, self.lr, 1e-8, False, "cosine")


class Refinement:
    """The network's answers, and their descent.

    Args:
        attack: Hyper-parameters.
        view: With the defense that the adversary believes in.
    """

    def __init__(self, attack: InverseRefined, view: AdversaryView) -> None:
        self.attack, self.view, self.answer = attack, view, attack.network.fit(view)
        self.edge = view.edge.to(memory_format=fast_memory_format(view.edge))
        count = held_out(len(view.images))
        self.tried = min(attack.images, count // 2)
        errors = min(PRIORS, count - self.tried)
        self.calibration = Calibration(ResidualPrior(errors, view.image_shape)).to(view.device)

    def calibrate(self) -> dict[str, Any]:
        """Set prior and combination from the images that the network was not trained on."""
        errors = len(self.calibration.prior.errors)
        x = self.view.images[-(errors + self.tried) :]
        draws = self.view.streams("refinement", range(len(x)))
        deployment = Deployment(self.view.edge, self.view.defense, nn.Sequential())
        v = deployment.transmit(x, draws, self.view.transmissions)
        answer = self.answer(v)
        self.calibration.prior.set((answer - x)[:errors], answer[:errors])
        v, x, answer = v[errors:], x[errors:], answer[errors:]
        best, losses, images = self._choose(v, answer, x)
        self.calibration.choice.fill_(best)
        self.calibration.unexplained.fill_(float(self._unexplained(images[best], v).max()))
        chosen = self.attack.mixtures[best]
        facts = {**vars(chosen), "images": self.tried, "losses": losses}
        if not self.attack.adaptive and chosen.descend:
            facts["under_noise"] = self._choose_under_noise(v, x)
        return {"refined": facts}

    def _choose(
        self, v: Tensor, answer: Tensor, x: Tensor
    ) -> tuple[int, list[float], list[Tensor]]:
        """Return the index of the best combination, and losses and images of all."""
        mixtures = self.attack.mixtures
        images = [self._combined(mixture, v, answer, NullLogger()) for mixture in mixtures]
        losses = excess_losses([losses_of(x_hat, x) for x_hat in images])
        return min(range(len(losses)), key=losses.__getitem__), losses, images

    def _choose_under_noise(self, v: Tensor, x: Tensor) -> list[dict[str, Any]]:
        """Set the combinations for features with white noise, and return them."""
        v = self.attack.observed(v)  # what it meets later is one transmission, too
        draws, facts = self.view.streams("refinement noise", range(len(x))), []
        size = mean_square(v).sqrt().view(-1, *[1] * (v.dim() - 1))
        for n, variance in enumerate(NOISES):
            noisy = v + variance**0.5 * size * draws.for_draw(n).normal(v)
            best, losses, images = self._choose(noisy, self.answer(noisy), x)
            first = images[int(self.calibration.choice)]
            self.calibration.choices[n] = best
            self.calibration.shares[n] = self._unexplained(first, noisy).median()
            chosen = vars(self.attack.mixtures[best])
            facts.append({"noise": variance, **chosen, "losses": losses})
        return facts

    def __call__(self, v: Tensor, view: AdversaryView) -> Tensor:
        """Return images ``(N, C, H, W)`` of features ``(N, K, *feature_shape)``."""
        mixture, answer = self.attack.mixtures[int(self.calibration.choice)], self.answer(v)
        if self.attack.adaptive or not mixture.descend:
            return self._combined(mixture, v, answer, view.logger)
        facts = DeferredFacts(view.logger)
        x = self._combined(mixture, v, answer, facts)
        share = self._unexplained(x, v)
        explained = share <= UNEXPLAINED * self.calibration.unexplained
        noisy = ~explained & self._independent(x, v)
        nearest = (share.log()[:, None] - self.calibration.shares.log()).abs().argmin(1)
        x = torch.where(explained.view(-1, 1, 1, 1), x, answer)
        logger: AttackLogger = view.logger
        if bool(explained.any()):  # the facts are of these
            logger.note(**facts.kept)
            logger = NullLogger()
        for n, choice in enumerate(self.calibration.choices.tolist()):
            rows = noisy & (nearest == n)
            if bool(rows.any()):
                x[rows] = self._combined(
                    self.attack.mixtures[choice], v[rows], answer[rows], logger
                )
        return x

    @torch.no_grad()
    def _independent(self, x: Tensor, v: Tensor) -> Tensor:
        """Return where what is left does not grow with the features, as that of noise ``(N,)``."""
        clean = self.edge(x).flatten(1)
        residual = v.mean(1).flatten(1) - clean
        return correlation_of_rows(residual.abs(), clean.abs()) < DEPENDENT

    @torch.no_grad()
    def _unexplained(self, x: Tensor, v: Tensor) -> Tensor:
        """Return the squared error of the images' features as a share of the received ``(N,)``."""
        error: Tensor = (v.mean(1) - self.edge(x)).flatten(1).square().mean(1)
        return error / mean_square(v)

    def _combined(
        self, mixture: Mixture, v: Tensor, answer: Tensor, logger: AttackLogger
    ) -> Tensor:
        if not mixture.descend:
            return answer
        observed, known = independent_observations(v, self.view.defense)

        def pose(rows: Rows) -> Problem:
            return self._problem(mixture, observed[rows], known, answer[rows])

        return self.attack.optimizer.minimise(pose, Profile(), self._noise_variance, logger)

    def _problem(self, mixture: Mixture, v: Tensor, known: Any, answer: Tensor) -> Problem:
        """Pose the problem for a batch of observations ``(N, K', *feature_shape)``."""
        data_term = data_term_of(self.edge, v, known, answer)
        # the data term is a mean over observations and features, the evidence is their sum
        count = v.shape[1] if known else 1
        size = self.calibration.prior.size(answer)

        def terms(x: Tensor, noise_variance: Tensor) -> tuple[Tensor, Tensor]:
            error, penalty = data_term(x, noise_variance)
            if mixture.network:
                weight = mixture.network / (count * v[0, 0].numel())
                penalty = penalty + weight * self.calibration.prior((x - answer) / size)
            if mixture.tv:
                penalty = penalty + mixture.tv / count * total_variation(x, self.attack.tv_beta)
            return error, penalty

        pixels = Pixels(answer, clamp=True)
        return Problem(terms, pixels, data_term.unit, data_term.extra_parameters)

    def _noise_variance(self, progress: float) -> float:
        return annealed(self.attack.noise_variance, self.attack.noise_variance_last, progress)
