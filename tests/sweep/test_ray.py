"""A sweep on Ray, on this machine: PRIVBENCH_TEST_RAY=1 and `pip install 'privbench[ray]'`."""

import os
import subprocess
import sys

import pytest

from privbench.store import record as results

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("PRIVBENCH_TEST_RAY") != "1", reason="set PRIVBENCH_TEST_RAY=1, with ray"
    ),
]


def _sweep(warm, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "privbench", "-m", "targets=5", "tracker=none", "workers=ray",
         f"output_dir={warm}", *words],
        capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip


def test_a_sweep_runs_on_ray_and_a_failing_cell_leaves_the_others(warm):
    """As with any workers."""
    done = _sweep(warm, "attack=blind,rmle", "defense.rate=0.1,0.6,1.5")
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("] done") == 4
    assert "defense.rate=1.5 is out of range" in done.stderr
    for path in warm.glob("store/records/*/record.json"):
        assert results.read(path).threads == 1


def test_more_gpus_than_the_cluster_has_are_refused_instead_of_waited_for(warm):
    """In one line."""
    done = _sweep(warm, "attack=blind", "defense.rate=0.1,0.6", "workers.gpus_per_job=0.25")
    assert done.returncode == 1
    assert (
        "workers.gpus_per_job=0.25: no node of the Ray cluster has more than 0 GPUs" in done.stderr
    )
    assert "Traceback" not in done.stderr
