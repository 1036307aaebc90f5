"""A victim's training that is ended from outside."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tests.runs import read_records, victim_files

LONG = """
from privbench.training import callbacks
callbacks.EVERY = callbacks.SHARE = 0.0
from privbench.__main__ import main
main()
"""
"""The command line, with a checkpoint after every epoch."""
WORDS = (
    "dataset=digits", "attack=blind", "targets=5", "victim.epochs=60", "victim.augment=true",
    "victim.mirror=true", "tracker=none", "device.threads=1",
)  # fmt: skip


def run(outputs, sent=None) -> str:
    """Run a cell, or send a signal once it has written a checkpoint: standard error."""
    earlier = written(outputs)
    job = subprocess.Popen(
        [sys.executable, "-c", LONG, *WORDS, f"output_dir={outputs}"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=dict(os.environ),
    )  # fmt: skip
    while sent and written(outputs) in (earlier, None):
        assert job.poll() is None
        time.sleep(0.01)
    if sent:
        job.send_signal(sent)
    _, err = job.communicate(timeout=300)
    assert (job.returncode == 0) is (sent is None), err
    return err


def written(outputs) -> int | None:
    """Return when the checkpoint was written; ``None`` where there is none."""
    for path in outputs.glob("store/victims/*.checkpoint"):
        with suppress(FileNotFoundError):
            return path.stat().st_mtime_ns
    return None


@pytest.mark.fault
def test_a_victims_training_that_was_ended_goes_on_at_its_checkpoint(tmp_path):
    """Its weights are those of an uninterrupted one, and nothing of it is left in the store."""
    once, thrice = tmp_path / "once", tmp_path / "thrice"
    run(once)
    run(thrice, signal.SIGKILL)
    err = run(thrice, signal.SIGTERM)
    assert "training lenet5 goes on after epoch" in err and "Traceback" not in err
    assert not victim_files(thrice)
    assert "training lenet5 goes on after epoch" in run(thrice)
    (whole,), (resumed,) = read_records(once), read_records(thrice)
    assert whole.victim_sha256 == resumed.victim_sha256
    assert not list(thrice.glob("store/victims/*.checkpoint"))
    assert not list(thrice.glob("store/victims/.*.part"))
