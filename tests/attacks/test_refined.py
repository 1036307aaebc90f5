"""The refinement of a network's answer: its prior, and when the descent is trusted."""

import dataclasses
from statistics import fmean

import pytest
import torch
from torch import nn

from privbench.attacks.components.priors import CONTRASTS, SHRINKAGE, ResidualPrior
from privbench.attacks.components.refinement import Mixture
from privbench.attacks.inverse_refined import Refinement
from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.laplace import Laplace
from privbench.defenses.none import NoDefense
from privbench.evaluation.statistics import bca
from privbench.runtime.random import RandomStreams
from privbench.threat.view import NullLogger
from tests.support import RecordingLogger, granted, hasty, instantiated, lenet_edge, scenes


def test_the_prior_is_the_distance_by_the_whole_covariance():
    """Of deviations over the size that they have where the answer looks the same."""
    generator = torch.Generator().manual_seed(0)
    answers = torch.rand(9, 1, 4, 4, generator=generator)
    answers[:, :, :, :2] = 0.5  # flat, where the deviations are small
    deviations = torch.randn(9, 1, 4, 4, generator=generator)
    deviations[:, :, :, 0] *= 0.01
    prior = ResidualPrior(9, (1, 4, 4))
    prior.set(deviations, answers)
    size = prior.size(answers)
    assert len(prior.sizes) == len(CONTRASTS) + 1
    assert float(size[..., 0].max()) < float(size[..., 3].min())
    rows = (deviations / size).flatten(1).double()
    covariance = (1 - SHRINKAGE) * rows.T @ rows / 9
    covariance += SHRINKAGE * rows.square().mean() * torch.eye(16)
    inverse = torch.linalg.inv(covariance)
    wanted = torch.einsum("ni,ij,nj->n", rows, inverse, rows)
    torch.testing.assert_close(prior(deviations / size).double(), wanted, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def refinement():
    """Of a naive adversary, and its view: the descent with total variation was chosen."""
    attack = instantiated("attack", "inverse_refined")
    attack = dataclasses.replace(attack, network=hasty(attack.network), steps=60, images=2)
    deployment = Deployment(lenet_edge("relu2"), NoDefense(), nn.Sequential(nn.Flatten()))
    view = granted(deployment, scenes(60), attack.access).without_logging()
    made = Refinement(attack, attack._believed(view))
    made.calibration.choice.fill_(attack.mixtures.index(Mixture(tv=attack.tv_weight)))
    made.calibration.unexplained.fill_(1e-3)
    made.calibration.choices.fill_(attack.mixtures.index(Mixture(network=1.0)))
    made.calibration.shares.copy_(torch.tensor([0.01, 0.1, 0.4, 0.8]))
    return made, view


@pytest.mark.parametrize(
    ("defense", "trusted"),
    [
        (NoDefense(), True),
        (Gaussian(sigma=0.1), True),
        (Laplace(scale=0.1), True),
        (Dropout(rate=0.3), False),
        (Dropout(rate=0.6), False),
    ],
    ids=str,
)
def test_a_naive_descent_is_kept_where_its_likelihood_may_be_true(defense, trusted, refinement):
    """Behind a dropout that it does not know, the network's answer stands, to the bit."""
    made, view = refinement
    deployment = Deployment(lenet_edge("relu2"), defense, nn.Sequential(nn.Flatten()))
    v = deployment.transmit(scenes(4), RandomStreams(0, "transmission", range(4)))
    kept = (made(v, view) == made.answer(v)).flatten(1).all(1)
    assert bool((~kept if trusted else kept).all())


DEFENSES = [
    ("rate", Dropout(rate=0.3)),
    ("rate", Dropout(rate=0.6)),
    ("sigma", Gaussian(sigma=0.2)),
    ("sigma", Gaussian(sigma=1.0)),
    ("scale", Laplace(scale=0.7)),
]
QUICK = [("inverse_refined_adaptive", 0.6)]
"""Those that are no more than long: on a machine without AVX-512 one takes two minutes."""


NOT_WORSE = [
    pytest.param(
        name, option, defense,
        marks=pytest.mark.long if (name, defense.strength) in QUICK else pytest.mark.slow,
        id=f"{name}-{defense}",
    )
    for name in ("inverse_refined", "inverse_refined_adaptive")
    for option, defense in DEFENSES
]  # fmt: skip


@pytest.mark.parametrize(("name", "option", "defense"), NOT_WORSE)
def test_a_refinement_is_not_worse_than_its_network_nor_than_the_descent(
    name, option, defense, stage
):
    """On digits, on held-out auxiliary images and on targets, paired by image."""
    from privbench.evaluation import metrics
    from privbench.evaluation.metrics import structural

    # the network is kept by the cell's defense, so the words name the strength too
    words = [f"defense={type(defense).__name__.lower()}", f"defense.{option}={defense.strength}"]
    made = stage(f"attack={name}", *words, "split=middle", "targets=32")
    attack, deployment = made.cell.attack, made.deploy(defense)
    view = made.view(deployment, attack.access, NullLogger())
    reconstruct = attack.fit(view)
    network = attack.network.fit(attack._believed(view))
    descent = instantiated("attack", name.replace("inverse_refined", "rmle"))
    descended = descent.fit(made.view(deployment, descent.access, NullLogger()))
    held_out = view.images[-20:]
    v = deployment.transmit(held_out, RandomStreams(9, "held out", range(20)))
    for x, received in ((held_out, v), (made.x, made.send(deployment))):
        ours = reconstruct(received)
        for part in (network(received), descended(received)):
            for metric in (metrics.psnr_db, structural.ssim):
                difference = (metric(ours, x) - metric(part, x)).tolist()
                assert not any(difference) or bca(difference)[1] >= 0, fmean(difference)


def test_a_descent_that_is_discarded_leaves_no_convergence(refinement):
    """Behind a dropout that it does not know the result is the network's, which has none."""
    made, _ = refinement
    deployment = Deployment(lenet_edge("relu2"), Dropout(rate=0.6), nn.Sequential(nn.Flatten()))
    v = deployment.transmit(scenes(4), RandomStreams(0, "transmission", range(4)))
    logger = RecordingLogger()
    made(v, granted(deployment, scenes(60), made.attack.access, logger=logger))
    assert "converged" not in logger.facts
    undefended = Deployment(lenet_edge("relu2"), NoDefense(), nn.Sequential(nn.Flatten()))
    v = undefended.transmit(scenes(4), RandomStreams(0, "transmission", range(4)))
    made(v, granted(deployment, scenes(60), made.attack.access, logger=logger))
    assert "converged" in logger.facts


def test_noise_is_added_to_what_a_naive_adversary_takes_for_one_transmission():
    """So the amount that it calibrates on is that of the mean, however often it was sent."""
    shares = []
    for sent in (1, 16):
        attack = instantiated("attack", "inverse_refined")
        attack = dataclasses.replace(attack, network=hasty(attack.network), steps=2, images=4)
        deployment = Deployment(lenet_edge("relu2"), NoDefense(), nn.Sequential(nn.Flatten()))
        view = granted(deployment, scenes(120), attack.access, transmissions=sent)
        made = Refinement(attack, attack._believed(view.without_logging()))
        x = view.images[-4:]
        v = deployment.transmit(x, view.streams("x", range(4)), sent)
        made._choose_under_noise(v, x)
        shares.append(float(made.calibration.shares[-1]))
    assert shares[1] == pytest.approx(shares[0], rel=0.2)  # 1.01, and .15 of a mean of 16
