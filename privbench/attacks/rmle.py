"""Regularised maximum likelihood estimation (rMLE), white-box, He et al. section III-A."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from privbench.attacks.base import Reconstruct
from privbench.attacks.components.data_terms import (
    DataTerm,
    FeatureLikelihood,
    InputLikelihood,
    SquaredError,
)
from privbench.attacks.components.image_optimizer import ImageOptimizer, Problem, Rows
from privbench.attacks.components.objectives import Profile, Squared
from privbench.attacks.components.priors import total_variation
from privbench.defenses.base import Defense
from privbench.runtime import checks
from privbench.threat.view import Access, AdversaryView

Prior = Callable[[Tensor], Tensor | float]
"""A resolution to the weight of the total variation."""
STARTS = ("black", "grey", "random", "dark")
OBJECTIVES: Mapping[str, type[Profile] | type[Squared]] = {"profile": Profile, "squared": Squared}


@dataclass(frozen=True)
class RMLE:
    """Finds the image whose features match, He et al. Eq. (1).

    ``squared`` is Eq. (1c) itself, ED + lambda TV. ``profile`` is log(ED + s²) + lambda TV, the
    same likelihood with a noise variance that nobody told the adversary; ED is then in units of
    the features' own mean square, so that one lambda serves every split of every victim, and s²
    falls geometrically over the first nine tenths of the steps: coarse first, then fine.
    ED is the mean over features of the squared difference.

    Attributes:
        steps: Updates of every image.
        lr: Adam's rate, in units of the pixel range [0, 1].
        eps: Adam's epsilon.
        amsgrad: Adam's variant of that name.
        schedule: Of the rate: ``constant``, or ``cosine`` down to 0.
        objective: ``profile`` or ``squared``.
        resolution: s² at the start, as a share of the features' mean square; for ``profile``.
        resolution_last: s² at the end.
        tv_weight: Lambda: one number, or a number for each split by its name, and one named
            ``default`` for the others. At 0 there is no prior at all.
        tv_beta: Beta of Eq. (1b), > 0.
        start: ``black``, ``grey``, ``random`` (uniform), ``dark`` (uniform up to 0.05: black, but
            where all features of black are dead, nothing would ever move).
        clamp: Keep pixels in [0, 1] after each step.
        adaptive: Whether the adversary knows the defense: ED is then that of the defense's own
            likelihood, summed over the observations that ``Defense.pool`` makes of the
            transmissions, or on the input over all of them; else it takes their mean for
            undefended.
    """

    version: ClassVar[str] = "rmle-1"

    steps: int = 500
    lr: float = 0.4
    eps: float = 1e-8
    amsgrad: bool = False
    schedule: str = "cosine"
    objective: str = "profile"
    resolution: float = 1.0
    resolution_last: float = 3e-4
    tv_weight: float | Mapping[str, float] = 4.0
    tv_beta: float = 1.0
    start: str = "dark"
    clamp: bool = True
    adaptive: bool = False

    def __post_init__(self) -> None:
        """Refuse what is out of range, before any data is read."""
        _ = self._descent
        if isinstance(self.tv_weight, Mapping):
            for name, value in self.tv_weight.items():
                checks.number(f"attack.tv_weight.{name}", value, 0)
            if "default" not in self.tv_weight:
                raise ValueError("attack.tv_weight names splits but no default: add default=NUMBER")
        else:
            checks.number("attack.tv_weight", self.tv_weight, 0)
        checks.number("attack.resolution_last", self.resolution_last, 0, above=True)
        checks.number("attack.resolution", self.resolution, self.resolution_last)
        checks.number("attack.tv_beta", self.tv_beta, 0, above=True)
        checks.choice("attack.start", self.start, STARTS)
        checks.choice("attack.objective", self.objective, OBJECTIVES)
        checks.flag("attack.adaptive", self.adaptive)
        if self.adaptive and self.objective != "profile":
            raise ValueError(
                f"attack.objective={self.objective} knows no likelihood: with attack.adaptive=true "
                "choose profile"
            )

    @property
    def access(self) -> Access:
        """White-box: the edge's weights, and where it is adaptive the defense."""
        known = Access.DEFENSE if self.adaptive else Access.NONE
        return Access.EDGE_WEIGHTS | known

    def check(self, view: AdversaryView) -> None:
        """Refuse a defense of which nothing is known that could be adapted to.

        Raises:
            ValueError: naming it.
        """
        if self.adaptive and view.defense.strength and not view.defense.has_likelihood:
            raise ValueError(
                f"defense {type(view.defense).__name__} states no likelihood (log_density), which "
                "an adaptive rMLE maximises: choose attack=rmle, or an inverse network"
            )

    @property
    def _descent(self) -> ImageOptimizer:
        return ImageOptimizer(
            self.steps, self.lr, self.eps, self.amsgrad, self.schedule, self.clamp
        )

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Nothing is learnt beforehand; each batch of features is inverted by descent."""
        # pixel by pixel in memory: convolutions and pooling take half the time
        edge = view.edge.to(memory_format=torch.channels_last)
        start, weight = self._start(view), self._weight(view.split)
        defense = view.defense if self.adaptive else None

        def reconstruct(v: Tensor) -> Tensor:
            observed, known = _observations(v, defense)

            def pose(rows: Rows) -> Problem:
                part = observed[rows]
                batch = start.expand(len(part), *start.shape).contiguous()
                mismatch = self._mismatch(edge, part, known, batch)
                prior = self._prior(weight, observed.shape[1] if known else 1, mismatch)
                return self._problem(mismatch, prior, batch)

            return self._descent.minimise(
                pose, OBJECTIVES[self.objective](), self._resolution, view.logger
            )

        return reconstruct

    def _prior(self, weight: float, count: int, mismatch: DataTerm) -> Prior:
        """Lambda for a mismatch that is a mean over observations, where evidence is their sum.

        So lambda is divided by their number. Where each of them has a disturbed image of its own,
        only by the time that the resolution is at its end: images that go apart while it is coarse
        end in worse minima, 28 instead of 23 dB for 16 transmissions of Gaussian noise of 0.4 at
        LeNet-5's relu2.

        Args:
            weight: Lambda for one observation.
            count: Observations of each image.
            mismatch: Of theirs.
        """
        span = math.log(self.resolution_last / self.resolution)
        if count == 1 or not mismatch.free or span == 0:
            return lambda resolution: weight / count

        def gradual(resolution: Tensor) -> Tensor:
            progress = torch.log(resolution / self.resolution) / span
            return weight * torch.pow(1 / count, progress.clamp(0, 1))

        return gradual

    def _problem(self, mismatch: DataTerm, prior: Prior, start: Tensor) -> Problem:
        """Eq. (1c) for a batch of images."""

        def terms(x: Tensor, resolution: Tensor) -> tuple[Tensor, Tensor]:
            error, penalty = mismatch(x, resolution)
            weight = prior(resolution)
            if isinstance(weight, Tensor) or weight:
                penalty = penalty + weight * total_variation(x, self.tv_beta)
            return error, penalty

        return Problem(terms, start, mismatch.unit, mismatch.free)

    def _mismatch(
        self, edge: nn.Sequential, v: Tensor, defense: Defense | None, start: Tensor
    ) -> DataTerm:
        if defense is None:
            return SquaredError(edge, v, relative=self.objective == "profile")
        if defense.site == "input":
            return InputLikelihood(edge, v, defense, start)
        return FeatureLikelihood(edge, v, defense)

    def _start(self, view: AdversaryView) -> Tensor:
        """One image ``(C, H, W)`` that all targets share, so that none depends on its place."""
        if self.start in ("black", "grey"):
            level = 0.0 if self.start == "black" else 0.5
            return torch.full(view.image_shape, level, device=view.device)
        draw = torch.rand(view.image_shape, generator=view.generator("start")).to(view.device)
        return draw if self.start == "random" else 0.05 * draw

    def _weight(self, split: str) -> float:
        """Lambda at a split."""
        if isinstance(self.tv_weight, Mapping):
            return self.tv_weight.get(split, self.tv_weight["default"])
        return self.tv_weight

    def _resolution(self, progress: float) -> float:
        """The resolution at a progress between 0 and 1."""
        return float(
            self.resolution * (self.resolution_last / self.resolution) ** min(1, progress / 0.9)
        )


def _observations(v: Tensor, defense: Defense | None) -> tuple[Tensor, Defense | None]:
    """Reduce transmissions to independent observations, where the defense is known.

    On the input each transmission is of an image disturbed anew, so none repeats another.

    Args:
        v: ``(N, K, *feature_shape)``.
        defense: None for an adversary who does not know it.

    Returns:
        Observations ``(N, K', *feature_shape)``, and the defense of each; None where nothing is
        left of it.
    """
    if defense is None or (defense.strength and defense.site == "input"):
        return v, defense
    observed, known = defense.pool(v)
    return observed, known if known.strength else None
