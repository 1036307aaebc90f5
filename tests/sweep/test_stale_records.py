"""Records that would be computed again, and the age of cached ones."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from privbench.runtime.code_identity import identity
from privbench.store import record as results
from privbench.store.recipes import SCHEMA
from privbench.sweep.launch import Launch
from tests.runs import BRIEF, LEVEL_YAML, read_records, replace_victim
from tests.support import ATTACK


def _status(folder: Path) -> str:
    words = [sys.executable, "-X", "importtime", "-m", "privbench.sweep.status", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert not re.search(r"\| +(torch|numpy|hydra)$", done.stderr, re.M), "it answers at once"
    return done.stdout


@pytest.mark.fault
def test_a_replaced_victim_makes_its_records_stale(privbench, without_victim):
    """They are run again with a line that says why, and so is what was learnt against it."""
    at = without_victim
    words = ["-m", "attack=inverse_naive", "attack.steps=3", *BRIEF, f"output_dir={at}"]
    words += ["defense.rate=0.1,0.3"]
    assert privbench(*words)[0] == 0
    before = {record.victim_sha256 for record in read_records(at)}
    adversaries = set(at.glob("store/adversaries/*.json"))
    assert len(adversaries) == 1
    replace_victim(at)
    (folder,) = (path for path in (at / "sweeps").iterdir() if path.is_dir())
    output = _status(folder)
    assert "2 done; 2 of those done would be computed again" in output
    assert output.count(": victim: replaced (sha256 ") == 2
    code, out, err = privbench(*words)
    assert code == 0, err
    assert out.count("] done") == 2
    assert "victim: replaced (sha256 " in err
    assert "the cell is run again" in err
    after = {record.victim_sha256 for record in read_records(at)}
    assert len(after) == 1
    assert after != before
    assert len(list(at.glob("store/adversaries/*.json"))) == 2
    assert privbench(*words)[1].count("] cached") == 2


@pytest.fixture
def of_another_victim(privbench, without_victim):
    """A store with a record, at rate 0.1, of a victim that it lacks; and the words of its cell."""
    at = without_victim
    words = ["-m", "attack=blind", *BRIEF, f"output_dir={at}"]
    assert privbench(*words, "defense.rate=0.1")[0] == 0
    (path,) = at.glob("store/records/*/record.json")
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"victim_sha256": "0" * 64}))  # as another machine's
    for file in (at / "store" / "victims").iterdir():
        file.unlink()
    return at, words


@pytest.mark.fault
def test_records_of_a_victim_that_the_sweep_trains_anew_are_run_again(privbench, of_another_victim):
    """They count where the store has no victim, until a cell of the same sweep has trained it."""
    at, words = of_another_victim
    code, out, err = privbench(*words, "defense.rate=0.1,0.3")
    assert code == 0, err
    assert re.findall(r"^\[(\d)/2\] (\w+) +(\S+):", out, re.M) == [
        ("1", "cached", "defense.rate=0.1"),
        ("2", "done", "defense.rate=0.3"),
        ("2", "done", "defense.rate=0.1"),
    ]
    assert "cached cells whose victim this sweep has trained anew: 1" in err
    (weights,) = {record.victim_sha256 for record in read_records(at)}
    assert weights != "0" * 64
    assert privbench(*words, "defense.rate=0.1,0.3")[1].count("] cached") == 2


@pytest.mark.fault
def test_such_records_are_left_for_another_launch_where_the_time_is_over(
    privbench, of_another_victim, monkeypatch
):
    """And are counted among the cells that the budget does not suffice for."""
    at, words = of_another_victim
    with_time = Launch._with_time
    rounds = []

    def first_alone(self, cells):
        rounds.append([cell.title for cell in cells])
        return with_time(self, cells) if not cells else []

    monkeypatch.setattr(Launch, "_with_time", first_alone)
    out = privbench(*words, "defense.rate=0.1,0.3", "budget=60min")[1]
    assert rounds[-1] == ["defense.rate=0.1"]
    assert "budget=60min does not suffice for 1 of 2 cells" in out
    assert {record.victim_sha256 == "0" * 64 for record in read_records(at)} == {True, False}


@pytest.mark.long
def test_a_record_that_counts_no_more_is_not_done_until_it_is_run_again(privbench, warm):
    """It lacks a metric, or is damaged, and the budget leaves it for another launch."""
    words = ["-m", "attack=blind", "defense.rate=0.1,0.3", "targets=5", f"output_dir={warm}"]
    assert privbench(*words)[0] == 0
    code, out, err = privbench(*words, "metrics=[dfil]", "budget=0s")
    assert (code, err.count("it lacks metrics.dfil")) == (0, 2)
    assert "budget=0s does not suffice for 2 of 2 cells" in out
    for path in warm.glob("store/records/*/record.json"):
        path.write_text("{")
    assert "does not suffice for 2 of 2 cells" in privbench(*words, "budget=0s")[1]
    code, out, err = privbench(*words)
    assert (code, out.count("] done")) == (0, 2), err


@pytest.mark.long
def test_a_cached_result_says_how_old_it_is(privbench, warm):
    """On a single run's last lines, and at the end of a sweep's line."""
    words = ["attack=blind", "targets=5", f"output_dir={warm}"]
    assert privbench(*words)[0] == 0
    (path,) = warm.glob("store/records/*/record.json")
    fields = json.loads(path.read_text()) | {"finished": "2020-01-01T00:00:00+00:00"}
    path.write_text(json.dumps(fields))
    age = r"finished 2020-01-01T00:00:00\+00:00, \d{4} days ago; force=true runs it again"
    assert re.search(rf"^  cached          {age}$", privbench(*words)[1], re.M)
    out = privbench("-m", *words)[1]
    assert re.search(r"^\[1/1\] cached  .*, finished \d{4} days ago$", out, re.M), out


@pytest.mark.long
def test_status_says_which_cells_would_be_computed_again_and_why(privbench, user_module, warm):
    """An edited source, a raised version or schema, another layout, a record that cannot be read.

    A record of an earlier version names no schema, which is then that of those versions.
    """
    words = [
        "-m",
        *user_module("attack", "my_attack", ATTACK, LEVEL_YAML),
        "targets=5",
        f"output_dir={warm}",
    ]
    assert privbench(*words, "defense.rate=0.1,0.2,0.3,0.4")[0] == 0
    (folder,) = (path for path in (warm / "sweeps").iterdir() if path.is_dir())
    output = _status(folder)
    assert "4 cells: 4 done\n" in output
    assert "again" not in output
    paths = {results.read(p).strength: p for p in warm.glob("store/records/*/record.json")}
    fields = {rate: json.loads(path.read_text()) for rate, path in paths.items()}
    fields[0.2]["sources"]["defense"] = "dropout-0"
    assert fields[0.2]["sources"]["harness"] == f"schema-{SCHEMA}"
    fields[0.2]["sources"]["harness"] = "schema-0"
    del fields[0.1]["sources"]["harness"]
    fields[0.3]["schema"] = 2
    for rate, path in paths.items():
        path.write_text(json.dumps(fields[rate]) if rate < 0.4 else "{")
    output = _status(folder)
    assert "3 done, 1 damaged; 2 of those done would be computed again" in output
    now = identity("privbench.defenses.dropout.Dropout")
    reasons = f"defense: dropout-0 is now {now}; harness: schema-0 is now schema-{SCHEMA}"
    assert f"again   defense.rate=0.2: {reasons}\n" in output
    assert "again   defense.rate=0.3: schema 2 is now 4\n" in output
    assert "  damaged defense.rate=0.4: " in output
    user_module("attack", "my_attack", ATTACK + "\n\nOTHER = 1\n", LEVEL_YAML)
    assert "again   defense.rate=0.1: attack: its source has changed (sha256:" in _status(folder)
