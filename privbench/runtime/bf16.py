"""Choice of bf16 on a processor: timed once per machine, and cached."""

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
"""Seconds of a training step, in bf16 where ``True``."""

ROUNDS = 4
LIMIT = 0.5
"""Seconds after which a precision is timed no further: slow machines need fewer rounds."""
_timings: dict[str, dict[str, float]] = {}
"""Timings that this process measured or read, by machine; it keeps to them."""


def is_faster(timer: Timer | None = None) -> bool:
    """Compare the times of a training step in bf16 and in float32.

    Args:
        timer: Times a step; ``None`` for a small one of convolutions like those of victims and
            decoders.

    Returns:
        True where bf16 takes less time.
    """
    name = _machine()
    if name not in _timings:
        cached = _read_cache()
        if name not in cached:
            timer = timer or step_timer()
            times = {"fp32_s": shortest_step(timer, False), "bf16_s": shortest_step(timer, True)}
            cached[name] = times
            _write_cache(cached)
        _timings[name] = cached[name]
    return _timings[name]["bf16_s"] < _timings[name]["fp32_s"]


def shortest_step(timer: Timer, bf16: bool) -> float:
    """Return the shortest of a few steps; the first, which includes set-up, does not count."""
    started = time.monotonic()
    timer(bf16)
    times = [timer(bf16)]
    while len(times) < ROUNDS and time.monotonic() - started < LIMIT:
        times.append(timer(bf16))
    return min(times)


def step_timer() -> Timer:
    """Build a timer of a step of two convolutions of 64 channels on 16 images of 16x16."""
    width = 64
    with torch.random.fork_rng(devices=[]):  # initial weights leave the caller's stream alone
        network = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.MaxPool2d(2),
        ).to(memory_format=torch.channels_last)  # fmt: skip
    x = torch.full((16, width, 16, 16), 0.5).to(memory_format=torch.channels_last)

    def step(bf16: bool) -> float:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = network(x).float().square().mean()
        loss.backward()
        return time.perf_counter() - started

    return step


def cache_path() -> Path:
    """Return the file of the timings, in the user's cache folder."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "privbench" / "bf16.json"


def _machine() -> str:
    """Name everything that times depend on: processor, torch, and number of threads."""
    return f"{_processor()} | torch {torch.__version__} | {torch.get_num_threads()} threads"


@lru_cache(maxsize=1)
def _processor() -> str:
    """Name the processor's model and the instruction set that torch uses."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model} {torch.backends.cpu.get_cpu_capability()}"


def _read_cache() -> dict[str, dict[str, float]]:
    """Return the cached timings; none where the file does not parse."""
    try:
        cached = json.loads(cache_path().read_text(encoding="utf-8"))
        return {
            str(name): {key: float(times[key]) for key in ("fp32_s", "bf16_s")}
            for name, times in cached.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _write_cache(timings: dict[str, dict[str, float]]) -> None:
    """Replace the file in one step; where it cannot be written the next process times again."""
    with suppress(OSError):
        cache_path().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(cache_path(), json.dumps(timings, indent=1).encode())
