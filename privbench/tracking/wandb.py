"""Weights & Biases."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from privbench.runtime.validation import VALIDATED, PositiveFloat, Text
from privbench.tracking.base import CELLS, CURVE, Run, RunDescription, SweepSummary

LOG = logging.getLogger(__name__)
AXES = {
    "victim": "epoch",
    "evaluation_classifier": "epoch",
    "deployment": "epoch",
    "adversary": "epoch",
    "attack": "step",
}
"""Axis of each stream of metrics."""
LINES = "wandb/lineseries/v0"
"""W&B's chart of several lines."""
PATIENCE = {
    f"x_{channel}_retry_{limit}": value
    for channel in ("file_stream", "graphql", "file_transfer")
    for limit, value in (("max", 1), ("wait_max_seconds", 2))
}
"""Settings of W&B that limit the wait for an unreachable server to seconds instead of minutes."""


@dataclass(frozen=True, config=VALIDATED)
class WandbTracker:
    """Tracker that writes to Weights & Biases.

    Attributes:
        project: Project of the runs.
        entity: User or team; null for the default one of the account.
        mode: ``offline`` keeps runs in ``folder`` until ``wandb sync``; ``online``; ``disabled``.
        folder: Parent of the folder ``wandb``.
        init_timeout: Seconds that an unreachable server may take at the start.
    """

    project: Text
    entity: str | None
    mode: Literal["online", "offline", "disabled"]
    folder: Text
    init_timeout: PositiveFloat

    def check(self) -> None:
        """Refuse the mode ``online`` without a key.

        Raises:
            ValueError: naming the commands that provide one.
        """
        if self.mode == "online" and not _has_key():
            raise ValueError(
                "tracker.mode=online finds no W&B key: run `wandb login`, set WANDB_API_KEY, or "
                "choose tracker.mode=offline or tracker=none"
            )

    @contextmanager
    def run(self, description: RunDescription) -> Iterator[Run]:
        """Start a W&B run; its failures are logged as warnings."""
        settings = asdict(description)
        run_id = settings.pop("run_id")
        if description.group is None:  # a W&B agent names its run itself
            run_id = os.environ.get("WANDB_RUN_ID", run_id)
        run = _WandbRun(lambda: self._init(run_id, job_type="attack", **settings))
        try:
            yield run
        except BaseException:
            run.close(exit_code=1)
            raise
        self._close(run, run_id)

    def log_summary(self, name: str, summary: SweepSummary) -> None:
        """Log finding, table, curves and figures of a sweep as a run of the sweep's group."""
        run_id = f"summary-{name}"[:100]
        settings = {"name": f"summary of {name}", "group": name, "tags": ["summary"]}
        notes = "\n".join(summary.finding)
        run = _WandbRun(lambda: self._init(run_id, job_type="summary", notes=notes, **settings))
        run.log_summary(lambda: _sweep_plots(summary), {**summary.numbers, "finding": notes})
        self._close(run, run_id)

    def _init(self, run_id: str, **settings: Any) -> Any:
        import wandb

        Path(self.folder).mkdir(parents=True, exist_ok=True)
        return wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=self.folder,
            id=run_id,  # an earlier run of this identity is replaced: its curves start anew
            reinit="create_new",
            settings=wandb.Settings(
                init_timeout=self.init_timeout,
                silent=True,
                console="off",  # W&B would capture and repeat what the run prints
                x_disable_stats=True,
                **PATIENCE,
            ),
            **settings,
        )

    def _close(self, run: "_WandbRun", run_id: str) -> None:
        """End a run; offline it replaces earlier attempts at it.

        Attempts that share an identity would be merged by ``wandb sync``.
        """
        folder = run.folder
        run.close(exit_code=0)
        if self.mode == "offline" and folder is not None and run.delivered:
            for file in folder.parent.glob(f"offline-run-*/run-{run_id}.wandb"):
                if file.parent != folder:
                    shutil.rmtree(file.parent, ignore_errors=True)


def _images(images: Mapping[str, Path]) -> dict[str, Any]:
    import wandb

    return {name: wandb.Image(str(path)) for name, path in images.items()}


def _sweep_plots(summary: SweepSummary) -> dict[str, Any]:
    import wandb

    plots: dict[str, Any] = {CELLS: _table(*summary.cells)}
    for metric, curves in summary.curves.items():
        plots[curves_key(metric)] = wandb.plot_table(
            vega_spec_name=LINES,
            data_table=_table(curves.columns, *curves.rows),
            fields=line_fields(curves.columns[1]),
            string_fields={"title": curves.title, "xname": curves.columns[1]},
        )
    return {**plots, **_images({f"figures/{n}": path for n, path in summary.images.items()})}


def _table(header: Sequence[str], *rows: Sequence[Any]) -> Any:
    import wandb

    return wandb.Table(columns=list(header), data=[list(row) for row in rows])


def curves_key(metric: str) -> str:
    """Return the key of a figure of curves; W&B names its table so, with ``_table`` behind it."""
    return f"curves/{metric}"


def line_fields(x: str) -> dict[str, str]:
    """Return the columns that ``LINES`` draws: x, the name of the line, y."""
    return {"step": x, "lineKey": CURVE, "lineVal": "accuracy"}


def _has_key() -> bool:
    import wandb

    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return wandb.login(prompt=False)
    except Exception:  # there is a key, but its server is unreachable: the run will warn of that
        return True


class _WandbRun:
    """Run that passes everything to W&B until the first failure, which is logged once."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._run: Any = None
        self._run = self._try(start)
        for stream, axis in AXES.items():
            self._call("define_metric", f"{stream}/{axis}", hidden=True)
            self._call("define_metric", f"{stream}/*", step_metric=f"{stream}/{axis}")

    @property
    def delivered(self) -> bool:
        """True where no failure occurred."""
        return self._run is not None

    @property
    def folder(self) -> Path | None:
        """Folder of the run's files; none after a failure."""
        directory = self._try(lambda: self._run and self._run.dir)
        return Path(directory).parent if isinstance(directory, str) else None

    def log(self, stream: str, at: int, **metrics: float) -> None:
        """Log metrics against the stream's axis."""
        named = {f"{stream}/{name}": value for name, value in metrics.items()}
        self._call("log", {f"{stream}/{AXES.get(stream, 'step')}": at, **named})

    def finish(self, summary: Mapping[str, Any], images: Mapping[str, Path]) -> None:
        """Log the summary and the images."""
        self._log_final(lambda: _images(images), summary)

    def log_summary(self, plots: Callable[[], dict[str, Any]], numbers: Mapping[str, Any]) -> None:
        """Log plots and scalars of a sweep."""
        self._log_final(plots, numbers)

    def close(self, exit_code: int) -> None:
        """End the run."""
        self._call("finish", exit_code=exit_code)

    def _log_final(self, media: Callable[[], dict[str, Any]], scalars: Mapping[str, Any]) -> None:
        self._call("log", self._try(media))
        self._try(lambda: self._run and self._run.summary.update(dict(scalars)))

    def _call(self, method: str, *arguments: Any, **settings: Any) -> None:
        if self._run is not None:
            self._try(lambda: getattr(self._run, method)(*arguments, **settings))

    def _try(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # anything that W&B, its server or its disk raises
            reason = " ".join(str(error).split()) or type(error).__name__
            LOG.warning("W&B logging disabled for this run: %s", reason)
            run, self._run = self._run, None
            with suppress(Exception):  # what was logged so far is kept, if possible
                if run is not None:
                    run.finish(exit_code=1)
            return None
