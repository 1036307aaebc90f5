"""A trained deployment that two processes need at once; tests/sweep/test_shared.py kills one."""

import subprocess
import sys

import pytest

WORDS = [
    "defense=noise_aware",
    "defense.epochs=1",
    "defense.min_steps=20",
    "attack=blind",
    "targets=5",
    "tracker=none",
]


def start(outputs, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "privbench", *WORDS, *words, f"output_dir={outputs}"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def kept(outputs):
    return sorted(path.suffix for path in (outputs / "store" / "deployments").glob("[!.]*.[!l]*"))


@pytest.mark.fault
def test_two_processes_that_need_a_deployment_train_it_once(warm):
    jobs = [start(warm, f"targets={count}") for count in (5, 6)]
    errors = [job.communicate(timeout=300)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], errors
    assert sum("fitting noise_aware" in error for error in errors) == 1
    assert kept(warm) == [".json", ".safetensors"]
