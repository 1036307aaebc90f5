"""Passes on the meta device without torch's compiler, and what a plan imports."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from privbench.plan import meta

OFFLINE = """
import socket, sys
def refuse(*_):
    raise AssertionError("the network was asked for")
socket.socket.connect = socket.getaddrinfo = refuse
sys.argv = ["privbench.plan", "victim=resnet18", "dataset=cifar10", "timing=2", "format=csv"]
from privbench.plan.__main__ import main
main()
print(sorted({"torchvision", "torch._dynamo", "pandas"} & set(sys.modules)))
"""


def test_a_small_module_stands_for_the_compiler_and_anything_else_is_asked_of_the_real_one(
    monkeypatch,
):
    """Behind the context neither is left, unless it was asked for."""
    monkeypatch.setitem(vars(torch), "_dynamo", None)
    monkeypatch.delitem(sys.modules, meta.COMPILER, raising=False)
    with meta.without_compiler():
        small = sys.modules[meta.COMPILER]
        assert small.disable(len, True, wrapping=False) is len
    assert meta.COMPILER not in sys.modules
    real = SimpleNamespace(config=7)
    monkeypatch.setattr(meta, "import_module", lambda name: real)
    with meta.without_compiler():
        assert sys.modules[meta.COMPILER].config == 7
        assert meta.COMPILER not in sys.modules, "so that the real one can be imported"
    monkeypatch.setitem(sys.modules, meta.COMPILER, real)
    with meta.without_compiler():
        assert sys.modules[meta.COMPILER] is real


@pytest.mark.slow
def test_a_plan_needs_no_network_and_none_of_the_large_imports(tmp_path):
    """Of ResNet-18 on images that are not there; it takes seconds to start."""
    words = [sys.executable, "-c", OFFLINE]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") > 20 and done.stdout.endswith("[]\n")
