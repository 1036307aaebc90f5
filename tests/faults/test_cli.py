"""A run that is stopped by a signal."""

import signal
import subprocess
import sys
import time

import pytest

from tests.runs import record_files
from tests.support import read_wandb


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("amid", ["training", "attack"])
def test_a_stopped_run_ends_cleanly_without_a_record(tmp_path, number, amid):
    """Ctrl-C or SIGTERM: one line, W&B's run is finished, no record, no victim half trained."""
    brief = ["victim.epochs=1", "victim.min_steps=20"]
    long = {"attack": ["attack.steps=1000000", *brief], "training": ["victim.epochs=100000"]}[amid]
    words = [f"output_dir={tmp_path}", *long, "targets=5"]
    job = subprocess.Popen(
        [sys.executable, "-m", "privbench", *words], stderr=subprocess.PIPE, text=True
    )
    begun = "judges/*.json" if amid == "attack" else "victims/*.lock"
    while not list((tmp_path / "store").glob(begun)):
        time.sleep(0.1)
        assert job.poll() is None
    time.sleep(2)
    job.send_signal(number)
    _, err = job.communicate(timeout=60)
    assert job.returncode == 130
    assert err.splitlines()[-1].startswith("privbench: stopped")
    assert all(line.startswith("privbench: ") for line in err.splitlines())
    assert record_files(tmp_path) == []
    assert not list((tmp_path / "runs").glob("*"))
    kept = [path.suffix for path in (tmp_path / "store" / "victims").iterdir()]
    assert (".safetensors" in kept) == (amid == "attack")
    (run,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert any(record.HasField("exit") for record in read_wandb(run))
