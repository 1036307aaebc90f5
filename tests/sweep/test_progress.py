"""Progress of a sweep: the estimate of the time that is left."""

from types import SimpleNamespace

import pytest

from privbench.store.sweep_log import SweepLog
from privbench.sweep.progress import PlannedCell, Progress
from tests.records import record


def _sweep(tmp_path, words: dict[str, str], monkeypatch):
    """A sweep's progress, its ledger, and the clock by which it goes."""
    time = SimpleNamespace(now=0.0)
    cells = {key: PlannedCell(key, word.split(), word, "", b"") for key, word in words.items()}
    ledger = SweepLog(tmp_path)
    monkeypatch.setattr(Progress, "_scores", lambda *line: ["scores"])
    progress = Progress(ledger, cells, 0, clock=lambda: time.now)
    return progress, ledger, time


def _left(line: str) -> float:
    """Seconds that a line says are left."""
    number, unit = line.rpartition("about ")[2].split()[:2]
    return float(number) * {"s": 1, "min": 60, "h": 3600}[unit]


CELLS = {
    "a": "attack=rmle defense.rate=0.1",
    "b": "attack=rmle defense.rate=0.3",
    "c": "attack=inverse defense.rate=0.1",
    "d": "attack=inverse defense.rate=0.3",
}


def _end(ledger, key: str, seconds: float) -> None:
    ledger.append([{"key": key, "state": "done", "launch": "x", "record": key, "seconds": seconds}])


def test_the_estimate_grows_while_a_cell_is_late(tmp_path, monkeypatch, capsys):
    """A line names it and how long it has run; others of its attack will take as long."""
    progress, ledger, time = _sweep(tmp_path, CELLS, monkeypatch)
    _end(ledger, "a", 4.0)
    _end(ledger, "b", 4.0)
    ledger.append([{"key": "c", "state": "running", "launch": "x"}])
    lines = []
    for second in range(200):
        time.now = float(second)
        progress.show()
        lines += capsys.readouterr().out.splitlines()
    assert lines[1].endswith("; about 8 s left")
    late = lines[2:]
    assert late[0].startswith("still running attack=inverse defense.rate=0.1 for 10 s; about ")
    assert len(late) == 5
    assert [_left(line) for line in late] == sorted({_left(line) for line in late})
    assert _left(late[-1]) > 150


def test_the_estimate_of_the_last_cell_grows_too(tmp_path, monkeypatch, capsys):
    """A late cell is never said to end at once."""
    last = {key: CELLS[key] for key in "ab"}
    progress, ledger, time = _sweep(tmp_path, last, monkeypatch)
    _end(ledger, "a", 4.0)
    ledger.append([{"key": "b", "state": "running", "launch": "x"}])
    for second in range(100):
        time.now = float(second)
        progress.show()
    late = [line for line in capsys.readouterr().out.splitlines() if line.startswith("still")]
    assert [_left(line) for line in late] == pytest.approx([2.5, 5, 10, 20], abs=0.6)


def test_cells_are_expected_to_take_what_others_of_their_attack_took(tmp_path, monkeypatch, capsys):
    """Not the mean over quick and slow attacks."""
    progress, ledger, _ = _sweep(tmp_path, CELLS, monkeypatch)
    for key, seconds in (("a", 4.0), ("c", 70.0)):
        _end(ledger, key, seconds)
    progress.show()
    _end(ledger, "d", 60.0)
    progress.show()
    lines = capsys.readouterr().out.splitlines()
    assert _left(lines[1]) == pytest.approx(74)
    assert _left(lines[2]) == pytest.approx(4)


def test_a_cell_in_time_is_not_mentioned(tmp_path, monkeypatch, capsys):
    """Before it has run as long as others of its attack did."""
    progress, ledger, time = _sweep(tmp_path, CELLS, monkeypatch)
    _end(ledger, "c", 70.0)
    ledger.append([{"key": "d", "state": "running", "launch": "x"}])
    progress.show()
    time.now = 69.0
    progress.show()
    assert "still running" not in capsys.readouterr().out
    time.now = 71.0
    progress.show()
    assert "still running attack=inverse defense.rate=0.3 for 71 s" in capsys.readouterr().out


def test_lines_fit_a_pipe_and_name_a_cell_by_both_ends(tmp_path, capsys):
    """Less of the scores goes first, then the groups of options, then the middle of the name."""
    short, long = "defense.rate=0.1", "attack=rmle_adaptive defense=gaussian defense.sigma=0.55 "
    names = {"a": short, "b": "attack=rmle_adaptive defense.sigma=0.5", "c": long * 2 + "seed=17"}
    names["d"] = "defense.channel.rate=0.6 attack=rmle_adaptive seed=17"
    cells = {key: PlannedCell(key, [], name, "") for key, name in names.items()}
    progress = Progress(SweepLog(tmp_path), cells, 0)
    for key in cells:
        state = "cached" if key == "b" else "done"
        progress.end({"key": key, "state": state, "seconds": 123.4}, record())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100, lines
    assert f"{short}: accuracy " in lines[0] and " dB, SSIM " in lines[0]
    assert f"{names['b']}: accuracy " in lines[1] and " dB" not in lines[1]
    assert "attack=rmle_" in lines[2] and "…" in lines[2] and "seed=17: accuracy" in lines[2]
    assert "done    rate=0.6 attack=rmle_adaptive seed=17: accuracy" in lines[3]
