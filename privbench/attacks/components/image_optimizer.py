"""Optimisation of a batch of images by Adam, for attacks that fit images to features."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from privbench.attacks.components.convergence import (
    WORTH_CONFIRMING,
    Path,
    sample,
    share,
    undrawn,
)
from privbench.attacks.components.objectives import Objective
from privbench.attacks.components.parametrizations import Parametrization
from privbench.runtime.countdown import Countdown
from privbench.threat.view import AttackLogger, NullLogger
from privbench.training.adam import eps_after_correction

Rows = Tensor | slice
"""Indices of images of a batch."""
Terms = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Images ``(N, C, H, W)`` and a noise variance to data term and penalty of each image ``(N,)``."""

Schedule = Literal["constant", "cosine"]
"""Learning rate over the steps: constant, or along half a cosine down to 0."""


@dataclass(frozen=True)
class Problem:
    """A minimisation problem over a batch of images.

    Attributes:
        terms: Data term and penalty of each image.
        parametrization: The unknowns of the images, at their initial values.
        unit: Data term that equals the mean square of the received features ``(N,)``.
        extra_parameters: Further unknowns of the terms, in the images' units; not clamped.
    """

    terms: Terms
    parametrization: Parametrization
    unit: Tensor
    extra_parameters: Sequence[Tensor] = ()


@dataclass(frozen=True)
class ImageOptimizer:
    """Adam on a parametrization of images, with a schedule of its learning rate.

    Its values are checked by the attack that sets them.

    Attributes:
        steps: Updates of every image.
        lr: Adam's learning rate, in units of the unknowns.
        adam_eps: Adam's epsilon.
        amsgrad: Use the AMSGrad variant of Adam.
        schedule: Learning rate over the steps: ``constant``, or ``cosine`` down to 0.
        eps_before_correction: Add epsilon before the bias correction of the second moment, as
            PyTorch did before 1.3.
    """

    steps: int
    lr: float
    adam_eps: float
    amsgrad: bool
    schedule: Schedule
    eps_before_correction: bool = False

    def minimise(
        self,
        pose: Callable[[Rows], Problem],
        objective: Objective,
        noise_variance: Callable[[float], float],
        logger: AttackLogger,
    ) -> Tensor:
        """Return each image's best iterate.

        The noise variance may change during the steps; iterates are compared, and convergence is
        judged, under the last one. Objectives are summed over images, not averaged: Adam's epsilon
        would couple the images through the batch size. So a result does not depend on its batch.

        Args:
            pose: Poses the problem for some of the images, each time from the same initial values.
            objective: Combines data term and penalty.
            noise_variance: s² of the objective by progress between 0 and 1.
            logger: Receives the progress, the share of images that converged, the share that never
                moved, and the result of a longer run of a few of them.

        Returns:
            Images ``(N, C, H, W)`` in [0, 1]; not a number where the optimisation diverged.
        """
        run = self._descend(pose(slice(None)), objective, noise_variance, logger)
        path = run.path()
        if not isinstance(logger, NullLogger):  # its facts would be discarded
            logger.note(**self._convergence(path, run.least, pose, objective, noise_variance))
        best = torch.where(path.finite.view(-1, 1, 1, 1), run.best, torch.nan).clamp(0, 1)
        logger.step(self.steps, best, objective=float(run.lowest.mean()))
        return best

    def _descend(
        self,
        problem: Problem,
        objective: Objective,
        noise_variance: Callable[[float], float],
        logger: AttackLogger,
    ) -> "_OptimizationState":
        """Take all steps on one batch."""
        run = _OptimizationState(self, problem, objective, noise_variance(1.0))
        logger.step(0, run.start, objective=float(objective.for_display(run.first).mean()))
        reports = {round(self.steps * part / 20) for part in range(1, 20)}
        with Countdown(f"reconstructing {len(run.start)} images", self.steps) as shown:
            for n in range(self.steps):
                run.advance(self._rate(n), self._eps(n), noise_variance(n / self.steps))
                shown.advance()
                if n + 1 in reports:
                    score = objective.for_display(run.score())
                    logger.step(n + 1, run.shown, objective=float(score.mean()))
                if n + 1 == self.steps // 2:
                    run.mark_halfway()
        return run

    def _convergence(
        self,
        path: Path,
        least: Tensor,
        pose: Callable[[Rows], Problem],
        objective: Objective,
        noise_variance: Callable[[float], float],
    ) -> dict[str, Any]:
        """Return facts on convergence for the record."""
        settled = share(path.settled)
        facts = {"converged": settled, "never_moved": share(path.never_moved)}
        if settled < WORTH_CONFIRMING:
            return facts
        rows = sample(path.settled)
        longer = replace(self, steps=2 * self.steps)
        with undrawn(path.start.device):
            run = longer._descend(pose(rows), objective, noise_variance, NullLogger())
        gained = objective.reduction(least[rows], run.least)
        confirmed = path.confirmed(rows, run.best, gained)
        facts["converged"] = min(settled, confirmed / len(rows))
        probe = {"images": len(rows), "steps": longer.steps, "confirmed": confirmed}
        return {**facts, "longer_run": probe}

    def _eps(self, n: int) -> float:
        if self.eps_before_correction:
            return eps_after_correction(self.adam_eps, n + 1)
        return self.adam_eps

    def _rate(self, n: int) -> float:
        if self.schedule == "constant":
            return self.lr
        return self.lr * 0.5 * (1 + math.cos(math.pi * n / self.steps))


_EAGER: Any = object()


class _OptimizationState:
    """State of one batch: iterates, best iterates, and on a GPU the step as a captured graph."""

    def __init__(
        self,
        settings: ImageOptimizer,
        problem: Problem,
        objective: Objective,
        last: float,
    ) -> None:
        self.problem, self.terms, self.objective = problem, problem.terms, objective
        self.parametrization = problem.parametrization
        with torch.no_grad():
            start = self.parametrization.images().detach().clone()
        self.start, self.shown, self.best = start, start, start.clone()
        self.least = torch.full((len(start),), math.inf, device=start.device)
        # tensors, so that a captured graph sees their new values
        values = settings.lr, settings.adam_eps, math.inf, last
        self.rate, self.eps, self.noise_variance, self.last = (
            torch.tensor(value, device=start.device) for value in values
        )
        self.leaves = [*self.parametrization.parameters(), *problem.extra_parameters]
        # the extra parameters follow the noise variance, so iterates compare only under the last
        self.compare_under_last = bool(problem.extra_parameters)
        self.optimiser = torch.optim.Adam(
            self.leaves,
            lr=self.rate,
            eps=settings.adam_eps,
            amsgrad=settings.amsgrad,
            capturable=start.is_cuda,
            foreach=False,
        )
        if settings.eps_before_correction:
            self.optimiser.param_groups[0]["eps"] = self.eps
        self.warm_up, self.graph = 3, None if start.is_cuda else _EAGER
        self.first = self.score()
        self.halfway, self.midway = self.least.clone(), self.best.clone()

    @property
    def lowest(self) -> Tensor:
        """Objective of the best iterates so far ``(N,)``, under the last noise variance."""
        return self.objective.for_display(self.least)

    def advance(self, rate: float, eps: float, noise_variance: float) -> None:
        """Update every image once with these values of Adam, under this noise variance."""
        self.rate.fill_(rate)
        self.eps.fill_(eps)
        self.noise_variance.fill_(noise_variance)
        if self.graph is _EAGER:
            self._update()
        elif self.warm_up:
            self._warm_up()
        else:
            self._replay()

    def mark_halfway(self) -> None:
        """Keep the images after half of the steps."""
        self.halfway = self.score().minimum(self.least)
        self.midway = self.shown.clone()

    @torch.no_grad()
    def path(self) -> Path:
        """Return what convergence is judged by, after the last step."""
        finite = self.score().isfinite()
        data_term, _ = self.terms(self.best, self.last)
        values = torch.stack([self.first, self.halfway, self.least])
        return Path(
            start=self.start,
            halfway=self.midway,
            end=self.best,
            values=self.objective.for_display(values),
            unexplained=data_term / self.problem.unit,
            finite=finite,
        )

    @torch.no_grad()
    def score(self) -> Tensor:
        """Return the objective of the present iterates ``(N,)``, and update the best ones."""
        self.shown = self.parametrization.images().detach()
        return self._keep_best(self.shown, *self.terms(self.shown, self.last))

    def _update(self) -> None:
        x = self.parametrization.images()
        data_term, penalty = self.terms(x, self.noise_variance)
        self._keep_best(x.detach(), data_term.detach(), penalty.detach())
        losses = self.objective.value(data_term, penalty, self.noise_variance)
        gradients = torch.autograd.grad(losses.sum(), self.leaves)
        for leaf, gradient in zip(self.leaves, gradients, strict=True):
            leaf.grad = gradient
        with torch.no_grad():
            self.optimiser.step()
            self.parametrization.after_step()

    def _keep_best(self, x: Tensor, data_term: Tensor, penalty: Tensor) -> Tensor:
        value = self.objective.value(data_term, penalty, self.last)
        better = value < self.least
        if self.compare_under_last:
            better = better & (self.noise_variance <= self.last)
        self.least.copy_(torch.where(better, value, self.least))
        self.best.copy_(torch.where(better.view(-1, 1, 1, 1), x, self.best))
        return value

    def _warm_up(self) -> None:
        """Take one of the first steps of a GPU run on a side stream, as a capture demands."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._update()
        torch.cuda.current_stream().wait_stream(stream)
        self.warm_up -= 1

    def _replay(self) -> None:
        """Take a later step by one launch; a capture records the step without running it."""
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self._update()
        self.graph.replay()
