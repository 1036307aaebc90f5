"""Artefacts are made once, whoever asks, whoever dies."""

import json
import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from privbench.runtime.files import write_atomically
from privbench.store.artifacts import Artifact, Store, announce
from tests.support import ROOT

RECIPE = {"what": "weights", "seed": 0}


def _make(log: Path, seconds: float = 0.0) -> Artifact:
    with log.open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return Artifact({"w": torch.arange(6.0)}, {"seconds": 1.5})


def _keep(root: Path, log: Path, seconds: float) -> None:
    Store(root).keep("victims", RECIPE, lambda: _make(log, seconds))


def _files(root: Path) -> list[str]:
    return sorted(p.suffix for p in (root / "victims").iterdir() if p.suffix != ".lock")


def test_an_artefact_is_made_once_and_its_facts_are_replayed(tmp_path):
    """The second time it is read; another recipe is another artefact."""
    store, log = Store(tmp_path / "store"), tmp_path / "log"
    for _ in range(2):
        kept = store.keep("victims", RECIPE, lambda: _make(log))
        assert torch.equal(kept.tensors["w"], torch.arange(6.0))
        assert kept.facts == {"seconds": 1.5}
    store.keep("victims", {**RECIPE, "seed": 1}, lambda: _make(log))
    assert len(log.read_text().splitlines()) == 2


def test_eight_processes_at_once_make_it_once(tmp_path):
    """The others wait and read."""
    context = multiprocessing.get_context("fork")
    jobs = [
        context.Process(target=_keep, args=(tmp_path / "store", tmp_path / "log", 0.3))
        for _ in range(8)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
        assert job.exitcode == 0
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_process_killed_while_it_makes_leaves_nothing_behind(tmp_path):
    """The next one makes it again, without waiting for a dead one's lock."""
    root, log = tmp_path / "store", tmp_path / "log"
    job = multiprocessing.get_context("fork").Process(target=_keep, args=(root, log, 60))
    job.start()
    while not (log.exists() and log.read_text()):
        time.sleep(0.01)
    os.kill(job.pid, signal.SIGKILL)
    job.join()
    assert _files(root) == []
    _keep(root, log, 0)
    assert _files(root) == [".json", ".safetensors"]
    assert len(log.read_text().splitlines()) == 2


@pytest.mark.parametrize("harm", ["a flipped byte", "a cut file", "a cut json", "no weights"])
def test_a_damaged_artefact_is_named_and_made_again(tmp_path, caplog, harm):
    """A flipped byte would load silently."""
    store, log = Store(tmp_path / "store"), tmp_path / "log"
    store.keep("victims", RECIPE, lambda: _make(log))
    (weights,) = (tmp_path / "store" / "victims").glob("*.safetensors")
    data = bytearray(weights.read_bytes())
    if harm == "a flipped byte":
        data[-3] ^= 1
        weights.write_bytes(data)
    elif harm == "a cut file":
        weights.write_bytes(data[:-5])
    elif harm == "a cut json":
        weights.with_suffix(".json").write_text('{"sha256": "')
    else:
        weights.unlink()
    with caplog.at_level(logging.WARNING):
        kept = store.keep("victims", RECIPE, lambda: _make(log))
    assert torch.equal(kept.tensors["w"], torch.arange(6.0))
    assert len(log.read_text().splitlines()) == 2
    assert harm == "no weights" or str(weights) in caplog.text
    json.loads(weights.with_suffix(".json").read_text())


def test_a_maker_that_fails_leaves_nothing_behind(tmp_path):
    """Its error is the caller's."""

    def fail() -> Artifact:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        Store(tmp_path).keep("victims", RECIPE, fail)
    assert _files(tmp_path) == []


def test_a_file_that_cannot_be_written_whole_is_not_written(tmp_path):
    """A folder stands where the file should go: the error is raised, no part stays behind."""
    (tmp_path / "record.json").mkdir()
    with pytest.raises(OSError, match="record.json"):
        write_atomically(tmp_path / "record.json", b"{}")
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_run_names_a_store_that_is_new_or_outside_of_the_repository(
    tmp_path, caplog, monkeypatch
):
    """In the repository the usual one is not worth a line."""
    store = Store(tmp_path / "store")
    with caplog.at_level(logging.INFO):
        announce(store)
        (store.root / "victims").mkdir(parents=True)
        monkeypatch.chdir(ROOT)
        announce(store)
        monkeypatch.chdir(tmp_path)
        announce(store)
    assert caplog.messages == [f"new store: {store.root}", f"store: {store.root}"]
