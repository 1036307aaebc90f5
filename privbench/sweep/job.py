"""A job: one cell of a sweep, run in any process, and its events in the sweep log."""

import logging.config
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privbench.experiment.spec import CellSpec
from privbench.runtime.cores import THREADS
from privbench.runtime.errors import UserError, describe_error, print_error
from privbench.store.sweep_log import SweepLog
from privbench.sweep.budget import with_time


@dataclass(frozen=True)
class Job:
    """Runs one cell.

    Attributes:
        spec: JSON of its specification.
        logging: Configuration of Python's logging, as ``dictConfig`` takes it.
        threads: Given by its workers; null for every core that the process may use.
        deadline: Of its launch, in seconds since the epoch; null for none.
    """

    spec: str
    logging: Mapping[str, Any]
    threads: int | None = None
    deadline: float | None = None

    def __call__(self) -> None:
        """Run the cell and log its events; a failing cell raises nothing."""
        if self.threads:  # not part of the configuration: the key is the same for all workers
            os.environ[THREADS] = str(self.threads)
        logging.config.dictConfig(dict(self.logging))
        self.run(CellSpec.from_json(self.spec))

    def run(self, spec: CellSpec) -> None:
        """Run the cell in this process, as it is configured now."""
        run_cell(spec, self.deadline)


@dataclass(frozen=True)
class FitJob(Job):
    """Trains the deployment that a cell shares with others, before any of them.

    Attributes:
        deployment: Its key.
    """

    deployment: str = ""

    def run(self, spec: CellSpec) -> None:
        """Train it and log its events; after a failure the cells say what is wrong."""
        if self.deadline is not None and time.time() >= self.deadline:
            return
        log, start = SweepLog(Path(spec.output_dir)), time.perf_counter()
        log.append_fit(self.deployment, "running", launch=spec.launch)
        try:
            from privbench.experiment.run import fit_shared

            fit_shared(spec)
        except Exception as error:
            if type(error).__name__ == "UncompletedJobError":  # submitit's, as in run_cell
                raise
            cause = describe_error(error)
            log.append_fit(self.deployment, "failed", launch=spec.launch, cause=cause)
        else:
            seconds = round(time.perf_counter() - start, 3)
            log.append_fit(self.deployment, "done", launch=spec.launch, seconds=seconds)


def run_cell(spec: CellSpec, deadline: float | None = None) -> None:
    """Run one cell of a sweep, and append its events to the sweep log.

    A cell that is not likely to end before the deadline is not begun, and logs nothing.
    """
    log, key, launch = SweepLog(Path(spec.output_dir)), spec.key, spec.launch
    if spec.config["sweep"]["fail_fast"] and log.failed(launch):
        return
    if deadline is not None and not with_time(log, launch, [key], deadline):
        return
    start = time.perf_counter()
    log.append_event(key, "running", launch=launch)
    try:
        from privbench.experiment.run import run_or_load

        result = run_or_load(spec, already_tracked=log.entries(launch)[key].tracked)
    except KeyboardInterrupt:
        log.append_event(key, "stopped", launch=launch)
        raise
    except Exception as error:  # the other cells go on
        if type(error).__name__ == "UncompletedJobError":  # submitit's, for a job out of time
            log.append_event(key, "stopped", launch=launch)
            raise
        log.append_event(key, "failed", launch=launch, cause=describe_error(error))
        if not isinstance(error, UserError):
            print_error(error)
    else:
        log.append_event(
            key,
            "cached" if result.cached else "done",
            launch=launch,
            record=result.record.key,
            seconds=round(time.perf_counter() - start, 3),
            shared_seconds=round(result.shared_seconds, 3),
            tracked=result.tracked,
        )
