"""Guided diffusion: the loop under priors that are known exactly, and pretrained models."""

import dataclasses
import math
import sys

import pytest
import torch
from torch import nn

from privbench.attacks.components.pretrained import (
    PretrainedDenoiser,
    check_pretrained,
    load_pretrained,
)
from privbench.attacks.diffusion import Diffusion
from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.none import NoDefense
from privbench.evaluation import metrics
from privbench.experiment.plan import unchecked_plan
from privbench.runtime.random import RandomStreams
from privbench.threat import Access
from tests.support import (
    BRIEF_TRAINING,
    Orthogonal,
    RecordingLogger,
    granted,
    instantiated,
    lenet_edge,
    scenes,
)

ATTACK = Diffusion(
    **BRIEF_TRAINING,
    steps=100,
    lr=2e-3,
    model=None,
    network=None,
    adaptive=False,
    levels=16,
    first_level=3.0,
    last_level=0.01,
    start_level=0.6,
    recurrences=4,
    rate=0.2,
    inversion_steps=20,
    noise_variance=1e-3,
)
ADAPTIVE = dataclasses.replace(ATTACK, adaptive=True)
PIXELS = nn.Sequential(nn.Identity(), nn.Flatten())
"""An edge that sends the image itself."""


class GaussianPrior(nn.Module):
    """The exact denoiser of images that are normal, with the moments of a sample."""

    def __init__(self, images):
        super().__init__()
        self.mean = images.mean(0)
        values, self.vectors = torch.linalg.eigh(torch.cov(images.flatten(1).T))
        self.values = values.clamp_min(0) + 1e-4

    def forward(self, x, level):
        return self.shrunk(x, self.values / (self.values + level[0] ** 2))

    def shrunk(self, x, shares):
        parts = ((x - self.mean).flatten(1) @ self.vectors) * shares
        return self.mean + (parts @ self.vectors.T).view_as(x)


@pytest.fixture(scope="module")
def prior():
    return GaussianPrior(scenes(200))


@pytest.fixture
def known(prior, monkeypatch):
    """The prior in place of a trained one."""
    monkeypatch.setattr("privbench.attacks.diffusion.trained_denoiser", lambda *_: prior)


def _attacked(attack, edge, x, defense=None, aux=None, sent=1):
    """The reconstructor, the features of the images, and the facts for the record."""
    deployment = Deployment(edge, defense or NoDefense(), nn.Sequential(nn.Flatten()))
    v = deployment.transmit(x, RandomStreams(0, "transmission", range(len(x))), sent)
    logger = RecordingLogger()
    aux = scenes(60) if aux is None else aux
    view = granted(deployment, aux, attack.access, logger=logger, transmissions=sent)
    return attack.fit(view), v, logger.facts


def _blind_db(x):
    return float(metrics.psnr_db(x.mean(0, keepdim=True).expand_as(x), x).mean())


def test_an_orthogonal_edge_costs_the_prior_nothing(known):
    """What the loop reaches on the pixels themselves is the prior's ceiling, which is noted."""
    x = scenes(4)
    ceiling, reached = (
        float(metrics.psnr_db(reconstruct(v), x).mean())
        for reconstruct, v, _ in (
            _attacked(ATTACK, edge, x) for edge in (PIXELS, nn.Sequential(Orthogonal()))
        )
    )
    noted = _attacked(ATTACK, PIXELS, x)[2]["prior_ceiling_db"]
    assert abs(reached - ceiling) < 1, f"prior's ceiling {ceiling:.2f} dB, reached {reached:.2f} dB"
    assert min(noted, ceiling) > _blind_db(x) + 10


def test_a_dead_channel_leaves_a_sample_of_the_prior(known):
    """Which is no better than the best constant image."""
    x = scenes(5)
    reconstruct, v, _ = _attacked(ADAPTIVE, lenet_edge("relu2"), x, Dropout(rate=1.0))
    assert float(metrics.psnr_db(reconstruct(v), x).mean()) <= _blind_db(x) + 1e-4


@dataclasses.dataclass(frozen=True)
class Answering:
    """A network whose answers are given."""

    images: torch.Tensor
    access = Access.EDGE_WEIGHTS | Access.AUX_IMAGES

    def fit(self, view):
        return lambda v: self.images


def test_a_refined_sample_starts_from_the_networks_answer(known):
    """Behind a dead channel nothing else tells the image: near a low level it stays."""
    x = scenes(5)
    scores = []
    for answer in (x, torch.full_like(x, 0.5)):
        attack = dataclasses.replace(ADAPTIVE, network=Answering(answer), start_level=0.2)
        reconstruct, v, _ = _attacked(attack, lenet_edge("relu2"), x, Dropout(rate=1.0))
        scores.append(float(metrics.psnr_db(reconstruct(v), x).mean()))
    assert scores[0] > _blind_db(x) + 3 and scores[0] > scores[1] + 3, scores


def test_the_guidance_does_not_fit_the_noise(known, prior):
    """Of noisy pixels the posterior mean is known; one of a fixed length has 2.4 dB less."""
    x = scenes(8)
    reconstruct, v, _ = _attacked(ADAPTIVE, PIXELS, x, Gaussian(sigma=0.5))
    mean = prior.shrunk(v.view_as(x), prior.values / (prior.values + 0.5**2)).clamp(0, 1)
    best, received, sample = (
        float(metrics.psnr_db(image, x).mean()) for image in (mean, v.view_as(x), reconstruct(v))
    )
    assert sample > best - 2 and sample > received + 6


@pytest.mark.parametrize(
    ("site", "edge"), [("input", lenet_edge("conv1")), ("features", PIXELS)], ids=str
)
def test_every_transmission_counts_where_the_defense_is_known(site, edge, known):
    """A naive adversary takes their mean for one; on the input the perturbed images are found."""
    x, defense, scores = scenes(6), Gaussian(sigma=0.5, site=site), {}
    for sent, steps in ((1, 60), (8, 60), (8, 1)):
        attack = dataclasses.replace(ADAPTIVE, inversion_steps=steps)
        reconstruct, v, _ = _attacked(attack, edge, x, defense, sent=sent)
        received = {"all": v, "mean": v.mean(1, keepdim=True)}
        for name, features in received.items():
            scores[sent, steps, name] = float(metrics.psnr_db(reconstruct(features), x).mean())
    assert scores[8, 60, "all"] > scores[1, 60, "all"] + 3, scores
    assert scores[8, 60, "all"] > scores[8, 60, "mean"] + 2, scores
    if site == "input":
        assert scores[8, 60, "all"] > scores[8, 1, "all"] + 8, scores


def test_an_image_does_not_depend_on_its_batch(known):
    """All images get the same random numbers."""
    attack = dataclasses.replace(ATTACK, levels=4)
    reconstruct, v, _ = _attacked(attack, lenet_edge("conv1"), scenes(5))
    parts = torch.cat([reconstruct(v[:1]), reconstruct(v[1:])])
    torch.testing.assert_close(reconstruct(v), parts, atol=1e-3, rtol=0)


def test_a_prior_trained_on_one_image_returns_it():
    """Whatever the features are of, and not before the training."""
    shades = torch.linspace(0.1, 0.9, 64).view(1, 1, 8, 8)[..., [3, 0, 6, 1, 7, 4, 2, 5]]
    x, errors, ceilings = torch.rand(3, 1, 8, 8), [], []
    for steps in (1, 200):
        attack = dataclasses.replace(ATTACK, steps=steps, levels=6)
        reconstruct, v, facts = _attacked(attack, PIXELS, x, aux=shades.expand(40, 1, 8, 8))
        errors.append(float((reconstruct(v) - shades).abs().mean()))
        ceilings.append(facts["prior_ceiling_db"])
    assert errors[0] > 0.15
    assert errors[1] < 0.08
    assert ceilings[1] > 22 > ceilings[0]


def _pipeline(classes=None, **options):
    """A tiny network with random weights, and its scheduler."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        num_class_embeds=classes,
    )
    return DDPMPipeline(unet=network, scheduler=DDPMScheduler(**options))


@pytest.mark.parametrize("predicts", ["epsilon", "sample", "v_prediction"])
def test_a_pretrained_model_denoises_as_its_scheduler_does(predicts):
    """At the noise of a timestep; and between two of them the time lies between."""
    pipeline = _pipeline(prediction_type=predicts, clip_sample=False)
    denoiser, scheduler = PretrainedDenoiser(pipeline.unet, pipeline.scheduler), pipeline.scheduler
    state, t = torch.randn(2, 1, 8, 8), 400
    signal = scheduler.alphas_cumprod[t]
    with torch.no_grad():
        output = pipeline.unet(state, t).sample
        wanted = scheduler.step(output, t, state).pred_original_sample
        noisy, level = (state / signal.sqrt() + 1) / 2, ((1 - signal) / signal).sqrt() / 2
        x = denoiser(noisy, level.expand(2))
    torch.testing.assert_close(2 * x - 1, wanted, atol=1e-3, rtol=1e-3)
    steps = denoiser.timestep(torch.tensor([1e-9, float(level) * 1.001, 1e9]))
    assert steps[0] == 0 and 400 < steps[1] < 401 and steps[2] == 999


def test_a_saved_model_is_the_prior(tmp_path):
    """Loaded by the library from the folder that the library saved it in."""
    _pipeline().save_pretrained(tmp_path)
    attack = dataclasses.replace(ATTACK, model=str(tmp_path), levels=3)
    reconstruct, v, facts = _attacked(
        attack, PIXELS, torch.rand(2, 1, 8, 8), aux=torch.rand(40, 1, 8, 8)
    )
    x = reconstruct(v)
    assert x.shape == (2, 1, 8, 8) and 0 <= float(x.min()) < float(x.max()) <= 1
    assert math.isfinite(facts["prior_ceiling_db"])
    view = granted(Deployment(PIXELS, NoDefense(), PIXELS), scenes(40), attack.access)
    with pytest.raises(ValueError, match=r"makes images of shape \(1, 8, 8\) and the data set"):
        attack.check(view)


def test_a_model_that_a_check_without_weights_looked_at_has_its_weights(tmp_path):
    """A cell is checked on meta tensors before it runs, and the model is loaded once."""
    _pipeline().save_pretrained(tmp_path)
    load_pretrained.cache_clear()
    with torch.device("meta"):
        check_pretrained(str(tmp_path), (1, 8, 8))
    held = load_pretrained(str(tmp_path))
    assert {t.device.type for t in (*held.parameters(), *held.buffers())} == {"cpu"}


def test_a_model_of_codes_or_of_classes_is_refused(monkeypatch):
    """One would be a prior of something else, the other asks for a label."""
    from diffusers import DiffusionPipeline

    latent, conditional = _pipeline(), _pipeline(classes=3)
    latent.vqvae = torch.nn.Identity()
    for made, words in (
        (latent, "an unconditional model of pixels"),
        (conditional, "needs the class"),
    ):
        load_pretrained.cache_clear()
        monkeypatch.setattr(DiffusionPipeline, "from_pretrained", lambda name, made=made: made)
        with pytest.raises(ValueError, match=words):
            load_pretrained("some/model")
    load_pretrained.cache_clear()


def test_a_model_that_cannot_be_had_is_one_line(monkeypatch):
    """No library, or no model: the reason and the choices."""
    load_pretrained.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "diffusers", None)
        with pytest.raises(ValueError, match=r"^attack.model needs diffusers: pip install .*null$"):
            load_pretrained("some/model")
    from diffusers import DiffusionPipeline

    def fails(name):
        raise OSError("We couldn't connect\nto the hub")

    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", fails)
    with pytest.raises(ValueError, match=r"^attack.model=some/model cannot be loaded .*connect\)"):
        load_pretrained("some/model")


def test_levels_that_do_not_fall_are_refused():
    """Naming the value and the range."""
    with pytest.raises(Exception, match=r"attack.last_level=3.0 is out of range: .*below 3 "):
        dataclasses.replace(ATTACK, last_level=3.0)
    with pytest.raises(Exception, match=r"attack.start_level=0.001 is out of range"):
        dataclasses.replace(ATTACK, network=ATTACK, start_level=0.001)
    with pytest.raises(Exception, match=r"start_level=.* so that 2 levels are left"):
        dataclasses.replace(ATTACK, network=ATTACK, start_level=ATTACK.last_level)
    with pytest.raises(Exception, match=r"attack.levels=1 is out of range: choose 2 or more"):
        dataclasses.replace(ATTACK, levels=1)
    for attack in (ATTACK, instantiated("attack", "rmle_prior")):
        with pytest.raises(Exception, match=r"attack.last_level=9.0 is out of range"):
            dataclasses.replace(attack, last_level=9.0)


def test_another_model_in_the_same_folder_has_another_key(cell, tmp_path):
    """Or a record of the first one would pass for one of the second; a name alone has none."""
    (tmp_path / "unet").mkdir()
    weights, keys = tmp_path / "unet" / "weights.bin", []
    for content in (b"one", b"two!", b"one"):
        weights.write_bytes(content)
        keys.append(unchecked_plan(cell("attack=diffusion", f"attack.model={tmp_path}")).key)
    assert keys[0] != keys[1] and keys[0] == keys[2]
    named = unchecked_plan(cell("attack=diffusion", "attack.model=some/model"))
    assert "attack.model" not in named.sources
