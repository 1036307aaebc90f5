"""Metrics and summaries in W&B's offline files, and runs that go on when W&B fails."""

import sys
from dataclasses import replace

import pytest

from privbench.experiment.config import build
from privbench.experiment.output import run_description
from privbench.experiment.plan import plan
from privbench.runtime.validation import describe
from privbench.store import record as results
from privbench.tracking.base import RunDescription
from privbench.tracking.wandb import WandbTracker
from tests.wandb_files import offline_runs


def test_a_run_streams_its_progress_and_ends_in_its_summary(privbench, warm):
    """Attack against steps, training against epochs, each on its own axis; pictures and tags."""
    code, _, err = privbench(
        "-m", "targets=4", "attack=rmle", "attack.steps=50", f"output_dir={warm}", "tracker=wandb"
    )
    assert code == 0, err
    (run,) = offline_runs(warm)
    curves = run.curves
    steps = curves["attack/step"]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, 50)
    assert len(curves["attack/ssim"]) == len(curves["attack/objective"]) == len(steps)
    for training, accuracy in (("victim", 0.97), ("evaluation_classifier", 0.9)):
        count = len(curves[f"{training}/loss"])
        assert curves[f"{training}/epoch"] == list(range(count))
        assert curves[f"{training}/accuracy"][-1] > accuracy
        assert run.axes[f"{training}/*"] == f"{training}/epoch"
    assert run.axes["attack/*"] == "attack/step"
    (sweep,) = (warm / "sweeps").iterdir()
    assert run.header.run_group == sweep.name
    assert {"digits", "lenet5", "rmle", "dropout", "relu2"} <= set(run.header.tags)
    assert "reconstructions.path" in curves
    (stored,) = (warm / "store" / "records").glob("*/record.json")
    record = results.read(stored)
    assert run.summary["psnr_db"] == pytest.approx(record.score("psnr_db"))
    assert run.summary["floor_ssim"] == pytest.approx(record.floor["best"]["ssim"])
    assert next(r.exit.exit_code for r in run.records if r.HasField("exit")) == 0


@pytest.mark.long
def test_a_cached_cell_has_the_curves_of_its_first_run(privbench, warm):
    """Also of a network that another cell trained; of an older record those of the store."""
    words = ["-m", "targets=4", "attack=inverse_naive", "attack.queries=32", "attack.steps=20",
             "defense.rate=0.1,0.3", f"output_dir={warm}"]  # fmt: skip
    assert privbench(*words, "tracker=none")[0] == 0
    (older,) = list((warm / "store" / "records").glob("*/history.json"))[1:]
    older.unlink()
    assert privbench(*words, "tracker=wandb")[0] == 0
    runs = {run.header.display_name: run for run in offline_runs(warm)}
    assert all(run.summary["cached"] for run in runs.values())
    whole = next(r for r in runs.values() if r.summary["key"] != older.parent.name)
    rest = next(r for r in runs.values() if r is not whole)
    trainings = {"victim", "evaluation_classifier"}
    streams = {name.partition("/")[0] for name in rest.curves if "/" in name}
    assert streams == trainings
    curves = whole.curves
    assert len(curves["adversary/held_out_loss"]) == len(curves["adversary/epoch"]) > 0
    for name in ("loss", "accuracy", "epoch"):
        for stream in trainings:
            key = f"{stream}/{name}"
            assert curves[key] == rest.curves[key]


# a cell each: a run that did not finish keeps its identity, in this process, from another one
@pytest.mark.long
@pytest.mark.parametrize(("call", "targets"), [("init", 4), ("log", 5), ("finish", 6)])
def test_a_tracker_that_breaks_is_a_warning_and_the_record_is_whole(
    privbench, warm, monkeypatch, call, targets
):
    """At the start, amid the stream, or at the end."""
    import wandb

    def broken(*words, **settings):
        raise OSError(28, "No space left on device")

    owner = wandb if call == "init" else wandb.Run
    monkeypatch.setattr(owner, call, broken)
    words = [f"targets={targets}", "attack=blind", f"output_dir={warm}", "tracker=wandb"]
    code, _, err = privbench(*words)
    assert code == 0, err
    assert err.count("W&B logging disabled for this run") == 1
    assert "No space left" in err
    (stored,) = (warm / "store" / "records").glob("*/record.json")
    results.read(stored)


@pytest.mark.long
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


def _tracked(tracker: WandbTracker, run_id: str, at: int, error: bool = False) -> None:
    """A run that logs one step, and may fail after it."""
    with tracker.run(RunDescription("cell", "sweep", [], {}, run_id)) as run:
        run.log("deployment", 0, loss=1.0)
        run.log("another", 0, loss=1.0)
        run.log("attack", at, ssim=0.5)
        if error:
            raise KeyboardInterrupt


@pytest.mark.fault
def test_a_repeated_offline_run_replaces_its_earlier_attempts_once_it_ends(tmp_path):
    """``wandb sync`` would merge attempts of one identity; every stream has an axis."""
    tracker = WandbTracker("p", None, "offline", str(tmp_path), 20)
    with pytest.raises(KeyboardInterrupt):
        _tracked(tracker, "abc", 1, error=True)
    (attempt,) = (tmp_path / "wandb").glob("offline-run-*")
    with pytest.raises(KeyboardInterrupt):
        _tracked(tracker, "abc", 2, error=True)
    assert attempt.is_dir(), "a failed attempt replaces nothing"
    _tracked(tracker, "abc", 3)
    (run,) = offline_runs(tmp_path)
    assert run.curves["attack/step"] == [3]
    assert run.curves["deployment/epoch"] == [0]
    assert run.axes["deployment/*"] == "deployment/epoch"
    _tracked(tracker, "abd", 4)
    assert len(offline_runs(tmp_path)) == 2


def test_a_cell_is_one_run_and_no_two_cells_share_a_name(composed):
    """However often it is asked for; as another option, or in a sweep, it is another run."""
    single = composed("attack=blind")
    swept = replace(single, output_dir="/sweeps/mine-1a2b", launch="x")
    specs = [single, single, composed("attack=blind", "attack.answer=grey"), swept,
             replace(swept, name="seed=0")]  # fmt: skip
    found = [run_description(plan(build(spec))) for spec in specs]
    assert found[0] == found[1]
    assert found[0].name.startswith("digits relu2 dropout 0.1 features blind s0 ")
    assert [one.name for one in found[3:]] == ["mine-1a2b", "seed=0"]
    assert len({one.name for one in found}) == 4
    assert [one.group for one in found] == [None, None, None, "mine-1a2b", "mine-1a2b"]
    assert len({one.run_id for one in found[:4]}) == 3
    assert found[3].run_id == found[4].run_id


@pytest.mark.long
def test_a_sweep_is_a_group_and_a_cell_a_run_however_often_it_is_asked_for(privbench, warm):
    """Named by what differs; a cached cell is logged once in a sweep that lacks it, and flagged."""
    words = ["-m", "targets=4", "attack=blind", f"output_dir={warm}"]
    assert privbench(*words, "defense.rate=0.1", "tracker=none")[0] == 0
    for _ in range(2):
        assert privbench(*words, "defense.rate=0.1,0.6", "tracker=wandb")[0] == 0
    first = offline_runs(warm)
    assert len({run.header.run_id for run in first}) == 2
    flags = {run.header.display_name: run.summary["cached"] for run in first}
    assert flags == {"defense.rate=0.1": True, "defense.rate=0.6": False}
    assert all("psnr_db" in run.summary for run in first)
    (group,) = {run.header.run_group for run in first}
    assert (warm / "sweeps" / group).is_dir()
    assert privbench(*words, "defense.rate=0.6", "tracker=wandb")[0] == 0
    assert len({run.header.run_id for run in offline_runs(warm)}) == 3, "a run of another sweep"


@pytest.mark.long
def test_an_agent_of_wandbs_names_its_runs_itself(privbench, warm, monkeypatch):
    """Cached cells are logged there as well."""
    words = ["targets=4", "attack=blind", f"output_dir={warm}"]
    assert privbench(*words)[0] == 0
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    monkeypatch.setenv("WANDB_RUN_ID", "agents1")
    assert privbench(*words, "tracker=wandb")[0] == 0
    (run,) = offline_runs(warm)
    assert run.header.run_id == "agents1"
    assert run.summary["cached"] is True
