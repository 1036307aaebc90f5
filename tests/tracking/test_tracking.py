"""Metrics and summaries in W&B's offline files, and runs that go on when W&B fails."""

import re
import sys
from pathlib import Path

import pytest

from privbench.runtime.validation import describe
from privbench.store import record as results
from privbench.tracking.base import RunDescription
from privbench.tracking.wandb import WandbTracker
from tests.support import finished_run


def _history(records: list, name: str) -> list[dict]:
    import json

    rows = [
        {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in r.history.item}
        for r in records
        if r.HasField("history")
    ]
    return [row for row in rows if any(key.startswith(name) for key in row)]


def test_a_run_streams_its_progress_and_ends_in_its_summary(privbench, warm):
    """Attack against steps, training against epochs, each on its own axis; pictures and tags."""
    code, _, err = privbench(
        "-m", "targets=4", "attack=rmle", f"output_dir={warm}", "tracker=wandb"
    )
    assert code == 0, err
    (path,) = (warm / "wandb").glob("offline-run-*/*.wandb")
    records = finished_run(path)
    attack = _history(records, "attack/psnr_db")
    steps = [row["attack/step"] for row in attack]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, 500)
    assert all({"attack/ssim", "attack/objective"} <= set(row) for row in attack)
    training = _history(records, "victim/loss")
    assert [row["victim/epoch"] for row in training] == list(range(len(training)))
    assert training[-1]["victim/accuracy"] > 0.97
    axes = {r.metric.glob_name: r.metric.step_metric for r in records if r.HasField("metric")}
    assert axes["attack/*"] == "attack/step"
    assert axes["victim/*"] == "victim/epoch"
    run = next(r.run for r in records if r.HasField("run"))
    (sweep,) = (warm / "sweeps").iterdir()
    assert run.run_group == sweep.name
    assert run.job_type == "attack"
    assert {"digits", "lenet5", "rmle", "dropout", "relu2"} <= set(run.tags)
    assert _history(records, "reconstructions")
    summary = {
        i.key: i.value_json for r in records if r.HasField("summary") for i in r.summary.update
    }
    (stored,) = (warm / "store" / "records").glob("*/record.json")
    record = results.read(stored)
    assert float(summary["psnr_db"]) == pytest.approx(record.score("psnr_db"))
    assert float(summary["floor_ssim"]) == pytest.approx(record.floor["best"]["ssim"])
    assert next(r.exit.exit_code for r in records if r.HasField("exit")) == 0


@pytest.mark.parametrize("call", ["init", "log", "finish"])
def test_a_tracker_that_breaks_is_a_warning_and_the_record_is_whole(
    privbench, warm, monkeypatch, call
):
    """At the start, amid the stream, or at the end."""
    import wandb

    def broken(*words, **settings):
        raise OSError(28, "No space left on device")

    owner = wandb if call == "init" else wandb.Run
    monkeypatch.setattr(owner, call, broken)
    code, _, err = privbench("targets=4", "attack=blind", f"output_dir={warm}", "tracker=wandb")
    assert code == 0, err
    assert err.count("W&B logging disabled for this run") == 1
    assert "No space left" in err
    (stored,) = (warm / "store" / "records").glob("*/record.json")
    results.read(stored)


def test_online_with_a_key_and_no_server_goes_on_after_its_timeout(privbench, warm, monkeypatch):
    """The server is a closed port of this machine."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    code, _, err = privbench(
        "targets=4",
        "attack=blind",
        f"output_dir={warm}",
        "tracker=wandb",
        "tracker.mode=online",
        "tracker.init_timeout=3",
    )
    assert code == 0, err
    assert "W&B logging disabled for this run" in err
    assert len(list((warm / "store" / "records").glob("*/record.json"))) == 1


def test_without_wandb_installed_the_run_goes_on(privbench, warm, monkeypatch):
    """A warning, a record, exit code 0."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, out, err = privbench("targets=4", "attack=blind", f"output_dir={warm}", "tracker=wandb")
    assert code == 0, err
    assert "W&B logging disabled for this run" in err
    assert "blind baseline" in out


def test_settings_out_of_range_are_refused():
    """In one line."""
    with pytest.raises(ValueError, match="online") as caught:
        WandbTracker(project="p", entity=None, mode="onlin", folder=".", init_timeout=5)
    line = "tracker.mode=onlin is not known: choose from online, offline, disabled"
    assert describe(caught.value, "tracker") == line


def _tracked(tracker: WandbTracker, run_id: str | None, at: int, error: bool = False) -> None:
    """A run that logs one step, and may fail after it."""
    with tracker.run(RunDescription("cell", "sweep", [], {}, run_id)) as run:
        run.log("attack", at, ssim=0.5)
        if error:
            raise KeyboardInterrupt


def test_a_repeated_offline_run_replaces_its_earlier_attempts_once_it_ends(tmp_path):
    """``wandb sync`` would merge attempts of one identity; runs without identity stay apart."""
    tracker = WandbTracker("p", None, "offline", str(tmp_path), 20)
    with pytest.raises(KeyboardInterrupt):
        _tracked(tracker, "abc", 1, error=True)
    (attempt,) = (tmp_path / "wandb").glob("offline-run-*")
    with pytest.raises(KeyboardInterrupt):
        _tracked(tracker, "abc", 2, error=True)
    assert attempt.is_dir(), "a failed attempt replaces nothing"
    _tracked(tracker, "abc", 3)
    (path,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert [row["attack/step"] for row in _history(finished_run(path), "attack/ssim")] == [3]
    for at in (4, 5):
        _tracked(tracker, None, at)
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 3


def test_runs_without_identity_are_named_by_their_time(tmp_path):
    """A forced run has the options, and so the name, of an earlier one."""
    _tracked(WandbTracker("p", None, "offline", str(tmp_path), 20), None, 1)
    (path,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    run = next(r.run for r in finished_run(path) if r.HasField("run"))
    assert re.fullmatch(r"cell \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", run.display_name)


def _runs(outputs: Path) -> list:
    """Every offline run: its header, its summary."""
    found = []
    for path in sorted((outputs / "wandb").glob("offline-run-*/*.wandb")):
        records = finished_run(path)
        summary = {
            i.key: i.value_json for r in records if r.HasField("summary") for i in r.summary.update
        }
        found.append((next(r.run for r in records if r.HasField("run")), summary))
    return found


def test_a_sweep_is_a_group_and_a_cell_a_run_however_often_it_is_asked_for(privbench, warm):
    """Named by what differs; a cached cell is logged once in a sweep that lacks it, and flagged."""
    words = ["-m", "targets=4", "attack=blind", f"output_dir={warm}"]
    assert privbench(*words, "defense.rate=0.1,0.3", "tracker=none")[0] == 0
    for _ in range(2):
        assert privbench(*words, "defense.rate=0.1,0.3,0.6", "tracker=wandb")[0] == 0
    first = _runs(warm)
    assert sorted(run.display_name for run, _ in first) == [
        f"defense.rate=0.{n}" for n in (1, 3, 6)
    ]
    assert len({run.run_id for run, _ in first}) == 3
    flags = {run.display_name: summary["cached"] for run, summary in first}
    assert flags == {
        "defense.rate=0.1": "true", "defense.rate=0.3": "true", "defense.rate=0.6": "false",
    }  # fmt: skip
    assert all("psnr_db" in summary for _, summary in first)
    (group,) = {run.run_group for run, _ in first}
    assert (warm / "sweeps" / group).is_dir()
    assert privbench(*words, "defense.rate=0.1,0.6", "tracker=wandb")[0] == 0
    assert len({run.run_id for run, _ in _runs(warm)}) == 5, "another sweep has runs of its own"


def test_an_agent_of_wandbs_names_its_runs_itself(privbench, warm, monkeypatch):
    """Cached cells are logged there as well."""
    words = ["targets=4", "attack=blind", f"output_dir={warm}"]
    assert privbench(*words)[0] == 0
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    monkeypatch.setenv("WANDB_RUN_ID", "agents1")
    assert privbench(*words, "tracker=wandb")[0] == 0
    ((run, summary),) = _runs(warm)
    assert run.run_id == "agents1"
    assert summary["cached"] == "true"
