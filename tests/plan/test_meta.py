"""Passes on the meta device without torch's compiler, and what a plan imports."""

import subprocess
import sys

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


def test_kernels_are_left_as_they_were():
    """Within the context each calls itself; one that was called before keeps what it called."""
    kernels = meta._kernels()
    assert "sub" in {kernel.__name__ for kernel in kernels}
    kept = {k: getattr(k, meta.UNCOMPILED, None) for k in kernels}
    with meta.without_compiler():
        assert all(getattr(k, meta.UNCOMPILED) is (kept[k] or k) for k in kernels)
        difference = (torch.empty(2, 3, device="meta") - 1) / 2
    assert difference.shape == (2, 3)
    assert {k: getattr(k, meta.UNCOMPILED, None) for k in kernels} == kept


@pytest.mark.slow
def test_a_plan_needs_no_network_and_none_of_the_large_imports(tmp_path):
    """Of ResNet-18 on images that are not there; it takes seconds to start."""
    words = [sys.executable, "-c", OFFLINE]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") > 20 and done.stdout.endswith("[]\n")
