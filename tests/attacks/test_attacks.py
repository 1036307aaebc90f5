"""Attacks against deployments whose answer is known, and against each other's company."""

import dataclasses
import re

import pytest
import torch
from torch import nn

from privbench.attacks.blind import ANSWERS, Blind
from privbench.attacks.components.convergence import WORTH_CONFIRMING, Path, sample, share
from privbench.attacks.components.priors import total_variation
from privbench.attacks.rmle import RMLE
from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.none import NoDefense
from privbench.evaluation import metrics
from privbench.experiment.deploy import Deployed
from privbench.runtime.device import DeviceConfig
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import describe
from privbench.store.record import RELIABLE
from tests.support import Orthogonal, RecordingLogger, granted, lenet_edge, scenes

SHAPE = (1, 28, 28)


def _attacked(attack, edge, x, defense=None, copies=1):
    """Reconstructions and journal of an attack on a deployment with this edge."""
    cloud = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
    deployment = Deployment(edge, defense or NoDefense(), cloud)
    v = deployment.transmit(x, RandomStreams(0, "transmission", range(len(x))), copies)
    deployment.predict(v)
    logger, aux = RecordingLogger(), scenes(40)
    view = granted(deployment, aux, attack.access, torch.arange(40) % 10, logger=logger)
    return attack.fit(view)(v), logger, aux


@pytest.mark.long
def test_an_orthogonal_edge_is_inverted_above_60_db():
    """Nothing is lost on the way, so nothing is private."""
    x = scenes(5)
    x_hat, logger, _ = _attacked(RMLE(), nn.Sequential(nn.Identity(), Orthogonal()), x)
    assert float(metrics.psnr_db(x_hat, x).min()) > 60
    assert logger.facts["converged"] == 1
    assert logger.facts["never_moved"] == 0
    assert logger.facts["longer_run"] == {"images": 1, "steps": 1000, "confirmed": 1}


@pytest.mark.long
def test_an_attack_that_hardly_moves_has_not_converged():
    """A rate of 1e-4 leaves every image at its start, 10 dB, however many steps it is given."""
    x = scenes(4)
    for steps in (20, 500):
        _, logger, _ = _attacked(RMLE(lr=1e-4, steps=steps), lenet_edge("relu2"), x)
        assert logger.facts["never_moved"] == 1
        assert logger.facts["converged"] == 0


def test_an_image_without_a_gradient_never_moved():
    """Where all features of the start are dead; where the start is the answer, it converged."""
    edge = nn.Sequential(nn.Identity(), Dying())
    attack = RMLE(steps=20, init="black", tv_weight=0.0)
    _, logger, _ = _attacked(attack, edge, 0.5 + scenes(3))
    assert logger.facts["never_moved"] == 1
    assert logger.facts["converged"] == 0
    met, there, _ = _attacked(attack, nn.Sequential(nn.Identity()), torch.zeros(3, *SHAPE))
    assert not met.any()
    assert there.facts["never_moved"] == 0
    assert there.facts["converged"] == 1


def test_the_recorded_share_of_settled_images_is_exact(monkeypatch):
    """Of 20 images 19 are enough for a longer run, whose verdict then counts."""
    monkeypatch.setattr(Path, "settled", torch.arange(20) > 0)
    monkeypatch.setattr(Path, "confirmed", lambda path, rows, *_: len(rows))
    attack = RMLE(steps=2, tv_weight=0.0)
    _, logger, _ = _attacked(attack, nn.Sequential(nn.Identity()), scenes(20))
    assert logger.facts["converged"] == 0.95
    assert logger.facts["longer_run"]["confirmed"] == 1


class Dying(nn.Module):
    """Features of bright pixels only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x.flatten(1) - 0.4)


@pytest.fixture(scope="module")
def converged_run():
    """Six images recovered in 500 steps, and the journal."""
    torch.manual_seed(0)
    x_hat, logger, _ = _attacked(RMLE(steps=500), lenet_edge("relu2"), scenes(6))
    return x_hat, logger


@pytest.mark.long
def test_a_run_cut_short_has_not_converged(converged_run):
    """Its schedule makes it stand still at the end; a longer run shows that it was not there yet.

    On any instruction set twice the steps lower the objective of the six images by .11 to .17 after
    40 steps and by at most .005 after 500, where the tolerance is .05.
    """
    x = scenes(6)
    _, short, _ = _attacked(RMLE(steps=40), lenet_edge("relu2"), x)
    facts = {40: short.facts, 500: converged_run[1].facts}
    assert facts[40]["longer_run"] == {"images": 1, "steps": 80, "confirmed": 0}
    assert facts[40]["converged"] == 0
    assert facts[500]["longer_run"] == {"images": 1, "steps": 1000, "confirmed": 1}
    assert facts[500]["converged"] == 1


@pytest.mark.parametrize("defense", [NoDefense(), Gaussian(sigma=0.4, site="input")], ids=str)
def test_the_longer_run_changes_no_number_of_the_attack(defense):
    """Bit for bit; it leaves the global generator alone, and the journal gets none of its steps."""
    x, attack = scenes(4), RMLE(steps=30, adaptive=True)
    deployment = Deployment(
        nn.Sequential(nn.Identity(), DrawingEdge()), defense, nn.Sequential(nn.Flatten())
    )
    v = deployment.transmit(x, RandomStreams(0, "transmission", range(4)), 2)
    answers, states, logger = [], [], RecordingLogger()
    for view in (
        granted(deployment, x, attack.access, logger=logger),
        granted(
            deployment, x, attack.access
        ).without_logging(),  # without facts, without the longer run
    ):
        torch.manual_seed(5)
        answers.append(attack.fit(view)(v))
        states.append(torch.get_rng_state())
    assert "longer_run" in logger.facts
    assert logger.steps == sorted(set(logger.steps)) and logger.steps[-1] == 30
    assert torch.equal(*answers)
    assert torch.equal(*states)


class DrawingEdge(nn.Module):
    """An edge that draws from the global generator each time that it is asked."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) + 0 * torch.rand(1)


@pytest.mark.parametrize("count", [20, 40, 100, 200])
def test_nineteen_of_twenty_settled_images_are_enough_for_a_longer_run(count):
    """In float32 their share would be 0.94999999."""
    assert share(torch.arange(count) % 20 > 0) >= WORTH_CONFIRMING


@pytest.mark.parametrize(("count", "images"), [(1, 1), (15, 1), (32, 2), (64, 4), (500, 4)])
def test_the_longer_run_is_of_a_few_settled_images(count, images):
    """One in 16, at least one and at most four, spread over the batch."""
    settled = torch.arange(count) % 3 == 0
    rows = sample(settled)
    assert len(set(rows.tolist())) == len(rows) == images
    assert settled[rows].all()
    assert int(rows.max()) >= (count - 1) // 3 * 3 * (images > 1)


@pytest.mark.long
@pytest.mark.parametrize("attack", [RMLE(steps=100), *map(Blind, ANSWERS)], ids=str)
def test_a_dead_channel_lets_nobody_beat_the_best_constant_image(attack):
    """Dropout of everything: what is left is what was known before."""
    x = scenes(8)
    x_hat, _, _ = _attacked(attack, lenet_edge("relu2"), x, Dropout(rate=1.0))
    best = float(metrics.psnr_db(x.mean(0, keepdim=True).expand_as(x), x).mean())
    assert float(metrics.psnr_db(x_hat, x).mean()) <= best + 1e-4
    assert x_hat.isfinite().all()


def test_an_images_result_does_not_depend_on_the_others_in_the_batch():
    """Alone and among 64: the same to the rounding of a matrix product."""
    x, attack = scenes(64), RMLE(steps=20)
    together, _, _ = _attacked(attack, lenet_edge("conv1"), x)
    alone, _, _ = _attacked(attack, lenet_edge("conv1"), x[:1])
    torch.testing.assert_close(together[:1], alone, atol=2e-3, rtol=0)


@pytest.mark.long
def test_more_steps_lower_the_objective_and_ten_are_flagged(converged_run):
    """Ten steps have not converged, five hundred have."""
    x = scenes(6)
    few, short, _ = _attacked(RMLE(steps=10), lenet_edge("relu2"), x)
    many, long = converged_run
    assert short.facts["converged"] < RELIABLE  # three of six settle, on each instruction set
    assert long.facts["converged"] == 1
    assert metrics.psnr_db(many, x).mean() > metrics.psnr_db(few, x).mean()


@pytest.mark.fault
def test_the_published_settings_share_the_class_and_invert_a_convolution():
    """Adam from grey, a squared prior, no clamp."""
    attack = RMLE(
        steps=600,
        lr=1e-2,
        adam_eps=2e-3,
        amsgrad=True,
        schedule="constant",
        tv_weight={"default": 4.0, "x": 0.04},
        tv_beta=2.0,
        init="grey",
        clamp=False,
        objective="squared",
    )
    x = scenes(2)
    x_hat, _, _ = _attacked(attack, lenet_edge("conv1"), x)
    assert float(metrics.psnr_db(x_hat, x).mean()) > 25


def test_a_descent_that_diverges_answers_not_a_number():
    """So the harness counts it, instead of scoring the start."""
    edge = nn.Sequential(nn.Identity(), Exploding())
    x_hat, logger, _ = _attacked(RMLE(steps=5), edge, scenes(3))
    assert x_hat.isnan().all()
    assert logger.facts["converged"] == 0


class Exploding(nn.Module):
    """Finite for what it is first shown, and never again."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x.flatten(1) * (1.0 if self.calls <= 2 else torch.inf)


@pytest.mark.long
def test_repeated_transmissions_reach_a_naive_attack_as_their_mean():
    """Sixteen noisy copies tell more than one."""
    x, attack = scenes(4), RMLE(steps=80)
    one, sixteen = (
        _attacked(attack, lenet_edge("conv1"), x, Gaussian(sigma=0.5), copies)[0]
        for copies in (1, 16)
    )
    assert metrics.psnr_db(sixteen, x).mean() > metrics.psnr_db(one, x).mean() + 1


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ({"steps": 0}, r"attack.steps=0 is out of range: choose a whole number from 1"),
        ({"lr": float("nan")}, r"attack.lr=nan is out of range"),
        ({"lr": "fast"}, r"attack.lr=fast is not a number"),
        ({"tv_beta": 0}, r"attack.tv_beta=0 is out of range: choose a number above 0"),
        ({"tv_weight": -1}, r"attack.tv_weight=-1 is out of range"),
        ({"tv_weight": {"conv1": 1.0}}, r"attack.tv_weight names splits but no default"),
        ({"init": "white"}, r"attack.init=white is not known: choose from black, grey"),
        ({"schedule": "step"}, r"attack.schedule=step is not known: choose from constant, cosine"),
        ({"clamp": 1}, r"attack.clamp=1 is not known: choose from true, false"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(field, line):
    """Naming option, value and choices."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its line is what is compared
        dataclasses.replace(RMLE(), **field)
    assert re.match(line, describe(refused.value, "attack"))


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0])
def test_total_variation_has_a_finite_gradient_on_a_flat_image(beta):
    """At beta = 1 the root's derivative is infinite there, without a guard."""
    x = torch.zeros(2, *SHAPE, requires_grad=True)
    total_variation(x, beta).sum().backward()
    assert x.grad.isfinite().all()


def test_total_variation_of_a_step_is_its_height_over_the_differences():
    """One edge of height h and length 28 among 28 x 27 differences."""
    x = torch.zeros(1, *SHAPE)
    x[..., 14:] = 0.5
    for beta in (1.0, 2.0):
        assert float(total_variation(x, beta)) == pytest.approx(0.5**beta * 28 / 756, abs=1.1e-4)


def test_the_class_mean_follows_the_clouds_prediction():
    """And the mean of all answers for a class that the adversary has no image of."""
    cloud = nn.Sequential(nn.Flatten())  # ten features are ten logits
    edge = nn.Sequential(nn.Identity())
    images = torch.rand(9, 1, 2, 5)
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    attack = Blind("class_mean")
    view = granted(
        Deployment(edge, NoDefense(), cloud), images, attack.access, labels, split="input"
    )
    v = torch.zeros(2, 1, 1, 2, 5)
    v[0, ..., 0, 1] = 1  # class 1
    v[1, ..., 1, 4] = 1  # class 9
    answer = attack.fit(view)(v)
    torch.testing.assert_close(answer[0], images[3:6].mean(0))
    torch.testing.assert_close(answer[1], images.mean(0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("options", [{}, {"adam_eps": 1e-3, "eps_before_correction": True}])
def test_the_captured_step_of_a_gpu_agrees_with_the_cpu(options):
    """Within 0.1 dB on average, the project's tolerance between devices."""
    x, edge = scenes(16), lenet_edge("relu2")
    scores = []
    for device in ("cpu", "cuda"):
        on = x.to(device)
        cloud = nn.Sequential(nn.Flatten()).to(device)
        deployment = Deployment(edge.to(device), NoDefense(), cloud)
        v = deployment.transmit(on, RandomStreams(0, "transmission", range(16)))
        attack = RMLE(steps=500, **options)
        view = granted(
            deployment,
            on,
            attack.access,
            split="relu2",
            device_config=DeviceConfig("gpu" if device == "cuda" else "cpu"),
        )
        scores.append(float(metrics.psnr_db(attack.fit(view)(v).cpu(), x).mean()))
    assert scores[0] == pytest.approx(scores[1], abs=0.1)


def test_a_large_objective_is_no_divergence():
    """Its exponential overflows, itself does not."""
    attack = RMLE(steps=2, tv_weight=2000.0, init="random")
    x_hat, logger, _ = _attacked(attack, lenet_edge("relu2"), scenes(3))
    assert x_hat.isfinite().all()
    assert logger.facts["converged"] < 1


def test_the_answer_from_the_logits_is_that_of_the_edge_as_the_defense_trained_it():
    """Halves that another order of the channels leaves the same network give the same answers."""
    order = torch.tensor([2, 0, 3, 1])
    first, second = nn.Conv2d(1, 4, 3), nn.Linear(4, 10)
    other, last = nn.Conv2d(1, 4, 3), nn.Linear(4, 10)
    other.weight.data, other.bias.data = first.weight.data[order], first.bias.data[order]
    last.weight.data, last.bias.data = second.weight.data[:, order], second.bias.data
    images, targets = scenes(24).split([20, 4])
    answers = []
    for conv, head in ((first, second), (other, last)):
        cloud = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
        defended = Deployment(nn.Sequential(conv), NoDefense(), cloud, nn.Sequential(first))
        bare = Deployed(defended, None, {}).without_channel().deployment
        attack = Blind("logits")
        v = bare.transmit(targets, RandomStreams(0, "transmission", range(4)))
        answers.append(attack.fit(granted(bare, images, attack.access))(v))
    torch.testing.assert_close(*answers)
