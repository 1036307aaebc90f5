"""Benchmark of rMLE's inner loop: ``python -m privbench.experiment.speed``.

Prints the time per image and step of rMLE against LeNet-5 at relu2, for a batch and for a single
image, and the share of the machine's peak rate of matrix products that the batch reaches.
"""

import argparse
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from privbench.attacks.rmle import RMLE
from privbench.defenses.deployment import Deployment
from privbench.defenses.none import NoDefense
from privbench.runtime.device import DeviceConfig
from privbench.runtime.pipes import ends_with_its_reader
from privbench.runtime.random import RandomStreams
from privbench.threat import grant
from privbench.threat.view import NullLogger
from privbench.victims.lenet5 import LeNet5

BATCH, STEPS, SIDE = 64, 100, 2048


@ends_with_its_reader
def main() -> None:
    """Measure and print: on the CPU with one thread and with all, and on a GPU if available."""
    argparse.ArgumentParser(
        prog="python -m privbench.experiment.speed",
        description="Measures the speed of the attack's inner loop on this machine.",
    ).parse_args()
    cores = len(os.sched_getaffinity(0))
    for threads in sorted({1, cores}):
        torch.set_num_threads(threads)
        _report(torch.device("cpu"), f"{threads} of {cores} cores")
    if torch.cuda.is_available():
        _report(torch.device("cuda"), torch.cuda.get_device_name())


def _report(device: torch.device, name: str) -> None:
    attack, edge, cloud = RMLE(steps=STEPS), *_halves(device)
    deployment = Deployment(edge, NoDefense(), cloud)
    x = torch.rand(BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(0)).to(device)
    v = deployment.transmit(x, RandomStreams(0, "bench", range(BATCH)))
    labels = torch.zeros(BATCH, dtype=torch.int64)
    device_config = DeviceConfig("gpu" if device.type == "cuda" else "cpu")
    view = grant(
        deployment,
        x,
        labels,
        attack.access,
        split="relu2",
        seed=0,
        secret="",
        device_config=device_config,
        logger=NullLogger(),
    )
    reconstruct = attack.fit(view)
    batched = _best_of(lambda: reconstruct(v), 3) / (BATCH * STEPS)
    single = _best_of(lambda: reconstruct(v[:1]), 3) / STEPS
    matrix = torch.rand(SIDE, SIDE, device=device)
    peak = 2 * SIDE**3 / _best_of(lambda: matrix @ matrix, 5)
    work = _operations(edge, x) / BATCH
    print(f"rMLE, LeNet-5 at relu2, {name}:")
    print(f"  batch of {BATCH:<4}      {batched * 1e6:8.1f} us per image and step")
    print(f"  single image       {single * 1e6:8.1f} us, {single / batched:.1f} times the batch's")
    print(f"  operations         {work / 1e6:8.2f} MFLOP per image and step")
    print(f"  matrix product     {peak / 1e9:8.0f} GFLOP/s at {SIDE}x{SIDE}")
    print(f"  share of that peak {work / batched / peak:8.1%}")


def _halves(device: torch.device) -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(0)
    edge, cloud = LeNet5((1, 28, 28), 10).eval().to(device).split("relu2")
    return edge, cloud


def _best_of(action: Callable[[], object], times: int) -> float:
    """Return the seconds of the fastest of several runs, after a warm-up run."""
    action()
    seconds = []
    for _ in range(times):
        _synchronize()
        began = time.perf_counter()
        action()
        _synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _operations(edge: nn.Sequential, x: Tensor) -> float:
    """Return the floating-point operations of a forward and a backward pass to the images."""
    edge.requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        image = x.clone().requires_grad_()
        edge(image).square().sum().backward()
    return float(counter.get_total_flops())


if __name__ == "__main__":
    main()
