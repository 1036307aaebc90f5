"""A budget of time, sweeps made of other files, and what is said of many cells without a record."""

import re
import time

import pytest

from privbench.store.sweep_log import CellStatus, SweepLog, in_short
from privbench.sweep.budget import usual_seconds, with_time
from tests.runs import BRIEF

PARTS = {
    "first": "params: {attack: blind, targets: 5}\n    grids: [{defense.rate: [0.1, 0.3]}]",
    "second": "grids: [{attack: blind, defense.rate: 0.3, targets: [5, 6]}]",
    "both": "files: [first, second]",
    "nested": "files: [both]",
    "lost": "files: [first, third]",
}


@pytest.fixture
def parts(warm):
    """Words that make the sweep files of ``PARTS`` known."""
    folder = warm / "conf" / "sweeps"
    folder.mkdir(parents=True)
    for name, text in PARTS.items():
        head = "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    "
        (folder / f"{name}.yaml").write_text(head + text + "\n")
    return ["--config-dir", str(warm / "conf"), f"output_dir={warm}", "sweep.report=false"]


@pytest.mark.long
def test_a_budget_that_is_spent_leaves_cells_to_the_same_command(privbench, warm):
    """That is no failure; with more time the command completes the sweep."""
    words = ["-m", "attack=blind", "defense.rate=0.1,0.3", "targets=5", f"output_dir={warm}"]
    code, out, err = privbench(*words, "budget=0s")
    assert (code, out.count("] done")) == (0, 0), err
    assert "budget=0s does not suffice for 2 of 2 cells; go on: python -m privbench -m" in out
    code, out, err = privbench(*words, "budget=10min")
    assert (code, out.count("] done")) == (0, 2), err
    assert "suffice" not in out
    assert len(list((warm / "sweeps").iterdir())) == 1, "a budget makes no other sweep"


def test_a_failure_within_a_budget_is_a_failure(privbench, warm):
    """Cells that are left for later do not hide it."""
    words = ["-m", "attack=blind", "defense.rate=0.1,1.5", "targets=5", f"output_dir={warm}"]
    code, out, err = privbench(*words, "budget=0s")
    assert code == 1
    assert "1 of 2 cells have no record" in err
    assert "budget=0s does not suffice for 1 of 2 cells" in out


def test_a_cell_begins_where_the_usual_time_of_its_attack_is_left(tmp_path):
    """An attack of which no cell has ended is expected to take what others took."""
    log = SweepLog(tmp_path / "sweeps" / "a")
    overrides = {
        "a": ["attack=slow"],
        "b": ["attack=slow"],
        "c": ["attack=quick"],
        "d": ["attack=new"],
    }
    cells = [
        {"key": key, "overrides": words, "name": key, "group": ""}
        for key, words in overrides.items()
    ]
    log.append([{"launch": "x", "id": "1", "cells": [*overrides, "e"]}, *cells])
    assert with_time(log, "1", ["b"], time.time() + 5), "nothing is known yet"
    log.append_event("a", "done", launch="1", seconds=100.0)
    log.append_event("c", "done", launch="1", seconds=2.0)
    within = {
        key: [bool(with_time(log, "1", [key], time.time() + left)) for left in (-1, 10, 60, 200)]
        for key in "bcd"
    }
    assert within == {
        "b": [False, False, False, True],
        "c": [False, True, True, True],
        "d": [False, False, True, True],
    }


def test_the_training_of_the_first_cell_is_not_expected_of_others(tmp_path):
    """They find the victim in the store: else a launch that trained it long began none of them."""
    log = SweepLog(tmp_path / "sweeps" / "a")
    cells = [{"key": key, "overrides": [], "name": key, "group": ""} for key in "ab"]
    log.append([{"launch": "x", "id": "1", "cells": ["a", "b"]}, *cells])
    log.append_event("a", "done", launch="1", seconds=3600.0, shared_seconds=3590.0)
    assert with_time(log, "1", ["b"], time.time() + 60) == {"b"}
    assert usual_seconds(log, "1", ["b"]) == {"b": 10.0}


@pytest.mark.fault
def test_a_cell_that_trains_the_victim_says_what_that_took(privbench, without_victim):
    """The next one takes less than half of it, and says that it trained nothing."""
    words = ["-m", "attack=blind", "defense.rate=0.1,0.3", *BRIEF, f"output_dir={without_victim}"]
    assert privbench(*words)[0] == 0
    (folder,) = (path for path in (without_victim / "sweeps").iterdir() if path.is_dir())
    first, second = (line for line in SweepLog(folder).lines()[0] if line.get("state") == "done")
    assert 0.5 * first["seconds"] < first["shared_seconds"] < first["seconds"]
    assert second["shared_seconds"] < 0.5 * first["shared_seconds"]


def test_a_budget_that_no_cell_fits_says_how_long_one_takes(privbench, warm):
    """The usual seconds of the cells that are left."""
    words = ["-m", "attack=blind", "defense.rate=0.1,0.3", "targets=5", f"output_dir={warm}"]
    assert privbench(*words)[0] == 0
    (folder,) = (path for path in (warm / "sweeps").iterdir() if path.is_dir())
    log = SweepLog(folder)
    for _ in range(3):
        log.append_event(next(iter(log.entries())), "done", seconds=900.0)
    next(warm.glob("store/records/*/record.json")).unlink()
    out = privbench(*words, "budget=8s")[1]
    assert re.search(r"does not suffice for 1 of 2 cells, which take about \d+ min each; go", out)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["-m", "attack=blind,rmle", "budget=soon"], ["budget=soon", "90min"]),
        (["attack=blind", "budget=90min"], ["budget=90min needs a sweep", "-m"]),
    ],
)
def test_a_budget_that_means_nothing_is_refused_in_one_line(privbench, tmp_path, words, line):
    """Before anything is written."""
    code, out, err = privbench(*words, f"output_dir={tmp_path}")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert all(part in err for part in line)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.long
def test_a_sweep_of_files_has_the_cells_of_each_once(privbench, warm, parts):
    """What is typed replaces the axes of all of them."""
    code, out, err = privbench(*parts, "sweeps=both")
    assert (code, out.count("] done")) == (0, 3), err
    code, out, err = privbench(*parts, "sweeps=both", "defense.rate=0.3")
    assert (code, out.count("] cached"), out.count("] done")) == (0, 2, 0), err


@pytest.mark.parametrize(("name", "line"), [("nested", "sweeps/both.yaml"), ("lost", "third")])
def test_files_without_grids_are_refused_by_name(privbench, parts, name, line):
    """In one line, before anything is launched."""
    code, out, err = privbench(*parts, f"sweeps={name}")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert line in err


def test_of_many_cells_that_failed_alike_a_few_are_named():
    """The first three of each reason, and how many more there are."""
    cells = [
        CellStatus(str(at), [], str(at), "", "failed", {"cause": "no data" if at else "no disk"})
        for at in range(10)
    ]
    named = in_short(cells)
    assert [(entry.title, more) for entry, more in named] == [
        ("0", 0),
        ("1", 0),
        ("2", 0),
        ("3", 6),
    ]
    assert in_short([]) == []


def test_a_launch_knows_its_own_cells_whatever_another_launch_lists(tmp_path):
    """Two terminals run one sweep, the second after an edit: its cells have other keys."""
    log = SweepLog(tmp_path / "sweeps" / "a")
    for launch, key in (("one", "a"), ("two", "b")):
        log.append([{"launch": "x", "id": launch, "cells": [key]}])
        log.append([{"key": key, "overrides": ["attack=a"], "name": key, "group": key}])
    assert list(log.entries()) == ["b"]
    assert list(log.entries("one")) == ["a"]
    later = time.time() + 60
    assert with_time(log, "one", ["a"], later) == {"a"}
    assert with_time(log, "two", ["b"], later) == {"b"}
