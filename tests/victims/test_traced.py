"""Traced networks: their training mode, their cut points, and what is refused."""

import pickle
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from privbench.victims.traced import TracedModel
from tests.support import instantiated

SHAPE = (1, 8, 8)


class Noisy(nn.Module):
    """Dropout as functions, by keyword, by position, from a layer within, and scaled by the mode."""

    def __init__(self, on=None):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 10)
        self.on = on

    def forward(self, x):
        on = self.training if self.on is None else self.on
        x = F.dropout2d(self.conv(x), 0.5, on).relu()
        x = F.dropout(x, training=on, inplace=True)
        x = torch.mul(x.mean((2, 3)), 3.0 if on else 1.0)
        return self.head(torch.dropout(x, 0.1, on))


def _traced(build):
    torch.manual_seed(0)
    return TracedModel(build, SHAPE, 10).eval()


def _seeded(network, x):
    torch.manual_seed(1)
    return network(x)


def test_a_traced_network_computes_in_each_mode_what_the_network_does():
    """Functional dropout among it, also in pickled halves; nodes and cut points stay."""
    model, plain = _traced(Noisy), _traced(partial(Noisy, on=False))
    assert model.split_points == plain.split_points
    assert list(model.state_dict()) == list(plain.state_dict())
    network, x = Noisy(), torch.rand(5, *SHAPE)
    network.load_state_dict(model.network.state_dict())
    halves = pickle.loads(pickle.dumps(model.split("relu")))
    for on in (False, True, False):
        expected = _seeded(network.train(on), x)
        assert torch.equal(_seeded(model.train(on), x), expected)
        assert torch.equal(_seeded(nn.Sequential(*halves).train(on), x), expected)
        assert torch.equal(expected, plain(x)) != on


class Reading(nn.Module):
    """A network that reads the batch size of its input before anything else."""

    def __init__(self, read):
        super().__init__()
        self.read = read
        self.conv1, self.conv2 = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(192, 10)

    def forward(self, x):
        n = self.read(x)
        offset = self.head.bias[:1].expand(2 * n)[:n]
        x = self.conv2(self.conv1(x).relu())
        return self.head((x + offset.view(n, 1, 1, 1)).view(n, -1))


@pytest.mark.parametrize(
    "read",
    [lambda x: x.shape[0], lambda x: x.size(0), lambda x: x.size()[0], lambda x: x.size(dim=0)],
)
def test_reading_the_batch_size_early_costs_no_cut_point(read):
    """The cloud reads it off the features it is sent, whatever their number."""
    model = _traced(partial(Reading, read))
    points = ("input", "conv1", "relu", "conv2", "add", "view_1")
    assert model.split_points == points
    for count in (1, 4):
        x = torch.rand(count, *SHAPE)
        for point in points:
            edge, cloud = model.split(point)
            assert torch.equal(cloud(edge(x)), model(x)), point


def test_a_length_that_is_the_batch_size_by_chance_is_none():
    """Channels, three as the images that a network is tried with, still hold a path open."""

    def channels(x):
        return x.expand(-1, 3, -1, -1).transpose(0, 1).shape[0] * x.shape[0] // 3

    assert _traced(partial(Reading, channels)).split_points == ("input", "view_1")


class Branching(nn.Module):
    """A network with another layer in training mode."""

    def __init__(self, shape=SHAPE, classes=10):
        super().__init__()
        self.head = nn.Linear(64, classes)

    def forward(self, x):
        x = x.flatten(1).relu()
        return self.head(x + torch.randn_like(x) if self.training else x)


class Auxiliary(Branching):
    """A network that returns a second result in training mode, as torchvision's GoogLeNet does."""

    def forward(self, x):
        x = x.flatten(1)
        second = self.head(x.neg()) if self.training else None
        logits = self.head(x.relu())
        return Results(logits, second) if self.training else logits


class Results(NamedTuple):
    logits: torch.Tensor
    auxiliary: torch.Tensor


class AlwaysNoisy(Branching):
    """A network whose noise is never off."""

    def forward(self, x):
        x = x.flatten(1)
        return self.head(x + torch.rand_like(x))


def _module(name, epochs):
    target = f"victim.model._target_={__name__}.{name}"
    return instantiated("victim", "module", target, f"victim.epochs={epochs}")


def test_another_graph_in_training_mode_is_refused_where_it_would_be_trained():
    """In one line. Weights that are given are not trained, auxiliary logits are no loss."""
    with pytest.raises(ValueError, match=r"another graph in training mode \(head differs\).*lost"):
        _module("Branching", 1).outline(SHAPE, 10)
    for name, epochs in (("Branching", 0), ("Auxiliary", 1)):
        points = _module(name, epochs).outline(SHAPE, 10).split_points
        assert points == ("input", "flatten", "relu")


def test_random_answers_are_refused_before_anything_is_trained():
    """Planning has no weights: on the meta device all answers are equal."""
    with (
        torch.device("meta"),
        pytest.raises(ValueError, match="AlwaysNoisy gives random answers in evaluation mode"),
    ):
        _module("AlwaysNoisy", 1).outline(SHAPE, 10)
