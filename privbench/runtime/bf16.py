"""Whether a processor trains faster in bf16: timed once a machine, and remembered."""

import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from privbench.runtime.files import write_atomically

Timer = Callable[[bool], float]
"""Seconds of a step, in bf16 where ``True``."""

ROUNDS = 4
LIMIT = 0.5
"""Seconds after which a precision is timed no further: slow machines need fewer rounds."""
_timed: dict[str, dict[str, float]] = {}
"""What this process timed or read: it does not change its mind."""


def faster(timer: Timer | None = None) -> bool:
    """Whether a training step takes less time in bf16 than in float32.

    Args:
        timer: Times a step; ``None`` for a small one of convolutions like those of victims and
            decoders.
    """
    name = _machine()
    if name not in _timed:
        known = _read()
        if name not in known:
            timer = timer or step_timer()
            known[name] = {"fp32_s": best(timer, False), "bf16_s": best(timer, True)}
            _write(known)
        _timed[name] = known[name]
    return _timed[name]["bf16_s"] < _timed[name]["fp32_s"]


def best(timer: Timer, bf16: bool) -> float:
    """The shortest of a few steps, the first of which, with its set-up, does not count."""
    began = time.monotonic()
    timer(bf16)
    times = [timer(bf16)]
    while len(times) < ROUNDS and time.monotonic() - began < LIMIT:
        times.append(timer(bf16))
    return min(times)


def step_timer() -> Timer:
    """Times a step of two convolutions of 64 channels on 16 images of 16x16."""
    width = 64
    with torch.random.fork_rng(devices=[]):  # initial weights leave the caller's stream alone
        network = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.MaxPool2d(2),
        ).to(memory_format=torch.channels_last)  # fmt: skip
    x = torch.full((16, width, 16, 16), 0.5).to(memory_format=torch.channels_last)

    def step(bf16: bool) -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = network(x).float().square().mean()
        loss.backward()
        return time.perf_counter() - began

    return step


def path() -> Path:
    """The file that remembers, among the caches of the user."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "privbench" / "bf16.json"


def _machine() -> str:
    """What the times depend on: the processor, torch, and the number of threads."""
    return f"{_processor()} | torch {torch.__version__} | {torch.get_num_threads()} threads"


@lru_cache(maxsize=1)
def _processor() -> str:
    """The processor's model, and what torch uses of it."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model} {torch.backends.cpu.get_cpu_capability()}"


def _read() -> dict[str, dict[str, float]]:
    """What was timed so far; a file that does not read holds nothing."""
    try:
        held = json.loads(path().read_text(encoding="utf-8"))
        return {
            str(name): {key: float(times[key]) for key in ("fp32_s", "bf16_s")}
            for name, times in held.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _write(known: dict[str, dict[str, float]]) -> None:
    """Replace the file in one step; where it cannot be written the next process times again."""
    with suppress(OSError):
        path().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path(), json.dumps(known, indent=1).encode())
