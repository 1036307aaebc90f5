"""Every metric keeps the contract; the newer ones against formulas and other implementations."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.none import NoDefense
from privbench.defenses.quantize import Quantize
from privbench.defenses.topk import TopK
from privbench.evaluation import metrics, scoring
from privbench.evaluation.metrics import multiscale, perceptual
from privbench.evaluation.metrics.base import Metric
from privbench.evaluation.metrics.channel_snr import CHANNEL_SNR
from privbench.evaluation.reference import Reference
from privbench.victims.lenet5 import LeNet5
from tests.support import lenet_edge

OPTIONAL = metrics.OPTIONAL_METRICS
SCORES = [*metrics.RECONSTRUCTION_METRICS, *(one for one in OPTIONAL if one.interval)]
NUMBERS = [*metrics.DEPLOYMENT_METRICS, *(one for one in OPTIONAL if not one.interval)]
ALL = [*SCORES, *NUMBERS]
NAMES = [one.name for one in ALL]
SHAPE = (1, 28, 28)
IMAGES = torch.rand(2, *SHAPE)


def _features() -> nn.Sequential:
    """The layers of AlexNet that LPIPS uses, untrained."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(), nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(),
    )  # fmt: skip


@pytest.fixture
def alexnet(monkeypatch, tmp_path):
    """Weights in torch's cache, and a network that is made of untrained ones."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    perceptual.weights_file().parent.mkdir(parents=True)
    perceptual.weights_file().write_bytes(b"")
    place = "torchmetrics.functional.image.lpips._get_tv_model_features"
    monkeypatch.setattr(place, lambda *_, **__: _features())
    perceptual._network.cache_clear()
    yield
    perceptual._network.cache_clear()


def _reference(x: torch.Tensor) -> Reference:
    labels = torch.arange(len(x)) % 2
    return Reference(
        x,
        list(range(len(x))),
        x,
        labels,
        lambda images: F.one_hot(torch.zeros(len(images)).long(), 2),
    )


@pytest.mark.parametrize("metric", SCORES, ids=lambda one: one.name)
def test_a_score_is_a_finite_value_per_image_that_is_best_for_the_image_itself(metric, alexnet):
    """It does not depend on the other images, and shares lie in [0, 1]."""
    x = torch.rand(6, *SHAPE)
    noisy = (x + 0.5 * torch.randn_like(x)).clamp(0, 1)
    reference = _reference(x)
    assert not metric.requires(SHAPE)
    equal, worse = (metric.compute(images, reference).double() for images in (x, noisy))
    assert equal.shape == worse.shape == (6,)
    assert worse.isfinite().all()
    assert all(metric.leakage(a) >= metric.leakage(b) for a, b in zip(equal, worse, strict=True))
    if metric.interval == "wilson":
        assert worse.min() >= 0 and worse.max() <= 1
        return
    alone = Reference(x[2:3], [2], x, reference.labels, reference.evaluator)
    torch.testing.assert_close(metric.compute(noisy[2:3], alone)[0].double(), worse[2])


@pytest.mark.parametrize("metric", metrics.DEPLOYMENT_METRICS, ids=lambda one: one.name)
def test_a_number_of_a_deployment_is_finite_and_leaves_the_deployment_as_it_is(metric):
    """But for the channel's, it needs no values: an edge on the meta device has the same."""
    model = LeNet5((1, 28, 28), 10).eval()
    edge, cloud = model.split("relu2")
    before = {name: tensor.clone() for name, tensor in edge.state_dict().items()}
    number = metric.compute(Deployment(edge, Dropout(rate=0.3), cloud), IMAGES)
    assert number > 0 and math.isfinite(number)
    assert all(torch.equal(before[name], tensor) for name, tensor in edge.state_dict().items())
    if metric is not CHANNEL_SNR:
        assert metric.compute(Deployment(edge.to("meta"), NoDefense(), cloud), IMAGES) == number


def test_the_lists_are_consistent():
    """A name is a metric's, and no metric of a deployment is shown as a share or a curve."""
    assert len(set(NAMES)) == len(NAMES)
    assert set(NAMES) == metrics.BUILT_IN
    assert {one.name for one in metrics.known_metrics()[: len(NAMES)]} == set(NAMES)
    with pytest.raises(ValueError, match="metric energy is a number of a deployment"):
        Metric(name="energy", label="energy", interval=None, show=("run", "curves"))
    for one in ALL:
        assert Metric.of_description(one.describe()).describe() == one.describe()
        assert one.label and (one.interval is None) == (one in NUMBERS)
        assert one.interval or not {"summary", "curves"} & set(one.show)
        assert set(one.show) <= {"run", "summary", "table", "curves"}


def test_metrics_are_listed_without_torch():
    """A report reads labels and units, and starts in a moment."""
    code = "import sys, privbench.evaluation.metrics\n"
    code += "print(sorted({'torch', 'torchmetrics', 'torchvision'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_ratio_at_the_channel_is_that_of_the_powers():
    """Gaussian noise of sigma 2 on features of variance 1: -6 dB; nothing without a channel."""
    edge, x = nn.Sequential(nn.Identity()), torch.randn(20, 1, 50, 50)
    noisy = Deployment(edge, Gaussian(sigma=2.0), nn.Identity())
    assert CHANNEL_SNR.compute(noisy, x) == pytest.approx(-20 * math.log10(2), abs=0.1)
    assert CHANNEL_SNR.compute(Deployment(edge, NoDefense(), nn.Identity()), x) is None


def _flops(edge: nn.Module, shape=SHAPE) -> float:
    cloud = nn.Identity()
    return metrics.EDGE_FLOPS.compute(Deployment(edge, NoDefense(), cloud), torch.empty(1, *shape))


class _Attention(nn.Module):
    """Rows of an image as tokens that attend to each other."""

    def forward(self, x):
        heads = x.unflatten(3, (4, 7)).squeeze(1).transpose(1, 2)
        return F.scaled_dot_product_attention(heads, heads, heads)


def test_operations_of_the_edge_equal_their_formulas():
    """Two for each multiplication and addition: a convolution, a linear layer, attention."""
    conv = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2, stride=2))
    assert _flops(conv) == 2 * 6 * 14 * 14 * 1 * 5 * 5
    linear = nn.Sequential(nn.Flatten(), nn.Linear(784, 30), nn.ReLU())
    assert _flops(linear) == 2 * 784 * 30
    assert _flops(nn.Sequential(_Attention())) == 2 * (2 * 4 * 28 * 28 * 7)
    assert _flops(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(1176, 5))) == (
        2 * 6 * 14 * 14 * 25 + 2 * 1176 * 5
    )


def test_the_size_of_the_edge_counts_shared_weights_once():
    """Weights and biases."""
    shared = nn.Linear(28, 28)
    edge = nn.Sequential(nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), shared, shared)
    deployment = Deployment(edge, NoDefense(), nn.Identity())
    assert metrics.EDGE_PARAMETERS.compute(deployment, IMAGES) == 6 * 26 + 12 + 28 * 29


def test_the_payload_is_what_the_channel_states_or_32_bits_an_element():
    """Of one transmission of one image; a channel on the input leaves the features floats."""
    edge, compute = lenet_edge("relu2"), metrics.PAYLOAD_BITS.compute
    elements = edge(torch.rand(1, *SHAPE)).numel()
    deployment = Deployment(edge, NoDefense(), nn.Identity())
    assert compute(deployment, IMAGES) == 32 * elements

    for site, bits in (("features", 3), ("input", 32)):
        deployment.channel = Quantize(levels=8, low=0.0, high=1.0, site=site)
        assert compute(deployment, IMAGES) == bits * elements
    for site, bits in (("features", 32 / 2 + 1), ("input", 32)):  # and a bit for each place
        deployment.channel = TopK(rate=0.5, site=site)
        assert compute(deployment, IMAGES) == bits * elements


@pytest.mark.parametrize(("side", "count"), [(28, 2), (64, 3), (176, 5)])
def test_ms_ssim_is_the_product_over_scales(side, count):
    """Wang et al. (2003), eq. (7): contrast and structure of each scale, luminance of the last."""
    x = torch.rand(2, 1, side, side)
    x_hat = (x + 0.2 * torch.randn_like(x)).clamp(0, 1)
    weights = multiscale.WEIGHTS[:count]
    product, one, other = torch.ones(2), x_hat, x
    for scale, weight in enumerate(weights, start=1):
        similarity, contrast = structural_similarity_index_measure(
            one, other, data_range=1.0, reduction="none", return_contrast_sensitivity=True
        )
        factor = similarity if scale == count else contrast
        product = product * factor.clamp_min(0) ** (weight / sum(weights))
        one, other = F.avg_pool2d(one, 2), F.avg_pool2d(other, 2)
    found = multiscale.ms_ssim(x_hat, x)
    torch.testing.assert_close(found, product, atol=1e-5, rtol=0)
    if count == 5:
        whole = multiscale_structural_similarity_index_measure(
            x_hat, x, data_range=1.0, reduction="none"
        )
        torch.testing.assert_close(found, whole, atol=1e-3, rtol=0)  # its weights sum to 1.0001


def test_images_too_small_for_a_second_scale_have_no_ms_ssim():
    """They have every other score."""
    x = torch.rand(3, 1, 16, 16)
    assert metrics.MS_SSIM.requires((1, 16, 16)) == (
        "needs images of 22 pixels or more, these have 16x16"
    )
    found = scoring.score(x, _reference(x), []).per_image
    assert set(found) == {one.name for one in metrics.RECONSTRUCTION_METRICS} - {"ms_ssim"}


def test_lpips_is_a_distance_of_torchmetrics_network(alexnet):
    """Zero of equal images, symmetric, and a grey image is one of three equal channels."""
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    x, other = torch.rand(3, 3, 64, 80), torch.rand(3, 3, 64, 80)
    found = perceptual.lpips(x, other)
    torch.testing.assert_close(found, perceptual.lpips(other, x))
    wanted = _NoTrainLpips(net="alex")(x, other, normalize=True).flatten()
    torch.testing.assert_close(found, wanted)
    assert perceptual.lpips(x, x).abs().max() < 1e-6
    grey = torch.rand(2, 1, 28, 28)
    three = grey.expand(-1, 3, -1, -1)
    noisy = (three + 0.1).clamp(0, 1)
    assert torch.equal(perceptual.lpips(noisy[:, :1], grey), perceptual.lpips(noisy, three))


def test_lpips_without_weights_is_one_line_that_says_where_they_go(monkeypatch, tmp_path, refused):
    """Before anything is trained; nothing is downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = str(tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth")
    refused("metrics=[lpips]", ["metrics=[lpips] needs the weights of AlexNet", place])


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        (
            "metrics=[nope]",
            ["metrics=[nope] is not a metric: choose from lpips, dfil, bayes_floor"],
        ),
        ("metrics=lpips", ["metrics must be a list such as metrics=[lpips], got lpips"]),
        ("metrics=[nowhere.METRIC]", ["metrics=[nowhere.METRIC] cannot be imported"]),
        ("metrics=[math.pi]", ["metrics=[math.pi] is a float, not a Metric"]),
    ],
)
def test_what_is_no_metric_is_refused_in_one_line(entry, parts, refused):
    """It names the entry."""
    refused(entry, parts)


def test_a_failed_reconstruction_has_the_worst_score_of_a_metric_that_falls_with_leakage():
    """The largest distance of the constant images, not the smallest."""
    x = torch.rand(2, *SHAPE)
    x_hat = x.clone()
    x_hat[1] = torch.nan
    distance = Metric(
        name="distance",
        label="distance",
        higher_leaks=False,
        compute=lambda x_hat, reference: (x_hat - reference.x).abs().mean((1, 2, 3)),
    )
    constants = [torch.zeros_like(x), torch.full_like(x, 0.5)]
    scores = scoring.score(x_hat, _reference(x), constants, [distance]).per_image["distance"]
    assert scores == [0.0, pytest.approx(float(x[1].mean()))]


def test_a_metric_of_a_user_that_fails_is_left_out_with_a_line(caplog):
    """Hours of reconstruction are not lost; wrong shapes and NaN are failures too."""
    x = torch.rand(2, *SHAPE)
    bad = [
        Metric(name="raises", label="a", compute=lambda *_: 1 / 0),
        Metric(name="nan", label="b", compute=lambda x, _: x.flatten(1).mean(1) * math.nan),
        Metric(name="one", label="c", compute=lambda x, _: x.mean()),
    ]
    assert not scoring.score(x, _reference(x), [], bad).per_image
    assert [record.message.split(":")[0] for record in caplog.records] == [
        f"no {one.name}" for one in bad
    ]
