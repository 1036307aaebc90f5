"""Victims on their way to another machine."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch

from tests.runs import BRIEF_RMLE, read_records, replace_victim, store_run, victim_files


@pytest.fixture
def trained(privbench, without_victim) -> Path:
    """An outputs folder with a quickly trained victim, and a record of it."""
    assert privbench(*BRIEF_RMLE, f"output_dir={without_victim}")[0] == 0
    return without_victim


@pytest.mark.long
def test_a_victim_that_travelled_gives_the_same_numbers_bit_for_bit(
    privbench, trained, tmp_path, capfd
):
    """By the command line; nothing is trained again, and importing twice changes nothing."""
    there, file = tmp_path / "there", tmp_path / "victims.tar"
    command = [sys.executable, "-m", "privbench.store", "export-victims", trained, file]
    subprocess.run(command, check=True)
    for expected in ("1 victim and 1 evaluation classifier imported, 0 victims",
                     "0 victims and 0 evaluation classifiers imported, 1 victim and 1"):  # fmt: skip
        code, out, _ = store_run("import-victims", file, there, capfd=capfd)
        assert code == 0
        assert expected in out
        stamps = {path: path.stat().st_mtime_ns for path in there.rglob("*.safetensors")}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    code, _, err = privbench(*BRIEF_RMLE, f"output_dir={there}")
    assert code == 0, err
    assert "training" not in err
    (before,), (after,) = read_records(trained), read_records(there)
    assert after.key == before.key
    assert after.victim_sha256 == before.victim_sha256
    assert after.columns == before.columns


def test_the_store_is_listed_with_checksums(trained, capfd):
    """As sha256sum prints them, without importing torch."""
    code, out, _ = store_run("list", trained, capfd=capfd)
    assert code == 0
    (path,) = victim_files(trained)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"victims/{path.stem}  sha256 {expected}  lenet5 digits seed 0" in out
    code = "import sys; sys.argv[1:] = ['--help']\nimport privbench.store.__main__ as m\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.long
def test_other_weights_of_the_same_recipe_are_refused_unless_replaced(trained, tmp_path, capfd):
    """Nothing is written where one is refused."""
    there, file = tmp_path / "there", tmp_path / "victims.tar"
    shutil.copytree(trained / "store" / "victims", there / "store" / "victims")
    replace_victim(there)
    (path,) = victim_files(there)
    other = path.read_bytes()
    assert store_run("export-victims", trained, file, capfd=capfd)[0] == 0
    code, _, err = store_run("import-victims", file, there, capfd=capfd)
    assert code == 1
    assert re.fullmatch(r"privbench: .* has other weights of the same recipe .*--replace.*\n", err)
    assert path.read_bytes() == other
    assert not (there / "store" / "judges").exists()
    assert store_run("import-victims", file, there, "--replace", capfd=capfd)[0] == 0
    assert path.read_bytes() == victim_files(trained)[0].read_bytes()


def _rewritten(file: Path, change) -> None:
    """The tar with its members changed by name and content."""
    with tarfile.open(file) as tar:
        members = {info.name: tar.extractfile(info).read() for info in tar.getmembers()}
    change(members)
    with tarfile.open(file, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def _flip(members: dict[str, bytes]) -> None:
    name = next(name for name in members if name.endswith(".safetensors"))
    members[name] = members[name][:-1] + bytes([members[name][-1] ^ 1])


def _relist(members: dict[str, bytes]) -> None:
    """The listed checksum is changed with the weights, the sidecar's is not."""
    _flip(members)
    manifest = json.loads(members["privbench.json"])
    manifest["sha256"] = {
        name: hashlib.sha256(members[name]).hexdigest() for name in manifest["sha256"]
    }
    members["privbench.json"] = json.dumps(manifest).encode()


def _rename(members: dict[str, bytes]) -> None:
    """Somebody else's weights under this recipe."""
    for name in [name for name in members if name.startswith("victims/")]:
        members[f"victims/{'0' * 20}.{name.rpartition('.')[2]}"] = members.pop(name)
    manifest = json.loads(members["privbench.json"])
    del members["privbench.json"]
    manifest["sha256"] = {n: hashlib.sha256(data).hexdigest() for n, data in members.items()}
    members["privbench.json"] = json.dumps(manifest).encode()


def _other_facts(members: dict[str, bytes]) -> None:
    """What the sidecar says of the training, which no checksum of the weights covers."""
    name = next(name for name in members if name.startswith("judges/") and name.endswith(".json"))
    members[name] = members[name].replace(b'"accuracy": 0.5', b'"accuracy": 0.9')


HARM = {
    "other facts": lambda file: _rewritten(file, _other_facts),
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "cut at a member": lambda file: _rewritten(file, lambda m: m.popitem()),
    "a flipped byte": lambda file: _rewritten(file, _flip),
    "a flipped byte, listed": lambda file: _rewritten(file, _relist),
    "another recipe's name": lambda file: _rewritten(file, _rename),
    "a foreign member": lambda file: _rewritten(file, lambda m: m.update({"../evil": b"x"})),
    "no tar": lambda file: file.write_bytes(b"hello"),
    "empty": lambda file: file.write_bytes(b""),
    "no such file": lambda file: file.unlink(),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_file_is_refused_in_one_line_and_nothing_is_written(harm, tmp_path, capfd):
    """Whatever is wrong with it."""
    from privbench.store.artifacts import Artifact, Store

    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "victims.tar"
    store = Store(here / "store")
    for kind in ("victims", "judges"):
        store.keep(
            kind, {"seed": 0}, lambda: Artifact({"w": torch.arange(900.0)}, {"accuracy": 0.5})
        )
    assert store_run("export-victims", here, file, capfd=capfd)[0] == 0
    HARM[harm](file)
    code, out, err = store_run("import-victims", file, there, capfd=capfd)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("privbench: ")
    assert "victims.tar" in err
    assert not there.exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["export-victims", "nowhere", "x.tar"], "nowhere/store holds no victim"),
        (["list", "nowhere"], "nowhere/store holds nothing"),
    ],
)
def test_a_folder_without_victims_is_refused_in_one_line(words, line, tmp_path, capfd, monkeypatch):
    """It names the folder."""
    monkeypatch.chdir(tmp_path)
    code, out, err = store_run(*words, capfd=capfd)
    assert (code, out) == (1, "")
    assert re.fullmatch(f"privbench: {line}.*\n", err)
    assert list(tmp_path.iterdir()) == []
