"""Top-k: what is sent, its bits, and its joint likelihood."""

import itertools
import math

import pytest
import torch

from privbench.defenses.topk import TopK
from privbench.runtime.random import RandomStreams

DRAWS = RandomStreams(0, "test", range(2))


def test_the_largest_entries_of_each_image_are_kept_and_paid_for():
    """By magnitude and image by image: a large image does not take the entries of a small one."""
    t = torch.tensor([[0.1, -3.0, 2.0, 0.5, 0.0], [10.0, 20.0, -30.0, 0.4, 5.0]])
    topk = TopK(rate=0.6)
    sent = topk.perturb(t, DRAWS)
    assert sent.tolist() == [[0.0, -3.0, 2.0, 0.0, 0.0], [0.0, 20.0, -30.0, 0.0, 0.0]]
    assert topk.payload_bits(sent) == 2 * 32 + 5
    assert TopK(rate=0.999).payload_bits(torch.zeros(1, 4096)) == 4 * (32 + 12)
    assert (TopK(rate=1.0).perturb(t, DRAWS) != 0).sum(1).tolist() == [1, 1]
    tied = topk.perturb(torch.ones(2, 5), DRAWS)
    assert tied.sum(1).tolist() == [2, 2]


@pytest.mark.parametrize("kept", [1, 2])
def test_the_joint_likelihood_of_three_entries_sums_to_one(kept):
    """Over every set of kept entries, the density of their values integrated."""
    clean = torch.tensor([0.5, -0.8, 0.1], dtype=torch.float64)
    variance = torch.tensor(0.2, dtype=torch.float64)
    step = 0.02
    grid = torch.arange(-4, 4, step, dtype=torch.float64) + step / 2
    points = torch.cartesian_prod(*[grid] * kept).view(-1, kept)
    total = 0.0
    for rows in itertools.combinations(range(3), kept):
        observed = torch.zeros(len(points), 3, dtype=torch.float64)
        observed[:, list(rows)] = points
        density = TopK(rate=1 - kept / 3).log_likelihood(observed, clean, variance).sum(1).exp()
        total += float(density.sum()) * step**kept
    assert total == pytest.approx(1, abs=2e-3)


def test_zeros_are_exact_where_fewer_entries_than_k_differ_from_zero():
    """As behind a ReLU; the density and its slope are finite there."""
    observed = torch.tensor([[0.0, 2.0, 0.0, 0.0]])
    clean = torch.full((1, 4), 0.3, requires_grad=True)
    variance = torch.tensor(1e-9, requires_grad=True)
    density = TopK(rate=0.5).log_likelihood(observed, clean, variance)
    normal = -0.5 * (0.3**2 / 1e-9 + math.log(2 * math.pi * 1e-9))
    assert float(density[0, 0].detach()) == pytest.approx(normal, rel=1e-5)
    hidden = TopK(rate=0.75).log_likelihood(observed, clean, variance)
    assert float(hidden[0, 0].detach()) == pytest.approx(0, abs=1e-6), (
        "certain, so it costs nothing"
    )
    for each in (density, hidden):
        slopes = torch.autograd.grad(each.sum(), [clean, variance], retain_graph=True)
        assert all(bool(slope.isfinite().all()) for slope in slopes)
