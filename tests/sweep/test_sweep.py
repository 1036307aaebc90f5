"""A sweep: what is run of it, what is printed, what survives a failure."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from privbench.store import record as results
from privbench.store.sweep_log import SweepLog
from tests.runs import CHEAP, cell_states, launch, scores_by_key
from tests.support import ATTACK, ROOT


@pytest.mark.long
def test_what_is_recorded_is_not_run_again(privbench, warm):
    """In the same sweep, in another one, alone; force=true runs it."""
    at = f"output_dir={warm}"
    assert privbench(*CHEAP, "defense.rate=0.1,0.3", at)[0] == 0
    stamps = {p: p.stat().st_mtime_ns for p in warm.glob("store/records/*/record.json")}
    code, out, err = privbench(*CHEAP, "defense.rate=0.1,0.3", at)
    assert code == 0, err
    assert out.count("] cached") == 2
    (folder,) = (warm / "sweeps").iterdir()
    begun = [line["key"] for line in SweepLog(folder).lines()[0] if line.get("state") == "running"]
    assert len(begun) == 2, "the second time none was launched"
    code, out, err = privbench(*CHEAP, "defense.rate=0.30,0.2,1e-1", at)
    assert out.count("] cached") == 2, "however a number is spelt"
    assert out.count("] done") == 1
    code, out, err = privbench("attack=blind", "targets=5", "defense.rate=0.3", at)
    assert "cached" in out
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    code, out, err = privbench(*CHEAP, "defense.rate=0.1,0.3", at, "force=true")
    assert code == 0, err
    assert out.count("] done") == 2
    assert all(p.stat().st_mtime_ns != stamp for p, stamp in stamps.items())


@pytest.mark.long
def test_a_record_that_cannot_be_read_is_made_again(privbench, warm):
    """And named."""
    at = f"output_dir={warm}"
    assert privbench(*CHEAP, "defense.rate=0.1,0.3", at)[0] == 0
    before = scores_by_key(warm)
    path = next(warm.glob("store/records/*/record.json"))
    path.write_text(path.read_text()[:100])
    code, out, err = privbench(*CHEAP, "defense.rate=0.1,0.3", at)
    assert code == 0, err
    assert str(path) in err
    assert (out.count("] done"), out.count("] cached")) == (1, 1)
    assert scores_by_key(warm) == before


def test_a_failing_cell_is_named_with_its_cause_and_its_command(privbench, warm, monkeypatch):
    """The others are recorded, the exit code is 1, the sweep's summary shows the gap."""
    _mine(warm, monkeypatch)
    words = ["--config-dir", str(warm / "conf"), "-m", "attack=mine", "targets=5"]
    axes_ = ["attack.fail='',boom", "defense.rate=0.1,0.3", f"output_dir={warm}"]
    code, out, err = privbench(*words, *axes_)
    assert code == 1
    assert out.count("] done") == 2
    assert out.count("] failed  attack.fail=boom defense.rate=0.") == 2
    assert "2 of 4 cells have no record" in err
    assert err.count("attack.fail=boom defense.rate=0.1: ArithmeticError: boom") == 1
    assert "worst case over 2 cells, 2 more have no record" in out
    assert out.count("(the worst case may be higher)") == 2
    assert cell_states(warm) == {"done": 2, "running": 0, "failed": 2, "missing": 0}
    (retry,) = re.findall(
        r"^    PYTHONPATH=\S+ python -m privbench (.*boom.*rate=0.1.*)$", err, re.M
    )
    code, _, err = privbench(*shlex.split(retry))
    assert code == 1
    assert "boom" in err


def _mine(outputs: Path, monkeypatch) -> None:
    """An attack of the test's own that fails when asked to."""
    (outputs / "conf" / "attack").mkdir(parents=True, exist_ok=True)
    text = ATTACK.replace(
        "        value =",
        '        if self.fail == "boom":\n            raise ArithmeticError("boom")\n        value =',
    )
    text = text.replace("        value =", OUT_OF_MEMORY + "        value =")
    (outputs / "my_attack.py").write_text(text)
    yaml = "# Mine.\n_target_: my_attack.Level\nlevel: 0.25\nfail: ''\n"
    (outputs / "conf" / "attack" / "mine.yaml").write_text(yaml)
    monkeypatch.syspath_prepend(str(outputs))
    monkeypatch.setenv("PYTHONPATH", f"{outputs}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.delitem(sys.modules, "my_attack", raising=False)


OUT_OF_MEMORY = """
        if self.fail.startswith("memory"):
            most, size = int(self.fail.split()[1]), len
            def reconstruct(v):
                if len(v) > most:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. Hm")
                view.logger.note(converged=float(len(v) == most))
                return v.flatten(1)[:, :784].reshape(len(v), *view.image_shape).sigmoid()
            return reconstruct
"""


@pytest.mark.long
def test_out_of_memory_means_smaller_batches_and_the_same_numbers(privbench, warm, monkeypatch):
    """Until a single image does not fit: then the cell fails."""
    _mine(warm, monkeypatch)
    words = ["--config-dir", str(warm / "conf"), "attack=mine", "targets=5", "split=relu1"]
    words += [f"output_dir={warm}"]
    for most, code in ((5, 0), (2, 0), (0, 1)):
        assert privbench(*words, f"attack.fail=memory {most}")[0] == code
    found = [results.read(path) for path in warm.glob("store/records/*/record.json")]
    whole, parts = sorted(found, key=lambda record: record.notes.get("batch", 0))
    assert whole.columns == parts.columns
    assert (whole.converged, parts.converged) == (1.0, pytest.approx(0.8))
    assert parts.notes["batch"] == 2


@pytest.mark.long
def test_fail_fast_stops_at_the_first_failure(privbench, warm, monkeypatch):
    """What was not begun is missing, and the same command without it completes the sweep."""
    _mine(warm, monkeypatch)
    words = ["--config-dir", str(warm / "conf"), "-m", "attack=mine", "targets=5"]
    words += ["attack.fail='',boom,global", f"output_dir={warm}"]
    code, _, err = privbench(*words, "sweep.fail_fast=true")
    assert code == 1
    assert cell_states(warm) == {"done": 1, "running": 0, "failed": 1, "missing": 1}
    assert "attack.fail=global: not finished" in err
    assert privbench(*words)[0] == 1
    assert cell_states(warm) == {"done": 2, "running": 0, "failed": 1, "missing": 0}


@pytest.mark.long
def test_an_option_that_the_default_lacks_goes_with_the_swept_group(privbench, warm):
    """Of one value or of several, it belongs to the cells; the ledger holds what was typed."""
    (warm / "conf" / "sweeps").mkdir(parents=True)
    params = "hydra: {mode: MULTIRUN, sweeper: {params: {defense: gaussian, split: relu1}}}"
    (warm / "conf" / "sweeps" / "noisy.yaml").write_text(f"# @package _global_\n{params}\n")
    words = ["--config-dir", str(warm / "conf"), "sweeps=noisy", "defense.sigma=0.5", "targets=5"]
    words += ["attack=blind,rmle", "attack.steps=5", f"output_dir={warm}"]
    code, _, err = privbench(*words)
    assert code == 0, err
    found = [results.read(path) for path in warm.glob("store/records/*/record.json")]
    assert sorted((one.attack, one.strength) for one in found) == [("blind", 0.5), ("rmle", 0.5)]
    (ledger,) = warm.glob("sweeps/*/cells.jsonl")
    assert "defense.sigma=0.5" in ledger.read_text()
    assert "choice" not in ledger.read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["defense=gaussian,laplace", "defense.rate=0.5"], "defense.rate.*sigma"),
        (["defense.rate=", "attack=blind"], "defense.rate= is an empty axis"),
        (["seed=0,1", "seed=2"], "seed is given twice"),
        (["defense=none,laplace", "defense.rate=0.1,0.2"], "defense.rate.*in the cell"),
        (["seed=0,1", "workers=local,joblib"], "workers cannot be swept"),
        (["seed=0,1", "device=cpu,auto"], "device cannot be swept"),
        (["seed=0,1", "device.threads=1,2"], "device.threads cannot be swept"),
        (["seed=0,1", "workers=joblib", "workers.jobs=0"], "workers.jobs=0 is out of range"),
        (["seed=0,1", "workers=slurm"], "workers=slurm finds no sbatch.*workers=joblib"),
        (["seed=0,1", "workers=ray"], "workers=ray needs ray: pip install 'privbench.ray.'"),
        (
            ["seed=0,1", "workers=cloud"],
            "workers=cloud is not known: choose from joblib, local, ray, slurm",
        ),
        (["targets=5000,6000"], "targets=5000: choose 1 to 360.*; targets=6000"),
        (["include=[1,1]"], r"include=\[1,1\]: choose different numbers"),
        (["include=3"], r"include must be a list such as include=\[3,2,1\], got 3"),
        (["force=maybe"], "force=maybe is not known: choose from true, false"),
    ],
)
def test_bad_sweeps_are_one_line_and_leave_nothing(privbench, tmp_path, monkeypatch, words, line):
    """At once, whatever workers."""
    pytest.importorskip("submitit")
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setitem(sys.modules, "ray", None)
    code, out, err = privbench("-m", *words, f"output_dir={tmp_path / 'out'}")
    assert (code, out) == (1, "")
    assert len(err.strip().splitlines()) == 1, err
    assert re.search(line, err), err
    assert not list((tmp_path / "out").glob("sweeps/*"))


@pytest.mark.slow
def test_a_figure_is_one_command_and_any_axis_changes_on_the_command_line(privbench, warm):
    """Lists in a file are axes; the grids that a typed axis fits remain."""
    (warm / "conf" / "sweeps").mkdir(parents=True)
    text = (ROOT / "sweeps" / "he2020" / "fig9_mnist.yaml").read_text()
    text = text.replace("      attack.steps: 500\n", "").replace("targets: 100", "targets: 12")
    (warm / "conf" / "sweeps" / "figure.yaml").write_text(text)
    words = ["--config-dir", str(warm / "conf"), "sweeps=figure", "dataset=digits", "attack=blind"]
    words += ["seed=0", "defense=none,dropout", f"output_dir={warm}"]
    code, out, err = privbench(*words, "defense.site=input")
    assert code == 0, err
    names = re.findall(r"^\[.*?\] done    (.*?):", out, re.M)
    assert names[0] == "defense=none", "the anchor has no site, and stays"
    assert names[1:] == [f"defense=dropout defense.rate={n / 10}" for n in range(1, 10)]


def test_a_sweep_file_that_sets_more_than_axes_is_refused(privbench, tmp_path):
    """Its cells could not be typed alone."""
    (tmp_path / "sweeps").mkdir()
    text = "# @package _global_\ntargets: 5\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}\n"
    (tmp_path / "sweeps" / "odd.yaml").write_text(text)
    code, _, err = privbench("--config-dir", str(tmp_path), "sweeps=odd", f"output_dir={tmp_path}")
    assert code == 1
    assert "sweeps/odd.yaml sets targets outside of hydra.sweeper: put it among its params" in err


@pytest.mark.long
def test_force_that_fails_is_a_failure_whatever_lies_in_the_store(privbench, warm, monkeypatch):
    """Its exit code says so, and every cell is named."""
    _mine(warm, monkeypatch)
    words = ["--config-dir", str(warm / "conf"), "-m", "attack=mine", "targets=5"]
    words.append("defense.rate=0.1,0.3")
    assert privbench(*words, f"output_dir={warm}")[0] == 0
    text = (warm / "my_attack.py").read_text()
    (warm / "my_attack.py").write_text(
        text.replace("def fit(self, view):", "def fit(self, view):\n        1 / 0")
    )
    monkeypatch.delitem(sys.modules, "my_attack")
    code, _, err = privbench(*words, f"output_dir={warm}", "force=true")
    assert code == 1
    assert "2 of 2 cells have no record of this launch" in err
    assert err.count("ZeroDivisionError: division by zero") >= 2


def test_status_tells_what_is_done_and_what_completes_it(privbench, warm, monkeypatch):
    """Also of half a line that a killed process left."""
    _mine(warm, monkeypatch)
    words = ["--config-dir", str(warm / "conf"), "-m", "attack=mine", "targets=5"]
    assert privbench(*words, "attack.fail='',boom,global", f"output_dir={warm}")[0] == 1
    (folder,) = (warm / "sweeps").iterdir()
    record = next(warm.glob("store/records/*/record.json"))
    record.unlink()
    with (folder / "cells.jsonl").open("a") as file:
        file.write('{"key": "')
    status = _status(folder)
    assert status.returncode == 0, status.stderr
    assert f"{folder.name}: 3 cells: 1 done, 1 failed, 1 missing" in status.stdout
    assert "attack.fail=boom: ArithmeticError: boom" in status.stdout
    assert "complete it: python -m privbench --config-dir" in status.stdout
    SweepLog(folder).append_event("of an earlier launch", "running")
    assert SweepLog(folder).lines()[0][-1]["key"] == "of an earlier launch", "behind half a line"
    assert _status(folder).stdout == status.stdout
    wrong = _status(folder.parent)
    assert wrong.returncode == 1
    assert "is not a sweep" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def _status(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "privbench.sweep.status", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_status_imports_no_torch(privbench, warm):
    """So it answers at once."""
    assert privbench(*CHEAP, "seed=0", f"output_dir={warm}")[0] == 0
    (folder,) = (warm / "sweeps").iterdir()
    status = _status(folder)
    assert status.returncode == 0
    assert not re.search(r"\| +(torch|numpy|hydra)$", status.stderr, re.M)


def test_progress_says_how_many_of_how_many_and_what_is_left(privbench, warm):
    """A line a cell, in a log file too."""
    words = ["-m", "attack=blind", "targets=5", "defense.rate=0.1,0.2,0.3"]
    code, out, err = privbench(*words, f"output_dir={warm}")
    assert code == 0, err
    lines = [line for line in out.splitlines() if line.startswith("[")]
    assert [line[:5] for line in lines] == ["[1/3]", "[2/3]", "[3/3]"]
    assert re.fullmatch(
        r"\[1/3\] done    defense.rate=0.1: accuracy 0\.\d{4}, \d+\.\d\d dB, SSIM 0\.\d{3}, "
        r"\d+\.\d s; about \d+ s left",
        lines[0],
    )
    assert lines[2].endswith(" s")


@pytest.mark.slow
def test_twelve_workers_on_an_empty_store_train_each_artefact_once(tmp_path):
    """Victim, judge, a decoder and a shadow: the logs tell who trained."""
    sweep = launch(
        "-m", "attack=inverse_naive", "attack.steps=60", "targets=5", "victim.epochs=1",
        "victim.min_steps=20",
        "defense.rate=" + ",".join(f"0.0{n}" for n in range(1, 10)) + ",0.1,0.2,0.3",
        "workers=joblib", "workers.jobs=12", f"output_dir={tmp_path}",
    )  # fmt: skip
    _, err = sweep.communicate(timeout=500)
    assert sweep.returncode == 0, err
    assert err.count("training lenet5 on digits, once") == 1
    assert err.count("training the judge on digits, once") == 1
    assert len(list((tmp_path / "store" / "adversaries").glob("*.safetensors"))) == 1
    assert len(scores_by_key(tmp_path)) == 12
