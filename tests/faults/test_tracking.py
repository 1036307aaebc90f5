"""A server of W&B: runs that resume, sweeps that end, and one that goes away."""

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
         "tracker.init_timeout=3", "sweep.report=false", f"output_dir={warm}"],
        env={**os.environ, "WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.url},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out = ""
    for line in sweep.stdout:
        out += line
        if "] done" in line:  # on a busy machine other lines come first
            break
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


ONLINE = """
import sys
from privbench.tracking.base import Curves, RunDescription, SweepSummary
from privbench.tracking.wandb import WandbTracker

tracker = WandbTracker("p", None, "online", sys.argv[1], 10)
for at in (1, 2):
    with tracker.run(RunDescription("cell", "sweep", ["a"], {"x": 1}, "abc")) as run:
        run.log("attack", at, ssim=0.5)
        run.finish({"ssim": 0.5}, {})
    assert run.delivered
curves = {"ssim": Curves("t", ["curve", "SSIM", "accuracy"], [["line", 0.1, 0.9]])}
tracker.log_summary("sweep", SweepSummary(["weak", "found"], [["a"], [1.0]], curves, {}, {}))
"""


@pytest.mark.fault
def test_a_resumed_cell_is_one_run_on_a_server_and_a_sweep_has_a_summary(tmp_path):
    """The later attempt replaces the history of the first; tables are uploaded."""
    server = Server()
    env = {**os.environ, "WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.url, "HOME": str(tmp_path)}
    words = [sys.executable, "-c", ONLINE, str(tmp_path)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=120)
    server.stop()
    assert done.returncode == 0, done.stderr
    assert "disabled" not in done.stderr
    begun = [v for name, v in server.asked if name == "UpsertBucket" and v.get("displayName")]
    cells, (summary,) = begun[:-1], begun[-1:]
    assert {(v["name"], v["displayName"], v["groupName"]) for v in cells} == {
        ("abc", "cell", "sweep")
    }
    assert len(cells) == 2
    assert summary["displayName"] == "summary of sweep"
    assert summary["notes"] == "weak\nfound"
    assert not any(name == "RunResumeStatus" for name, _ in server.asked), "no history is kept"
    files = [post.get("files", {}).get("wandb-history.jsonl") for post in server.streamed]
    steps = [line for file in files if file and file["offset"] == 0 for line in file["content"]]
    assert sum('"attack/step":2' in line for line in steps) == 1
    sent = [name for op, v in server.asked if op == "CreateRunFiles" for name in v["files"]]
    assert any(name.startswith("media/table/cells") for name in sent)
    assert any(name.startswith("media/table/curves/ssim_table") for name in sent)
