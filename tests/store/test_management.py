"""The store's commands: list, show, rm, gc and export, on made-up records and networks."""

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import privbench
from privbench.store import record_frame
from privbench.store.artifacts import Artifact, Store
from privbench.store.inventory import fits, inventory, uses
from privbench.store.sweep_log import SweepLog
from tests.records import kept, record, sweep
from tests.runs import store_run

ATTACKS = ("rmle", "blind", "inverse")
CODE = {"victim": "victim-1"}


def _network(store: Path, kind: str, recipe: dict, value: float) -> Artifact:
    facts = {"victim": "lenet5", "dataset": "mnist", "seconds": 75.0}
    return Store(store).keep(kind, recipe, lambda: Artifact({"w": torch.full((3,), value)}, facts))


@pytest.fixture
def outputs(tmp_path) -> SimpleNamespace:
    """Two victims with an adversary each, three records of the first and one of the second."""
    folder, store = tmp_path / "outputs", tmp_path / "outputs" / "store"
    made = []
    for seed in (0, 1):
        victim = _network(store, "victims", {"victim": CODE, "seed": seed}, float(seed))
        identity = {"sha256": victim.sha256, "code": CODE}
        recipe = {"victim": identity, "split": "relu2", "defense": None, "recipe": {"attack": "a"}}
        _network(store, "adversaries", recipe, seed + 10.0)
        for attack in ATTACKS if seed == 0 else ("rmle",):
            made.append(record(attack=attack, seed=seed, victim_sha256=victim.sha256))
    made[0] = replace(made[0], seconds={"total": 90.0})
    kept(folder, made)
    return SimpleNamespace(folder=folder, store=store, records=made)


def _keys(outputs, kind: str = "records") -> set[str]:
    found = (outputs.store / kind).glob("*/record.json" if kind == "records" else "*.json")
    return {path.parent.name if kind == "records" else path.stem for path in found}


def _aged(outputs, days: float = 40) -> None:
    """Everything in the store was written this long ago."""
    then = time.time() - days * 86400
    for path in outputs.store.rglob("*"):
        os.utime(path, (then, then))


def test_a_store_is_listed_by_kind_and_by_choice(outputs, capfd):
    """A key is shown with its scores, a network with the records that use it."""
    code, out, _ = store_run("list", outputs.folder, capfd=capfd)
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[:3]] == [
        ["records", "4"], ["victims", "2"], ["adversaries", "2"]
    ]  # fmt: skip
    assert out.count("  sha256 ") == 2
    assert store_run("list", "--from", outputs.folder, capfd=capfd)[1] == out
    _, out, _ = store_run("list", outputs.store, "--attack", "rmle", "--seed", "1", capfd=capfd)
    (line,) = out.splitlines()
    assert line.startswith(f"records/{outputs.records[3].key} ")
    assert line.endswith("mnist lenet5 relu2, dropout 0.3 on features, rmle, seed 1")
    _, out, _ = store_run("show", outputs.records[0].key[:6], "--from", outputs.folder, capfd=capfd)
    assert "python -m privbench attack=rmle seed=0" in out and "took 90 s" in out
    place = outputs.store / "records" / outputs.records[0].key / "record.json"
    assert any(line.split() == ["record.json", str(place)] for line in out.splitlines())
    _, out, _ = store_run("list", outputs.store, "--strength", "0.30,9", capfd=capfd)
    assert len(out.splitlines()) == 4
    (victim,) = (
        i for i in (outputs.store / "victims").glob("*.json") if _sha(i) == _victim(outputs, 0)
    )
    _, out, _ = store_run("show", f"victims/{victim.stem}", "--from", outputs.folder, capfd=capfd)
    assert "used by         3 records" in out and '"seconds": 75.0' in out
    for words, line in (
        (["list", outputs.folder, "--kind", "cats"], "cats is not a kind: choose from records,"),
        (["list", outputs.folder, "--older-than", "9"], "9 is not an age: type a number and"),
        (["list", outputs.folder, "--strength", "x"], "--strength x: expected a number"),
        (
            ["list", outputs.folder, "--dataset", "x"],
            "nothing of that choice: it has dataset: mnist",
        ),
        (
            ["show", "zz", "--from", outputs.folder],
            "zz is neither a sweep nor the beginning of a key",
        ),
        (["rm", "--from", outputs.folder], "choose what to delete: KEY,"),
    ):
        code, out, err = store_run(*words, capfd=capfd)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert line in err


def test_a_network_is_used_by_the_records_of_its_attack_alone(outputs, capfd):
    """Also where another attack runs that attack; its defense is described by its numbers."""
    victim = _victim(outputs, 0)
    given = {"victim": {"sha256": victim}, "split": "relu2", "recipe": {"code": "inverse-1"}}
    made = _network(outputs.store, "adversaries", given, 20.0)
    (item,) = (i for i in inventory(outputs.store) if i.fields.get("sha256") == made.sha256)
    sources = {"rmle": {"attack": "rmle-1"}, "inverse": {"attack": "inverse-1"}}
    sources["blind"] = {"attack": "tuned-1", "attack.inner": "inverse-1"}
    found = [replace(one, sources=sources[one.attack]) for one in outputs.records[:3]]
    assert [uses(one, item) for one in found] == [False, True, True]
    defense = {"_target_": "gaussian-1", "site": "features", "sigma": 0.2}
    _network(outputs.store, "adversaries", {**given, "defense": defense}, 21.0)
    _, out, _ = store_run("list", outputs.store, "--kind", "adversaries", capfd=capfd)
    assert " gaussian sigma 0.2" in out


def _sha(path: Path) -> str:
    return json.loads(path.read_text())["sha256"]


def _victim(outputs, number: int) -> str:
    return outputs.records[number].victim_sha256


def test_records_are_deleted_after_a_dry_run_and_then_what_only_they_used(outputs, capfd):
    """Nothing without --yes; the second victim's network goes with gc, the first one's stays."""
    words = ("rm", "--from", outputs.folder, "--seed", "1")
    code, out, _ = store_run(*words, capfd=capfd)
    assert code == 0 and len(_keys(outputs)) == 4
    assert "note: to have 1 record again takes 1 s" in out
    assert "would delete 1 item" in out and "add --yes" in out
    _, out, _ = store_run("gc", "--from", outputs.folder, "--older-than", "0h", capfd=capfd)
    assert "would delete 0 items" in out
    assert store_run(*words, "--yes", capfd=capfd)[0] == 0
    assert _keys(outputs) == {one.key for one in outputs.records[:3]}
    assert not (outputs.store / "records" / outputs.records[3].key).exists()
    _, out, _ = store_run("gc", "--from", outputs.folder, "--yes", capfd=capfd)
    assert "deleted 0 items" in out, "what is younger than a day stays"
    assert "2 unused items written within 24.0 h stay" in out
    _, out, _ = store_run(
        "gc", "--from", outputs.folder, "--older-than", "0h", "--yes", capfd=capfd
    )
    assert "deleted 2 items" in out
    assert {_sha(path) for path in (outputs.store / "victims").glob("*.json")} == {
        _victim(outputs, 0)
    }
    assert len(_keys(outputs, "adversaries")) == 1
    assert len(privbench.load_records(outputs.folder)) == 3


def test_deleting_a_network_names_what_builds_on_it(outputs, capfd):
    """And how long its training took; of an age, only what is older."""
    (key,) = [
        k
        for k in _keys(outputs, "victims")
        if _sha(outputs.store / "victims" / f"{k}.json") == _victim(outputs, 0)
    ]
    _, out, _ = store_run("rm", key, "--from", outputs.folder, capfd=capfd)
    assert (
        "is made again by the next cell that needs it, which took 75 s: 3 records of blind" in out
    )
    assert "built on its weights: adversaries (1)" in out
    words = ("rm", "--from", outputs.folder, "--kind", "adversaries,victims", "--older-than", "30d")
    assert store_run(*words, "--yes", capfd=capfd)[0] == 1
    _aged(outputs)
    assert store_run(*words, "--yes", capfd=capfd)[0] == 0
    assert not _keys(outputs, "victims") | _keys(outputs, "adversaries")
    assert len(_keys(outputs)) == 4


def test_a_sweep_is_deleted_with_the_records_that_no_other_lists(outputs, capfd):
    """Its page goes at once; a sweep with a running cell stays."""
    first = sweep(outputs.folder, "first", outputs.records[:2], [])
    sweep(outputs.folder, "second", outputs.records[1:3], [])
    (first / "report").mkdir()
    (first / "report" / "index.html").write_text("page")
    log = SweepLog(first)
    log.append_event(outputs.records[2].key, "running")
    log.append([{"launch": "x", "id": "b", "cells": [one.key for one in outputs.records[:3]]}])
    log.append([{"key": outputs.records[2].key, "overrides": [], "name": "", "group": ""}])
    log.append_event(outputs.records[2].key, "running")
    (outputs.store / "records" / outputs.records[2].key / "record.json").rename(first / "aside")
    code, _, err = store_run("rm", first, "--yes", capfd=capfd)
    assert code == 1 and "is running (1 cells)" in err and first.exists()
    (first / "aside").rename(outputs.store / "records" / outputs.records[2].key / "record.json")
    for words in (["--attack", "nosuch"], ["--kind", "records"], ["--older-than", "900d"]):
        code, out, err = store_run("rm", first, *words, "--yes", capfd=capfd)
        assert (code, out, first.exists()) == (1, "", True)
        assert err == f"privbench: {first} is a sweep, which is deleted whole: leave out filters\n"
    everything = store_run("rm", "--from", outputs.folder, "--older-than", "0d", capfd=capfd)[1]
    assert "records/" in everything, "any age is a choice too"
    assert len(_keys(outputs)) == 4
    _, out, _ = store_run("rm", first, capfd=capfd)
    assert "2 of its records stay: other sweeps list them too" in out and first.exists()
    _, out, _ = store_run("list", outputs.folder, capfd=capfd)
    listed = [line.split("  ")[:2] for line in out.splitlines() if line.startswith("sweeps/")]
    assert [name for name, _ in listed] == ["sweeps/first", "sweeps/second"]
    assert all("done" in cells for _, cells in listed)
    assert store_run("rm", first, "--yes", capfd=capfd)[0] == 0
    assert _keys(outputs) == {one.key for one in outputs.records[1:]}
    assert [path.name for path in (outputs.folder / "sweeps").iterdir()] == ["second"]


def _write_slowly(store: Path, key: str, ready: Path) -> None:
    """A process that computes a record again: it holds the key, and has written half of it."""
    with Store(store).claim("records", key):
        (store / "records" / key / f".images.{'0' * 32}.part").write_bytes(b"half")
        ready.write_text("")
        time.sleep(60)


def test_nothing_is_deleted_that_a_process_is_using(outputs, tmp_path, capfd):
    """Its record stays with what it has half written, and so do all networks, until it is killed."""
    key, other = outputs.records[0].key, outputs.records[1].key
    ready = tmp_path / "ready"
    job = multiprocessing.get_context("fork").Process(
        target=_write_slowly, args=(outputs.store, key, ready)
    )
    job.start()
    while not ready.exists():
        time.sleep(0.01)
    try:
        code, out, err = store_run("rm", key, other, "--from", outputs.folder, "--yes", capfd=capfd)
        assert code == 0 and "deleted 2 items" in out and "but 1 that are held" in out
        assert f"records/{key} stays: a process holds it" in err
        assert _keys(outputs) == {one.key for one in outputs.records} - {other}
        half = outputs.store / "records" / key / f".images.{'0' * 32}.part"
        assert half.exists()
        for words in (["gc"], ["rm", "--kind", "victims"]):
            code, _, err = store_run(*words, "--from", outputs.folder, "--yes", capfd=capfd)
            assert code == 1 and f"a process computes records/{key} in" in err
    finally:
        os.kill(job.pid, signal.SIGKILL)
        job.join()
    assert store_run("rm", key, "--from", outputs.folder, "--yes", capfd=capfd)[0] == 0
    assert not half.parent.exists()


def test_a_removal_that_is_killed_leaves_nothing_that_counts(outputs, monkeypatch, capfd):
    """The file that commits goes first, so no half of a record or a network is read; gc ends it."""
    unlink, left = Path.unlink, []

    def killed(path: Path, *words, **options) -> None:
        if path.suffix in (".json", ".safetensors", ".png") and not left:
            left.append(path)
            unlink(path, *words, **options)
            raise KeyboardInterrupt
        unlink(path, *words, **options)

    one = outputs.records[3]
    for words in ([one.key], ["--kind", "adversaries"]):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", killed)
            with pytest.raises(KeyboardInterrupt):
                store_run("rm", *words, "--from", outputs.folder, "--yes", capfd=capfd)
        assert left.pop().suffix == ".json"
    assert (outputs.store / "records" / one.key / "images.safetensors").exists()
    assert len(_keys(outputs)) == 3 and len(_keys(outputs, "adversaries")) == 1
    _, out, _ = store_run("gc", "--from", outputs.folder, "--yes", capfd=capfd)
    assert "remains of processes that were killed: 2" in out
    assert not (outputs.store / "records" / one.key).exists()
    files = [path.stem for path in (outputs.store / "adversaries").glob("*.safetensors")]
    assert set(files) == _keys(outputs, "adversaries")


def test_gc_deletes_checkpoints_that_are_old(outputs, capfd):
    """A training that was stopped today may go on; one of last week will not."""
    young, old = (outputs.store / "victims" / f"{digit * 20}.checkpoint" for digit in "ab")
    for path in (young, old):
        path.write_bytes(b"state")
    week = time.time() - 7 * 24 * 3600
    os.utime(old, (week, week))
    _, out, _ = store_run("list", outputs.folder, capfd=capfd)
    assert out.count("checkpoint of a training that has not ended") == 2
    _, out, _ = store_run("gc", "--from", outputs.folder, "--yes", capfd=capfd)
    assert "checkpoints of trainings that have not ended: 1" in out
    assert young.exists() and not old.exists()


def test_a_store_of_nothing_but_a_checkpoint_is_listed_and_cleaned(tmp_path, capfd):
    """As a first training that was stopped leaves it."""
    path = tmp_path / "store" / "victims" / f"{'a' * 20}.checkpoint"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"state")
    code, out, _ = store_run("list", tmp_path, capfd=capfd)
    assert code == 0 and out.startswith(f"victims/{'a' * 20}  ")
    words = ("gc", "--from", tmp_path, "--older-than", "0d", "--yes")
    assert store_run(*words, capfd=capfd)[0] == 0
    assert not path.exists()


def test_gc_keeps_all_networks_while_a_record_cannot_be_read(outputs, capfd):
    """What that record uses is not known."""
    path = outputs.store / "records" / outputs.records[0].key / "record.json"
    path.write_text(path.read_text()[:-9])
    code, _, err = store_run("gc", "--from", outputs.folder, "--older-than", "0h", capfd=capfd)
    assert code == 1 and f"records/{outputs.records[0].key} cannot be read" in err


def test_the_table_has_scores_intervals_baselines_and_commands(
    outputs, tmp_path, capfd, monkeypatch
):
    """From Python and as CSV: a row a record, the newest of a cell, or a row an image."""
    old = replace(outputs.records[0], key="0" * 20, finished="2026-01-01T00:00:00+00:00")
    kept(outputs.folder, [old])
    folder = sweep(outputs.folder, "mine", outputs.records[:2], [])
    rows = privbench.load_records(str(outputs.folder))
    assert set(rows["key"]) == {one.key for one in outputs.records}
    row, one = rows.set_index("key").loc[outputs.records[0].key], outputs.records[0]
    assert (row["ssim"], row["ssim_low"], row["ssim_high"]) == (
        one.score("ssim"),
        *one.scores["ssim"].ci95,
    )
    assert row["ssim_baseline"] == 0.35 and row["accuracy_high"] == 1.0
    assert row["command"] == "python -m privbench attack=rmle seed=0"
    assert row["sweep_command"] == "python -m privbench sweeps=mine"
    assert len(privbench.load_records(folder)) == 2
    images = privbench.load_records(folder, images=True)
    assert len(images) == 12
    assert images.loc[images["key"] == one.key, "ssim"].tolist() == one.columns["ssim"]
    file = tmp_path / "results.csv"
    assert store_run("export", file, "--from", outputs.folder, capfd=capfd)[:2] == (
        0,
        f"{file}: 4 records\n",
    )
    read = pd.read_csv(file)
    assert read["psnr_db"].tolist() == rows["psnr_db"].tolist()
    for name, line in (
        ("r.xlsx", "r.xlsx ends neither in .csv nor in .parquet: add --format csv"),
        ("none/r.csv", f"folder {tmp_path / 'none'} does not exist"),
    ):
        words = ("export", tmp_path / name, "--from", outputs.folder)
        code, out, err = store_run(*words, capfd=capfd)
        assert (code, out) == (1, "") and err.endswith(f"{line}\n") and ".part" not in err
    words = ("export", tmp_path / "r.txt", "--format", "csv", "--from", outputs.folder)
    assert store_run(*words, capfd=capfd)[0] == 0
    _, out, _ = store_run(
        "export", file, "--images", "--from", folder, "--attack", "blind", capfd=capfd
    )
    assert out == f"{file}: 6 images\n"
    monkeypatch.setattr(record_frame, "find_spec", lambda name: None)
    code, _, err = store_run(
        "export", tmp_path / "x.parquet", "--from", outputs.folder, capfd=capfd
    )
    assert code == 1 and "parquet needs pyarrow" in err and "\n" not in err[:-1]
    with pytest.raises(ValueError, match="holds no record that can be read"):
        privbench.load_records(tmp_path / "nowhere")


def test_parquet_holds_the_same_table(outputs, tmp_path, capfd):
    """Where pyarrow is installed."""
    pytest.importorskip("pyarrow")
    file = tmp_path / "results.parquet"
    assert store_run("export", file, "--from", outputs.folder, capfd=capfd)[0] == 0
    pd.testing.assert_frame_equal(pd.read_parquet(file), privbench.load_records(outputs.folder))


def test_rows_that_differ_in_options_alone_differ_in_a_column():
    """Options of the attack by name; rows of one setting differ in attack and seed alone."""
    one = record(attack="rmle_paper")
    longer = replace(one, config={**one.config, "attack": {**one.config["attack"], "steps": 5000}})
    chosen = replace(one, config={**one.config, "include": [3, 2]})
    rows = record_frame.table([one, longer, chosen, replace(one, seed=1)], {})
    assert "steps=5000" in rows["attack_options"][1]
    assert [value == rows["attack_options"][0] for value in rows["attack_options"]] == [
        True, False, True, True
    ]  # fmt: skip
    assert [value == rows["setting"][0] for value in rows["setting"]] == [True, True, False, True]


@pytest.mark.parametrize("way", ["path", "link", "dot"])
def test_a_sweep_is_the_same_by_whichever_path_it_is_named(outputs, monkeypatch, capfd, way):
    """Records that another sweep lists stay."""
    first = sweep(outputs.folder, "first", outputs.records[:2], [])
    sweep(outputs.folder, "second", outputs.records[1:3], [])
    (outputs.folder / "latest").symlink_to(first)
    monkeypatch.chdir(first)
    named = {"path": first, "link": outputs.folder / "latest", "dot": "."}[way]
    assert store_run("rm", named, "--yes", capfd=capfd)[0] == 0
    assert _keys(outputs) == {one.key for one in outputs.records[1:]}
    assert not first.exists()


def test_a_denoiser_is_used_by_the_records_of_its_attack_on_its_images(outputs):
    """Whichever victim they attacked: it learned from images alone."""
    recipe = {"aux": "these", "recipe": {"code": "rmle_prior-1"}}
    made = _network(outputs.store, "adversaries", recipe, 30.0)
    (item,) = (i for i in inventory(outputs.store) if i.fields.get("sha256") == made.sha256)
    facts = [("rmle_prior-1", "these"), ("rmle_prior-1", "others"), ("rmle-1", "these")]
    found = [
        replace(outputs.records[0], sources={"attack": code, "data.aux": aux})
        for code, aux in facts
    ]
    assert [uses(one, item) for one in found] == [True, False, False]


def test_a_cell_of_a_machine_that_is_gone_does_not_run(outputs, capfd):
    """From an hour on a claim on its record's key tells, also where this machine was renamed."""
    folder = sweep(outputs.folder, "first", outputs.records[:1], [])
    log, key = SweepLog(folder), outputs.records[0].key
    path = outputs.store / "records" / key / "record.json"
    path.rename(folder / "aside")

    def running(hours: float) -> int:
        at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")
        log.append([{"key": key, "state": "running", "at": at, "host": "gone", "pid": 1}])
        return len(log.states()["running"])

    assert running(0.1) == 1
    assert running(2) == 0
    with Store(outputs.store).claim("records", key):
        assert running(2) == 1
    assert store_run("gc", "--from", outputs.folder, capfd=capfd)[0] == 0


def test_a_split_point_is_found_as_it_was_typed():
    """Also where the traced network has another name for the module."""
    one = record(split="_2_act")
    one.config["split"] = 2
    assert all(fits(one, {"split": [name]}) for name in ("2", "_2_act"))
    assert not fits(one, {"split": ["3"]})
