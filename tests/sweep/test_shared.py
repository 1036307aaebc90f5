"""Deployments that cells of a sweep share: trained once, before the cells, and counted."""

import json
import os
import subprocess
import sys

import pytest

from privbench.experiment.plan import plan
from privbench.store.sweep_log import SweepLog
from privbench.sweep.progress import PlannedCell
from privbench.sweep.shared import shared_deployments
from privbench.sweep.status import report

TRAINED = ["defense=noise_aware", "defense.epochs=1", "defense.min_steps=1"]


def _cell(name: str, deployment: str) -> PlannedCell:
    return PlannedCell(name, [], name, "", None, deployment)


def test_only_what_several_cells_share_is_trained_before_them():
    """Named by what the names of those cells have in common."""
    cells = [
        _cell("attack=rmle defense.lr=1", "a"),
        _cell("attack=blind defense.lr=1", "a"),
        _cell("attack=rmle defense.lr=2", "b"),
        _cell("attack=blind", ""),
        _cell("attack=rmle", ""),
    ]
    found = shared_deployments(cells)
    assert {key: (cell.key, name) for key, (cell, name) in found.items()} == {
        "a": ("attack=rmle defense.lr=1", "defense.lr=1")
    }


@pytest.mark.long
def test_a_deployments_key_holds_what_it_is_trained_from(cell):
    """Attacks and targets share it, another seed, split or defense does not; none trains none."""
    base = plan(cell(*TRAINED)).deployment_key
    assert base == plan(cell(*TRAINED, "attack=blind", "targets=3")).deployment_key
    for other in ("seed=1", "split=early", "defense.lr=0.01", "defense.channel.sigma=0.7"):
        assert plan(cell(*TRAINED, other)).deployment_key not in ("", base)
    assert plan(cell(*TRAINED, "defense.channel.sigma=0")).deployment_key == ""
    assert plan(cell("defense=gaussian")).deployment_key == ""


@pytest.mark.long
def test_a_sweep_trains_it_once_before_its_cells(privbench, warm):
    """Its cells load it; the status counts it."""
    words = ["-m", "attack=blind", *TRAINED, "targets=4,5", f"output_dir={warm}"]
    code, out, err = privbench(*words)
    assert code == 0, err
    assert out.index(" ready, ") < out.index("[1/2] done")
    assert len(list((warm / "store" / "deployments").glob("*.safetensors"))) == 1
    (folder,) = (warm / "sweeps").iterdir()
    lines = SweepLog(folder).lines()[0]
    fits = [line["fit"] for line in lines if "fit" in line]
    assert fits == ["planned", "running", "done"]
    first_cell = next(i for i, line in enumerate(lines) if line.get("state") == "running")
    assert max(i for i, line in enumerate(lines) if "fit" in line) < first_cell
    assert "1 shared deployments: 1 trained" in report(folder)


def test_a_dead_process_does_not_count_as_training(tmp_path):
    """Neither as trained; events of an earlier launch are no longer counted."""
    log = SweepLog(tmp_path / "sweep")
    log.append([{"launch": "x", "id": "1", "cells": []}])
    log.append_fit("a", "planned", name="old")
    log.append([{"launch": "x", "id": "2", "cells": []}])
    log.append_fit("b", "planned", name="lr=1")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    log.append_fit("b", "running")
    assert "training lr=1" in report(log.folder)
    text = log.path.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {child.pid}')
    assert json.loads(text.splitlines()[-1])["pid"] == child.pid
    log.path.write_text(text)
    assert "1 shared deployments: 0 trained" in report(log.folder)
    assert "training lr=1" not in report(log.folder)


@pytest.mark.fault
def test_a_sweep_killed_while_it_trains_one_is_completed_by_the_same_command(warm):
    """Nothing half-written is left, and the second launch trains it."""
    # as many steps as show their progress, from two seconds on
    words = ["-m", "attack=blind", "defense=noise_aware", "defense.min_steps=800", "targets=4,5"]
    words += ["tracker=none", "sweep.report=false"]
    command = [sys.executable, "-m", "privbench", *words, f"output_dir={warm}"]
    job = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in job.stderr:
        if "training NoiseAware at strength 0.4: step" in line:
            break
    job.kill()
    job.communicate()
    kept = warm / "store" / "deployments"
    assert [path for path in kept.iterdir() if path.suffix in (".json", ".safetensors")] == []
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    (folder,) = (warm / "sweeps").iterdir()
    assert "2 cells: 2 done" in report(folder)
    assert "1 shared deployments: 1 trained" in report(folder)
