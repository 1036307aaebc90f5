"""The cost model against numbers computed by hand, and the rates at which a choice changes."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch

from privbench.plan.choice import Limits
from privbench.plan.cost import Setup, cost_of
from privbench.plan.counts import count
from privbench.plan.uplink import Sensitivity
from privbench.victims.torchvision_models import Architecture
from privbench.victims.traced import TracedModel
from tests.plan.setups import counts, option, random_options, setup
from tests.support import instantiated


def test_seconds_and_joules_by_hand():
    """1 + .5 + .5 s and two layers on the edge; 8 Mbit at 8 Mbit/s at 1 W; 0.1 s of the cloud."""
    at = setup()
    cost = cost_of(counts(), at)
    assert cost.edge_s == pytest.approx(2.0002)
    assert cost.network_s == pytest.approx(1 + 320 / 16e6 + 0.005)
    assert cost.cloud_s == pytest.approx(0.1)
    assert cost.latency_s == pytest.approx(2.0002 + 1.00502 + 0.1)
    assert cost.throughput_hz == pytest.approx(1 / 2.0002)
    radio = 1.0 * 1 + (50 * 16 + 200) / 1e3 * 320 / 16e6  # W times s, up and down
    assert cost.energy_j == pytest.approx(10 * 2.0002 + radio)
    assert cost.energy_isolated_j == pytest.approx(cost.energy_j + 3)
    waiting = cost_of(counts(), dataclasses.replace(at, idle=True))
    assert waiting.energy_j == pytest.approx(cost.energy_j + 1.0 * (0.1 + 0.005))


def test_formats_transmissions_and_the_limits_of_the_model():
    """int8 takes a quarter; K transmissions K times; no power no energy; power ends to grow."""
    at = setup()
    eighth = cost_of(counts(), dataclasses.replace(at, payload="int8"))
    assert eighth.network_s == pytest.approx(0.25 + 0.00502)
    thrice = cost_of(counts(), at, transmissions=3)
    assert thrice.network_s == pytest.approx(3.00502) and thrice.cloud_s == pytest.approx(0.3)
    silent = dataclasses.replace(at.platform, active_w=None)
    assert cost_of(counts(), dataclasses.replace(at, platform=silent)).energy_j is None
    nothing = cost_of(counts(bits=0, answer=0), at)
    assert nothing.network_s == 0 and nothing.energy_isolated_j == nothing.energy_j
    powers = [cost_of(counts(), at.at_uplink(rate)).energy_j for rate in (20.0, 200.0)]
    assert powers[0] - powers[1] == pytest.approx(2.2 * (8 / 20 - 8 / 200))  # W times s


def test_neurosurgeons_platform_gives_its_alexnet():
    """By construction: 81 ms and 0.87 J on the device, 6 ms in the cloud; uploads of 152 KB."""
    shape = (3, 224, 224)
    with torch.device("meta"):
        model = TracedModel(partial(Architecture("alexnet"), shape, 1000), shape, 1000)
    counted = count(model.eval(), shape, 1000)
    named = partial(instantiated, "platform")
    for network, upload_ms in (("wifi", 64.4), ("lte", 207.9)):
        at = Setup(
            named("tk1_gpu"),
            instantiated("network", network),
            instantiated("cloud", "k40"),
            "fp32",
            idle=False,
        )
        edge = cost_of(counted["edge-only"], at)
        picture = dataclasses.replace(counted["cloud-only"], payload_bits={"fp32": 152e3 * 8})
        cloud = cost_of(picture, at)
        assert edge.latency_s * 1e3 == pytest.approx(81, rel=0.02)
        assert edge.energy_j == pytest.approx(0.87, rel=0.02)
        assert cloud.cloud_s * 1e3 == pytest.approx(6, rel=0.02)
        assert cloud.network_s * 1e3 == pytest.approx(upload_ms, rel=0.02)
    early = cost_of(counted["features_2"] if "features_2" in counted else counted["features_1"], at)
    assert early.latency_s > cloud.latency_s  # the first features are larger than the picture


@pytest.mark.parametrize("objective", ["latency", "energy"])
@pytest.mark.parametrize(
    ("largest", "smallest"),
    [({}, {}), ({"latency_ms": 300.0, "energy_j": 1.5}, {"throughput_hz": 3.0})],
)
def test_the_rates_at_which_the_choice_changes_are_those_of_brute_force(
    objective, largest, smallest
):
    """At 300 rates the window's option is the one that is chosen there."""
    at = setup()
    for seed in range(2):
        options = random_options(seed, 5, at)
        asked = Sensitivity(options, Limits(largest, smallest), objective, "ssim", at)
        windows = asked.windows()
        assert [w.high for w in windows[:-1]] == [w.low for w in windows[1:]]
        assert len(windows) > 1
        for rate in np.geomspace(0.011, 9000, 300):
            (window,) = [w for w in windows if w.low <= rate < w.high]
            best = asked.choice(float(rate)).best
            assert window.label == (best.label if best else "")


def test_a_single_crossing_in_closed_form():
    """A second more on the edge for 8 Mbit less to send: they are equal at 8 Mbit/s."""
    at = setup()
    far = option("far", counts(flops=1e9, bits=8e6), at)
    near = option("near", counts(flops=2e9, bits=0), at)
    near = dataclasses.replace(near, counts=counts(flops=2e9, bits=1e-9))
    asked = Sensitivity([far, near], Limits({}, {}), "latency", "ssim", at)
    slow, fast = asked.windows()
    assert (slow.label, fast.label) == ("near", "far")
    assert slow.high == fast.low == pytest.approx(8.0)
