"""An attack in a process of its own: the same numbers, and nothing in reach but its view."""

import errno
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from privbench.evaluation import metrics
from privbench.experiment.isolation import Isolated, require_picklable
from privbench.experiment.isolation.channel import by_value, described, rebuilt
from privbench.runtime.errors import describe_error
from privbench.runtime.hashing import derive_seed
from privbench.runtime.random import isolated_rng
from privbench.store import record as results
from privbench.threat import AccessDeniedError
from tests.stage import Stage
from tests.support import RecordingLogger, hasty, options

ATTACKS = '''
import gc, os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
import torch
from privbench.runtime.hashing import derive_seed
from privbench.threat import Access

CALLS = []  # state of the module: of its own process


@dataclass(frozen=True)
class Mine:
    """What an attack must not do, by name."""

    way: str = ""

    @property
    def access(self):
        return Access.EDGE_QUERIES | Access.AUX_IMAGES

    @property
    def calls(self):
        return CALLS

    def fit(self, view):
        if self.way == "missing":
            return {}["nowhere"]
        view.query(view.images[:3])
        if self.way == "refused query":
            view.query(view.images[:3, :, :5])
        view.logger.note(argv=sys.argv[1:], odd=object, share=torch.tensor(0.5), nan=float("nan"))
        def reconstruct(v):
            images = (len(v), *view.image_shape)
            if self.way == "sleeps":
                Path(os.environ["PRIVBENCH_TEST_NOTE"]).write_text(str(os.getpid()))
                time.sleep(300)
            if self.way == "killed" and not self.calls:
                self.calls.append(1)
                return ["no", "image"]
            if self.way == "killed":
                note = Path(os.environ["PRIVBENCH_TEST_NOTE"])
                note.write_text("holds the pipe")
                if os.fork() == 0:  # a process of its own
                    for _ in range(300):
                        time.sleep(0.1)
                        if not note.exists():
                            os._exit(0)
                    note.write_text("over")
                    os._exit(0)
                os.kill(os.getpid(), signal.SIGKILL)
            if self.way == "random" and len(v) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            if self.way == "random":
                return torch.rand(images)
            if self.way == "looks":
                for thing in gc.get_objects():
                    if type(thing) is torch.Tensor and thing.shape == images:
                        return thing.clone()
            return torch.full(images, 0.5)
        return reconstruct
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Make an attack of a module outside of the package, found by the path alone."""
    (tmp_path / "their_attack.py").write_text(ATTACKS)
    (tmp_path / "conf" / "attack").mkdir(parents=True)
    yaml = "# Theirs.\n_target_: their_attack.Mine\nway: ''\n"
    (tmp_path / "conf" / "attack" / "mine.yaml").write_text(yaml)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_attack", raising=False)
    yield importlib.import_module("their_attack").Mine
    sys.modules.pop("their_attack", None)


def _attacked(made, attack, *, isolate):
    """Reconstructions by an attack, and its journal."""
    deployment, logger = made.deploy(made.cell.defense), RecordingLogger()
    with Isolated(attack) if isolate else nullcontext(attack) as used:
        view = made.view(deployment, attack.access, logger)
        with isolated_rng(derive_seed(made.cell.seed, "fence")):
            reconstruct = used.fit(view)
        v = made.send(deployment)
        with isolated_rng(derive_seed(made.cell.seed, "fence")):
            return reconstruct(v), logger


def test_an_attack_that_searches_its_process_finds_the_targets_unless_it_is_isolated(cell, mine):
    """By gc.get_objects() it returns them to 100 dB; in a process of its own nothing is there."""
    made = Stage.of(cell("targets=11", "device.threads=1"))
    _ = made.x
    scores = {}
    for isolate in (False, True):
        x_hat, logger = _attacked(made, mine("looks"), isolate=isolate)
        scores[isolate] = float(metrics.psnr_db(x_hat, made.x).mean())
        assert not isolate or logger.facts["argv"] == []
    assert scores[False] > 90
    assert scores[True] < 20


def _yamls(name, stage, outputs):
    """Compare a yaml's attack in both ways, each training what it trains."""
    words = (f"attack={name}", "defense.rate=0.3", "targets=4", "transmissions=2")
    made = stage(*words, "device.threads=1")
    attack = hasty(made.cell.attack)
    kept = outputs / "store" / "adversaries"
    found = []
    for isolate in (False, True):
        shutil.rmtree(kept, ignore_errors=True)
        x_hat, logger = _attacked(made, attack, isolate=isolate)
        networks = {path.name: path.read_bytes() for path in sorted(kept.glob("*.safetensors"))}
        found.append((x_hat.view(torch.int32).tolist(), logger.facts, logger.steps, networks))
    assert found[0] == found[1]
    # what either trained serves the other
    x_hat, _ = _attacked(made, attack, isolate=False)
    assert x_hat.view(torch.int32).tolist() == found[0][0]


@pytest.mark.parametrize("name", ["rmle", "shadow_queried_same"])
def test_an_isolated_attack_gives_the_same_numbers(name, stage, outputs):
    """Bit for bit, with queries, fresh layers, networks kept in the store and a stand-in inverted."""
    _yamls(name, stage, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", options("attack"))
def test_every_attack_gives_the_same_numbers_when_isolated(name, stage, outputs):
    """Images, facts, steps and trained networks, bit for bit."""
    _yamls(name, stage, outputs)


def test_a_run_from_the_command_line_has_the_same_record_when_isolated(
    privbench, mine, warm, tmp_path
):
    """An attack from elsewhere that uses the global generator, writes notes and exceeds the memory."""
    found = []
    words = [
        "--config-dir",
        str(tmp_path / "conf"),
        "attack=mine",
        "attack.way=random",
        "targets=5",
    ]
    for isolate in ("false", "true"):
        more = ["device.threads=1", f"isolate={isolate}", f"output_dir={warm}", "force=true"]
        code, _, err = privbench(*words, *more)
        assert code == 0, err
        (path,) = (warm / "store" / "records").glob("*/record.json")
        record = results.read(path.parent)
        record.notes.pop("argv")
        found.append((record.key, record.per_image, record.queries, record.notes))
    assert found[0] == found[1]
    assert found[0][2] == 3
    assert found[0][3]["nan"] == "nan"
    assert found[0][3]["batch"] == 3


@pytest.mark.parametrize("way", ["missing", "refused query"])
def test_an_attack_that_fails_in_its_process_fails_here_in_the_same_words(cell, mine, way):
    """Of the same type, also where the harness refused the request."""
    made = Stage.of(cell("targets=3", "device.threads=1"))
    errors = []
    for isolate in (False, True):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is compared
            _attacked(made, mine(way), isolate=isolate)
        errors.append(caught.value)
    assert describe_error(errors[0]) == describe_error(errors[1])
    assert type(errors[0]) is type(errors[1])
    assert "their_attack.py" in errors[1].__notes__[0]


class OddError(Exception):
    """An error with a constructor of its own."""

    def __init__(self, place: str, count: int, thing: object) -> None:
        super().__init__(f"{count} at {place}")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        OSError(errno.ENOSPC, "no space left"),
        FileNotFoundError(2, "no such file", "a/b"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
        AccessDeniedError("view.edge needs the right EDGE_WEIGHTS"),
        SystemExit(3),
        ValueError(),
        OddError("home", 3, object()),
        type("Local", (ValueError,), {})("made in a function"),
    ],
    ids=repr,
)
def test_an_error_keeps_its_name_and_its_text_on_the_way(error):
    """Whatever its class: a line on the terminal is the same."""
    got = rebuilt(by_value(described(error)))
    assert describe_error(got) == describe_error(error)
    assert isinstance(got, type(error)) or type(error).__name__ in ("OddError", "Local")


def test_an_attack_whose_process_is_killed_is_an_error_and_no_wait(
    cell, mine, tmp_path, monkeypatch
):
    """Named by its signal, while a process that it started lives on with the pipe open."""
    note = tmp_path / "note"
    monkeypatch.setenv("PRIVBENCH_TEST_NOTE", str(note))
    made, attack = Stage.of(cell("targets=3", "device.threads=1")), mine("killed")
    view = made.view(made.deploy(made.cell.defense), attack.access, RecordingLogger())
    v = made.send(made.deploy(made.cell.defense))
    with Isolated(attack) as isolated:
        reconstruct = isolated.fit(view)
        assert type(reconstruct(v)).__name__ == "list"  # no images: named by its type
        with pytest.raises(
            ChildProcessError, match=r"isolate=true: .* killed by SIGKILL"
        ) as caught:
            reconstruct(v)
        assert note.read_text() == "holds the pipe"
        note.unlink()
        with pytest.raises(ChildProcessError):
            reconstruct(v)
    assert "\n" not in describe_error(caught.value)


def test_an_attack_that_cannot_be_sent_is_refused_beforehand(privbench, tmp_path):
    """In one line that names it and the choice."""
    from privbench.attacks.blind import Blind

    class Here(Blind):
        """Found in no module."""

    with pytest.raises(ValueError, match=r"isolate=true sends Here .*: choose isolate=false"):
        require_picklable(Here(), None)
    code, _, err = privbench("isolate=maybe", f"output_dir={tmp_path}")
    assert code == 1
    assert "isolate=maybe" in err and len(err.strip().splitlines()) == 1


def test_a_message_holds_no_more_than_its_tensor():
    """Of a slice the slice, with its strides; what is no plain value is refused."""
    whole = torch.rand(100, 3, 8, 8).to(memory_format=torch.channels_last)
    sent = by_value({"x": whole[2:4], "n": [1, None, True, 0.5, "a"]})
    assert torch.equal(sent["x"], whole[2:4])
    assert sent["x"].stride() == whole[2:4].stride()
    assert len(sent["x"].untyped_storage()) == 4 * whole[2:4].numel()
    with pytest.raises(TypeError, match="object cannot leave"):
        by_value({"x": object()})


def test_isolation_is_no_part_of_a_key(cell):
    """It moves no number."""
    assert len({Stage.of(cell(f"isolate={isolate}")).key for isolate in ("true", "false")}) == 1


@pytest.mark.fault
@pytest.mark.parametrize("way", ["ctrl-c", "killed"])
def test_the_process_of_an_attack_ends_with_its_harness(mine, tmp_path, warm, way):
    """Ctrl-C as a terminal sends it, to all processes of a group; or a harness that is killed."""
    note = tmp_path / "pid"
    words = [
        "--config-dir",
        str(tmp_path / "conf"),
        "attack=mine",
        "attack.way=sleeps",
        "targets=3",
    ]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    job = subprocess.Popen(
        [sys.executable, "-m", "privbench", *words, "isolate=true", "tracker=none", f"output_dir={warm}"],
        env={**os.environ, "PYTHONPATH": path, "PRIVBENCH_TEST_NOTE": str(note)},
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while not (note.exists() and note.read_text()):
        time.sleep(0.1)
        assert job.poll() is None
    if way == "ctrl-c":
        os.killpg(job.pid, signal.SIGINT)
    else:
        job.kill()
    _, err = job.communicate(timeout=60)
    if way == "ctrl-c":
        assert job.returncode == 130
        assert all(line.startswith("privbench: ") for line in err.splitlines()), err
    for _ in range(100):
        if not _alive(int(note.read_text())):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the attack's process lives on")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
