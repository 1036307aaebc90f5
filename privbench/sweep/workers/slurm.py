"""A SLURM cluster: one job array, through submitit."""

import itertools
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from privbench.runtime.errors import UserError
from privbench.runtime.validation import (
    VALIDATED,
    NonNegativeInt,
    OptionalPositiveInt,
    PositiveFloat,
    PositiveInt,
    Text,
    require_choice,
)
from privbench.sweep.workers.base import Job

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, config=VALIDATED)
class Slurm:
    """Tasks of a job array.

    Attributes:
        folder: Where scripts, pickles and logs of the tasks lie; the nodes must see it.
        partition: Null for the cluster's own choice.
        account: Null for the user's own.
        cpus_per_job: Cores of a task, and its threads.
        gpus_per_job: GPUs of a task.
        mem_gb: Its memory; null for the cluster's own choice.
        timeout_min: Minutes that a task may take before it is requeued.
        requeues: Number of times a task out of time is queued again; it continues with the cells
            that have no record yet.
        max_parallel: Tasks that may run at the same time.
        cells_per_job: Cells of a task, one after the other; null for as many as keep the array
            within ``max_parallel`` tasks.
        setup: Lines of shell before a task, e.g. ``["module load cuda"]``.
        options: Further options of sbatch, e.g. ``{constraint: a100}``.
    """

    folder: Text
    partition: Text | None
    account: Text | None
    cpus_per_job: PositiveInt
    gpus_per_job: NonNegativeInt
    mem_gb: PositiveFloat | None
    timeout_min: PositiveInt
    requeues: NonNegativeInt
    max_parallel: PositiveInt
    cells_per_job: OptionalPositiveInt
    setup: Sequence[str]
    options: dict[str, Any]

    @property
    def threads(self) -> int | None:
        """A task's cores."""
        return self.cpus_per_job

    @property
    def gpu_is_remote(self) -> bool:
        """A login node has none."""
        return self.gpus_per_job > 0

    def check(self) -> None:
        """Refuse a missing library, a missing cluster or an unknown partition."""
        try:
            import submitit  # noqa: F401
        except ImportError:
            raise ValueError(
                "workers=slurm needs submitit: pip install 'privbench[slurm]', or choose "
                "workers=local or workers=joblib"
            ) from None
        if not shutil.which("sbatch"):
            raise ValueError(
                "workers=slurm finds no sbatch: type this on a login node of a SLURM cluster, or "
                "choose workers=local or workers=joblib"
            )
        try:
            listed = _ask("sinfo", "--noheader", "--format=%R")
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            raise ValueError(
                f"workers=slurm: the cluster does not answer ({' '.join(said.split())})"
            ) from None
        partitions = sorted(set(listed.split()))
        if self.partition is not None:
            require_choice("workers.partition", self.partition, partitions)

    def launch(self, jobs: Sequence[Job]) -> None:
        """Submit the jobs as one array; wait until the queue holds none of it."""
        import submitit

        folder = Path(self.folder).resolve()
        executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=self.requeues)
        executor.update_parameters(**self._parameters())
        size = self.cells_per_job or -(-len(jobs) // self.max_parallel)
        tasks = [list(jobs[at : at + size]) for at in range(0, len(jobs), size)]
        try:
            array = executor.map_array(_Chunk(), tasks)
        except submitit.core.utils.FailedJobError as error:
            raise UserError(f"SLURM takes no such job: {' '.join(str(error).split())}") from error
        number = array[0].job_id.partition("_")[0]
        LOG.info("SLURM job array %s, %d tasks, logs in %s", number, len(tasks), folder)
        try:
            while _queued(number):
                time.sleep(2)
        except KeyboardInterrupt:
            subprocess.run(["scancel", number], check=False, capture_output=True)
            raise

    def _parameters(self) -> dict[str, Any]:
        wanted = {
            "job_name": "privbench",
            "partition": self.partition,
            "account": self.account,
            "cpus_per_task": self.cpus_per_job,
            "gpus_per_node": self.gpus_per_job or None,
            "mem": None if self.mem_gb is None else f"{self.mem_gb:g}GB",
            "time": self.timeout_min,
            # submitit's warning before the end: time to queue what is left
            "signal_delay_s": min(90, self.timeout_min * 15),
            "array_parallelism": self.max_parallel,
            "setup": list(self.setup) or None,
            "additional_parameters": dict(self.options) or None,
        }
        return {name: value for name, value in wanted.items() if value is not None}


class _Chunk:
    """Cells that share a process; begun again after a timeout, it goes on where it was."""

    ended = 0

    def __call__(self, jobs: list[Job]) -> None:
        for job in jobs:
            job()
            self.ended += 1

    def checkpoint(self, jobs: list[Job]) -> Any:
        """Return the job that submitit queues instead after a timeout."""
        import submitit

        return submitit.helpers.DelayedSubmission(_Chunk(), jobs[self.ended :])


def _ask(*words: str) -> str:
    return subprocess.run(
        words, capture_output=True, text=True, check=True, timeout=30, env=os.environ
    ).stdout


def _queued(number: str) -> bool:
    """Return whether the queue holds a task of the array; ask again until it answers."""
    for asked in itertools.count():
        try:
            return bool(_ask("squeue", "--noheader", "--array", f"--jobs={number}").strip())
        except subprocess.CalledProcessError as error:
            if "Invalid job id" in error.stderr:  # all ended, and long ago
                return False
        except (OSError, subprocess.SubprocessError):
            pass
        if asked == 3:
            LOG.warning("SLURM does not say whether job %s still runs: asking on", number)
        time.sleep(5)
    raise AssertionError
