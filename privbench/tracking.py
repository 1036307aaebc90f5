"""Where a run is watched: Weights & Biases, or nowhere. Watching never costs a result."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from privbench import checks

LOG = logging.getLogger(__name__)
MODES = ("online", "offline", "disabled")
AXES = {"victim": "epoch", "adversary": "epoch", "attack": "step"}
"""What streams against what: each group of figures has its own x-axis."""


class Run(Protocol):
    """One run, written to as it goes."""

    def log(self, stream: str, at: int, **figures: float) -> None:
        """Figures of a stream of ``AXES`` at a place of its axis."""

    def finish(self, summary: Mapping[str, Any], pictures: Mapping[str, Path]) -> None:
        """The final numbers and pictures."""


class Tracker(Protocol):
    """Makes runs."""

    def check(self) -> None:
        """Refuse at once what would fail later.

        Raises:
            ValueError: naming the setting and what to do.
        """

    def run(
        self, *, name: str, group: str | None, tags: Sequence[str], config: Mapping[str, Any]
    ) -> AbstractContextManager[Run]:
        """A run that is finished when its context ends, however it ends."""


class NullRun:
    """Goes nowhere."""

    def log(self, stream: str, at: int, **figures: float) -> None:
        """Nothing."""

    def finish(self, summary: Mapping[str, Any], pictures: Mapping[str, Path]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class NullTracker:
    """Tracks nothing."""

    def check(self) -> None:
        """There is nothing to refuse."""

    def run(
        self, *, name: str, group: str | None, tags: Sequence[str], config: Mapping[str, Any]
    ) -> AbstractContextManager[Run]:
        """A run that goes nowhere."""
        return nullcontext(NullRun())


@dataclass(frozen=True)
class WandbTracker:
    """Weights & Biases.

    Attributes:
        project: Its project.
        entity: User or team; null for one's own.
        mode: ``offline`` keeps runs in ``folder`` until ``wandb sync``; ``online``; ``disabled``.
        folder: Holds the folder ``wandb``.
        init_timeout: Seconds that an unreachable server may take at the start.
    """

    project: str
    entity: str | None
    mode: str
    folder: str
    init_timeout: float

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        checks.choice("tracker.mode", self.mode, MODES)
        checks.number("tracker.init_timeout", self.init_timeout, 0, above=True)

    def check(self) -> None:
        """Online needs a key: better told now than after a training."""
        if self.mode != "online":
            return
        import wandb

        if not wandb.api.api_key:
            raise ValueError(
                "tracker.mode=online finds no W&B key: run `wandb login`, set WANDB_API_KEY, or "
                "choose tracker.mode=offline or tracker=none"
            )

    @contextmanager
    def run(
        self, *, name: str, group: str | None, tags: Sequence[str], config: Mapping[str, Any]
    ) -> Iterator[Run]:
        """A W&B run; any trouble with it is a warning."""
        run = _WandbRun(lambda: self._start(name, group, list(tags), dict(config)))
        try:
            yield run
        except BaseException:
            run.close(exit_code=1)
            raise
        run.close(exit_code=0)

    def _start(
        self, name: str, group: str | None, tags: list[str], config: dict[str, Any]
    ) -> Any:
        import wandb

        # console off: W&B would catch and repeat what the run prints
        settings = wandb.Settings(
            init_timeout=self.init_timeout, silent=True, console="off", x_disable_stats=True
        )
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        return wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=self.folder,
            name=name,
            group=group,
            job_type="attack",
            tags=tags,
            config=config,
            reinit="create_new",
            settings=settings,
        )


class _WandbRun:
    """Hands everything on until the first trouble, which is told once."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._run: Any = None
        self._run = self._try(start)
        for stream, axis in AXES.items():
            self._do(lambda run, s=stream, a=axis: run.define_metric(f"{s}/{a}", hidden=True))
            self._do(
                lambda run, s=stream, a=axis: run.define_metric(f"{s}/*", step_metric=f"{s}/{a}")
            )

    def log(self, stream: str, at: int, **figures: float) -> None:
        """Figures against the stream's own axis."""
        named = {f"{stream}/{name}": value for name, value in figures.items()}
        self._do(lambda run: run.log({f"{stream}/{AXES[stream]}": at, **named}))

    def finish(self, summary: Mapping[str, Any], pictures: Mapping[str, Path]) -> None:
        """The summary, and each picture as an image."""
        import wandb

        for name, path in pictures.items():
            self._do(lambda run, n=name, p=path: run.log({n: wandb.Image(str(p))}))
        self._do(lambda run: run.summary.update(dict(summary)))

    def close(self, exit_code: int) -> None:
        """End the run."""
        self._do(lambda run: run.finish(exit_code=exit_code))

    def _do(self, action: Callable[[Any], object]) -> None:
        if self._run is not None:
            self._try(lambda: action(self._run))

    def _try(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # whatever W&B, its server or its disk may throw
            cause = " ".join(str(error).split()) or type(error).__name__
            LOG.warning("Weights & Biases stops here, the run goes on: %s", cause)
            self._run = None
            return None
