"""Where a run is watched: Weights & Biases, or nowhere. Watching never costs a result."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from privbench.runtime import checks

LOG = logging.getLogger(__name__)
MODES = ("online", "offline", "disabled")
AXES = {"victim": "epoch", "attack": "step"}
"""What streams against what: each group of figures has its own x-axis."""
PATIENCE = {
    f"x_{channel}_retry_{limit}": value
    for channel in ("file_stream", "graphql", "file_transfer")
    for limit, value in (("max", 1), ("wait_max_seconds", 2))
}
"""W&B's settings by which a server that goes away holds a process up for seconds, not minutes."""


class Run(Protocol):
    """One run, written to as it goes."""

    @property
    def delivered(self) -> bool:
        """Whether everything so far was taken."""

    def log(self, stream: str, at: int, **figures: float) -> None:
        """Figures of a stream of ``AXES`` at a place of its axis."""

    def finish(self, summary: Mapping[str, Any], pictures: Mapping[str, Path]) -> None:
        """The final numbers and pictures."""


class Tracker(Protocol):
    """Makes runs."""

    def sweep(self, name: str, told: "SweepSummary") -> None:
        """A run for a whole sweep, the same one however often it is told."""

    def check(self) -> None:
        """Refuse at once what would fail later.

        Raises:
            ValueError: naming the setting and what to do.
        """

    def run(
        self,
        *,
        name: str,
        group: str | None,
        tags: Sequence[str],
        config: Mapping[str, Any],
        number: str | None = None,
    ) -> AbstractContextManager[Run]:
        """A run that is finished when its context ends, however it ends.

        Args:
            name: Shown.
            group: The sweep that it belongs to.
            tags: To filter by.
            config: To filter and sort by.
            number: Its identity, so that the same cell of a sweep is the same run; null for a new
                one.
        """


@dataclass(frozen=True)
class SweepSummary:
    """What a tracker is told of a whole sweep.

    Attributes:
        cells: A table, its head first.
        curves: By title: names of lines, and for each its places along x and y.
        pictures: By name.
        numbers: To sort sweeps by.
    """

    cells: Sequence[Sequence[Any]]
    curves: Mapping[str, tuple[Sequence[str], Sequence[Sequence[float]], Sequence[Sequence[float]]]]
    pictures: Mapping[str, Path]
    numbers: Mapping[str, float]


class NullRun:
    """Goes nowhere."""

    @property
    def delivered(self) -> bool:
        """Nothing was."""
        return False

    def log(self, stream: str, at: int, **figures: float) -> None:
        """Nothing."""

    def finish(self, summary: Mapping[str, Any], pictures: Mapping[str, Path]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class NullTracker:
    """Tracks nothing."""

    def sweep(self, name: str, told: SweepSummary) -> None:
        """Nobody hears."""

    def check(self) -> None:
        """There is nothing to refuse."""

    def run(
        self,
        *,
        name: str,
        group: str | None,
        tags: Sequence[str],
        config: Mapping[str, Any],
        number: str | None = None,
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
        if not _has_key():
            raise ValueError(
                "tracker.mode=online finds no W&B key: run `wandb login`, set WANDB_API_KEY, or "
                "choose tracker.mode=offline or tracker=none"
            )

    def sweep(self, name: str, told: SweepSummary) -> None:
        """A run of the sweep's group: the table of cells, the curves, the pictures."""
        number = f"summary-{name}"[:100]
        settings = ("summary of " + name, name, ["summary"], dict[str, Any](), number, "summary")
        run = _WandbRun(lambda: self._start(*settings))
        run.tell(told)
        run.close(exit_code=0)

    @contextmanager
    def run(
        self,
        *,
        name: str,
        group: str | None,
        tags: Sequence[str],
        config: Mapping[str, Any],
        number: str | None = None,
    ) -> Iterator[Run]:
        """A W&B run; any trouble with it is a warning."""
        run = _WandbRun(lambda: self._start(name, group, list(tags), dict(config), number))
        try:
            yield run
        except BaseException:
            run.close(exit_code=1)
            raise
        run.close(exit_code=0)

    def _start(
        self,
        name: str,
        group: str | None,
        tags: list[str],
        config: dict[str, Any],
        number: str | None,
        kind: str = "attack",
    ) -> Any:
        import wandb

        # console off: W&B would catch and repeat what the run prints
        settings = wandb.Settings(
            init_timeout=self.init_timeout,
            silent=True,
            console="off",
            x_disable_stats=True,
            **PATIENCE,
        )
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        return wandb.init(
            project=self.project,
            entity=self.entity,
            mode=cast(Any, self.mode),
            dir=self.folder,
            name=name,
            group=group,
            job_type=kind,
            id=number or os.environ.get("WANDB_RUN_ID"),  # an agent of W&B's names its run itself
            resume="allow" if number and self.mode == "online" else None,
            tags=tags,
            config=config,
            reinit="create_new",
            settings=settings,
        )


def _shown(pictures: Mapping[str, Path]) -> dict[str, Any]:
    import wandb

    return {name: wandb.Image(str(path)) for name, path in pictures.items()}


def _has_key() -> bool:
    import wandb

    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return wandb.login(prompt=False)
    except Exception:  # a key was found, its server was not: the run will warn of that
        return True


class _WandbRun:
    """Hands everything on until the first trouble, which is told once."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._run: Any = None
        self._run = self._try(start)
        for stream, axis in AXES.items():
            self._do("define_metric", f"{stream}/{axis}", hidden=True)
            self._do("define_metric", f"{stream}/*", step_metric=f"{stream}/{axis}")

    @property
    def delivered(self) -> bool:
        """Whether no trouble came."""
        return self._run is not None

    def log(self, stream: str, at: int, **figures: float) -> None:
        """Figures against the stream's own axis."""
        named = {f"{stream}/{name}": value for name, value in figures.items()}
        self._do("log", {f"{stream}/{AXES[stream]}": at, **named})

    def finish(self, summary: Mapping[str, Any], pictures: Mapping[str, Path]) -> None:
        """The summary, and each picture as an image."""
        self._do("log", self._try(lambda: _shown(pictures)))
        self._try(lambda: self._run and self._run.summary.update(dict(summary)))

    def tell(self, told: SweepSummary) -> None:
        """A sweep: its table, its curves, its pictures."""

        def shown() -> dict[str, Any]:
            import wandb

            head, *rows = told.cells
            figures: dict[str, Any] = {"cells": wandb.Table(columns=list(head), data=rows)}
            for title, (names, xs, ys) in told.curves.items():
                figures[title] = wandb.plot.line_series(
                    xs=[list(x) for x in xs], ys=[list(y) for y in ys], keys=list(names),
                    title=title, xname=title.rpartition(" against ")[2],
                )  # fmt: skip
            return {**figures, **_shown(told.pictures)}

        self._do("log", self._try(shown))
        self._try(lambda: self._run and self._run.summary.update(dict(told.numbers)))

    def close(self, exit_code: int) -> None:
        """End the run."""
        self._do("finish", exit_code=exit_code)

    def _do(self, method: str, *words: Any, **settings: Any) -> None:
        if self._run is not None:
            self._try(lambda: getattr(self._run, method)(*words, **settings))

    def _try(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # whatever W&B, its server or its disk may throw
            cause = " ".join(str(error).split()) or type(error).__name__
            LOG.warning("Weights & Biases stops here, the run goes on: %s", cause)
            run, self._run = self._run, None
            with suppress(Exception):  # what it has is worth keeping, if it can be had
                if run is not None:
                    run.finish(exit_code=1)
            return None
