"""Services of a cell: the store, the device, its random streams, the tracker and the logger."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from privbench.evaluation import metrics
from privbench.runtime.device import DeviceConfig
from privbench.runtime.random import RandomStreams, secret_seed
from privbench.store.artifacts import Artifact, Store
from privbench.threat.view import Facts, jsonable
from privbench.tracking.base import NullRun, Run

EpochLogger = Callable[[int, dict[str, float]], None]
"""Receiver of an epoch's number and metrics."""
EPOCH = "epoch"
"""Number of an epoch in the history of a training."""


@dataclass(frozen=True)
class Seeds:
    """Seeds of a cell by their user, none of which an adversary can derive.

    Attributes:
        seed: The cell's.
        secret: Fingerprint of the private test set (or ``ImageData.seed_text``), mixed into every
            seed. It is the same on every machine, and a process that holds the test set holds the
            targets anyway.
    """

    seed: int
    secret: str

    def of(self, user: str) -> int:
        """Return the seed of all streams of a user such as ``"adversary"``."""
        return secret_seed(self.seed, self.secret, user)

    def streams(self, purpose: str, indices: Sequence[int]) -> RandomStreams:
        """Return the deployed defense's streams, one for each image.

        Args:
            purpose: Such as ``"transmission"``.
            indices: Of the images within the test set.
        """
        return RandomStreams(self.of("defense"), purpose, indices)


@dataclass(frozen=True, eq=False)
class Services:
    """Everything that a cell uses and that is not part of the experiment.

    Attributes:
        store: Keeps artifacts and records.
        device: Where the victim runs.
        device_config: Device and precision of trainings.
        threads: Threads on the CPU.
        seeds: Random streams.
        tracked: The tracker's run of this cell.
    """

    store: Store
    device: torch.device
    device_config: DeviceConfig
    threads: int
    seeds: Seeds
    tracked: Run

    def fit_or_load(
        self, kind: str, recipe: Mapping[str, Any], module: nn.Module, train: Callable[[], Facts]
    ) -> Artifact:
        """Train a module in place, or load what an earlier training made of it.

        Args:
            kind: Directory within the store, e.g. ``victims``.
            recipe: Everything that the trained weights depend on.
            module: Its weights are replaced by those of the artifact.
            train: Trains the module and returns facts that JSON can hold.

        Returns:
            The artifact, with the facts of its training.
        """

        def make() -> Artifact:
            facts = train()
            return Artifact(module.state_dict(), facts)

        artifact = self.store.keep(kind, recipe, make)
        module.load_state_dict(dict(artifact.tensors))
        return artifact

    def fit_and_track(
        self,
        kind: str,
        stream: str,
        recipe: Mapping[str, Any],
        module: nn.Module,
        train: Callable[..., Facts],
    ) -> Artifact:
        """Train a module or load it, with the history of its training logged either way.

        Args:
            kind: Directory within the store.
            stream: The tracker's name of the training.
            recipe: Everything that the trained weights depend on.
            module: Its weights are replaced by those of the artifact.
            train: Trains the module, reporting the metrics of each epoch, and returns facts, to
                which ``history`` and ``seconds`` are added.
        """
        history: list[dict[str, float]] = []

        def report(epoch: int, metrics: dict[str, float]) -> None:
            history.append({EPOCH: epoch, **metrics})
            self.tracked.log(stream, epoch, **metrics)

        def timed() -> Facts:
            start = time.perf_counter()
            facts = train(report)
            seconds = time.perf_counter() - start + facts.get("earlier_seconds", 0.0)
            return {**facts, "history": history, "seconds": seconds}

        artifact = self.fit_or_load(kind, recipe, module, timed)
        if not history:
            log_history(self.tracked, stream, artifact.facts)
        return artifact

    def freeze(self, module: nn.Module) -> None:
        """Move a trained module to the device, for evaluation only."""
        module.eval().requires_grad_(False).to(self.device)


def log_history(tracked: Run, stream: str, facts: Facts) -> None:
    """Log the epochs of an earlier training; those of earlier versions have no numbers."""
    for at, logged in enumerate(facts.get("history", ())):
        named = {name: value for name, value in logged.items() if name != EPOCH}
        tracked.log(stream, logged.get(EPOCH, at), **named)


class Clock:
    """Measures seconds, unfinished work of the GPU included."""

    def __init__(self) -> None:
        self.start = self.now()
        self.seconds: dict[str, float] = {}

    @staticmethod
    def now() -> float:
        """Return the time in seconds, once all work that was started has ended."""
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Record the seconds that a block takes."""
        start = self.now()
        yield
        self.seconds[name] = self.now() - start

    def total(self) -> float:
        """Return the seconds since the clock was made."""
        return self.now() - self.start


@dataclass
class AttackLogger:
    """Scores the images that an attack shows of its progress, and returns nothing to it.

    Attributes:
        truth: The targets ``(N, C, H, W)``, which an attack never sees.
        tracked: Receives the progress.
        facts: Notes of the attack for the record.
        report: Receives the epochs of a network that the attack is training; null otherwise.
    """

    truth: Tensor
    tracked: Run
    facts: dict[str, Any] = field(default_factory=dict)
    report: EpochLogger | None = None

    def step(self, n: int, x_hat: Tensor | None = None, **scalars: float) -> None:
        """Log the progress after step ``n``."""
        if isinstance(self.tracked, NullRun) and not self.report:  # it would discard all scores
            return
        if x_hat is not None and x_hat.shape == self.truth.shape:
            shown = x_hat.detach().nan_to_num(0).clamp(0, 1)
            scalars["psnr_db"] = float(metrics.psnr_db(shown, self.truth).mean())
            scalars["ssim"] = float(metrics.ssim(shown, self.truth).mean())
        if self.report:
            self.report(n, scalars)
        else:
            self.tracked.log("attack", n, **scalars)

    @contextmanager
    def training(self, report: EpochLogger) -> Iterator[None]:
        """Report steps as epochs of a network's training while a block runs."""
        before, self.report = self.report, report
        try:
            yield
        finally:
            self.report = before

    def note(self, **facts: Any) -> None:
        """Keep facts for the record, in a form that it can hold."""
        self.facts.update({name: jsonable(fact) for name, fact in facts.items()})
