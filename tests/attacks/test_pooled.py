"""Inverse networks that learn from K answers to an image together."""

import dataclasses

import pytest
import torch
from torch import nn

from privbench.attacks.inverse import pooled
from privbench.defenses.deployment import Deployment
from privbench.defenses.gaussian import Gaussian
from tests.support import RecordingLogger, granted, instantiated

EDGE = nn.Sequential(nn.Identity())
SENT = 16
"""Times that a target is sent."""
NAMES = ("inverse", "inverse_paper")


class Shrink(nn.Module):
    """A decoder of two numbers, which shrink the features towards a grey."""

    def __init__(self, feature_shape, image_shape):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)

    def forward(self, v):
        """Features ``(N, 1, h, w)`` to images of the same shape."""
        return self.layer(v)


def attack_of(**changes):
    given = {"steps": 200, "batch": 64, "lr": 0.1, "precision": "32-true", "pooled": True}
    return dataclasses.replace(
        instantiated("attack", "inverse"), **{**given, "decoder": Shrink, **changes}
    )


def met(attack, times: int = SENT) -> tuple[int, float]:
    """Return queries and squared error of an attack on new images behind Gaussian noise."""
    logger, deployment = RecordingLogger(), Deployment(EDGE, Gaussian(sigma=1.0), nn.Flatten())
    x, own = torch.rand(2, 100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    view = granted(deployment, own, attack.access, transmissions=times, logger=logger)
    attack.check(view)
    reconstruct = attack.fit(view)
    v = deployment.transmit(x, view.streams("targets", list(range(100))), times)
    return logger.facts["queries"], float((reconstruct(v) - x).square().mean())


@pytest.mark.long
def test_answers_together_give_what_one_answer_with_less_noise_gives():
    """The least squared error of a variance v behind noise of variance s is v s / (v + s)."""
    queries, together = met(attack_of())
    assert queries == 100 * SENT
    assert together == pytest.approx(1 / (12 + SENT), rel=0.1)
    queries, apart = met(attack_of(pooled=False))
    assert queries == 100
    assert apart > 2 * together, "the mean of single images stays near the mean image"


def test_queries_pay_for_fewer_images():
    """What does not pay for two images is refused, with the least that does."""
    assert met(attack_of(queries=20 * SENT + 3, steps=1))[0] == 20 * SENT
    with pytest.raises(ValueError, match=rf"queries=3 .*choose {2 * SENT} or more"):
        met(attack_of(queries=3))


def test_a_target_that_is_sent_once_changes_nothing():
    """The large decoder is given the share of zeros besides."""
    assert met(attack_of(steps=1), 1) == met(attack_of(steps=1, pooled=False), 1)
    assert met(attack_of(steps=1, decoder="large"))[0] == 100 * SENT


def test_the_statistics_are_those_of_a_likelihood():
    """Mean of what was kept, and share of what was dropped."""
    v = torch.tensor([[0.0, 1.0, 0.0], [2.0, 3.0, 0.0]])[None]
    mean, zeros = pooled(v)[0]
    assert mean.tolist() == [2.0, 2.0, 0.0]
    assert zeros.tolist() == [0.5, 0.0, 1.0]


def test_it_is_the_default_where_a_target_is_sent_several_times(cell):
    """Of the inverse network, not of the published one."""
    cells = [cell("attack=inverse"), *(cell(f"attack={n}", "transmissions=4") for n in NAMES)]
    assert [one.attack.pooled for one in cells] == [False, True, False]
