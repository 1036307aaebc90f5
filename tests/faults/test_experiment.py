"""Long descents on MNIST, and an isolated attack whose harness ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.isolated_attack import write_attack
from tests.support import PUBLISHED_WHITE_BOX, needs_mnist


@needs_mnist
@pytest.mark.fault
def test_the_published_white_box_numbers_reproduce(attacked):
    """Table 3: 15.10 dB / .600 at relu2; one victim lies 1.2 dB / .06 above it."""
    record = attacked(*PUBLISHED_WHITE_BOX)
    assert record.accuracy_undefended > 0.99
    assert record.score("psnr_db") == pytest.approx(15.10, abs=2)
    assert record.score("ssim") == pytest.approx(0.600, abs=0.08)


@needs_mnist
@pytest.mark.fault
def test_the_published_dropout_point_reproduces(attacked):
    """Figure 9 at r = 0.6: accuracy .967 within .01, SSIM .28 within .06."""
    record = attacked("attack=rmle_paper", "split=relu2", "attack.steps=500", "defense.rate=0.6")
    assert record.accuracy == pytest.approx(0.967, abs=0.01)
    assert record.score("ssim") == pytest.approx(0.28, abs=0.06)


@needs_mnist
@pytest.mark.fault
def test_noise_at_the_input_runs_as_the_issue_types_it(run_cell):
    """64 balanced targets at conv1 behind noise of 0.4."""
    words = ["split=conv1", "attack=rmle", "defense=gaussian", "defense.sigma=0.4"]
    record = run_cell("dataset=mnist", *words, "defense.site=input", "targets=64")
    assert record.site == "input"
    assert 10 < record.score("psnr_db") < 30
    assert record.accuracy > 0.97


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
    _, err = job.communicate(timeout=60)
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
