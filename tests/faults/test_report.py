"""A workspace on a server of W&B that answers, and one that is gone."""

import subprocess
import sys

import pytest


@pytest.mark.fault
def test_the_workspace_is_saved_to_a_server(tmp_path):
    """The command prints its address; without a server it is one line."""
    pytest.importorskip("wandb_workspaces")
    import os

    from tests.wandb_server import KEY, Server

    server = Server()
    env = {**os.environ, "WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.url, "HOME": str(tmp_path)}
    words = [sys.executable, "-m", "privbench.tracking.dashboard", "--entity", "me"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=120)
    server.stop()
    assert done.returncode == 0, done.stderr
    assert "nw=" in done.stdout
    assert any(name == "UpsertView2" for name, _ in server.asked)
    gone = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert gone.returncode == 1
    assert gone.stderr.splitlines()[-1].startswith("privbench: no dashboard:")
    assert "connection refused" in gone.stderr, "W&B was not waited for, and so its reason is given"
