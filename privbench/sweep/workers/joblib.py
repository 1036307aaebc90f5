"""Processes on this machine, that share its cores and its GPUs out."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from privbench.runtime import checks
from privbench.sweep.workers.base import Job

_HELD: dict[str, FileLock] = {}
"""The place of this process among its launcher's workers, held until it ends."""


@dataclass(frozen=True)
class Joblib:
    """Processes of joblib's.

    Attributes:
        jobs: How many; null for one a GPU, or one a core where there is none.
        threads_per_job: Threads of each on the CPU; null for an even share of the cores.
    """

    jobs: int | None
    threads_per_job: int | None

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        checks.whole_or_null("workers.jobs", self.jobs, 1)
        checks.whole_or_null("workers.threads_per_job", self.threads_per_job, 1)

    @property
    def processes(self) -> int:
        """How many there are."""
        return self.jobs or len(gpus()) or len(os.sched_getaffinity(0))

    @property
    def threads(self) -> int | None:
        """So that processes do not fight for cores."""
        return self.threads_per_job or max(1, len(os.sched_getaffinity(0)) // self.processes)

    @property
    def gpu_is_remote(self) -> bool:
        """Jobs run here."""
        return False

    def check(self) -> None:
        """There is nothing to refuse."""

    def launch(self, jobs: Sequence[Job]) -> None:
        """As many at a time as there are processes."""
        from joblib import Parallel, delayed
        from joblib.externals.loky import get_reusable_executor
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        with tempfile.TemporaryDirectory(prefix="privbench-") as folder:
            deal = _GpuAllocator(Path(folder), self.processes, gpus())
            try:
                # a worker is handed a cell at a time: cells are of different lengths
                parallel = Parallel(n_jobs=self.processes, batch_size=1, backend="loky")
                parallel(delayed(deal)(job) for job in jobs)
            except TerminatedWorkerError:
                return  # the ledger tells whose, and the others are launched again
            finally:
                get_reusable_executor().shutdown(wait=True)  # the next launch deals anew


def gpus() -> list[str]:
    """Names of the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` has them."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


@dataclass(frozen=True)
class _GpuAllocator:
    """Deals GPUs out to processes: each takes a place of its own when its first job comes."""

    folder: Path
    places: int
    gpus: list[str]

    def __call__(self, job: Job) -> None:
        if self.gpus and str(self.folder) not in _HELD:
            place = self._acquire()
            # before CUDA begins in this process, after which nothing would change
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpus[place % len(self.gpus)]
        job()

    def _acquire(self) -> int:
        for place in range(self.places):
            lock = FileLock(self.folder / str(place))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            _HELD[str(self.folder)] = lock
            return place
        return os.getpid()  # a dead worker's successor came before its lock was free
