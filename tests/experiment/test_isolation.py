"""An attack in a process of its own: the same numbers, and nothing in reach but its view."""

import errno
import gc
import importlib
import os
import shutil
import sys
from contextlib import nullcontext

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
from tests.isolated_attack import write_attack
from tests.stage import Stage
from tests.support import RecordingLogger, hasty, options


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Make an attack of a module outside of the package, found by its path."""
    write_attack(tmp_path)
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


@pytest.mark.fault
def test_an_attack_that_searches_its_process_finds_the_targets_unless_it_is_isolated(cell, mine):
    """By gc.get_objects() it returns them to 100 dB; in a process of its own nothing is there."""
    other = torch.zeros(11, 1, 28, 28)  # as an earlier test of this process may have left
    made = Stage.of(cell("targets=11"))
    other.copy_(made.x.mean(0))
    gc.collect()  # which puts the older of both first
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
    made = stage(*words)
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


@pytest.mark.fault
@pytest.mark.parametrize("name", ["inverse_paper"])
def test_an_isolated_attack_gives_the_same_numbers(name, stage, outputs):
    """Bit for bit, with queries and a network kept in the store."""
    _yamls(name, stage, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", options("attack"))
def test_every_attack_gives_the_same_numbers_when_isolated(name, stage, outputs):
    """Images, facts, steps and trained networks, bit for bit."""
    _yamls(name, stage, outputs)


@pytest.mark.fault
def test_an_isolated_attack_meets_a_deployment_that_was_trained(run_cell, outputs):
    """The view of its process has the trained edge and the channel: the numbers are the same."""
    words = ["defense=noise_aware", "defense@defense.channel=gaussian", "defense.channel.sigma=0.5",
             "defense.epochs=1", "defense.min_steps=1", "attack=rmle_adaptive", "attack.steps=5",
             "targets=4", "force=true"]  # fmt: skip
    here, there = (run_cell(*words, f"isolate={isolate}") for isolate in ("false", "true"))
    assert (there.key, there.columns, there.notes) == (here.key, here.columns, here.notes)
    assert len(list((outputs / "store" / "deployments").glob("*.safetensors"))) == 1


@pytest.mark.fault
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
        more = [f"isolate={isolate}", f"output_dir={warm}", "force=true"]
        code, _, err = privbench(*words, *more)
        assert code == 0, err
        (path,) = (warm / "store" / "records").glob("*/record.json")
        record = results.read(path.parent)
        record.notes.pop("argv")
        assert (record.notes.pop("pid") == os.getpid()) is (isolate == "false")
        found.append((record.key, record.columns, record.queries, record.notes))
    assert found[0] == found[1]
    assert found[0][2] == 3
    assert found[0][3]["nan"] == "nan"
    assert found[0][3]["batch"] == 3


@pytest.mark.long
@pytest.mark.parametrize("way", [pytest.param("missing", marks=pytest.mark.slow), "refused query"])
def test_an_attack_that_fails_in_its_process_fails_here_in_the_same_words(cell, mine, way):
    """Of the same type, also where the harness refused the request."""
    made = Stage.of(cell("targets=3"))
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


@pytest.mark.fault
def test_an_attack_whose_process_is_killed_is_an_error_and_no_wait(
    cell, mine, tmp_path, monkeypatch
):
    """Named by its signal, while a process that it started lives on with the pipe open."""
    note = tmp_path / "note"
    monkeypatch.setenv("PRIVBENCH_TEST_NOTE", str(note))
    made, attack = Stage.of(cell("targets=3")), mine("killed")
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
