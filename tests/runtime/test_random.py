"""Random draws: one stream for each image."""

import pytest
import torch
from scipy import stats

from privbench.runtime.random import RandomStreams


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_an_images_draws_depend_on_its_index_alone(kind):
    """Alone, among others, in another order: the same; another index, number or purpose: not."""
    many = getattr(RandomStreams(0, "test", [5, 2, 9]), kind)(torch.zeros(3, 4, 6))
    alone = getattr(RandomStreams(0, "test", [2]), kind)(torch.zeros(1, 4, 6))
    assert torch.equal(many[1], alone[0])
    assert not torch.equal(many[0], many[1])
    for other in (
        RandomStreams(1, "test", [2]),
        RandomStreams(0, "more", [2]),
        RandomStreams(0, "test", [2], number=1),
    ):
        assert not torch.equal(getattr(other, kind)(torch.zeros(1, 4, 6)), alone)


def test_draws_have_the_distribution_they_are_named_for():
    """Kolmogorov-Smirnov at the 0.1 % level over 100 images."""
    streams = RandomStreams(0, "test", range(100))
    uniform = streams.uniform(torch.zeros(100, 500)).flatten().numpy()
    normal = streams.normal(torch.zeros(100, 500)).flatten().numpy()
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert stats.kstest(normal, "norm").pvalue > 1e-3
