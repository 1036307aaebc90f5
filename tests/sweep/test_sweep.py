"""A sweep: which cells, what is run of them, what is told, what survives."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser

from privbench.runtime.errors import UserError
from privbench.runtime.paths import register_hydra_plugins
from privbench.store import record as results
from privbench.store.sweep_log import SweepLog
from privbench.sweep.grids import cell_names, expand_grids, parse_axes, sweep_name
from tests.support import ATTACK, ROOT

register_hydra_plugins()  # before Hydra looks for plugins, which it does once
PARSER = OverridesParser.create(
    ConfigLoaderImpl(create_automatic_config_search_path("", None, str(ROOT / "conf")))
)
GRIDS = [
    {"defense": ["defense=none"]},
    {
        "defense": ["defense=gaussian"],
        "defense.site": ["defense.site=input", "defense.site=features"],
        "defense.sigma": ["defense.sigma=0.1", "defense.sigma=0.2"],
    },
    {
        "defense": ["defense=dropout"],
        "defense.site": ["defense.site=input", "defense.site=features"],
        "defense.rate": ["defense.rate=0.1", "defense.rate=0.2", "defense.rate=0.3"],
    },
]


def _axes(*words: str):
    return parse_axes(PARSER.parse_overrides(list(words)))


def _expanded(*words: str, grids=GRIDS) -> list[str]:
    def is_group(name):
        return name in ("defense", "attack")

    return [" ".join(cell) for cell in expand_grids(grids, _axes(*words), is_group)]


def test_each_grid_is_a_product_of_its_own_axes():
    """One command, three defenses, three lists of strengths."""
    assert len(_expanded()) == 1 + 2 * 2 + 2 * 3
    assert _expanded("seed=0,1")[:2] == ["defense=none seed=0", "defense=none seed=1"]
    assert len(_expanded("seed=range(0,3)")) == 3 * 11


@pytest.mark.parametrize(
    ("words", "cells"),
    [
        (["defense=none"], ["defense=none"]),
        (["defense=none,dropout", "defense.site=input"], 3),
        (
            ["defense.rate=0.9"],
            [f"defense=dropout defense.site={s} defense.rate=0.9" for s in ("input", "features")],
        ),
        (["defense.site=input", "defense.sigma=0.5,0.6,0.7"], 3),
    ],
)
def test_what_is_typed_replaces_an_axis_where_it_is_one(words, cells):
    """Grids without it fall away; a choice that tells grids apart picks among them."""
    found = _expanded(*words)
    assert found == cells if isinstance(cells, list) else len(found) == cells


def test_a_group_that_all_grids_share_is_replaced():
    """It tells none of them apart."""
    grids = [{"attack": ["attack=rmle"], **grid} for grid in GRIDS]
    assert len(_expanded("attack=inverse,blind", grids=grids)) == 22


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["defense=laplace"], "defense=laplace is in no grid.*none, gaussian, dropout"),
        (["defense.rate="], "defense.rate= is an empty axis"),
        (["seed=range(0,0)"], "is an empty axis"),
        (["seed=0", "seed=1,2"], "seed is given twice: type seed=VALUE,VALUE once"),
        (
            ["defense.rate=interval(0,1)"],
            "continuous sweeps are not supported: list the values, defense.rate=0.1,0.2",
        ),
    ],
)
def test_axes_that_cannot_be_swept_are_refused(words, line):
    """In one line."""
    with pytest.raises(UserError, match=line):
        _expanded(*words)


def test_a_sweep_is_named_by_its_file_or_by_what_is_typed():
    """Not by how it is run, so that the same cells on other workers are the same sweep."""
    assert sweep_name("fig9", _axes(), []) == "fig9"
    assert sweep_name("he2020/fig9", _axes(), []) == "he2020-fig9"
    assert sweep_name("he2020/fig9", _axes("seed=0"), []).startswith("he2020-fig9-")
    assert sweep_name("fig9", _axes("workers=joblib", "output_dir=x", "force=true"), []) == "fig9"
    one = sweep_name(None, _axes("defense.rate=0.1,0.3", "seed=0"), ["defense.rate"])
    other = sweep_name(None, _axes("seed=0", "defense.rate=0.3,0.1"), ["defense.rate"])
    assert one == other
    assert one.startswith("rate-")
    assert sweep_name("fig9", _axes("seed=0"), []) not in ("fig9", one)
    assert cell_names([["a=1", "b=2"], ["a=1", "b=3"]]) == ["b=2", "b=3"]


FILES = sorted(
    str(path.relative_to(ROOT / "sweeps").with_suffix(""))
    for folder in (ROOT / "sweeps", ROOT / "sweeps" / "he2020")
    for path in folder.glob("*.yaml")
)


@pytest.mark.parametrize("name", FILES)
def test_a_sweep_file_says_what_it_draws_and_its_cells_compose(name, composed):
    """Its first line after the package is a sentence; the first and the last cell of each grid."""
    import yaml

    path = ROOT / "sweeps" / f"{name}.yaml"
    package, sentence = path.read_text().splitlines()[:2]
    assert package == "# @package _global_"
    assert re.fullmatch(r"# [A-Z].{30,}\.", sentence)
    sweeper = yaml.safe_load(path.read_text())["hydra"]["sweeper"]
    from privbench.sweep.grids import to_overrides

    for grid in sweeper.get("grids", [{}]):
        found = expand_grids(
            [_axes(*to_overrides({**sweeper["params"], **grid}))], {}, lambda name: False
        )
        for cell in (found[0], found[-1]):
            composed(*cell)


def _states(outputs: Path) -> dict[str, int]:
    (folder,) = [path for path in (outputs / "sweeps").iterdir() if path.is_dir()]
    return {state: len(entries) for state, entries in SweepLog(folder).states().items()}


def _numbers(outputs: Path) -> dict[str, object]:
    found = {}
    for path in (outputs / "store" / "records").glob("*/record.json"):
        record = results.read(path)
        found[record.key] = (record.per_image, record.accuracy, record.floor, record.converged)
    return found


CHEAP = ["-m", "attack=blind", "targets=5"]


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


def test_a_record_that_cannot_be_read_is_made_again(privbench, warm):
    """And named."""
    at = f"output_dir={warm}"
    assert privbench(*CHEAP, "defense.rate=0.1,0.3", at)[0] == 0
    before = _numbers(warm)
    path = next(warm.glob("store/records/*/record.json"))
    path.write_text(path.read_text()[:100])
    code, out, err = privbench(*CHEAP, "defense.rate=0.1,0.3", at)
    assert code == 0, err
    assert str(path) in err
    assert (out.count("] done"), out.count("] cached")) == (1, 1)
    assert _numbers(warm) == before


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
    assert _states(warm) == {"done": 2, "running": 0, "failed": 2, "missing": 0}
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


def test_out_of_memory_means_smaller_batches_and_the_same_numbers(privbench, warm, monkeypatch):
    """Until a single image does not fit: then the cell fails."""
    _mine(warm, monkeypatch)
    words = ["--config-dir", str(warm / "conf"), "attack=mine", "targets=5", "split=relu1"]
    words += [f"output_dir={warm}"]
    for most, code in ((5, 0), (2, 0), (0, 1)):
        assert privbench(*words, f"attack.fail=memory {most}")[0] == code
    found = [results.read(path) for path in warm.glob("store/records/*/record.json")]
    whole, parts = sorted(found, key=lambda record: record.notes.get("batch", 0))
    assert whole.per_image == parts.per_image
    assert (whole.converged, parts.converged) == (1.0, pytest.approx(0.8))
    assert parts.notes["batch"] == 2


def test_fail_fast_stops_at_the_first_failure(privbench, warm, monkeypatch):
    """What was not begun is missing, and the same command without it completes the sweep."""
    _mine(warm, monkeypatch)
    words = ["--config-dir", str(warm / "conf"), "-m", "attack=mine", "targets=5"]
    words += ["attack.fail='',boom,global", f"output_dir={warm}"]
    code, _, err = privbench(*words, "sweep.fail_fast=true")
    assert code == 1
    assert _states(warm) == {"done": 1, "running": 0, "failed": 1, "missing": 1}
    assert "attack.fail=global: not finished" in err
    assert privbench(*words)[0] == 1
    assert _states(warm) == {"done": 2, "running": 0, "failed": 1, "missing": 0}


def test_an_option_that_the_default_lacks_goes_with_the_swept_group(privbench, warm):
    """Of one value or of several, it belongs to the cells; the ledger holds what was typed."""
    (warm / "conf" / "sweeps").mkdir(parents=True)
    params = "hydra: {mode: MULTIRUN, sweeper: {params: {defense: gaussian, split: relu1}}}"
    (warm / "conf" / "sweeps" / "noisy.yaml").write_text(f"# @package _global_\n{params}\n")
    words = ["--config-dir", str(warm / "conf"), "sweeps=noisy", "defense.sigma=0.5", "targets=5"]
    words += ["attack=blind,rmle", f"output_dir={warm}"]
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
        (["seed=0,1", "workers=joblib", "workers.jobs=0"], "workers.jobs=0 is out of range"),
        (["seed=0,1", "workers=slurm"], "workers=slurm finds no sbatch.*workers=joblib"),
        (["seed=0,1", "workers=ray"], "workers=ray needs ray: pip install 'privbench.ray.'"),
        (["seed=0,1", "workers=cloud"], "workers/cloud.*joblib, local, ray, slurm"),
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
    told = _status(folder)
    assert told.returncode == 0, told.stderr
    assert f"{folder.name}: 3 cells: 1 done, 1 failed, 1 missing" in told.stdout
    assert "attack.fail=boom: ArithmeticError: boom" in told.stdout
    assert "complete it: python -m privbench --config-dir" in told.stdout
    SweepLog(folder).append_event("of an earlier launch", "running")
    assert SweepLog(folder).lines()[0][-1]["key"] == "of an earlier launch", "behind half a line"
    assert _status(folder).stdout == told.stdout
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
    told = _status(folder)
    assert told.returncode == 0
    assert not re.search(r"\| +(torch|numpy|hydra)$", told.stderr, re.M)


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


# processes ---------------------------------------------------------------------------------------


def _launch(*words: str, **settings) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "privbench", *words, "tracker=none"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings,
    )  # fmt: skip


@pytest.mark.fault
def test_alone_in_a_sweep_reversed_and_parallel_a_cell_gives_the_same_numbers(
    privbench, warm, tmp_path
):
    """At the same threads a job; stores apart, so that nothing is shared but the victim."""
    import shutil

    found = []
    rmle = ["-m", "attack=rmle,rmle_paper", "attack.steps=40", "targets=5", "device.threads=1"]
    for name, words in {
        "forward": ["defense.rate=0.1,0.3"],
        "reversed": ["defense.rate=0.3,0.1"],
        "parallel": ["defense.rate=0.1,0.3", "workers=joblib", "workers.jobs=2"],
    }.items():
        at = tmp_path / name
        shutil.copytree(warm, at)
        code, _, err = privbench(*rmle, *words, f"output_dir={at}")
        assert code == 0, err
        found.append(_numbers(at))
    at = tmp_path / "alone"
    shutil.copytree(warm, at)
    for attack in ("rmle", "rmle_paper"):
        for rate in ("0.1", "0.3"):
            words = [f"attack={attack}", f"defense.rate={rate}", *rmle[2:], f"output_dir={at}"]
            assert privbench(*words)[0] == 0
    found.append(_numbers(at))
    assert len(found[0]) == 4
    assert all(numbers == found[0] for numbers in found[1:])


@pytest.mark.fault
def test_gpus_are_dealt_out_to_processes(privbench, warm, monkeypatch):
    """Each process sees one, before CUDA begins; two of them never the same."""
    (warm / "conf" / "attack").mkdir(parents=True)
    (warm / "seer.py").write_text(SEER)
    (warm / "conf" / "attack" / "seer.yaml").write_text(
        "# Sees.\n_target_: seer.Seer\nlevel: 0.1\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{warm}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(str(warm))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    words = ["-m", "--config-dir", str(warm / "conf"), "attack=seer", "attack.level=range(1,7)"]
    code, _, err = privbench(*words, "workers=joblib", "targets=5", f"output_dir={warm}")
    assert code == 0, err
    records = [results.read(path) for path in warm.glob("store/records/*/record.json")]
    seen = {(record.notes["process"], record.notes["gpu"]) for record in records}
    assert len(records) == 6
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
    import shutil

    shutil.copytree(warm, at)
    code, _, err = privbench(*words, f"output_dir={at}")
    assert code == 0, err
    return _numbers(at)


def _whole(outputs: Path) -> None:
    """No half-written file stays behind."""
    assert not list(outputs.rglob("*.part"))
    for path in outputs.glob("sweeps/*/cells.jsonl"):
        for line in path.read_text().splitlines():
            json.loads(line)


STEPS = ["-m", "attack=rmle", "attack.steps=150,151,152,153", "targets=5", "device.threads=1"]


@pytest.mark.fault
@pytest.mark.parametrize("workers", ["local", "joblib"])
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_whoever_is_killed_whenever_the_same_command_completes_the_sweep(
    privbench, tmp_path, outputs, kills, workers
):
    """Launcher or worker, SIGKILL at random moments, from an empty store: the same numbers."""
    import random

    words = [*STEPS, "victim.epochs=1", "victim.min_steps=20"]
    (tmp_path / "empty").mkdir()
    expected = _undisturbed(privbench, tmp_path / "empty", tmp_path / "calm", words)
    at, moments = tmp_path / "stormy", random.Random(kills)
    killed = 0
    for _ in range(10 * kills):
        sweep = _launch(*words, f"workers={workers}", f"output_dir={at}", start_new_session=True)
        time.sleep(5 + moments.uniform(0, 6))
        victims = [sweep.pid, *_children(sweep.pid)]
        if sweep.poll() is None and killed < kills:
            os.kill(moments.choice(victims), signal.SIGKILL)
            killed += 1
        _, err = sweep.communicate(timeout=200)
        if sweep.returncode == 0 and killed >= kills:
            break
        if sweep.returncode == 0:  # done too early: there is more to kill
            for path in at.glob("store/*/*/record.json"):
                path.unlink()
    assert killed == kills
    assert sweep.returncode == 0, err
    assert _numbers(at) == expected
    _whole(at)


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(word) for word in text.split()]


@pytest.mark.fault
def test_two_launchers_at_once_run_each_cell_once(privbench, warm, tmp_path):
    """They wait for each other's cells, and both are complete."""
    import shutil

    expected = _undisturbed(privbench, warm, tmp_path / "calm", STEPS)
    at = tmp_path / "both"
    shutil.copytree(warm, at)
    sweeps = [_launch(*STEPS, f"output_dir={at}") for _ in range(2)]
    for sweep in sweeps:
        _, err = sweep.communicate(timeout=200)
        assert sweep.returncode == 0, err
    assert _numbers(at) == expected
    (folder,) = (at / "sweeps").iterdir()
    done = [line["key"] for line in SweepLog(folder).lines()[0] if line.get("state") == "done"]
    assert sorted(done) == sorted(expected), "each once"
    _whole(at)


@pytest.mark.fault
@pytest.mark.parametrize("workers", ["local", "joblib"])
def test_ctrl_c_ends_a_sweep_in_seconds_and_it_can_go_on(warm, workers):
    """Exit code 130, what is left is told with the command that completes it, nobody works on."""
    words = ["-m", "attack=rmle", "attack.steps=10,1000000", "targets=5"]
    at = [f"output_dir={warm}", f"workers={workers}"]
    sweep = _launch(*words, *at, start_new_session=True)
    guard = threading.Timer(120, sweep.kill)
    guard.start()
    for line in sweep.stdout:
        if "] done" in line:
            break
    time.sleep(2)
    os.killpg(sweep.pid, signal.SIGINT)
    _, err = sweep.communicate(timeout=60)
    guard.cancel()
    assert sweep.returncode == 130, err
    assert "1 of 2 cells have no record" in err
    assert "attack.steps=1000000" in err
    # joblib may warn of semaphores behind it
    assert any(line.startswith("privbench: stopped") for line in err.splitlines())
    assert _states(warm) == {"done": 1, "running": 0, "failed": 0, "missing": 1}
    assert len(list(warm.glob("store/records/*/record.json"))) == 1
    _whole(warm)


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: wants root")
def test_a_full_disk_fails_cells_and_leaves_none_half_written(privbench, warm, tmp_path):
    """With room again the same command completes the sweep."""
    import shutil

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
        assert _numbers(disk / "out") == expected
        _whole(disk / "out")
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
def test_twelve_workers_on_an_empty_store_train_each_artefact_once(tmp_path):
    """Victim, judge, a decoder and a shadow: the logs tell who trained."""
    sweep = _launch(
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
    assert len(_numbers(tmp_path)) == 12
