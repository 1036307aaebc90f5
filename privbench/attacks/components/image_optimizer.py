"""The optimiser's loop that attacks on single images share: Adam on a batch of images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from privbench.attacks.components.convergence import (
    WORTH_CONFIRMING,
    Path,
    sample,
    undrawn,
)
from privbench.attacks.components.objectives import Objective
from privbench.runtime import checks
from privbench.runtime.countdown import Countdown
from privbench.threat.view import AttackLogger, NullLogger

Rows = Tensor | slice
"""Which images of a batch."""
Terms = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Images ``(N, C, H, W)`` and a resolution to each one's mismatch and penalty, ``(N,)`` both."""

SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class Problem:
    """What is minimised for a batch of images.

    Attributes:
        terms: Mismatch and penalty of each image.
        start: ``(N, C, H, W)``.
        unit: Mismatch that equals the mean square of the features to be met ``(N,)``.
        free: What else the terms depend on and is to be found, of the images' units; not clamped.
    """

    terms: Terms
    start: Tensor
    unit: Tensor
    free: Sequence[Tensor] = ()


@dataclass(frozen=True)
class ImageOptimizer:
    """Adam on images, with a schedule for its rate.

    Attributes:
        steps: Updates of every image.
        lr: Adam's rate, in units of the pixel range.
        eps: Adam's epsilon.
        amsgrad: Adam's variant that never forgets a large gradient.
        schedule: Of the rate: ``constant``, or ``cosine`` down to 0.
        clamp: Keep pixels in [0, 1] after each step.
    """

    steps: int
    lr: float
    eps: float
    amsgrad: bool
    schedule: str
    clamp: bool

    def __post_init__(self) -> None:
        """Refuse what is out of range, before any data is read."""
        checks.whole("attack.steps", self.steps, 1)
        checks.number("attack.lr", self.lr, 0, above=True)
        checks.number("attack.eps", self.eps, 0)
        checks.flag("attack.amsgrad", self.amsgrad)
        checks.choice("attack.schedule", self.schedule, SCHEDULES)
        checks.flag("attack.clamp", self.clamp)

    def minimise(
        self,
        pose: Callable[[Rows], Problem],
        objective: Objective,
        resolution: Callable[[float], float],
        logger: AttackLogger,
    ) -> Tensor:
        """Each image's best iterate by its own objective.

        The resolution may move on the way; iterates are compared, and convergence is judged, by the
        last one. Objectives are summed over images, never averaged: Adam's epsilon would couple
        the images through the batch size. So a result does not depend on the rest of its batch.

        Args:
            pose: States the problem anew for some of the images, each time from the same start.
            objective: Combines mismatch and penalty.
            resolution: Of the objective, at a progress between 0 and 1.
            logger: Receives the progress, the share of images that converged, the share that never
                moved, and what the longer run of a few of them gave.

        Returns:
            Images like the problem's start in [0, 1]; not a number where the descent diverged.
        """
        run = self._descend(pose(slice(None)), objective, resolution, logger)
        path = run.path()
        if not isinstance(logger, NullLogger):  # what is not kept need not be computed
            logger.note(**self._convergence(path, run.least, pose, objective, resolution))
        best = torch.where(path.finite.view(-1, 1, 1, 1), run.best, torch.nan).clamp(0, 1)
        logger.step(self.steps, best, objective=float(run.lowest.mean()))
        return best

    def _descend(
        self,
        problem: Problem,
        objective: Objective,
        resolution: Callable[[float], float],
        logger: AttackLogger,
    ) -> "_Run":
        """Take all steps on one batch."""
        run = _Run(self, problem, objective, resolution(1.0))
        logger.step(0, run.x.detach(), objective=float(objective.told(run.first).mean()))
        reports = {round(self.steps * part / 20) for part in range(1, 20)}
        with Countdown(f"reconstructing {len(problem.start)} images", self.steps) as shown:
            for n in range(self.steps):
                run.advance(self._rate(n), resolution(n / self.steps))
                shown.advance()
                if n + 1 in reports:
                    logger.step(
                        n + 1, run.x.detach(), objective=float(objective.told(run.score()).mean())
                    )
                if n + 1 == self.steps // 2:
                    run.mark_halfway()
        return run

    def _convergence(
        self,
        path: Path,
        least: Tensor,
        pose: Callable[[Rows], Problem],
        objective: Objective,
        resolution: Callable[[float], float],
    ) -> dict[str, Any]:
        """Facts on convergence for the journal."""
        settled = float(path.settled.float().mean())
        facts = {"converged": settled, "never_moved": float(path.never_moved.float().mean())}
        if settled < WORTH_CONFIRMING:
            return facts
        rows = sample(path.settled)
        longer = replace(self, steps=2 * self.steps)
        with undrawn(path.start.device):
            run = longer._descend(pose(rows), objective, resolution, NullLogger())
        gained = objective.reduction(least[rows], run.least)
        confirmed = path.confirmed(rows, run.best, gained)
        facts["converged"] = min(settled, confirmed / len(rows))
        probe = {"images": len(rows), "steps": longer.steps, "confirmed": confirmed}
        return {**facts, "longer_run": probe}

    def _rate(self, n: int) -> float:
        if self.schedule == "constant":
            return self.lr
        return self.lr * 0.5 * (1 + math.cos(math.pi * n / self.steps))


_EAGER: Any = object()


class _Run:
    """One batch on its way: iterate, best iterate, and on a GPU the step as a captured graph."""

    def __init__(
        self,
        settings: ImageOptimizer,
        problem: Problem,
        objective: Objective,
        last: float,
    ) -> None:
        self.problem, self.terms, self.objective = problem, problem.terms, objective
        self.clamp = settings.clamp
        start, free = problem.start, problem.free
        self.x = start.detach().clone().requires_grad_()
        self.best = start.detach().clone()
        self.least = torch.full((len(start),), math.inf, device=start.device)
        # tensors, so that a captured graph sees their new values
        self.rate, self.resolution, self.last = (
            torch.tensor(value, device=start.device) for value in (settings.lr, math.inf, last)
        )
        self.leaves = [self.x, *free]
        # what is free is judged by the resolution itself: only like is compared with like
        self.late = bool(free)
        self.optimiser = torch.optim.Adam(
            self.leaves,
            lr=self.rate,
            eps=settings.eps,
            amsgrad=settings.amsgrad,
            capturable=start.is_cuda,
            foreach=False,
        )
        self.warm_up, self.graph = 3, None if start.is_cuda else _EAGER
        self.first = self.score()
        self.halfway, self.midway = self.least.clone(), self.best.clone()

    @property
    def lowest(self) -> Tensor:
        """The objective of the best iterates so far ``(N,)``, under the last resolution."""
        return self.objective.told(self.least)

    def advance(self, rate: float, resolution: float) -> None:
        """One update of every image under this rate and resolution."""
        self.rate.fill_(rate)
        self.resolution.fill_(resolution)
        if self.graph is _EAGER:
            self._update()
        elif self.warm_up:
            self._warm_up()
        else:
            self._replay()

    def mark_halfway(self) -> None:
        """Keep where the images are after half of the steps."""
        self.halfway = self.score().minimum(self.least)
        self.midway = self.x.detach().clone()

    @torch.no_grad()
    def path(self) -> Path:
        """What the images passed through, after the last step."""
        finite = self.score().isfinite()
        mismatch, _ = self.terms(self.best, self.last)
        values = torch.stack([self.first, self.halfway, self.least])
        return Path(
            start=self.problem.start,
            halfway=self.midway,
            end=self.best,
            values=self.objective.told(values),
            unexplained=mismatch / self.problem.unit,
            finite=finite,
        )

    @torch.no_grad()
    def score(self) -> Tensor:
        """The objective of the present iterates ``(N,)``, which the best ones are held against."""
        return self._keep_best(*self.terms(self.x, self.last))

    def _update(self) -> None:
        mismatch, penalty = self.terms(self.x, self.resolution)
        self._keep_best(mismatch.detach(), penalty.detach())
        losses = self.objective.value(mismatch, penalty, self.resolution)
        gradients = torch.autograd.grad(losses.sum(), self.leaves)
        for leaf, gradient in zip(self.leaves, gradients, strict=True):
            leaf.grad = gradient
        with torch.no_grad():
            self.optimiser.step()
            if self.clamp:
                self.x.clamp_(0, 1)

    def _keep_best(self, mismatch: Tensor, penalty: Tensor) -> Tensor:
        value = self.objective.value(mismatch, penalty, self.last)
        better = value < self.least
        if self.late:
            better = better & (self.resolution <= self.last)
        self.least.copy_(torch.where(better, value, self.least))
        self.best.copy_(torch.where(better.view(-1, 1, 1, 1), self.x.detach(), self.best))
        return value

    def _warm_up(self) -> None:
        """The first steps of a GPU run go one by one on a side stream: a capture demands it."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._update()
        torch.cuda.current_stream().wait_stream(stream)
        self.warm_up -= 1

    def _replay(self) -> None:
        """Later steps are one launch each; a capture records the step without running it."""
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self._update()
        self.graph.replay()
