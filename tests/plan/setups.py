"""Profiles with round numbers, and options of made-up counts."""

import numpy as np

from privbench.plan.cost import Counts, Setup, Work, cost_of
from privbench.plan.option import Option
from privbench.plan.profiles import Cloud, Network, Platform


def setup(**network) -> Setup:
    """A platform of 1 GFLOP/s, 2 GB/s and 4 GB/s at 10 W, a cloud ten times as fast."""
    rates = {
        "up_mbps": 8.0, "down_mbps": 16.0, "rtt_ms": 5.0, "up_mw_per_mbps": 100.0,
        "down_mw_per_mbps": 50.0, "base_mw": 200.0, "max_mbps": 20.0, "isolated_request_j": 3.0,
    }  # fmt: skip
    return Setup(
        Platform("mine", 1.0, 2.0, 4.0, 100.0, {}, 10.0, 1.0),
        Network(name="link", **{**rates, **network}, source={}),
        Cloud("server", 10.0, 20.0, None, 0.0, {}),
        "fp32",
        idle=False,
    )


def counts(flops=1e9, weights=1e9, moved=2e9, bits=8e6, cloud=1e9, answer=320.0) -> Counts:
    """A split: a second, half a second, half a second and 0.2 ms of the edge."""
    sent = {"fp32": bits, "fp16": bits / 2, "int8": bits / 4}
    edge, rest = Work(flops, weights, moved, 2), Work(cloud)
    return Counts(edge, rest, 1000, weights + 1e6, sent, answer)


def option(name: str, given: Counts, at: Setup, **fields) -> Option:
    """An option of these counts."""
    return Option(name, name, given, cost_of(given, at), **fields)


def random_options(seed: int, count: int, at: Setup) -> list[Option]:
    """Options that send less the more they compute, roughly, between the two extremes."""
    generator = np.random.default_rng(seed)
    found = [option("cloud-only", counts(0, 0, 0, 1.2e6, 2e9), at)]
    for number in range(count):
        share = float(generator.uniform())
        bits = float(10 ** generator.uniform(4.5, 7))
        found.append(
            option(f"s{number}", counts(2e8 * share, 1e7, 1e7, bits, 2e9 * (1 - share)), at)
        )
    return [*found, option("edge-only", counts(2.2e8, 1e7, 2e7, 0, 0, 0), at)]
