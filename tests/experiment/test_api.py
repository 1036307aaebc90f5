"""The Python interface: networks and images in memory, on 8x8 digits."""

import re

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import privbench
from privbench.experiment.interface.images import labelled
from privbench.runtime.errors import UserError
from tests.api_attack import Probe
from tests.support import ROOT

IMAGES = torch.tensor(load_digits().images / 16)[:, None].float()
LABELS = torch.tensor(load_digits().target)
TARGETS = IMAGES[:8]
AUX = IMAGES[100:140], LABELS[100:140]


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 10)
    )


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """Trained for an instant; in training mode, as a notebook leaves it."""
    torch.manual_seed(0)
    made = network()
    optimizer = torch.optim.Adam(made.parameters(), 0.01)
    for _ in range(60):
        loss = nn.functional.cross_entropy(made(IMAGES[200:]), LABELS[200:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return made.train()


@pytest.fixture(scope="module")
def call(model, tmp_path_factory):
    """``privbench.attack`` with a store of this module, by default on the CPU at the ReLU."""
    folder = tmp_path_factory.mktemp("api")

    def attack(*words, images=TARGETS, **options):
        given = {"device": "cpu", "output_dir": str(folder), **options}
        return privbench.attack(model, *(words or ("1",)), images=images, **given)

    attack.store = folder / "store"
    return attack


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    """As it stands there, in an empty folder; it prints a result and a table of scores."""
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(
        r"```python\n(import privbench.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    exec(example, {})
    shown, announced = capsys.readouterr()
    assert announced.count(f"privbench: new store: {tmp_path / 'outputs' / 'store'}\n") == 1
    assert "rmle (access: edge_weights) on 8 images" in shown
    assert re.search(r"ssim +0\.9\d+ +0\.\d+ +0\.\d+ +0\.\d+ +True", shown), shown
    assert len(example.splitlines()) <= 12


@pytest.mark.long
def test_a_wide_convolution_is_inverted_and_scored(call, model):
    """The caller's network, threads and images stay as they are; uint8 and float are the same."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    threads, layers = torch.get_num_threads(), repr(model)
    result = call("0", images=(TARGETS * 255).round().byte(), steps=300)
    scores = privbench.evaluate(result, labels=LABELS[:8])
    assert scores.loc["psnr_db", "score"] > 30
    assert scores.loc["psnr_db", "low"] <= scores.loc["psnr_db", "score"]
    assert scores.loc["accuracy", "score"] == scores.loc["accuracy_undefended", "score"] >= 0.5
    assert "baseline" not in scores, "without aux images there is none"
    assert "ssim_gaussian" not in scores.index, "its window does not fit 8 pixels"
    by_image = privbench.evaluate(result, images=True)
    assert by_image["psnr_db"].mean() == pytest.approx(scores.loc["psnr_db", "score"])
    assert result.reconstructions.shape == TARGETS.shape
    assert result.features.shape == (8, 1, 4, 6, 6)
    assert result.access == ["EDGE_WEIGHTS"]
    assert (torch.get_num_threads(), repr(model), model.training) == (threads, layers, True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.long
def test_an_adversary_is_trained_once(call):
    """For other targets it is loaded; the blind baseline is there, a gallery adds candidates."""
    options = {"attack": "inverse", "defense": "gaussian", "sigma": 0.3, "attack__steps": 5}
    one = call(aux=AUX, **options)
    written = {path: path.stat().st_mtime_ns for path in call.store.rglob("*.safetensors")}
    assert [path.parent.name for path in written].count("adversaries") == 1
    other = call(images=IMAGES[8:16], aux=AUX, **options)
    assert {p: p.stat().st_mtime_ns for p in call.store.rglob("*.safetensors")} == written
    assert one.notes["queries"] == other.notes["queries"] == 40
    scores = privbench.evaluate(one, gallery=IMAGES[300:330])
    assert scores.loc["psnr_db", "baseline"] > 5
    assert scores.loc["identification", "chance"] == pytest.approx(1 / 38)
    assert scores.loc["channel_snr_db", "score"] > 0


def test_the_view_holds_the_rights_of_the_attack_and_no_target(call):
    """An attack of the caller's own, as an object; what it does not declare is absent."""
    result = call(attack=Probe(level=0.25), aux=AUX)
    assert result.access == ["AUX_IMAGES"]
    assert torch.equal(result.reconstructions, torch.full_like(TARGETS, 0.25))
    beaten = privbench.evaluate(result)["beaten"]
    assert not beaten["ssim"], "a blind guess is nearer than one grey"
    assert beaten.isna()["payload_bits"], "it has no baseline"
    assert result.notes["denied"] == [
        "edge",
        "fresh_edge",
        "query",
        "clean_query",
        "labels",
        "defense",
        "traffic",
        "retrained",
    ]
    assert result.notes["held"] == 0, "no tensor of the view is a target"


REFUSED = [
    ({"split": "nine"}, "split=nine is not known: choose from input, 0, 1, 2, early"),
    ({"attack": "foo"}, "attack=foo is not known: choose from blind, "),
    ({"stepz": 3}, "unknown option stepz; did you mean steps? attack=rmle has .* steps"),
    ({"sigma": 3}, "unknown option sigma; .*; defense=none has site"),
    ({"attack__stepz": 3}, "unknown option attack.stepz; attack has .*did you mean attack.steps"),
    ({"lr": -1.0}, "attack.lr=-1.0 is out of range"),
    ({"attack": "inverse"}, "attack=inverse learns from aux images: pass aux="),
    ({"attack": "shadow", "aux": AUX[0]}, "attack=shadow needs labels of the aux images"),
    ({"attack": "shadow_same", "aux": AUX}, "attack=shadow_same builds the edge anew: pass build="),
    ({"aux": IMAGES[5:20]}, "image 0 of aux is target 5"),
    (
        {"aux": IMAGES[100:140, :, :7]},
        "aux has images of shape (1, 7, 8), the targets have (1, 8, 8)",
    ),
    ({"aux": (IMAGES[100:140], LABELS[:3])}, "aux: expected 40 whole numbers as labels, got (3,)"),
    ({"images": TARGETS * 2 - 1}, "images must lie in [0, 1], got -1 to 1: pass"),
    ({"images": TARGETS[:, 0]}, "images must have the shape (N, C, H, W), got (8, 8, 8)"),
    ({"images": "digits"}, "images must be a tensor (N, C, H, W), got str"),
    ({"images": TARGETS.repeat(1, 3, 1, 1)}, "Sequential takes no images of shape (3, 8, 8)"),
    ({"defense": "quantize"}, "this defense trains or measures on the victim's training images"),
    ({"mean": [0.5]}, "mean=[0.5] and std=None: give as many numbers for both"),
    (
        {"defense": nn.Identity()},
        "defense must be a name of conf/defense or a dataclass, got Ident",
    ),
]


@pytest.mark.parametrize(("options", "line"), REFUSED, ids=[line[:30] for _, line in REFUSED])
def test_what_cannot_be_attacked_is_refused_in_one_line(call, options, line):
    """It names the argument, and nothing was trained."""
    pattern = ".*".join(map(re.escape, line.split(".*")))
    words = [options["split"]] if "split" in options else []
    given = {name: value for name, value in options.items() if name != "split"}
    with pytest.raises(UserError, match=pattern) as refused:
        call(*words, **given)
    assert "\n" not in str(refused.value)


def test_layers_are_built_anew_where_build_is_given(call):
    """Of the same network; another one is refused."""
    few = {"aux": AUX, "attack__steps": 4, "attack__inverter": "rmle", "attack__inverter__steps": 2}
    result = call(attack="shadow_same", build=network, **few)
    assert result.access == ["EDGE_STRUCTURE", "AUX_IMAGES", "AUX_LABELS"]
    with pytest.raises(UserError, match="build returns another network than model"):
        call(build=lambda: nn.Sequential(nn.Conv2d(1, 5, 3), nn.Flatten(), nn.Linear(180, 10)))


def test_images_in_the_order_of_their_classes_are_mixed():
    """What is held out, or measured on, by position has every class."""
    labels = torch.arange(10).repeat_interleave(20)
    images = (labels.view(-1, 1, 1, 1) / 10).expand(-1, 1, 8, 8).contiguous()
    found = labelled("aux", (images, labels), None, 10, torch.device("cpu"), images[:1] + 0.05)
    for part in (found.labels[:20], found.labels[-20:]):
        assert sorted(part.tolist()) == [label for label in range(10) for _ in range(2)]
    assert torch.equal((found.pixels[:, 0, 0, 0] * 10).round().long(), found.labels)


def test_images_that_are_too_small_for_ssim_are_refused_before_they_are_attacked(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(64, 10))
    images = torch.rand(4, 1, 6, 6)
    with pytest.raises(UserError, match=r"metrics=\[ssim\] needs images of 7 pixels or more"):
        privbench.attack(model, "0", images, attack="rmle", output_dir=tmp_path)
