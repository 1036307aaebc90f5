"""The command line as a user types it."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from safetensors.numpy import load_file

from privbench.experiment import speed
from privbench.store import record as results
from privbench.store.record_frame import rerun_command
from privbench.store.sweep_log import SweepLog
from tests.runs import record_files
from tests.support import ATTACK, ROOT


def _typed(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return _python("-m", "privbench", *words, **env)


def _python(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def _rows(output):
    """Lines of the table at the end of a run, each number replaced by ``#``."""
    return [re.sub(r"\d[\d.]*", "#", line) for line in output.splitlines() if line.startswith("  ")]


def _readme_output():
    return (
        (ROOT / "README.md")
        .read_text()
        .partition("The run ends in\n")[2]
        .partition("`identified`")[0]
    )


def test_the_default_command_ends_in_a_table_and_a_record(privbench, default_run, tmp_path):
    """In a process of its own, W&B offline, no account, no download; a second run loads it."""
    (path,) = record_files(default_run.folder)
    record = results.read(path)
    assert (record.dataset, record.victim, record.split) == ("digits", "lenet5", "relu2")
    assert record.access == ["EDGE_WEIGHTS"]
    assert record.accuracy_undefended > 0.96
    for shown in ("digits, lenet5 cut at relu2, dropout 0.1", "blind baseline", str(path)):
        assert shown in default_run.shown
    assert _rows(default_run.shown)[:8] == _rows(_readme_output())[:8]
    images = load_file(path.with_name("images.safetensors"))
    assert images["targets"].shape == images["reconstructions"].shape == (64, 1, 28, 28)
    (copy,) = (default_run.folder / "runs").glob("*/record.json")
    assert copy.read_bytes() == path.read_bytes()
    assert list((default_run.folder / "wandb").glob("offline-run-*/*.wandb"))

    shutil.copytree(default_run.folder / "store", tmp_path / "store")
    code, out, err = privbench(f"output_dir={tmp_path}")
    assert code == 0, err
    assert re.search(r"cached +finished", out)
    assert len(record_files(tmp_path)) == 1, "the tracker is no part of the key"


def test_a_sweep_makes_a_record_a_cell_and_lists_them(privbench, warm):
    """Alone and in another order a cell gives the same numbers."""
    attacks = ["attack=rmle,rmle_paper", "attack.steps=8", "targets=3"]
    code, _, shown = privbench("-m", *attacks, "defense.rate=0.1,0.6", f"output_dir={warm}")
    assert code == 0, shown
    swept = {path: results.read(path) for path in record_files(warm)}
    assert len(swept) == 4
    (folder,) = (warm / "sweeps").iterdir()
    listed = SweepLog(folder).entries()
    assert set(listed) == {path.parent.name for path in swept}
    assert all(entry.state == "done" for entry in listed.values())
    again = ["attack=rmle", *attacks[1:], "defense.rate=0.6", "force=true"]
    assert privbench(*again, f"output_dir={warm}")[0] == 0
    for path, record in swept.items():
        assert results.read(path).columns == record.columns
    assert len(record_files(warm)) == 4


def test_the_smoke_sweep_runs_without_m(privbench, warm):
    """And its axes are changed on the command line."""
    code, out, err = privbench(
        "sweeps=smoke", "attack=blind", "defense.rate=0.1,0.3", f"output_dir={warm}"
    )
    assert code == 0, err
    assert out.count("] done    defense.rate=0.") == 2
    assert len(record_files(warm)) == 2


def test_one_failing_cell_leaves_the_others_and_the_exit_code_tells(privbench, warm):
    """The refusal is one line; the other cells are recorded."""
    code, _, err = privbench(
        "-m", "attack=blind", "defense.rate=0.1,1.5,0.3", "targets=5", f"output_dir={warm}"
    )
    assert code == 1
    assert err.startswith(
        "privbench: 1 of 3 cells are refused, the others are run:\n"
        "  defense.rate=1.5: defense.rate=1.5 is out of range"
    )
    assert "Traceback" not in err
    assert len(record_files(warm)) == 2


def test_a_refused_cell_stops_a_sweep_that_stops_at_its_first_failure(privbench, tmp_path):
    """Before any network is trained for the other cells."""
    words = ["-m", "defense=noise_aware", "targets=0,1,2", "attack=blind,rmle"]
    code, out, err = privbench(*words, "sweep.fail_fast=true", f"output_dir={tmp_path}")
    assert (code, out) == (1, "")
    assert err.startswith("privbench: 2 of 6 cells are refused, so none is run:\n")
    assert not list(tmp_path.glob("store/*/*"))


BAD = [
    (
        ["attack=foo"],
        "attack=foo is not known: choose from blind, diffusion, .*dip, inverse, .*rmle, rmle_adaptive, .*rmle_paper",
    ),
    (
        ["defense=foo"],
        "defense=foo is not known: choose from .* dropout, .*gaussian, .*none, .*quantize",
    ),
    (
        ["dataset=foo"],
        "dataset=foo is not known: choose from .*digits, fashion_mnist, image_folder",
    ),
    (["~targets"], "targets is missing: leave out ~targets, and type a value instead"),
    (
        ["sweep=smoke"],
        "sweep=smoke is not an option: choose sweep.fail_fast, sweep.report, or sweeps=NAME",
    ),
    (["sweep=null"], "sweep=null is not an option: choose sweep.fail_fast"),
    (["sweeps=foo"], "sweeps=foo is not known: choose from .*smoke"),
    (
        ["attack.stepz=5"],
        r"unknown option attack.stepz; attack has .*steps.*did you mean attack.steps\?",
    ),
    (["targetz=5"], r"unknown option targetz; .*targets.*did you mean targets\?"),
    (["attack=rmel"], r"attack=rmel is not known: did you mean rmle\? choose from blind"),
    (["atack=rmle"], r"unknown option atack; .*did you mean attack\?"),
    (
        ["defense.sigma=0.5"],
        "unknown option defense.sigma; defense has .*defense=gaussian has sigma",
    ),
    (["sigma=0.3"], r"unknown option sigma; .*did you mean defense.sigma\?"),
    (["defense.epsilon=3"], "defense=dp_gaussian, defense=dp_laplace have epsilon"),
    (["attack.lr.x=1"], "unknown option attack.lr.x; attack.lr has no options"),
    (["trainer.threads=2"], "unknown option trainer: it is now device"),
    (["-m", "hydra/launcher=joblib", "seed=0,1"], "hydra/launcher=joblib .*use workers=joblib"),
    (["workers=slurm", "-m", "workers.cpus=2"], "unknown option workers.cpus"),
    (["split=conv9"], "split=conv9 is not known: choose from input, conv1, relu1"),
    (["split=fc3"], "split=fc3 is not known"),
    (
        ["defense.rate=1.5"],
        "defense.rate=1.5 is out of range: choose a number of at least 0 and at most 1",
    ),
    (["defense.rate=-0.1"], "defense.rate=-0.1 is out of range"),
    (["defense.rate=low"], "defense.rate=low is not a number: choose a number of at least 0"),
    (["attack=rmle,inverse"], "attack=rmle,inverse has several values: add -m"),
    (["rmle"], "rmle cannot be read: type NAME=VALUE"),
    (["-m", "defense.rate=0.1,"], "defense.rate=0.1, cannot be read: type NAME=VALUE"),
    (["defense.rate=nan"], "defense.rate=nan is out of range"),
    (["defense.site=middle"], "defense.site=middle is not known: choose from features, input"),
    (["targets=0"], "targets=0 is out of range"),
    (["targets=361"], "targets=361: choose 1 to 360"),
    (["target_indices=[1,1]"], r"target_indices=\[1,1\]: choose different numbers from 0 to 359"),
    (
        ["target_indices=3"],
        r"target_indices must be a list such as target_indices=\[3,2,1\], got 3",
    ),
    (["transmissions=0"], "transmissions=0 is out of range"),
    (["seed=-1"], "seed=-1 is out of range"),
    (["dataset=image_folder"], "dataset.root must be a directory name, got null"),
    (["dataset=mnist", "dataset.root=5"], "dataset.root=5 is not a text: type dataset.root=TEXT"),
    (["attack=null"], "attack=null is not known: choose from blind, diffusion"),
    (["defense=null"], r"defense=null is not known: did you mean defense=none\? choose from"),
    (["-m", "defense=dropout,null"], r"defense=null is not known: did you mean defense=none\?"),
    (["tracker=false"], r"tracker=false is not known: did you mean tracker=none\? choose from"),
    (
        ["-m", "workers=8"],
        r"workers=8 is not known: did you mean workers=joblib workers.jobs=8\? choose from joblib",
    ),
    (["attack@attack.inverter=null"], "attack@attack.inverter=null is not known: choose from"),
    (["victim.model=null"], "victim.model=null is not known: choose victim=NAME, or victim=module"),
    (
        [
            "victim=module",
            "victim.model._target_=privbench.victims.lenet5.LeNet5",
            "+victim.model.x=1",
        ],
        "unknown option victim.model.x; victim.model has no options",
    ),
    (["+victim.model.x=1"], "unknown option victim.model.x; victim.model has no options"),
    (
        ["victim=resnet18", "+victim.model.widht=1"],
        r"unknown option victim.model.widht; .*did you mean victim.model.width\?",
    ),
    (["victim.model=resnet"], "victim.model=resnet is not known: choose victim=NAME, or"),
    (
        ["defense=noise_aware", "defense.channel=quantize"],
        "defense.channel=quantize is not known: .* by defense@defense.channel=NAME: dropout",
    ),
    (["output_dir=null"], "output_dir must be a directory name, got null"),
    (["output_dir="], "output_dir must be a directory name, got"),
    (["dataset=image_folder", "dataset.root=/nowhere"], "/nowhere/train is missing"),
    (["dataset.aux_images=5000"], "dataset.aux_images=5000 leaves the victim too few"),
    (["victim=cifar_cnn"], "victim=cifar_cnn needs images of at least 32x32 pixels"),
    (["device=gpu"], "device=gpu: no CUDA device is available"),
    (["tracker=wandb", "tracker.mode=online"], "tracker.mode=online finds no W&B key"),
    (
        ["output_dir=/dev/null/here"],
        "output_dir cannot be written .*Not a directory.*type output_dir=FOLDER",
    ),
    (["targets=${nope}"], "nope"),
]


@pytest.mark.parametrize(("words", "line"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(privbench, tmp_path, monkeypatch, words, line):
    """Naming the value and the choices; exit code 1; no record, no run folder, no training."""
    import re

    if words == ["device=gpu"]:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for name in ("WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    given = [] if words[0].startswith("output_dir=") else [f"output_dir={tmp_path / 'out'}"]
    code, out, err = privbench(*words, *given)
    assert code == 1
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("privbench: ")
    assert re.search(line, err), err
    assert not list((tmp_path / "out").glob("*"))


def test_help_names_the_groups_and_options(privbench):
    """With their choices."""
    code, out, _ = privbench("--help")
    assert code == 0
    sweeps = [path.relative_to(ROOT / "sweeps") for path in (ROOT / "sweeps").rglob("*.yaml")]
    names = [path.with_suffix("").as_posix() for path in sweeps if path.parent.name != "wandb"]
    assert "smoke" in names
    groups = ("attack: blind, ", "dataset: celeba, cifar10", "targets: 64")
    for word in (*groups, *(f"\n{name}: " for name in names)):
        assert word in out


def test_flags_may_stand_between_overrides(privbench, warm):
    """Hydra's parser alone refuses an override behind a second flag."""
    words = ["attack=blind", "-m", "defense.rate=0.1,0.2", "targets=2"]
    code, out, err = privbench(*words, f"output_dir={warm}")
    assert code == 0, err
    assert out.count("] done    defense.rate=0.") == 2


def test_an_output_folder_may_hold_spaces_and_brackets(privbench, tmp_path):
    """A shell passes the name as typed; Hydra's grammar reserves the brackets."""
    folder = tmp_path / "my (first) run"
    code, out, err = privbench("--cfg", "job", f"output_dir={folder}")
    assert code == 0, err
    assert yaml.safe_load(out)["output_dir"] == str(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("status", "sweep.status"),
        ("bench", "experiment.speed"),
        ("dashboard", "tracking.dashboard"),
    ],
)
def test_a_renamed_command_prints_its_present_name(old, new):
    """One line and exit code 2; the present command exists."""
    done = _python("-m", f"privbench.{old}", "outputs")
    assert done.returncode == 2
    line = f"privbench: python -m privbench.{old} is now python -m privbench.{new}\n"
    assert (done.stdout, done.stderr) == ("", line)
    assert importlib.util.find_spec(f"privbench.{new}")


def test_the_speed_command_prints_its_usage_without_measuring(monkeypatch, capsys):
    """``--help`` ends at once."""
    monkeypatch.setattr(sys, "argv", ["speed", "--help"])
    with pytest.raises(SystemExit, match="^0$"):
        speed.main()
    shown = capsys.readouterr().out
    assert shown.startswith("usage: python -m privbench.experiment.speed")
    assert "us an image" not in shown


def test_the_shell_completes_groups_and_options():
    """As `eval "$(privbench -sc install=bash)"` sets it up."""
    env = {"COMP_LINE": "privbench attack=rm", "COMP_POINT": "19"}
    done = _typed("-sc", "query=bash", **env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "attack=rmle",
        "attack=rmle_adaptive",
        "attack=rmle_paper",
        "attack=rmle_prior",
    ]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    sys.modules.pop("my_attack", None)  # of a test that left its own
    (tmp_path / "my_attack.py").write_text(ATTACK)
    (tmp_path / "conf" / "attack").mkdir(parents=True)
    yaml = "# Mine.\n_target_: my_attack.Level\nlevel: 0.25\nfail: ''\n"
    (tmp_path / "conf" / "attack" / "mine.yaml").write_text(yaml)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield ["--config-dir", str(tmp_path / "conf"), "attack=mine", "targets=5"]
    sys.modules.pop("my_attack", None)


def test_an_attack_from_elsewhere_loads_by_its_target_alone(privbench, mine, warm, monkeypatch):
    """Two files, nothing registered; the record's command finds them, too."""
    folder = str(warm.parent)
    monkeypatch.setenv("PYTHONPATH", folder)
    code, out, err = privbench(*mine, f"output_dir={warm}")
    assert code == 0, err
    assert "mine (access: none)" in out
    (path,) = record_files(warm)
    typed = f"PYTHONPATH={folder} python -m privbench --config-dir {folder}/conf attack=mine "
    assert rerun_command(results.read(path)).startswith(typed)


@pytest.mark.parametrize("fail", ["burst", "infinite"])
def test_an_attack_without_a_finite_image_fails(privbench, mine, warm, fail):
    """In one line, without a record: there is nothing to score."""
    code, out, err = privbench(*mine, f"attack.fail={fail}", f"output_dir={warm}")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].endswith("returned NaN or infinity in each of its 5 images")
    assert "Traceback" not in err
    assert not record_files(warm)


@pytest.mark.parametrize("fail", ["some burst", "some infinite"])
def test_a_reconstruction_that_is_not_finite_is_counted_in_failed(privbench, mine, warm, fail):
    """And scored as the worst constant answer; the record is whole."""
    code, out, err = privbench(*mine, f"attack.fail={fail}", f"output_dir={warm}")
    assert code == 0, err
    (path,) = record_files(warm)
    record = results.read(path)
    assert record.failed == 4
    psnr, failed = record.columns["psnr_db"], record.columns["failed"]
    assert failed == [False, *[True] * 4]
    worst = min(record.floor[name]["psnr_db"] for name in ("black", "grey", "mean"))
    assert sum(psnr[1:]) <= 5 * worst + 1e-6
    assert "4 of 5 not finite" in out


def test_an_attacks_use_of_the_global_generator_depends_on_nothing_before(
    privbench, mine, without_victim
):
    """The first run trains the victim, the second loads it: the same numbers."""
    scores = []
    for _ in range(2):
        brief = ["victim.epochs=1", "victim.min_steps=20"]
        words = [*mine, "attack.fail=global", f"output_dir={without_victim}", "force=true", *brief]
        assert privbench(*words)[0] == 0
        (path,) = record_files(without_victim)
        scores.append(results.read(path).columns)
    assert scores[0] == scores[1]


def test_an_attacks_odd_notes_do_not_cost_the_record(privbench, mine, warm):
    """What json cannot hold is kept as its text."""
    code, _, err = privbench(*mine, "attack.fail='odd note'", f"output_dir={warm}")
    assert code == 0, err
    (path,) = record_files(warm)
    notes = results.read(path).notes
    assert notes["loss"] == "nan"
    assert notes["curve"] == [1.0, 1.0]
    assert notes["thing"].startswith("<object")


def test_a_split_that_an_attack_cannot_be_fed_is_refused_before_training(privbench, mine, tmp_path):
    """By the attack's own check, in one line."""
    code, _, err = privbench(*mine, "attack.fail=check", f"output_dir={tmp_path}")
    assert code == 1
    assert "attack=mine cannot be fed features of shape (16, 8, 8)" in err
    assert not (tmp_path / "store" / "victims").exists()


def test_the_version_of_the_package_is_pyprojects():
    """One number."""
    import tomllib

    from privbench import __version__

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_a_sweep_in_a_folder_is_found_by_its_name(privbench):
    """The paper's sweeps were typed without their folder before."""
    code, _, err = privbench("sweeps=fig9_mnist")
    assert code == 1
    assert err.startswith(
        "privbench: sweeps=fig9_mnist is not known: did you mean he2020/fig9_mnist?"
    )


@pytest.mark.long
def test_a_sweep_ends_with_its_page_and_its_summary(privbench, warm):
    """As a user types it: nothing turns the report off."""
    code, out, err = privbench(
        "-m", "attack=blind", "defense.rate=0.1,0.3", "targets=5", f"output_dir={warm}",
        "sweep.report=true",
    )  # fmt: skip
    assert code == 0, err
    assert "is not written" not in err
    (folder,) = (path for path in (warm / "sweeps").iterdir() if path.is_dir())
    assert f"{folder}/report/index.html" in out
    assert "<title>" in (folder / "report" / "index.html").read_text()
    assert "worst case over 2 cells" in (folder / "summary.txt").read_text()
