"""Calibration recovers the constants that times were made with."""

import numpy as np
import pytest
from omegaconf import OmegaConf

from privbench.plan import calibrate
from privbench.plan.cost import Work

PLANTED = {"gflops": 56.4, "weight_gbps": 5.36, "activation_gbps": 0.52}


def _works(count: int) -> list[Work]:
    generator = np.random.default_rng(1)
    return [Work(*10 ** generator.uniform((8, 6, 6), (10.5, 9, 8))) for _ in range(count)]


def _seconds(work: Work) -> float:
    parts = (work.flops, work.weight_bytes, work.activation_bytes)
    return sum(part / 1e9 / rate for part, rate in zip(parts, PLANTED.values(), strict=True))


def test_planted_constants_are_recovered():
    """Exactly without noise; within its size with 5 % of it."""
    works = _works(12)
    exact, error = calibrate.fit(works, [_seconds(work) for work in works])
    assert exact == pytest.approx(PLANTED, rel=1e-6)
    assert error == pytest.approx(1, abs=1e-6)
    noise = np.random.default_rng(2).lognormal(0, 0.05, 12)
    noisy, error = calibrate.fit(
        works, [_seconds(w) * n for w, n in zip(works, noise, strict=True)]
    )
    assert noisy == pytest.approx(PLANTED, rel=0.15)
    assert 1.01 < error < 1.1


def test_what_networks_do_not_determine_is_refused():
    """Too few, or weights that take no time."""
    with pytest.raises(ValueError, match="at least 3 networks, got 2"):
        calibrate.fit(_works(2), [1, 1])
    works = [Work(1e9 * n, 1e8 / n, 1e7 * n**2) for n in (1, 2, 3, 4)]
    with pytest.raises(ValueError, match="do not determine weight_gbps"):
        calibrate.fit(works, [work.flops / 1e9 + work.activation_bytes / 1e9 for work in works])


def test_a_table_becomes_a_platform(tmp_path):
    """Times of three networks of torchvision by the planted constants give them back."""
    table = tmp_path / "board.csv"
    names = ("alexnet", "resnet18", "vgg11")
    lines = [f"{name},{_seconds(calibrate.whole(name)) * 1e3}" for name in names]
    table.write_text("\n".join(["network,ms", *lines]))
    text = calibrate.platform_yaml("board", calibrate.read(table), table.name)
    node = OmegaConf.create(text)
    assert text.startswith("# board") and node.name == "board" and node.active_w is None
    assert {name: node[name] for name in PLANTED} == pytest.approx(PLANTED, rel=1e-3)
    assert "3 networks of 224x224 in board.csv" in node.source.gflops
    table.write_text("net,ms\nalexnet,1\n")
    with pytest.raises(ValueError, match=r"has columns \['net', 'ms'\], expected"):
        calibrate.read(table)
    table.write_text("network,ms\nalexnet,-1\n")
    with pytest.raises(ValueError, match="ms of alexnet is no number above 0"):
        calibrate.read(table)
