"""A run that is stopped by a signal."""

import signal
import subprocess
import sys

import pytest

from tests.runs import record_files
from tests.support import read_wandb


@pytest.mark.fault
@pytest.mark.parametrize(
    ("amid", "number"),
    [("attack", signal.SIGTERM), ("training", signal.SIGTERM), ("training", signal.SIGINT)],
)
def test_a_stopped_run_ends_cleanly_without_a_record(warm, without_victim, amid, number):
    """Ctrl-C or SIGTERM: one line, W&B's run is finished, no record, no victim half trained."""
    at, long, begun = {
        "attack": (warm, "attack.steps=1000000", "reconstructing 5 images: step"),
        "training": (without_victim, "victim.epochs=100000", "training lenet5: step"),
    }[amid]
    words = [f"output_dir={at}", long, "targets=5"]
    job = subprocess.Popen(
        [sys.executable, "-m", "privbench", *words], stderr=subprocess.PIPE, text=True
    )
    assert any(begun in line for line in job.stderr), "it ended by itself"
    job.send_signal(number)
    _, err = job.communicate(timeout=300)
    assert job.returncode == 130
    assert err.splitlines()[-1].startswith("privbench: stopped")
    assert all(line.startswith("privbench: ") for line in err.splitlines())
    assert record_files(at) == []
    assert not list((at / "runs").glob("*"))
    kept = [path.suffix for path in (at / "store" / "victims").iterdir()]
    assert (".safetensors" in kept) == (amid == "attack")
    (run,) = (at / "wandb").glob("offline-run-*/*.wandb")
    assert any(record.HasField("exit") for record in read_wandb(run))
