"""Precision: bf16 where a timed step is faster."""

from pathlib import Path

import pytest
import torch

from privbench.runtime import bf16
from tests.support import CPU


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
