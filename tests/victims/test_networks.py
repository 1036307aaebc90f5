"""Networks of users and of torchvision: their weights, constants and errors; the README's example."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from privbench.attacks.components.decoders import MultiTransmissionDecoder, build
from privbench.attacks.components.surrogates import surrogate_edge
from privbench.runtime.errors import UserError
from privbench.store.recipes import victim_recipe, weights_of
from privbench.victims.resnet18 import BasicBlock
from privbench.victims.traced import TracedModel
from tests.support import ROOT, instantiated

SHAPE = (1, 28, 28)


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The README's module, and a way to make its configuration."""
    text = (ROOT / "privbench" / "victims" / "README.md").read_text()
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "def b" in block
    )
    (tmp_path / "my_readme_net.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)

    def make(*words):
        target = "victim.model._target_=my_readme_net.build"
        return instantiated("victim", "module", target, *words)

    return make


def _saved(path, config, width_of=None):
    network = (width_of or config).build(SHAPE, 10, 5).network
    save_file(network.state_dict(), path)
    return network


def test_weights_of_a_file_replace_random_ones_and_nothing_is_trained(example, tmp_path):
    """Bit for bit, whatever the seed; images are standardised by the typed constants."""
    saved = _saved(tmp_path / "w.safetensors", example())
    constants = ["victim.preprocess.mean=[0.4]", "victim.preprocess.std=[0.2]"]
    victim = example(f"victim.weights={tmp_path / 'w.safetensors'}", "victim.epochs=0", *constants)
    model, x = victim.build(SHAPE, 10, 0).eval(), torch.rand(2, *SHAPE)
    torch.testing.assert_close(model(x), saved((x - 0.4) / 0.2))
    assert victim.train(model, x, torch.zeros(2), seed=0, device_config=None) == {"epochs": 0}


def test_weights_of_another_network_are_refused_in_one_line(example, tmp_path):
    """Before anything is trained: the layers are compared without weights."""
    _saved(tmp_path / "w.safetensors", example())
    wide = example("+victim.model.width=4", f"victim.weights={tmp_path / 'w.safetensors'}")
    with (
        torch.device("meta"),
        pytest.raises(ValueError, match=r"0\.weight has shape \(16, 1, 3, 3"),
    ):
        wide.outline(SHAPE, 10)
    torch.save({"other": torch.zeros(1)}, tmp_path / "o.pt")
    with pytest.raises(ValueError, match=r"4 weights missing .*, 1 unknown \(other\)"):
        example(f"victim.weights={tmp_path / 'o.pt'}").outline(SHAPE, 10)


def test_the_content_of_a_file_enters_the_recipe_and_its_name_does_not(tmp_path):
    """A moved file is the same victim, an edited one another."""
    recipes = []
    for name, text in (("a.pt", "1"), ("b.pt", "1"), ("a.pt", "2")):
        (tmp_path / name).write_text(text)
        config = {"victim": {"weights": str(tmp_path / name)}, "seed": 0}
        recipes.append(victim_recipe(config, {"data.train": "", **weights_of(config)}))
    assert recipes[0] == recipes[1] != recipes[2]


def test_weights_by_an_unknown_name_list_the_known_ones():
    """No download is tried."""
    with pytest.raises(Exception, match="IMAGENET1K_V1, or type the path"):
        instantiated("victim", "torchvision", "victim.weights=V9")


def test_a_failed_download_names_the_file_and_its_place(monkeypatch, tmp_path):
    """In one line."""
    from urllib.error import URLError

    from torchvision import models

    def fail(*_, **__):
        raise URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr(models.ResNet18_Weights, "get_state_dict", fail)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    victim = instantiated("victim", "torchvision", "victim.weights=IMAGENET1K_V1")
    with (
        torch.device("meta"),
        pytest.raises(ValueError, match=r"put that file at .*resnet18.*\.pth"),
    ):
        victim.outline((3, 64, 64), 10)


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_network_that_cannot_be_traced_is_refused_in_one_line():
    """Naming its class."""
    with pytest.raises(ValueError, match="torch.fx cannot trace Branching"):
        TracedModel(Branching, SHAPE, 10)


class Loading(nn.Sequential):
    """A constructor that gives the same weights each time."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 10))
        with torch.no_grad():
            self[1].weight.copy_(torch.arange(784.0).expand(8, -1))


def test_a_constructor_that_loads_weights_grants_no_fresh_edge():
    """The adversary would hold the victim's."""
    edge, _ = TracedModel(Loading, SHAPE, 10).split("2")
    with pytest.raises(UserError, match=r"constructor loads network\.1\.weight"):
        edge.rebuild(0)


@pytest.mark.parametrize(
    ("arch", "shape"),
    [("resnet18", (1, 32, 32)), pytest.param("vgg11", (3, 64, 64), marks=pytest.mark.slow)],
)
def test_torchvision_networks_are_cut_at_every_point(arch, shape):
    """Random weights; grey images reach them as three channels."""
    model = instantiated("victim", "torchvision", f"victim.arch={arch}").build(shape, 5, 0).eval()
    assert len(model.split_points) == {"resnet18": 23, "vgg11": 30}[arch]
    x = torch.rand(1, *shape)
    with torch.no_grad():
        logits = model(x)
        for point in model.split_points:
            edge, cloud = model.split(point)
            assert torch.equal(cloud(edge(x)), logits), point


def test_channels_last_features_leave_the_edge_channels_first():
    """Those of Swin at three splits, of which the layers and the logits stay the same."""
    shape = (3, 32, 64)
    swin = instantiated("victim", "torchvision", "victim.arch=swin_t").build(shape, 5, 0).eval()
    x = torch.rand(1, *shape)
    with torch.no_grad():
        logits = swin(x)
        sizes = []
        for point in ("features.0", "early", "middle"):
            edge, cloud = swin.split(point)
            v = edge(x)
            assert torch.equal(cloud(v), logits), point
            sizes.append(tuple(v.shape[1:]))
        inner = edge.network(edge.input(x))
    assert sizes == [(96, 8, 16), (192, 4, 8), (384, 2, 4)]
    assert torch.equal(v.permute(0, 2, 3, 1), inner)
    fresh = edge.rebuild(0)
    assert fresh(x).shape == v.shape
    assert [point for point in swin.cuts if point not in swin.transposed][-1] == "flatten"


@pytest.mark.parametrize("stride", [1, 2])
def test_the_block_of_resnet18_is_torchvisions(stride):
    """The same weights of one seed, and the same features."""
    from torchvision.models import resnet

    blocks = []
    for kind in (BasicBlock, resnet.BasicBlock):
        torch.manual_seed(0)
        shortcut = nn.Conv2d(4, 6, 1, stride=stride)
        blocks.append(kind(4, 6, stride, shortcut).eval())
    mine, theirs = blocks
    x = torch.rand(2, 4, 8, 8)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert torch.equal(mine(x), theirs(x))


@pytest.mark.parametrize("features", [(64, 24), (65, 24), (60, 24)])
@pytest.mark.parametrize("decoder", ["large", "paper"])
def test_decoders_and_surrogates_take_tokens(features, decoder):
    """A square grid, one with a class token, and a number that is no square."""
    image = (3, 32, 32)
    v = torch.rand(2, *features)
    assert build(decoder, features, image)(v).shape == (2, *image)
    assert MultiTransmissionDecoder(features, image)(v[:, None]).shape == (2, *image)
    cloud = nn.Sequential(nn.Identity())
    assert surrogate_edge(image, features, cloud)(torch.rand(2, *image)).shape == v.shape
