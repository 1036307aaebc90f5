"""An isolated attack whose harness ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.isolated_attack import write_attack


@pytest.mark.fault
@pytest.mark.parametrize("way", ["ctrl-c", "killed"])
def test_the_process_of_an_attack_ends_with_its_harness(tmp_path, warm, way):
    """Ctrl-C as a terminal sends it, to all processes of a group; or a harness that is killed."""
    write_attack(tmp_path)
    note = tmp_path / "pid"
    words = [
        "--config-dir",
        str(tmp_path / "conf"),
        "attack=mine",
        "attack.way=sleeps",
        "targets=3",
    ]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    job = subprocess.Popen(
        [sys.executable, "-m", "privbench", *words, "isolate=true", "tracker=none", f"output_dir={warm}"],
        env={**os.environ, "PYTHONPATH": path, "PRIVBENCH_TEST_NOTE": str(note)},
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while not (note.exists() and note.read_text()):
        time.sleep(0.1)
        assert job.poll() is None
    if way == "ctrl-c":
        os.killpg(job.pid, signal.SIGINT)
    else:
        job.kill()
    _, err = job.communicate(timeout=300)
    if way == "ctrl-c":
        assert job.returncode == 130
        assert all(line.startswith("privbench: ") for line in err.splitlines()), err
    for _ in range(100):
        if not _alive(int(note.read_text())):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the attack's process lives on")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
