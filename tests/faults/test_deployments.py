"""Trained deployments: killed while they train, and trained by two processes at once."""

import subprocess
import sys

import pytest

WORDS = ["defense=noise_aware", "defense.epochs=3", "attack=blind", "targets=5", "tracker=none"]


def start(outputs, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "privbench", *WORDS, *words, f"output_dir={outputs}"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def kept(outputs):
    return sorted(path.suffix for path in (outputs / "store" / "deployments").glob("[!.]*.[!l]*"))


@pytest.mark.fault
def test_a_deployment_killed_while_it_trains_is_trained_by_the_same_command(warm):
    job = start(warm)
    for line in job.stderr:
        if "training the deployment: step" in line:
            break
    job.kill()
    job.communicate(timeout=60)
    assert kept(warm) == []
    again = start(warm)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert kept(warm) == [".json", ".safetensors"]


@pytest.mark.fault
def test_two_processes_that_need_a_deployment_train_it_once(warm):
    jobs = [start(warm, f"targets={count}") for count in (5, 6)]
    errors = [job.communicate(timeout=300)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], errors
    assert sum("fitting noise_aware" in error for error in errors) == 1
    assert kept(warm) == [".json", ".safetensors"]
