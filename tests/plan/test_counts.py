"""Counts: published FLOPs, memory by hand, and the metrics of deployments."""

import dataclasses
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from privbench.evaluation.metrics.edge_flops import edge_flops
from privbench.evaluation.metrics.edge_parameters import edge_parameters
from privbench.plan.counts import count, names_of
from privbench.plan.evidence import collect
from privbench.plan.option import deployed_counts
from privbench.store.record import Score
from privbench.victims.lenet5 import LeNet5
from privbench.victims.resnet18 import ResNet18
from privbench.victims.torchvision_models import Architecture
from privbench.victims.traced import TracedModel
from tests.plan.setups import counts
from tests.records import record


def _imagenet(arch: str):
    shape = (3, 224, 224)
    with torch.device("meta"):
        model = TracedModel(partial(Architecture(arch), shape, 1000), shape, 1000)
    return count(model.eval(), shape, 1000)


@pytest.mark.parametrize(
    ("arch", "gflop"), [("alexnet", 1.428), ("vgg16", 30.94), ("vit_b_16", 35.13)]
)
def test_flops_are_the_published_ones(arch, gflop):
    """Two per multiplication; attention counts on the meta device. Edge and cloud add up to it."""
    counted = _imagenet(arch)
    assert counted["edge-only"].edge.flops / 1e9 == pytest.approx(gflop, abs=0.005)
    for at in counted.values():
        assert at.edge.flops + at.cloud.flops == counted["cloud-only"].cloud.flops


def test_lenet_by_hand():
    """At relu1 the outputs of conv1 and of relu1 are in use at once; at fc1, fc1's two tensors."""
    counted = count(LeNet5((1, 28, 28), 10), (1, 28, 28), 10)
    assert list(counted)[:2] == ["cloud-only", "conv1"] and list(counted)[-1] == "edge-only"
    relu1, fc1 = counted["relu1"], counted["fc1"]
    map_bytes, weights = 8 * 24 * 24 * 4, (8 * 25 + 8) * 4
    constants = 2 * 4  # of the normalisation
    assert relu1.memory_bytes == 2 * map_bytes + weights + constants
    assert relu1.edge.flops == 2 * 8 * 24 * 24 * 25
    assert relu1.edge.activation_bytes == map_bytes and relu1.edge.layers == 1
    assert relu1.parameters == 208
    assert relu1.payload_bits == {"fp32": 32 * 4608, "fp16": 16 * 4608, "int8": 8 * 4608}
    assert fc1.cloud.weight_bytes == 4 * (120 * 84 + 84 + 84 * 10 + 10)
    assert counted["cloud-only"].payload_bits["fp32"] == 8 * 784
    assert counted["edge-only"].payload_bits["fp32"] == 0
    assert counted["edge-only"].parameters == 45_278


def test_a_residual_network_counts_as_its_deployments_do():
    """FLOPs and parameters are the metrics' own; a block keeps its shortcut in memory."""
    shape = (3, 32, 32)
    model = ResNet18(shape, 10, width=8).eval()
    counted = count(model, shape, 10)
    for point in ("relu", "add_1", "flatten"):
        edge = SimpleNamespace(edge=model.split(point)[0])
        assert counted[point].edge.flops == edge_flops(edge, torch.empty(1, *shape))
        assert counted[point].parameters == edge_parameters(edge, torch.empty(0))
    one = 8 * 32 * 32 * 4  # a tensor of the first stage: shortcut, input and output of a layer
    statistics = 2 * 8 * 4  # that a normalisation returns besides
    add = counted["add"]
    assert add.memory_bytes - add.edge.weight_bytes == 3 * one + statistics
    assert names_of(model)["add_1"] == "add_1" and "layer1" in names_of(model).values()


@pytest.mark.parametrize(
    ("channel", "site", "bits", "payload"),
    [
        ("none.NoDefense", "features", 8000, {"fp32": 8000, "fp16": 4000, "int8": 2000}),
        ("quantize.Quantize", "features", 500, {"fp32": 500, "fp16": 500, "int8": 500}),
        ("quantize.Quantize", "input", 8000, {"fp32": 8000, "fp16": 4000, "int8": 2000}),
    ],
    ids=["floats", "a code", "a code of the input"],
)
def test_a_defended_edge_has_its_own_payload_and_weights(channel, site, bits, payload):
    """Of 1,000 features a bottleneck sends 250: fewer bits as floats too, but not as a code."""
    one = record("bottleneck", 0.75, site)
    one.config["defense"] = {
        "_target_": "privbench.defenses.bottleneck.Bottleneck",
        "channel": {"_target_": f"privbench.defenses.{channel}", "site": site},
    }
    numbers = {"payload_bits": float(bits), "edge_parameters": 1250.0, "edge_flops": 2e9}
    scores = {**one.scores, **{name: Score(value, None) for name, value in numbers.items()}}
    (evidence,) = collect([dataclasses.replace(one, scores=scores)], [], [])
    plain = counts(bits=32_000.0)
    found = deployed_counts(plain, evidence)
    assert found.payload_bits == payload
    assert found.edge.weight_bytes - plain.edge.weight_bytes == 4 * 250
    assert found.memory_bytes - plain.memory_bytes == 4 * 250
