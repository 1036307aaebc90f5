"""Decoders and surrogate edges: they fit every split, and the small ones are the published ones."""

import pytest
import torch
from torch import nn

from privbench.attacks.components.decoders import DECODERS, build, on_grid, spatial
from privbench.attacks.components.surrogates import surrogate_edge
from privbench.defenses.bottleneck import ChannelMap
from privbench.victims.cifar_cnn import CifarCNN
from privbench.victims.lenet5 import LeNet5

VICTIMS = {"lenet5": LeNet5((1, 28, 28), 10), "cifar_cnn": CifarCNN((3, 32, 32), 10)}


SPLITS = [(name, split) for name, victim in VICTIMS.items() for split in victim.split_points]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("victim", "split"), SPLITS)
def test_a_decoder_fits_every_split_of_every_victim(victim, split, decoder):
    """From shapes alone; and an image's reconstruction does not depend on its neighbours."""
    shape = (1, 28, 28) if victim == "lenet5" else (3, 32, 32)
    edge, _ = VICTIMS[victim].split(split)
    x = torch.rand(3, *shape)
    v = edge(x).detach()
    network = build(decoder, tuple(v.shape[1:]), shape).eval()
    with torch.no_grad():
        together, alone = network(v), network(v[:1])
    assert together.shape == x.shape
    torch.testing.assert_close(together[:1], alone, atol=1e-4, rtol=1e-4)


def test_the_small_decoders_are_the_published_ones():
    """A 5x5 convolution with padding 4 at conv1; two transposed convolutions at relu2."""
    conv1 = build("paper", (8, 24, 24), (1, 28, 28))
    (layer,) = conv1.layers
    v = torch.rand(2, 8, 24, 24)
    as_convolution = nn.functional.conv2d(
        v, layer.weight.flip(2, 3).transpose(0, 1), layer.bias, padding=4
    )
    torch.testing.assert_close(conv1(v), (1 + as_convolution) / 2)
    shapes = [tuple(p.shape) for p in build("paper", (16, 8, 8), (1, 28, 28)).parameters()]
    assert shapes == [(16, 8, 5, 5), (8,), (8, 1, 5, 5), (1,)]
    shapes = [tuple(p.shape) for p in build("paper", (128, 16, 16), (3, 32, 32)).parameters()]
    assert shapes == [(128, 64, 3, 3), (64,), (64, 3, 3, 3), (3,)]


@pytest.mark.parametrize(("victim", "split"), SPLITS)
def test_a_stand_in_gives_features_like_the_edges(victim, split):
    """Of their shape; negative ones only where the edge's may be."""
    shape = (1, 28, 28) if victim == "lenet5" else (3, 32, 32)
    edge, cloud = VICTIMS[victim].split(split)
    x = torch.rand(2, *shape)
    v = edge(x)
    stand = surrogate_edge(shape, tuple(v.shape[1:]), cloud)
    answer = stand(x)
    assert answer.shape == v.shape
    if bool((answer < 0).any()):
        assert bool((v < 0).any())
    cloud(answer)


def test_the_stand_ins_are_the_published_ones():
    """Two linear convolutions of 8 channels at conv1; four and a pooling at relu2."""

    def layers(point):
        edge, cloud = VICTIMS["lenet5"].split(point)
        shape = tuple(edge(torch.zeros(1, 1, 28, 28)).shape[1:])
        return [
            (type(layer).__name__, getattr(layer, "out_channels", None))
            for layer in surrogate_edge((1, 28, 28), shape, cloud)
        ][1:]

    eight, sixteen = ("Conv2d", 8), ("Conv2d", 16)
    pool, relu = ("MaxPool2d", None), ("ReLU", None)
    assert layers("conv1") == [eight, eight]
    assert layers("relu2") == [eight, sixteen, pool, sixteen, sixteen, relu]


@pytest.mark.parametrize("decoder", ["large", "paper"])
@pytest.mark.parametrize(("features", "most"), [((4096,), 55e6), ((512,), 8e6)])
def test_the_network_of_vectors_fits_the_memory_for_images_of_imagenets_size(
    decoder, features, most
):
    """AlexNet's and ResNet-18's last vectors: 822 million weights from a grid of 56x56."""
    with torch.device("meta"):
        network = DECODERS[decoder](features, (3, 224, 224))
        assert network(torch.zeros(2, *features)).shape == (2, 3, 224, 224)
    assert sum(weight.numel() for weight in network.parameters()) < most


@pytest.mark.parametrize(
    "first", [nn.BatchNorm2d(16), nn.LeakyReLU(), nn.GELU(), ChannelMap(16, 8, axis=1), nn.Conv2d(16, 4, 1)],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_features_in_front_of_a_norm_or_a_map_are_signed(first):
    """A rectified surrogate could not follow them; in front of a convolution they are rectified."""
    torch.manual_seed(0)
    answer = surrogate_edge((1, 28, 28), (16, 14, 14), nn.Sequential(first))(
        torch.rand(4, 1, 28, 28)
    )
    assert bool((answer < 0).any()) is not isinstance(first, nn.Conv2d)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("class_token", [False, True])
def test_tokens_are_laid_out_in_the_proportions_of_the_image(decoder, class_token):
    """A patch of a wide image moves a decoder's input at its own place, and no other."""
    shape, (rows, columns) = (3, 16, 64), (4, 16)
    v = torch.zeros(1, rows * columns + class_token, 5)
    v[0, class_token + 2 * columns + 11] = 1.0
    grid = on_grid(v, shape)
    assert grid.shape == (1, 5, rows, columns)
    assert grid.nonzero()[:, 2:].unique(dim=0).tolist() == [[2, 11]]
    network = build(decoder, tuple(v.shape[1:]), shape).eval()
    assert network(v).shape == (1, *shape)


def test_tokens_that_fill_no_grid_of_the_image_are_spread():
    """Such as of patches that are no squares, and a single token."""
    assert spatial((32, 5), (3, 16, 64)) == (32, 5)
    assert spatial((1, 5), (3, 16, 64)) == (1, 5)
    assert surrogate_edge((3, 16, 64), (65, 5), nn.Sequential(nn.GELU()))(
        torch.rand(2, 3, 16, 64)
    ).shape == (2, 65, 5)
