"""Records on their way to another store."""

import json
import lzma
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from privbench.experiment.config import build
from privbench.experiment.plan import plan
from privbench.report.analysis.selection import select
from privbench.store.artifacts import Artifact, Store
from privbench.sweep.status import report as status
from tests.records import curve, kept, page_of, record, sweep
from tests.runs import cell_states, record_files, store_run


def _contents(outputs: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in record_files(outputs)}


@pytest.fixture
def here(tmp_path) -> Path:
    """An outputs folder with eight records, four of which are a sweep's."""
    at = tmp_path / "here"
    kept(at, curve("gaussian"))
    sweep(at, "mine", curve("dropout"), [])
    return at


@pytest.fixture
def file(here, tmp_path, capfd) -> Path:
    """All records of ``here``."""
    at = tmp_path / "records.jsonl.xz"
    assert store_run("export-records", at, "--from", here, capfd=capfd)[:2] == (
        0,
        f"{at}: 8 records\n",
    )
    return at


def test_records_travel_byte_for_byte_without_their_images(here, file, tmp_path, capfd):
    """Importing them twice changes nothing."""
    there = tmp_path / "there"
    for expected in ("8 records imported, 0 there already", "0 records imported, 8 there already"):
        code, out, err = store_run("import-records", file, "--into", there, capfd=capfd)
        assert (code, out, err) == (0, f"{there}/store: {expected}\n", "")
    assert _contents(there) == _contents(here)
    assert not list(there.rglob("images.safetensors"))


def test_a_sweep_is_exported_by_its_folder_and_a_store_by_its_own(here, tmp_path, capfd):
    """Each has its records only."""
    file = tmp_path / "some.xz"
    for folder, count in ((here / "sweeps" / "mine", 4), (here / "store", 8)):
        _, out, _ = store_run("export-records", file, "--from", folder, capfd=capfd)
        assert out == f"{file}: {count} records\n"


def test_status_and_report_find_imported_records(here, file, tmp_path, capfd):
    """A sweep's log knows its cells."""
    there = tmp_path / "there"
    shutil.copytree(here / "sweeps", there / "sweeps")
    assert "4 missing" in status(there / "sweeps" / "mine")
    store_run("import-records", file, "--into", there, capfd=capfd)
    assert "4 done" in status(there / "sweeps" / "mine")
    assert [len(select(at, {}).records) for at in (there / "sweeps" / "mine", there)] == [
        4,
        7,
    ]  # two undefended cells are one


def test_a_page_says_that_images_are_missing(file, tmp_path, capfd):
    """An imported record has none."""
    there = tmp_path / "there"
    store_run("import-records", file, "--into", there, capfd=capfd)
    selection = select(there, {})
    text = page_of(selection, tmp_path)
    assert text.count("its images cannot be read") == 7


@pytest.mark.long
def test_a_cell_whose_record_was_imported_is_cached(privbench, composed, tmp_path, capfd):
    """In a sweep that is run again, and in a single run: nothing is trained."""
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "records.xz"
    words = ["attack=blind", "defense=none", "targets=6"]
    planned = plan(build(composed(*words)))
    kept(here, [record(key=planned.key, config=planned.cell.config, sources=planned.sources)])
    store_run("export-records", file, "--from", here, capfd=capfd)
    store_run("import-records", file, "--into", there, capfd=capfd)
    code, out, err = privbench(*words, f"output_dir={there}")
    assert code == 0, err
    assert "cached" in out
    assert "reconstructions.png" not in out
    assert privbench("-m", *words, f"output_dir={there}")[0] == 0
    assert cell_states(there) == {"done": 1, "running": 0, "failed": 0, "missing": 0}
    assert not (there / "store" / "victims").exists()


def test_records_of_other_victims_are_counted(composed, tmp_path, capfd):
    """A store with other weights of the victim runs their cells again."""
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "records.xz"
    planned = plan(build(composed("attack=blind", "defense=none")))
    kept(here, [record(key=planned.key, config=planned.cell.config, sources=planned.sources)])
    weights = Artifact({"w": torch.ones(2)}, {})
    Store(there / "store").keep("victims", planned.victim_recipe, lambda: weights)
    store_run("export-records", file, "--from", here, capfd=capfd)
    code, _, err = store_run("import-records", file, "--into", there, capfd=capfd)
    assert code == 0
    assert "1 record of victims with other weights" in err


def test_a_record_with_other_numbers_is_kept_and_named(here, file, tmp_path, capfd):
    """The others are imported; the exit code is 1. A damaged one is replaced."""
    there = tmp_path / "there"
    one, damaged = curve("dropout")[1:3]
    other = replace(one, accuracy=0.5, accuracy_ci95=(0.4, 0.6))
    kept(there, [other])
    path = there / "store" / "records" / damaged.key / "record.json"
    path.parent.mkdir()
    path.write_text("{")
    code, out, err = store_run("import-records", file, "--into", there, capfd=capfd)
    assert code == 1
    assert out == f"{there}/store: 7 records imported, 0 there already\n"
    assert re.fullmatch(f"privbench: 1 record of .* other numbers: {one.key}\n", err)
    before, after = _contents(here), _contents(there)
    assert after.pop(one.key) == other.to_json() != before.pop(one.key)
    assert after == before


def test_the_same_numbers_from_another_machine_are_not_other_numbers(file, tmp_path, capfd):
    """Times, paths and versions may differ."""
    there = tmp_path / "there"
    kept(there, [replace(curve("dropout")[1], seconds={"total": 9.0}, finished="2026-01-01")])
    code, out, _ = store_run("import-records", file, "--into", there, capfd=capfd)
    assert (code, out) == (0, f"{there}/store: 7 records imported, 1 there already\n")


def _changed(file: Path, change) -> None:
    """The file with its lines changed."""
    lines = [json.loads(line) for line in lzma.decompress(file.read_bytes()).splitlines()]
    change(lines)
    with lzma.open(file, "wt") as text:
        text.writelines(json.dumps(line) + "\n" for line in lines)


HARM = {
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "cut by a byte": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "a flipped byte": lambda file: file.write_bytes(
        (data := file.read_bytes())[:900] + bytes([data[900] ^ 1]) + data[901:]
    ),
    "a record less": lambda file: _changed(file, lambda lines: lines.pop()),
    "a score changed": lambda file: _changed(
        file, lambda lines: lines[3]["scores"]["ssim"].update(mean=0.9)
    ),
    "half a record": lambda file: _changed(file, lambda lines: lines[7].pop("accuracy")),
    "a path as key": lambda file: _changed(file, lambda lines: lines[3].update(key="../../evil")),
    "no head": lambda file: _changed(file, lambda lines: lines.pop(0)),
    "a later format": lambda file: _changed(file, lambda lines: lines[0].update(format=2)),
    "not compressed": lambda file: file.write_bytes(b"hello"),
    "compressed text": lambda file: file.write_bytes(lzma.compress(b"hello\n")),
    "compressed bytes": lambda file: file.write_bytes(lzma.compress(bytes(range(128, 256)))),
    "empty": lambda file: file.write_bytes(b""),
    "no such file": lambda file: file.unlink(),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_file_is_refused_in_one_line_and_nothing_is_written(harm, file, tmp_path, capfd):
    """Whatever is wrong with it, and wherever."""
    HARM[harm](file)
    code, out, err = store_run("import-records", file, "--into", tmp_path / "there", capfd=capfd)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("privbench: ")
    assert file.name in err
    assert not (tmp_path / "there").exists()


def test_a_damaged_record_is_left_out_of_the_file_and_named(here, tmp_path, capfd):
    """A folder with no whole record is refused, and no file is written."""
    file = tmp_path / "records.xz"
    first, *rest = record_files(here)
    first.write_text("{")
    code, out, err = store_run("export-records", file, "--from", here, capfd=capfd)
    assert (code, out) == (0, f"{file}: 7 records\n")
    assert err.startswith(f"privbench: left out: {first} is not a valid record")
    file.unlink()
    for path in rest:
        path.write_text("{")
    for folder in (here, tmp_path / "nowhere"):
        code, out, err = store_run("export-records", file, "--from", folder, capfd=capfd)
        assert (code, out) == (1, "")
        assert len(err.splitlines()) == 1
        assert f"{folder} holds no record" in err
        assert not list(tmp_path.glob("*.xz*"))


def test_an_export_that_fails_leaves_the_earlier_file(here, file, tmp_path, capfd, monkeypatch):
    """It is written next to it, and put in its place as the last step."""
    before = file.read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    code, _, err = store_run("export-records", file, "--from", here, capfd=capfd)
    assert (code, err) == (1, "privbench: full\n")
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [file.name]


def test_per_image_scores_are_whole(tmp_path, capfd):
    """Every digit of 1,000 images."""
    one = record(targets=1000)
    file = tmp_path / "records.xz"
    kept(tmp_path / "here", [one])
    store_run("export-records", file, "--from", tmp_path / "here", capfd=capfd)
    lines = lzma.decompress(file.read_bytes()).splitlines()
    assert json.loads(lines[1])["per_image"] == one.per_image


def test_a_store_that_has_victims_alone_is_a_store(file, tmp_path, capfd):
    """Named as such or by its outputs; a sweep's folder is neither."""
    for name, into in (("one", "one/store"), ("two", "two"), ("three", "three/kept")):
        store = tmp_path / (into if into != "two" else "two/store")
        (store / "victims").mkdir(parents=True)
        code, out, _ = store_run("import-records", file, "--into", tmp_path / into, capfd=capfd)
        assert (code, len(list(store.glob("records/*/record.json")))) == (0, 8), (name, out)
    folder = sweep(tmp_path / "four", "mine", curve("dropout"), [])
    code, _, err = store_run("import-records", file, "--into", folder, capfd=capfd)
    assert code == 1 and err.endswith(f"{folder} is a sweep: choose outputs or a store\n")
