"""Which victim a record is about: its checksum, its replacement, its way to another machine."""

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
from safetensors.torch import load_file, save

from privbench.runtime.code_identity import identity
from privbench.store import record as results
from privbench.store.__main__ import main as store_command
from privbench.victims.split_model import SplitModel
from privbench.victims.training import VictimConfig
from tests.stage import Stage
from tests.support import ATTACK, ROOT

QUICK = ["targets=5", "victim.epochs=1", "victim.min_steps=20", "device.threads=1"]
RMLE = ["attack=rmle", "attack.steps=12", *QUICK]


def _records(outputs: Path) -> list[results.Record]:
    return [results.read(path) for path in outputs.glob("store/records/*/record.json")]


def _victims(outputs: Path) -> list[Path]:
    return sorted(outputs.glob("store/victims/*.safetensors"))


def _replace_victim(outputs: Path) -> None:
    """Other weights under the same recipe, as another machine would train them."""
    (path,) = _victims(outputs)
    data = save({name: tensor * 1.01 for name, tensor in load_file(path).items()})
    sidecar = json.loads(path.with_suffix(".json").read_text())
    path.write_bytes(data)
    sidecar["sha256"] = hashlib.sha256(data).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(sidecar))


def _status(folder: Path) -> str:
    words = [sys.executable, "-X", "importtime", "-m", "privbench.sweep.status", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert not re.search(r"\| +(torch|numpy|hydra)$", done.stderr, re.M), "it answers at once"
    return done.stdout


# code ---------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Modules and yamls of a user's own; a module that is written again is imported again."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(group: str, name: str, text: str, yaml: str) -> list[str]:
        sys.modules.pop(name, None)
        (tmp_path / f"{name}.py").write_text(text)
        (tmp_path / "conf" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / group / f"{name}.yaml").write_text(f"# Mine.\n{yaml}")
        return ["--config-dir", str(tmp_path / "conf"), f"{group}={name}"]

    yield write
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


LEVEL = "_target_: my_attack.Level\nlevel: 0.25\nfail: ''\n"


def test_an_edited_attack_is_another_attack(privbench, own, warm):
    """The command typed twice, the source edited in between: two records, two scores."""
    words = [*own("attack", "my_attack", ATTACK, LEVEL), "targets=5", f"output_dir={warm}"]
    assert privbench(*words)[0] == 0
    own("attack", "my_attack", ATTACK.replace("self.level)", "self.level / 10)"), LEVEL)
    code, out, err = privbench(*words)
    assert code == 0, err
    assert "cached" not in out
    first, second = sorted(_records(warm), key=lambda record: record.psnr_db)
    assert first.psnr_db != second.psnr_db
    assert {first.sources["attack"], second.sources["attack"]} >= {identity("my_attack.Level")}
    assert first.sources["attack"] != second.sources["attack"]
    assert privbench(*words)[1].count("cached") == 1, "unchanged, it is not run again"


NOISE = """
from dataclasses import dataclass
from privbench.defenses.base import Defense

@dataclass(frozen=True, kw_only=True)
class Noise(Defense):
    level: float = 0.5

    @property
    def strength(self):
        return self.level

    def _perturb(self, t, draws):
        return t + self.level * draws.normal(t)
"""


def test_an_edited_defense_is_another_defense(privbench, own, warm):
    """It is run again, in a sweep too."""
    yaml = "_target_: my_noise.Noise\nsite: features\nlevel: 0.5\n"
    words = ["-m", *own("defense", "my_noise", NOISE, yaml), "attack=blind", "targets=5"]
    words += ["defense.level=0.5,1.0", f"output_dir={warm}"]
    assert privbench(*words)[0] == 0
    own("defense", "my_noise", NOISE.replace("t + self.level", "t + 3 * self.level"), yaml)
    code, out, err = privbench(*words)
    assert code == 0, err
    assert out.count("] done") == 2
    assert len({record.accuracy for record in _records(warm)}) == 4


NET = """
from torch import nn
from privbench.victims.split_model import FlattenLinear, Normalize, SplitModel


class Net(SplitModel):
    aliases = {"middle": "pool"}

    def __init__(self, shape, classes):
        super().__init__({
            "input": Normalize((0.5,), (0.5,)),
            "conv": nn.Conv2d(1, 4, 5),
            "pool": nn.MaxPool2d(4),
            "fc": FlattenLinear(4 * 36, classes),
        })
"""
NET_YAML = """
_target_: privbench.victims.training.VictimConfig
name: my_net
model: {_target_: my_net.Net, _partial_: true}
epochs: 1
min_steps: 10
batch: 128
lr: 1e-2
weight_decay: 0.0
augment: false
precision: 32-true
"""


def test_a_victim_whose_source_changed_is_trained_anew(privbench, own, tmp_path):
    """Other constants of the normalisation, another pooling: no layer's name or shape tells."""
    at = tmp_path / "out"
    words = [*own("victim", "my_net", NET, NET_YAML), "attack=blind", "targets=5"]
    words += ["device.threads=1", f"output_dir={at}"]
    texts = [
        NET,
        NET.replace("(0.5,), (0.5,)", "(0.1,), (0.3,)"),
        NET.replace("MaxPool", "AvgPool"),
    ]
    for count, text in enumerate(texts, start=1):
        own("victim", "my_net", text, NET_YAML)
        code, _, err = privbench(*words)
        assert code == 0, err
        assert len(_victims(at)) == len(_records(at)) == count


DECODER = """
from torch import nn


def linear(features, image):
    channels, height, width = image
    flat = nn.Linear(features[0] * features[1] * features[2], channels * height * width)
    return nn.Sequential(nn.Flatten(), flat, nn.Unflatten(1, image))
"""
DECODER_YAML = """
defaults: [inverse_naive]
decoder: {_target_: my_decoder.linear, _partial_: true}
"""


def test_an_edited_decoder_is_trained_anew(privbench, own, warm):
    """Its layers have the same names and shapes; unchanged, the trained one is loaded."""
    words = [*own("attack", "my_decoder", DECODER, DECODER_YAML), "attack.steps=8", "targets=5"]
    words += [f"output_dir={warm}"]
    trained = []
    for text, rate in ((DECODER, 0.1), (DECODER, 0.3), (DECODER + "\n\nEDIT = 1\n", 0.1)):
        own("attack", "my_decoder", text, DECODER_YAML)
        code, _, err = privbench(*words, f"defense.rate={rate}")
        assert code == 0, err
        trained.append(len(list(warm.glob("store/adversaries/*.safetensors"))))
    assert trained == [1, 1, 2]


# threads ------------------------------------------------------------------------------------------


def test_workers_assign_threads_without_moving_the_key(privbench, warm):
    """What processes of joblib computed is cached for this process, at its own threads."""
    words = ["-m", "attack=blind", "defense.rate=0.1,0.3", "targets=5", f"output_dir={warm}"]
    code, out, err = privbench(
        *words, "workers=joblib", "workers.jobs=2", "workers.threads_per_job=1"
    )
    assert code == 0, err
    assert out.count("] done") == 2
    assert {record.threads for record in _records(warm)} == {1}
    assert {record.config["device"]["threads"] for record in _records(warm)} == {None}
    assert privbench(*words)[1].count("] cached") == 2


@pytest.mark.parametrize(
    ("text", "line"), [("3", ""), ("none", "PRIVBENCH_THREADS=none is out of")]
)
def test_threads_that_are_assigned_yield_to_those_that_are_typed(monkeypatch, text, line):
    """And nonsense is refused in one line."""
    from privbench.runtime.device import DeviceConfig

    monkeypatch.setenv("PRIVBENCH_THREADS", text)
    assert DeviceConfig("cpu", threads=1).configure() == 1
    if line:
        with pytest.raises(ValueError, match=line):
            DeviceConfig("cpu").configure()
    else:
        assert DeviceConfig("cpu").configure() == 3


def test_a_typed_number_of_threads_is_part_of_victim_and_cell(cell):
    """Another number of threads trains other weights; the accelerator is recorded, not keyed."""
    made = {
        words: Stage.of(cell(*words))
        for words in [(), ("device.threads=1",), ("device.accelerator=auto",)]
    }
    plain, typed, auto = made.values()
    assert plain.key == auto.key != typed.key
    assert plain.victim_recipe == auto.victim_recipe != typed.victim_recipe


# planning -----------------------------------------------------------------------------------------


def test_planning_a_sweep_gives_no_model_weights(privbench, warm, monkeypatch):
    """A hundred cells of three attacks are known from their configurations alone."""
    built, outlines = [], []
    init = SplitModel.__init__

    def count(self, layers):
        init(self, layers)
        (outlines if all(p.is_meta for p in self.parameters()) else built).append(self)

    monkeypatch.setattr(SplitModel, "__init__", count)
    monkeypatch.setattr(VictimConfig, "train", lambda *_, **__: pytest.fail("a victim is trained"))
    monkeypatch.setattr(
        "privbench.sweep.launch.Launch.run", lambda self, planned, refused: runs.append(planned)
    )
    runs: list[dict] = []
    words = ["-m", "attack=rmle_adaptive,inverse,shadow_same", "seed=range(0,4)", "targets=5"]
    rates = ",".join(f"0.{number}" for number in range(1, 10))
    code, _, err = privbench(*words, f"defense.rate={rates}", f"output_dir={warm}")
    assert code == 0, err
    assert len(runs[0]) == 108
    assert built == []
    assert len(outlines) <= 1, "one victim, in one shape"


def test_a_victim_that_computes_with_its_weights_is_built_with_them(privbench, own, tmp_path):
    """Its split points are known all the same."""
    text = NET.rstrip() + "\n        float(self.layers.fc.weight.sum())\n"
    words = [*own("victim", "my_net", text, NET_YAML), "attack=inverse", "attack.steps=2"]
    code, _, err = privbench(*words, "targets=5", f"output_dir={tmp_path / 'out'}")
    assert code == 0, err
    code, _, err = privbench(*words, "split=nope", f"output_dir={tmp_path / 'out'}")
    assert code == 1
    assert "split=nope is not known: choose from input, conv, pool, middle" in err


# checksums ----------------------------------------------------------------------------------------


def test_a_record_names_the_victim_by_the_checksum_of_its_file(privbench, tmp_path):
    """As sha256sum prints it, trained or loaded; the code and the data are named too."""
    for rate in ("0.1", "0.3"):
        code, _, err = privbench(*RMLE, f"defense.rate={rate}", f"output_dir={tmp_path}")
        assert code == 0, err
    (path,) = _victims(tmp_path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [record.victim_sha256 for record in _records(tmp_path)] == [expected] * 2
    sources = _records(tmp_path)[0].sources
    assert sources["attack"] == identity("privbench.attacks.rmle.RMLE")
    assert sources["victim.model"] == identity("privbench.victims.lenet5.LeNet5")
    assert {"data.train", "data.aux", "data.test", "evaluation.metrics"} <= set(sources)


def test_a_replaced_victim_makes_its_records_stale(privbench, tmp_path):
    """They are run again with a line that says why, and so is what was learnt against it."""
    words = ["-m", "attack=inverse_naive", "attack.steps=12", *QUICK, f"output_dir={tmp_path}"]
    words += ["defense.rate=0.1,0.3"]
    assert privbench(*words)[0] == 0
    before = {record.victim_sha256 for record in _records(tmp_path)}
    adversaries = set(tmp_path.glob("store/adversaries/*.json"))
    assert len(adversaries) == 1
    _replace_victim(tmp_path)
    (folder,) = (path for path in (tmp_path / "sweeps").iterdir() if path.is_dir())
    told = _status(folder)
    assert "2 done; 2 of those done would be computed again" in told
    assert told.count(": victim: replaced (sha256 ") == 2
    code, out, err = privbench(*words)
    assert code == 0, err
    assert out.count("] done") == 2
    assert "victim: replaced (sha256 " in err
    assert "the cell is run again" in err
    after = {record.victim_sha256 for record in _records(tmp_path)}
    assert len(after) == 1
    assert after != before
    assert len(list(tmp_path.glob("store/adversaries/*.json"))) == 2
    assert privbench(*words)[1].count("] cached") == 2


def test_a_trained_victim_is_identified_by_the_checksum_of_its_weights(cell, outputs):
    """Keys of whatever is derived from it hold the checksum of the file in the store."""
    stage = Stage.of(cell())
    stage.prepare_victim()
    (sidecar,) = [
        json.loads(path.read_text())
        for path in (outputs / "store" / "victims").glob("*.json")
        if json.loads(path.read_text())["recipe"] == json.loads(json.dumps(stage.victim_recipe))
    ]
    assert stage.victim.identity["sha256"] == sidecar["sha256"]


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


def test_status_says_which_cells_would_be_computed_again_and_why(privbench, own, warm):
    """An edited source, a raised version, another schema, a record that cannot be read."""
    words = ["-m", *own("attack", "my_attack", ATTACK, LEVEL), "targets=5", f"output_dir={warm}"]
    assert privbench(*words, "defense.rate=0.1,0.2,0.3,0.4")[0] == 0
    (folder,) = (path for path in (warm / "sweeps").iterdir() if path.is_dir())
    told = _status(folder)
    assert "4 cells: 4 done\n" in told
    assert "again" not in told
    paths = {results.read(p).strength: p for p in warm.glob("store/records/*/record.json")}
    fields = {rate: json.loads(path.read_text()) for rate, path in paths.items()}
    fields[0.2]["sources"]["defense"] = "dropout-0"
    fields[0.3]["schema"] = 2
    for rate, path in paths.items():
        path.write_text(json.dumps(fields[rate]) if rate < 0.4 else "{")
    told = _status(folder)
    assert "3 done, 1 damaged; 2 of those done would be computed again" in told
    now = identity("privbench.defenses.dropout.Dropout")
    assert f"again   defense.rate=0.2: defense: dropout-0 is now {now}\n" in told
    assert "again   defense.rate=0.3: schema 2 is now 3\n" in told
    assert re.search(r"damaged +defense.rate=0.4: .*record.json is not a valid record", told)
    own("attack", "my_attack", ATTACK + "\n\nOTHER = 1\n", LEVEL)
    assert "again   defense.rate=0.1: attack: its source has changed (sha256:" in _status(folder)


# to another machine -------------------------------------------------------------------------------


@pytest.fixture
def trained(privbench, tmp_path) -> Path:
    """An outputs folder with a quickly trained victim, and a record of it."""
    at = tmp_path / "here"
    assert privbench(*RMLE, f"output_dir={at}")[0] == 0
    return at


def _store(*words: object, capfd) -> tuple[int, str, str]:
    code = 0
    try:
        store_command([str(word) for word in words])
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    shown = capfd.readouterr()
    return code, shown.out, shown.err


def test_a_victim_that_travelled_gives_the_same_numbers_bit_for_bit(privbench, trained, tmp_path):
    """By the command line; nothing is trained again, and importing twice changes nothing."""
    there, file = tmp_path / "there", tmp_path / "victims.tar"
    command = [sys.executable, "-m", "privbench.store"]
    subprocess.run([*command, "export-victims", trained, file], check=True)
    for expected in ("1 victim and 1 evaluation classifier imported, 0 victims",
                     "0 victims and 0 evaluation classifiers imported, 1 victim and 1"):  # fmt: skip
        words = [*command, "import-victims", file, there]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        assert expected in done.stdout
        stamps = {path: path.stat().st_mtime_ns for path in there.rglob("*.safetensors")}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    code, _, err = privbench(*RMLE, f"output_dir={there}")
    assert code == 0, err
    assert "training" not in err
    (before,), (after,) = _records(trained), _records(there)
    assert after.key == before.key
    assert after.victim_sha256 == before.victim_sha256
    assert after.per_image == before.per_image


def test_the_store_is_listed_with_checksums(trained, capfd):
    """As sha256sum prints them, without importing torch."""
    code, out, _ = _store("list", trained, capfd=capfd)
    assert code == 0
    (path,) = _victims(trained)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"victims/{path.stem}  sha256 {expected}  lenet5 digits seed 0" in out
    code = "import sys; sys.argv[1:] = ['--help']\nimport privbench.store.__main__ as m\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_other_weights_of_the_same_recipe_are_refused_unless_replaced(trained, tmp_path, capfd):
    """Nothing is written where one is refused."""
    there, file = tmp_path / "there", tmp_path / "victims.tar"
    shutil.copytree(trained / "store" / "victims", there / "store" / "victims")
    _replace_victim(there)
    (path,) = _victims(there)
    other = path.read_bytes()
    assert _store("export-victims", trained, file, capfd=capfd)[0] == 0
    code, _, err = _store("import-victims", file, there, capfd=capfd)
    assert code == 1
    assert re.fullmatch(r"privbench: .* has other weights of the same recipe .*--replace.*\n", err)
    assert path.read_bytes() == other
    assert not (there / "store" / "judges").exists()
    assert _store("import-victims", file, there, "--replace", capfd=capfd)[0] == 0
    assert path.read_bytes() == _victims(trained)[0].read_bytes()


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
    assert _store("export-victims", here, file, capfd=capfd)[0] == 0
    HARM[harm](file)
    code, out, err = _store("import-victims", file, there, capfd=capfd)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("privbench: ")
    assert "victims.tar" in err
    assert not there.exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["export-victims", "nowhere", "x.tar"], "nowhere/store holds no victim"),
        (["list", "nowhere"], "nowhere/store holds no victim"),
    ],
)
def test_a_folder_without_victims_is_refused_in_one_line(words, line, tmp_path, capfd, monkeypatch):
    """It names the folder."""
    monkeypatch.chdir(tmp_path)
    code, out, err = _store(*words, capfd=capfd)
    assert (code, out) == (1, "")
    assert re.fullmatch(f"privbench: {line}.*\n", err)
    assert list(tmp_path.iterdir()) == []
