"""How trainings run: precision, threads, length, and what shows how far they are."""

import dataclasses
import logging
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as lightning
import torch
from torch import nn

from privbench.report import worst_case as summary
from privbench.runtime import bf16, cores, countdown
from privbench.runtime.countdown import Countdown
from privbench.runtime.device import DeviceConfig
from privbench.store.sweep_log import SweepLog
from privbench.sweep.progress import PlannedCell, Progress
from privbench.training.loop import Batches, fit
from tests.records import record as made_up
from tests.support import CPU

# precision ---------------------------------------------------------------------------------------


@pytest.fixture
def caches(tmp_path, monkeypatch) -> Path:
    """A cache folder of the test's own, and a process that has timed nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(bf16, "_timings", {})
    return tmp_path


def _steps(monkeypatch, fp32: float, half: float) -> list[bool]:
    """Steps take these seconds; the list grows by whether each was in bf16."""
    timed: list[bool] = []

    def step(in_bf16: bool) -> float:
        timed.append(in_bf16)
        return half if in_bf16 else fp32

    monkeypatch.setattr(bf16, "step_timer", lambda: step)
    return timed


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize(
    ("fp32", "half", "taken"), [(1.62, 1.92, "32-true"), (0.18, 0.09, "bf16-mixed")]
)
def test_bf16_is_taken_where_a_timed_step_is_faster(caches, monkeypatch, flag, fp32, half, taken):
    """Whatever the processor's flags are."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: flag)
    _steps(monkeypatch, fp32, half)
    assert CPU.precision("bf16-mixed") == taken


def test_a_machine_is_timed_once(caches, monkeypatch):
    """Later processes read the file; another number of threads is timed anew."""
    timed = _steps(monkeypatch, 0.1, 0.2)
    assert CPU.precision("bf16-mixed") == "32-true"
    assert {True, False} == set(timed)
    count = len(timed)
    monkeypatch.setattr(bf16, "_timings", {})  # as in a new process
    _steps(monkeypatch, 0.2, 0.1)
    assert CPU.precision("bf16-mixed") == "32-true"
    assert len(timed) == count
    torch.set_num_threads(torch.get_num_threads() + 1)
    assert CPU.precision("bf16-mixed") == "bf16-mixed"


@pytest.mark.parametrize("harm", ["a file in its place", "no json", "other contents"])
def test_a_cache_that_cannot_be_used_is_no_error(caches, monkeypatch, harm):
    """The machine is timed again."""
    if harm == "a file in its place":
        (caches / "privbench").write_text("")
    else:
        bf16.cache_path().parent.mkdir()
        bf16.cache_path().write_text("{" if harm == "no json" else '{"x": {"fp32_s": null}}')
    _steps(monkeypatch, 0.2, 0.1)
    assert CPU.precision("bf16-mixed") == "bf16-mixed"


def test_nothing_is_timed_where_bf16_is_not_wanted(caches, monkeypatch):
    """Full precision needs no choice."""
    timed = _steps(monkeypatch, 0.2, 0.1)
    assert CPU.precision("32-true") == "32-true"
    assert timed == []
    assert not bf16.cache_path().exists()


def test_timing_a_step_leaves_the_random_stream_alone():
    """Whether a machine was timed before must not change what is drawn after."""
    torch.manual_seed(0)
    seconds = bf16.step_timer()(False)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert seconds > 0
    assert torch.equal(drawn, torch.rand(3))


def test_the_precision_that_was_used_is_recorded(trained):
    """By the attack in the record's notes, by the victim among its facts."""
    record, victim = trained
    assert record.notes["precision"] in ("32-true", "bf16-mixed")
    assert victim["precision"] == "32-true"


def test_steps_that_follow_the_data_are_counted_as_they_were_made():
    """A summary compares budgets; null is not none."""
    made = made_up("dropout", 0.4, attack="inverse", steps=None)
    assert summary.steps(dataclasses.replace(made, notes={"steps": 506})) == 506
    assert summary.steps(made_up("dropout", 0.4, attack="inverse", steps=60)) == 60


@pytest.fixture
def trained(composed, stage):
    """The record of a short inverse network, and the facts of its victim."""
    from privbench.experiment.run import run

    made = stage()
    record = run(composed("attack=inverse", "attack.steps=4", "targets=3"))
    return record, made.store.keep("victims", made.victim_recipe, pytest.fail).facts


# threads -----------------------------------------------------------------------------------------


def _counted(monkeypatch, busy_ticks: list[int], own_s: float = 0.0, total: int = 10) -> int:
    """Cores that others hold, where each core worked for so many of ``total`` ticks."""
    before = dict.fromkeys(range(len(busy_ticks)), (100, 1000))
    after = {core: (100 + ticks, 1000 + total) for core, ticks in enumerate(busy_ticks)}
    readings, spent = iter([before, after]), iter([5.0, 5.0 + own_s])
    return cores.busy_cores(
        range(len(busy_ticks)),
        read=lambda: next(readings),
        process_time=lambda: next(spent),
        wait=lambda seconds: None,
    )


def test_cores_that_other_processes_hold_are_counted(monkeypatch):
    """Two halves make one core; what this process computes itself is not another's."""
    assert _counted(monkeypatch, [0, 0]) == 0
    assert _counted(monkeypatch, [10, 0]) == 1
    assert _counted(monkeypatch, [5, 5]) == 1
    assert _counted(monkeypatch, [10, 10]) == 2
    assert _counted(monkeypatch, [10, 0], own_s=cores.WINDOW) == 0
    assert _counted(monkeypatch, [10, 10, 10, 1, 0, 0, 0, 0]) == 3


def test_where_the_system_says_nothing_every_core_is_free():
    """No ``/proc/stat``, or one without these cores."""

    def absent():
        raise FileNotFoundError

    def busy(read):
        return cores.busy_cores(
            {0, 1}, read=read, process_time=lambda: 0.0, wait=lambda seconds: None
        )

    assert busy(absent) == 0
    assert busy(dict) == 0
    assert busy(lambda: {0: (5, 5), 1: (5, 5)}) == 0


def _threads_where(monkeypatch, taken: int, typed: int | None = None) -> int:
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(cores, "busy_cores", lambda found: taken)
    cores._free_cores.cache_clear()
    try:
        return DeviceConfig("cpu", threads=typed).configure()
    finally:
        cores._free_cores.cache_clear()


@pytest.mark.parametrize(("taken", "used"), [(0, 4), (1, 3), (3, 1), (4, 1)])
def test_a_job_takes_the_free_cores_and_says_so(monkeypatch, caplog, taken, used):
    """At least one; nothing is said where all are free."""
    monkeypatch.delenv(cores.THREADS, raising=False)
    caplog.set_level(logging.INFO)
    assert _threads_where(monkeypatch, taken) == used
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (taken > 0)
    if told:
        assert f"{taken} of 4 cores" in told[0]
        assert "device.threads=4 takes all" in told[0]


def test_typed_threads_come_first_then_those_of_the_starter(monkeypatch):
    """Then what is free."""
    monkeypatch.setenv(cores.THREADS, "2")
    assert _threads_where(monkeypatch, 3, typed=3) == 3
    assert _threads_where(monkeypatch, 3) == 2
    monkeypatch.setenv(cores.THREADS, "")
    assert _threads_where(monkeypatch, 3) == 1


# length ------------------------------------------------------------------------------------------

FULL = {"lenet5": (8, 128, 2e-3, False), "cifar_cnn": (60, 128, 1e-3, True)}


@pytest.mark.parametrize("victim", FULL)
def test_the_recipes_for_full_data_sets_are_what_they_were(cell, victim):
    """Passes, batch, rate and augmentation for 40,000 and 50,000 images."""
    made = cell(f"victim={victim}").victim
    epochs, *settings = FULL[victim]
    assert made.epochs == epochs
    for count in (40_000, 50_000):
        assert list(made.suited(count)) == settings
        assert made.min_steps < epochs * count // 128


def _images_seen(monkeypatch, victim, shape: tuple[int, int, int], count: int) -> tuple[int, int]:
    """Steps and images of a training that is planned and not run."""
    import privbench.victims.training as module

    planned = {}

    def plan(classifier, batches, *, epochs, **others):
        planned.update(steps=epochs * len(batches), images=epochs * count)

    monkeypatch.setattr(module, "fit", plan)
    model = victim.build(shape, 40, 0)
    victim.train(
        model, torch.zeros(count, *shape), torch.zeros(count).long(), seed=0, device_config=CPU
    )
    return planned["steps"], planned["images"]


def test_typed_passes_are_the_passes_that_a_small_data_set_gets(cell, monkeypatch):
    """20 over 210 faces are 4,200 images in small batches, not 800 batches of 128."""
    victim = cell("victim=cifar_cnn", "victim.epochs=20").victim
    assert _images_seen(monkeypatch, victim, (1, 64, 64), 210) == (20 * 14, 20 * 210)


def test_a_small_data_set_is_learnt_in_smaller_steps_at_a_smaller_rate(cell):
    """The rate by the root of the batch's share; a typed batch keeps the typed rate."""
    victim = cell("victim=cifar_cnn").victim
    few = victim.suited(210)
    assert (few.batch, few.augment) == (16, False)
    assert few.lr == pytest.approx(1e-3 / 8**0.5)
    typed = cell("victim=cifar_cnn", "victim.batch=64", "victim.augment=true").victim
    assert list(typed.suited(210)) == [64, 1e-3, True]


@pytest.mark.parametrize("name", ["inverse", "inverse_naive", "inverse_adaptive", "shadow"])
def test_an_adversary_of_few_images_trains_fewer_and_smaller_steps(cell, name):
    """What is typed is taken as it is; 9,000 images have 1,400 steps, as ever."""
    attack = cell(f"attack={name}").attack
    few, many = attack.length(360), attack.length(9000)
    assert few[1] < 600
    assert few[0] * few[1] < many[0] * many[1] / 3
    assert many[1] == 1400
    typed = cell(f"attack={name}", "attack.steps=77", "attack.batch=8").attack
    assert typed.length(360) == typed.length(9000) == (8, 77)


# progress ----------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only where a test says so."""
    time = SimpleNamespace(now=0.0)
    monkeypatch.setattr(countdown, "time", SimpleNamespace(monotonic=lambda: time.now))
    monkeypatch.setattr(countdown, "_show_bars", [False])
    return time


class Slow(lightning.LightningModule):
    """A training whose every step takes three seconds of a test's clock."""

    def __init__(self, clock) -> None:
        super().__init__()
        self.layer, self.clock = nn.Linear(1, 1), clock

    def training_step(self, batch, index):
        self.clock.now += 3
        return self.layer(batch[0]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_a_slow_training_says_how_far_it_is_and_what_is_left(clock, caplog):
    """From the first step that ends after two seconds, at growing intervals."""
    caplog.set_level(logging.INFO)
    fit(
        Slow(clock),
        Batches(torch.zeros(8, 1), size=2),
        epochs=5,
        device_config=CPU,
        name="a network",
    )
    told = [r.getMessage() for r in caplog.records if r.name == "privbench.runtime.countdown"]
    assert told[0] == "training a network: step 1 of 20, about 57 s left"
    assert told[1] == "training a network: step 2 of 20, about 54 s left"
    assert [line.split()[4] for line in told] == ["1", "2", "4", "8", "16"]


def test_a_quick_training_says_nothing(clock, caplog):
    """A loop that is over within two seconds."""
    caplog.set_level(logging.INFO)
    with Countdown("training", 3) as shown:
        for _ in range(3):
            clock.now += 0.5
            shown.advance()
    assert not caplog.records


def test_a_line_comes_amid_a_long_step(monkeypatch, caplog):
    """The first step of a large network may take longer than a person waits for a word."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(countdown, "FIRST", 0.01)
    monkeypatch.setattr(countdown, "_show_bars", [False])
    written = threading.Event()
    monkeypatch.setattr(countdown.LOG, "info", lambda *told: written.set())
    with Countdown("training", 3):
        assert written.wait(30), "no line came amid the step"


def test_a_single_run_shows_each_training_and_the_reconstruction(privbench, tmp_path, monkeypatch):
    """The victim, the evaluation classifier, the adversary's network, the images."""
    monkeypatch.setattr(countdown, "FIRST", 0.0)
    words = ["attack=shadow", "attack.steps=6", "attack.inverter.steps=4", "targets=3"]
    brief = ["victim.epochs=1", "victim.min_steps=8", f"output_dir={tmp_path}"]
    code, _, err = privbench(*words, *brief)
    assert code == 0, err
    shown = dict.fromkeys(re.findall(r"privbench: (.+): step \d+ of \d+", err))
    assert len(shown) == 4
    assert {"training lenet5", "training the shadow", "reconstructing 3 images"} < set(shown)


def _sweep(tmp_path, words: dict[str, str], monkeypatch):
    """A sweep's progress, its ledger, and the clock by which it goes."""
    time = SimpleNamespace(now=0.0)
    cells = {key: PlannedCell(key, word.split(), word, "", b"") for key, word in words.items()}
    ledger = SweepLog(tmp_path)
    monkeypatch.setattr(Progress, "_scores", lambda *line: "scores")
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
    told = []
    for second in range(200):
        time.now = float(second)
        progress.show()
        told += capsys.readouterr().out.splitlines()
    assert told[1].endswith("; about 8 s left")
    late = told[2:]
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
    told = capsys.readouterr().out.splitlines()
    assert _left(told[1]) == pytest.approx(74)
    assert _left(told[2]) == pytest.approx(4)


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
