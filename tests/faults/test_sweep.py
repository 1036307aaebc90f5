"""Sweeps whose processes are killed, stopped or run at once, and full disks."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from privbench.store import record as results
from privbench.store.sweep_log import SweepLog
from tests.runs import CHEAP, cell_states, launch, scores_by_key

PARALLEL = ["workers=joblib", "workers.jobs=2", "workers.threads_per_job=1"]
"""As many threads as the tests' own processes: ``device.threads=1`` would train another victim."""


@pytest.mark.fault
def test_alone_in_a_sweep_reversed_and_parallel_a_cell_gives_the_same_numbers(
    privbench, warm, tmp_path
):
    """At the same threads a job; stores apart, so that nothing is shared but the victim."""
    found = []
    rmle = ["-m", "attack=rmle", "attack.steps=10", "targets=3"]
    for name, words in {
        "forward": ["defense.rate=0.1,0.3"],
        "reversed": ["defense.rate=0.3,0.1"],
        "parallel": ["defense.rate=0.1,0.3", *PARALLEL],
    }.items():
        at = tmp_path / name
        shutil.copytree(warm, at)
        code, _, err = privbench(*rmle, *words, f"output_dir={at}")
        assert code == 0, err
        found.append(scores_by_key(at))
    at = tmp_path / "alone"
    shutil.copytree(warm, at)
    for rate in ("0.1", "0.3"):
        assert privbench(*rmle[1:], f"defense.rate={rate}", f"output_dir={at}")[0] == 0
    found.append(scores_by_key(at))
    assert len(found[0]) == 2
    assert all(numbers == found[0] for numbers in found[1:])


@pytest.mark.fault
def test_gpus_are_dealt_out_to_processes(privbench, warm, user_module, monkeypatch):
    """Each process sees one, before CUDA begins; two of them never the same."""
    seer = user_module("attack", "my_seer", SEER, "_target_: my_seer.Seer\nlevel: 0.1\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    words = ["-m", *seer, "attack.level=range(1,5)"]
    code, _, err = privbench(*words, "workers=joblib", "targets=5", f"output_dir={warm}")
    assert code == 0, err
    records = [results.read(path) for path in warm.glob("store/records/*/record.json")]
    seen = {(record.notes["process"], record.notes["gpu"]) for record in records}
    assert len(records) == 4
    assert {gpu for _, gpu in seen} == {"3", "5"}
    assert len({process for process, _ in seen}) == len(seen) == 2


SEER = """
import os, time
from dataclasses import dataclass
import torch
from privbench.threat import Access


@dataclass(frozen=True)
class Seer:
    level: float

    @property
    def access(self):
        return Access.NONE

    def fit(self, view):
        time.sleep(1)
        view.logger.note(gpu=os.environ["CUDA_VISIBLE_DEVICES"], process=os.getpid())
        return lambda v: torch.full((len(v), *view.image_shape), self.level / 10)
"""


def _undisturbed(privbench, warm: Path, at: Path, words: list[str]) -> dict[str, object]:
    shutil.copytree(warm, at)
    code, _, err = privbench(*words, f"output_dir={at}")
    assert code == 0, err
    return scores_by_key(at)


def _whole(outputs: Path) -> None:
    """No half-written file stays behind."""
    assert not list(outputs.rglob("*.part"))
    for path in outputs.glob("sweeps/*/cells.jsonl"):
        for line in path.read_text().splitlines():
            json.loads(line)


SLOW = """
import time
from dataclasses import dataclass
import torch
from privbench.threat import Access


@dataclass(frozen=True)
class Slow:
    seconds: float

    @property
    def access(self):
        return Access.NONE

    def fit(self, view):
        def reconstruct(v):
            time.sleep(self.seconds)
            return torch.rand(len(v), *view.image_shape)
        return reconstruct
"""


@pytest.fixture
def slow_sweep(user_module):
    """A sweep of four cells that each wait for a second, and answer with what their seed draws."""
    words = user_module("attack", "my_slow", SLOW, "_target_: my_slow.Slow\nseconds: 1.0\n")
    times = "attack.seconds=1.0,1.01,1.02,1.03"
    return ["-m", *words, times, "targets=5", "sweep.report=false"]


@pytest.mark.fault
@pytest.mark.parametrize("workers", ["local", "joblib"])
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_the_same_command_completes_a_sweep_after_any_kill(
    privbench, tmp_path, without_victim, slow_sweep, kills, workers
):
    """Launcher or worker, SIGKILL at random moments, the victim untrained: the same numbers."""
    import random

    words = [*slow_sweep, "victim.epochs=1", "victim.min_steps=20"]
    expected = _undisturbed(privbench, without_victim, tmp_path / "calm", words)
    at, moments = shutil.copytree(without_victim, tmp_path / "stormy"), random.Random(kills)
    parallel = PARALLEL if workers == "joblib" else []
    killed = 0
    for _ in range(10 * kills):
        begun = _launches(at)
        sweep = launch(*words, *parallel, f"output_dir={at}", start_new_session=True)
        while sweep.poll() is None and _launches(at) == begun:
            time.sleep(0.1)
        time.sleep(moments.uniform(0, 4))
        victims = [sweep.pid, *_children(sweep.pid)]
        if sweep.poll() is None and killed < kills:
            os.kill(victim := moments.choice(victims), signal.SIGKILL)
            killed += 1
            if victim == sweep.pid:
                _wait_for_the_end_of(victims[1:])
        _, err = sweep.communicate(timeout=600)
        if sweep.returncode == 0 and killed >= kills:
            break
        if sweep.returncode == 0:  # done too early: there is more to kill
            for path in at.glob("store/*/*/record.json"):
                path.unlink()
    assert killed == kills
    assert sweep.returncode == 0, err
    assert scores_by_key(at) == expected
    _whole(at)


def _wait_for_the_end_of(processes: list[int]) -> None:
    """Workers end with their launcher, rather than wait minutes for a job."""
    until = time.monotonic() + 100
    while alive := [pid for pid in processes if Path(f"/proc/{pid}/exe").exists()]:
        assert time.monotonic() < until, alive
        time.sleep(0.1)


def _launches(outputs: Path) -> int:
    """Count the times that the sweep's log says it was launched."""
    return sum(
        path.read_text().count('{"launch": ') for path in outputs.glob("sweeps/*/cells.jsonl")
    )


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(word) for word in text.split()]


@pytest.mark.fault
def test_two_launchers_at_once_run_each_cell_once(privbench, warm, slow_sweep, tmp_path):
    """They wait for each other's cells, and both are complete."""
    expected = _undisturbed(privbench, warm, tmp_path / "calm", slow_sweep)
    at = tmp_path / "both"
    shutil.copytree(warm, at)
    sweeps = [launch(*slow_sweep, f"output_dir={at}") for _ in range(2)]
    for sweep in sweeps:
        _, err = sweep.communicate(timeout=600)
        assert sweep.returncode == 0, err
    assert scores_by_key(at) == expected
    (folder,) = (at / "sweeps").iterdir()
    done = [line["key"] for line in SweepLog(folder).lines()[0] if line.get("state") == "done"]
    assert sorted(done) == sorted(expected), "each once"
    _whole(at)


@pytest.mark.fault
@pytest.mark.parametrize("workers", ["local", "joblib"])
def test_ctrl_c_ends_a_sweep_in_seconds_and_it_can_go_on(warm, workers):
    """Exit code 130, missing cells are listed with the command that completes them, no process is left."""
    words = ["-m", "attack=rmle", "attack.steps=10,1000000", "targets=5", "sweep.report=false"]
    at = [f"output_dir={warm}", f"workers={workers}"]
    sweep = launch(*words, *at, start_new_session=True)
    guard = threading.Timer(300, sweep.kill)
    guard.start()
    for line in sweep.stdout:
        if "] done" in line:
            break
    time.sleep(2)
    os.killpg(sweep.pid, signal.SIGINT)
    _, err = sweep.communicate(timeout=300)
    guard.cancel()
    assert sweep.returncode == 130, err
    assert "1 of 2 cells have no record" in err
    assert "attack.steps=1000000" in err
    # joblib may warn of semaphores behind it
    assert err.count("privbench: stopped") == 1
    assert err.index("privbench: stopped") < err.index("1 of 2 cells have no record")
    assert cell_states(warm) == {"done": 1, "running": 0, "failed": 0, "missing": 1}
    assert len(list(warm.glob("store/records/*/record.json"))) == 1
    _whole(warm)


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: wants root")
def test_a_full_disk_fails_cells_and_leaves_none_half_written(privbench, warm, tmp_path):
    """With room again the same command completes the sweep."""
    expected = _undisturbed(
        privbench, warm, tmp_path / "calm", [*CHEAP, "seed=0", "defense.rate=0.1,0.2,0.3"]
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(p.stat().st_size for p in warm.rglob("*") if p.is_file()) + 200_000
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.decode().strip()}")
    try:
        shutil.copytree(warm, disk / "out")
        words = [*CHEAP, "seed=0", "defense.rate=0.1,0.2,0.3", f"output_dir={disk / 'out'}"]
        (disk / "ballast").write_bytes(bytes(150_000))
        code, _, err = privbench(*words)
        assert code == 1
        assert "No space left on device" in err
        assert "Traceback" not in err
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        code, _, err = privbench(*words)
        assert code == 0, err
        assert scores_by_key(disk / "out") == expected
        _whole(disk / "out")
    finally:
        subprocess.run(["umount", disk], check=True)
