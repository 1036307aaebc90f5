"""A Ray cluster, or Ray on this machine; several jobs may share a GPU."""

import os
from collections.abc import Sequence

from pydantic.dataclasses import dataclass

from privbench.runtime.validation import VALIDATED, OptionalNonNegativeFloat, PositiveFloat, Text
from privbench.sweep.workers.base import Job
from privbench.sweep.workers.joblib import gpus


@dataclass(frozen=True, config=VALIDATED)
class Ray:
    """Tasks of Ray's.

    Attributes:
        address: Of a cluster, e.g. ``auto``; null starts Ray on this machine, for this sweep.
        cpus_per_job: Cores of a job.
        gpus_per_job: GPUs of a job: 0.25 lets four jobs share one; null for a whole one where
            there are any.
    """

    address: Text | None
    cpus_per_job: PositiveFloat
    gpus_per_job: OptionalNonNegativeFloat

    @property
    def threads(self) -> int | None:
        """A job's cores."""
        return max(1, int(self.cpus_per_job))

    @property
    def gpu_is_remote(self) -> bool:
        """A cluster's head may have none."""
        if self.address is None:
            return False
        import ray

        self._start()
        return self._gpus(ray.cluster_resources()) > 0

    def check(self) -> None:
        """Refuse a missing library, and jobs that ask for more than the cluster has.

        Such jobs would wait for ever.
        """
        try:
            import ray
        except ImportError:
            raise ValueError(
                "workers=ray needs ray: pip install 'privbench[ray]', or choose workers=local or "
                "workers=joblib"
            ) from None
        self._start()
        gpus = self._gpus(ray.cluster_resources())
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for name, wanted in (("CPU", self.cpus_per_job), ("GPU", gpus)):
            there = max(node.get(name, 0) for node in nodes)
            if wanted > there:
                ray.shutdown()
                raise ValueError(
                    f"workers.{name.lower()}s_per_job={wanted:g}: no node of the Ray cluster has "
                    f"more than {there:g} {name}s, a job would wait forever"
                )

    def _start(self) -> None:
        import ray

        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        settings = {"include_dashboard": False, "num_gpus": len(gpus())} if not self.address else {}
        try:
            ray.init(self.address, log_to_driver=True, logging_level="error", **settings)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"workers.address={self.address}: no Ray cluster answers "
                f"({' '.join(str(error).split())})"
            ) from error

    def _gpus(self, held: dict[str, float]) -> float:
        if self.gpus_per_job is not None:
            return self.gpus_per_job
        return 1.0 if held.get("GPU") else 0.0

    def launch(self, jobs: Sequence[Job]) -> None:
        """Run as many jobs at a time as the cluster's resources allow."""
        import ray

        self._start()
        remote = ray.remote(
            num_cpus=self.cpus_per_job,
            num_gpus=self._gpus(ray.cluster_resources()),
            max_retries=0,  # the launcher tries again, and counts
        )(_call)
        try:
            waiting = [remote.remote(job) for job in jobs]
            while waiting:
                ended, waiting = ray.wait(waiting)
                try:
                    ray.get(ended)
                except ray.exceptions.RayError:
                    continue  # the sweep log shows whose cell
        finally:
            ray.shutdown()


def _call(job: Job) -> None:
    job()
