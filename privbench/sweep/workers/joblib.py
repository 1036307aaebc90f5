"""Processes on this machine, which divide its cores and GPUs among them."""

import dataclasses
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic.dataclasses import dataclass

from privbench.runtime.cores import default_threads
from privbench.runtime.validation import VALIDATED, OptionalPositiveInt
from privbench.sweep.workers.base import Job

_HELD: dict[str, FileLock] = {}
"""The slot of this process among its launcher's workers, held until it ends."""


@dataclass(frozen=True, config=VALIDATED)
class Joblib:
    """Processes of joblib's.

    Attributes:
        jobs: Number of processes; null for one a GPU, or one a core where there is none.
        threads_per_job: Threads of each on the CPU; null for an even share of the cores that other
            processes leave free. Threads that share a core with those wait for one another.
        accelerator: That of the cells' device: GPUs are none of the workers' where it is ``cpu``.
    """

    jobs: OptionalPositiveInt
    threads_per_job: OptionalPositiveInt
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"

    @property
    def processes(self) -> int:
        """Number of processes."""
        return self.jobs or len(self._gpus) or len(os.sched_getaffinity(0))

    @property
    def _gpus(self) -> list[str]:
        return [] if self.accelerator == "cpu" else gpus()

    @property
    def threads(self) -> int | None:
        """An even share of the free cores, unless a number is set."""
        return self.threads_per_job or max(1, default_threads() // self.processes)

    @property
    def gpu_is_remote(self) -> bool:
        """False: jobs run on this machine."""
        return False

    def check(self) -> None:
        """Accept every setting."""

    def launch(self, jobs: Sequence[Job]) -> None:
        """Run the jobs, one in each process at a time."""
        from joblib import Parallel, delayed
        from joblib.externals.loky import get_reusable_executor
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        with tempfile.TemporaryDirectory(prefix="privbench-") as folder:
            allocate = _GpuAllocator(Path(folder), self.processes, self._gpus, os.getpid())
            try:
                # a worker gets one cell at a time: cells take different times
                parallel = Parallel(n_jobs=self.processes, batch_size=1, backend="loky")
                parallel(delayed(allocate)(job) for job in jobs)
            except TerminatedWorkerError:
                return  # the sweep log shows whose cell, and the others are launched again
            finally:
                get_reusable_executor().shutdown(wait=True)  # the next launch allocates anew


def gpus() -> list[str]:
    """Return this process's GPUs, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


@dataclasses.dataclass(frozen=True)
class _GpuAllocator:
    """Assigns GPUs to processes: each takes a free slot when its first job comes."""

    folder: Path
    slots: int
    gpus: list[str]
    launcher: int

    def __call__(self, job: Job) -> None:
        _end_with(self.launcher)
        if self.gpus and str(self.folder) not in _HELD:
            slot = self._acquire()
            # before CUDA begins in this process, after which nothing would change
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        job()

    def _acquire(self) -> int:
        for slot in range(self.slots):
            lock = FileLock(self.folder / str(slot))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            _HELD[str(self.folder)] = lock
            return slot
        return os.getpid()  # a dead worker's successor came before its lock was free


@cache
def _end_with(launcher: int) -> None:
    """End this process within a second of its launcher, whose death by a signal tells it nothing.

    It would keep its memory and wait five minutes for another job.
    """
    if os.getpid() == launcher:  # a single process: jobs run in the launcher itself
        return

    def wait() -> None:
        while os.getppid() == launcher:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
