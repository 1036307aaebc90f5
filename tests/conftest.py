"""What the tests share: composed cells, trained victims, the command line as a user types it."""

import dataclasses
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from filelock import FileLock
from hydra.core.global_hydra import GlobalHydra

from privbench import __main__ as command
from privbench.evaluation import metrics
from privbench.experiment import evaluate
from privbench.experiment.config import CellConfig, build
from privbench.experiment.run import run
from privbench.experiment.spec import CellSpec
from privbench.runtime import countdown
from privbench.store.record import Record
from tests.stage import Stage
from tests.support import PAPER_IMAGES, ROOT, cell_spec

# a shell's background job ignores Ctrl-C, and so would every process that tests start and stop
signal.signal(signal.SIGINT, signal.default_int_handler)
# A thread a process, of which there is one a core (pytest -n auto): threads that share busy cores
# wait for each other, and a test's numbers must not depend on what else the machine does.
os.environ.setdefault("PRIVBENCH_THREADS", "1")
torch.set_num_threads(int(os.environ["PRIVBENCH_THREADS"]))
ENVIRONMENT = dict(os.environ)
"""Of the default cell: a thread starts it while a test may change the environment."""


KINDS = ("victims", "judges", "baselines", "accuracies")
"""Artifacts that the processes of a session share."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests of the default cell last in each process's share, while another one computes it.

    pytest-xdist gives each process an equal part of the list, in order.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    later = [item for item in items if _needs_default_run(item)]
    first = [item for item in items if not _needs_default_run(item)]
    parts = [
        [*part[len(part) * at // count : len(part) * (at + 1) // count]]
        for at in range(count)
        for part in (first, later)
    ]
    items[:] = [item for part in parts for item in part]


def _needs_default_run(item: pytest.Item) -> bool:
    return "default_run" in getattr(item, "fixturenames", ())


def pytest_collection_finish() -> None:
    """Exempt what was imported from garbage collection, a fifth of the time of composing."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_state() -> Iterator[None]:
    """Each test is seeded, and leaves threads, Hydra and the known metrics as they were."""
    threads, known = torch.get_num_threads(), dict(metrics._KNOWN)
    torch.manual_seed(0)
    np.random.seed(0)
    yield
    torch.set_num_threads(threads)
    metrics._KNOWN.clear()
    metrics._KNOWN.update(known)
    GlobalHydra.instance().clear()


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outputs folder of this process, whose trained victims all processes share."""
    outputs, shared = tmp_path_factory.mktemp("outputs"), _session_folder(tmp_path_factory)
    (outputs / "store").mkdir()
    for kind in KINDS:
        (shared / "store" / kind).mkdir(parents=True, exist_ok=True)
        (outputs / "store" / kind).symlink_to(shared / "store" / kind)
    return outputs


def _session_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of pytest-xdist, or of the only one."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@dataclass(frozen=True)
class DefaultRun:
    """What ``python -m privbench`` left, typed by itself in an empty folder."""

    folder: Path
    shown: str


@pytest.fixture(scope="session")
def default_run(tmp_path_factory: pytest.TempPathFactory, outputs: Path) -> DefaultRun:
    """The default cell as a user runs it first: in a process of its own, W&B offline."""
    folder = _session_folder(tmp_path_factory) / "default"
    _run_default(folder, outputs)
    return DefaultRun(folder, (folder / "shown.txt").read_text().replace("/part/", "/default/"))


@pytest.fixture(scope="session", autouse=True)
def _early_default_run(request: pytest.FixtureRequest) -> Iterator[None]:
    """Begin the default cell at once where tests need it: they find it there, or wait for it."""
    first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    if not first or not any(map(_needs_default_run, request.session.items)):
        yield
        return
    factory = request.getfixturevalue("tmp_path_factory")
    given = _session_folder(factory) / "default", request.getfixturevalue("outputs")
    thread = threading.Thread(target=_run_default, args=given)
    thread.start()
    yield
    thread.join()


def _run_default(folder: Path, outputs: Path) -> None:
    """Type ``python -m privbench`` once a session, and share what it trains."""
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            part = folder.with_name("part")
            typed = [sys.executable, "-m", "privbench", f"output_dir={part}"]
            done = subprocess.run(
                typed, capture_output=True, text=True, check=False, env=ENVIRONMENT
            )
            assert done.returncode == 0, done.stderr
            (part / "shown.txt").write_text(done.stdout)
            for kind in KINDS:
                shutil.copytree(part / "store" / kind, outputs / "store" / kind, dirs_exist_ok=True)
            part.rename(folder)


@pytest.fixture(scope="session")
def default_store(default_run: DefaultRun) -> Path:
    """The store of the default cell, whose artifacts other cells share."""
    return default_run.folder / "store"


@pytest.fixture
def composed(outputs: Path) -> Callable[..., CellSpec]:
    """The specification of a cell, as a job gets it."""
    return lambda *overrides: cell_spec(outputs, *overrides)


@pytest.fixture
def run_cell(composed: Callable[..., CellSpec], default_store: Path) -> Callable[..., Record]:
    """Run a cell; its victim is the default one if nothing else is typed."""
    return lambda *overrides: run(composed(*overrides))


@pytest.fixture
def cell(composed: Callable[..., CellSpec]) -> Callable[..., CellConfig]:
    """A cell within its ranges."""
    return lambda *overrides: build(composed(*overrides))


@pytest.fixture
def stage(cell: Callable[..., CellConfig], default_store: Path) -> Callable[..., Stage]:
    """A stage with a trained victim."""

    def make(*overrides: str) -> Stage:
        made = Stage.of(cell(*overrides))
        made.prepare_victim()
        return made

    return make


@pytest.fixture
def privbench(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: exit code, standard output, standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        GlobalHydra.instance().clear()
        given = (
            []
            if any(word.startswith("output_dir=") for word in words)
            else [f"output_dir={outputs}"]
        )
        swept = "-m" in words or any(word.startswith("sweeps=") for word in words)
        if swept and not any(word.startswith("sweep.report") for word in words):
            given.append("sweep.report=false")  # seconds a sweep, tested by itself
        tracker = [] if any(word.startswith("tracker") for word in words) else ["tracker=none"]
        monkeypatch.setattr(sys, "argv", ["privbench", *words, *given, *tracker])
        code = 0
        try:
            command.main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        shown = capfd.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def warm(tmp_path: Path, default_store: Path) -> Path:
    """An outputs folder of the test's own, whose store holds what the default cell trains."""
    for kind in KINDS:
        shutil.copytree(default_store / kind, tmp_path / "warm" / "store" / kind)
    return tmp_path / "warm"


@pytest.fixture
def without_victim(tmp_path: Path, default_store: Path) -> Path:
    """An outputs folder for another victim on digits: the rest is as in ``warm``."""
    store = tmp_path / "without_victim" / "store"
    shutil.copytree(default_store / "judges", store / "judges")
    (store / "baselines").mkdir()
    for path in (default_store / "baselines").glob("*.json"):
        if json.loads(path.read_text())["recipe"]["recipe"]["baseline"] == "class_ssim":
            for file in (path, path.with_suffix(".safetensors")):
                shutil.copy(file, store / "baselines")
    return store.parent


@pytest.fixture
def brief_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train evaluation classifiers for a few steps, where a test starts from an empty store."""
    short = dataclasses.replace(evaluate.EVALUATION_CLASSIFIER, epochs=1, min_steps=8)
    monkeypatch.setattr(evaluate, "EVALUATION_CLASSIFIER", short)


@pytest.fixture
def refused(privbench, tmp_path) -> Callable[[str, list[str]], None]:
    """Typed words are refused in one line that holds these parts, before any training."""

    def check(words: str, parts: list[str]) -> None:
        code, out, err = privbench(*words.split(), f"output_dir={tmp_path}")
        assert code == 1 and not out
        lines = err.strip().splitlines()
        assert len(lines) == 1, err
        assert all(part in lines[0] for part in parts), lines[0]
        assert not list((tmp_path / "store").glob("victims/*"))

    return check


@pytest.fixture
def attacked(composed):
    """Run a cell on MNIST, with the targets of the paper."""
    return lambda *words: run(composed("dataset=mnist", PAPER_IMAGES, *words))


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only where a test says so."""
    time = SimpleNamespace(now=0.0)
    monkeypatch.setattr(countdown, "time", SimpleNamespace(monotonic=lambda: time.now))
    monkeypatch.setattr(countdown, "_show_bars", [False])
    return time


@pytest.fixture
def user_module(tmp_path, monkeypatch):
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
