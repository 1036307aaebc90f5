"""A server of W&B that goes away."""

import os
import subprocess
import sys

import pytest

from privbench.store import record as results
from tests.wandb_server import KEY, Server


@pytest.mark.fault
def test_a_server_that_goes_away_amid_a_sweep_costs_no_record(warm):
    """The first cells stream, the others warn; every record is whole."""
    server = Server()
    words = ["-m", "targets=4", "attack=blind", "defense.rate=0.1,0.2,0.3,0.4", "tracker=wandb"]
    sweep = subprocess.Popen(
        [sys.executable, "-m", "privbench", *words, "tracker.mode=online",
         "tracker.init_timeout=3", f"output_dir={warm}"],
        env={**os.environ, "WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.url},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out = sweep.stdout.readline()
    server.stop()
    rest, err = sweep.communicate(timeout=200)
    assert sweep.returncode == 0, err
    assert (out + rest).count("] done") == 4
    assert "W&B logging disabled for this run" in err
    assert len(list((warm / "store" / "records").glob("*/record.json"))) == 4
    for path in (warm / "store" / "records").glob("*/record.json"):
        results.read(path)
    begun = [variables for name, variables in server.asked if name == "UpsertBucket"]
    assert begun
    assert len(server.streamed) >= 1
    assert any(variables.get("groupName") for variables in begun)
