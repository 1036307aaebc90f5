"""Victims compose at every split, defenses are what they say, the threat model holds."""

import pytest
import torch
from scipy import stats
from torch import nn

from privbench.data.image_data import balanced, stratified
from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.laplace import Laplace
from privbench.defenses.none import NoDefense
from privbench.runtime.hashing import derive_seed
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import describe
from privbench.threat import Access, AccessDeniedError
from privbench.threat.access import RIGHTS
from privbench.victims.cifar_cnn import CifarCNN
from privbench.victims.lenet5 import LeNet5
from tests.stage import Stage
from tests.support import RecordingLogger, granted

VICTIMS = [
    (LeNet5, (1, 28, 28)),
    (LeNet5, (3, 30, 33)),
    (CifarCNN, (3, 32, 32)),
    (CifarCNN, (1, 40, 32)),
]
DEFENSES = [Dropout(rate=0.4), Gaussian(sigma=0.5), Laplace(scale=0.3)]


@pytest.mark.parametrize(("kind", "shape"), VICTIMS)
def test_edge_and_cloud_compose_to_the_whole_at_every_split(kind, shape):
    """Exactly, bit for bit; the cloud's first layer works on a copy of the adversary's features."""
    model, x = kind(shape, 7).eval().requires_grad_(False), torch.rand(2, *shape)
    logits = model(x)
    assert model.split_points[0] == "input"
    for point in (*model.split_points, *model.aliases):
        edge, cloud = model.split(point)
        v = edge(x)
        before = v.clone()
        assert torch.equal(cloud(v), logits), point
        assert torch.equal(v, before), point


@pytest.mark.parametrize(("kind", "least"), [(LeNet5, 28), (CifarCNN, 32)])
def test_images_that_are_too_small_are_refused_in_one_line(kind, least):
    """Naming victim and size."""
    with pytest.raises(ValueError, match=f"at least {least}x{least} pixels, these have 20x40"):
        kind((1, 20, 40), 10)


def test_an_unknown_split_is_refused_with_the_list():
    """And the last layer is no split point."""
    for point in ("conv9", "fc3"):
        with pytest.raises(
            ValueError, match=f"split={point} is not known: choose from input, conv1"
        ):
            LeNet5((1, 28, 28), 10).split(point)


@pytest.mark.parametrize("defense", DEFENSES, ids=str)
@pytest.mark.parametrize("site", ["features", "input"])
def test_a_defense_acts_at_its_site_and_draws_afresh_for_every_copy(defense, site):
    """At the input it stands right behind the normalisation."""
    model, x = LeNet5((1, 28, 28), 10).eval(), torch.rand(4, 1, 28, 28)
    edge, cloud = model.split("relu1")
    defense = type(defense)(**{**vars(defense), "site": site})
    draws = RandomStreams(0, "test", range(4))
    v = Deployment(edge, defense, cloud).transmit(x, draws, transmissions=3)
    assert v.shape == (4, 3, 8, 24, 24)
    assert not torch.equal(v[:, 0], v[:, 1])
    entry = edge[0](x) if site == "input" else edge(x)
    sent = defense.perturb(entry, draws)
    torch.testing.assert_close(v[:, 0], edge[1:](sent) if site == "input" else sent)


@pytest.mark.parametrize("site", ["features", "input"])
@pytest.mark.parametrize("defense", [NoDefense, Dropout, Gaussian, Laplace])
def test_strength_0_is_the_identity_bit_for_bit(defense, site):
    """Also for a negative zero."""
    knob = {Dropout: "rate", Gaussian: "sigma", Laplace: "scale"}.get(defense)
    t = torch.tensor([[-0.0, 1.5, -2.0]])
    got = defense(site=site, **({knob: 0.0} if knob else {})).perturb(
        t, RandomStreams(0, "test", [0])
    )
    assert torch.equal(got.view(torch.int32), t.view(torch.int32))


def test_dropout_keeps_entries_as_they_are_and_drops_their_share():
    """Eq. (6) has no rescaling; rate 1 leaves nothing, not even a negative zero."""
    t, draws = torch.full((50, 400), -3.0), RandomStreams(0, "test", range(50))
    kept = Dropout(rate=0.3).perturb(t, draws)
    assert set(kept.unique().tolist()) == {-3.0, 0.0}
    assert float((kept == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    nothing = Dropout(rate=1.0).perturb(t, draws)
    assert not nothing.view(torch.int32).any()


@pytest.mark.parametrize(
    ("defense", "law"),
    [(Gaussian(sigma=0.7), stats.norm(0, 0.7)), (Laplace(scale=0.7), stats.laplace(0, 0.7))],
    ids=["gaussian", "laplace"],
)
def test_noise_has_the_distribution_it_is_named_for(defense, law):
    """Kolmogorov-Smirnov at the 0.1 % level; b is the Laplace scale, not its deviation."""
    noise = defense.perturb(torch.zeros(100, 500), RandomStreams(0, "test", range(100)))
    assert stats.kstest(noise.flatten().numpy(), law.cdf).pvalue > 1e-3


def test_draws_are_common_to_all_strengths():
    """So a curve over strengths moves by the strength alone."""
    t, draws = torch.ones(5, 100), RandomStreams(0, "test", range(5))
    weak, strong = (Dropout(rate=rate).perturb(t, draws) for rate in (0.2, 0.6))
    assert bool((strong <= weak).all())
    halves = [(Gaussian(sigma=s).perturb(t, draws) - t) / s for s in (0.5, 2.0)]
    torch.testing.assert_close(*halves, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("field", [{"rate": 1.5}, {"rate": -0.1}, {"rate": float("nan")}])
def test_a_rate_that_is_no_probability_is_refused(field):
    """The line names the value and the range."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its line is what is compared
        Dropout(**field)
    line = "choose a number of at least 0 and at most 1"
    assert describe(refused.value, "defense") == (
        f"defense.rate={field['rate']} is out of range: {line}"
    )


def _deployment() -> Deployment:
    edge, cloud = LeNet5((1, 28, 28), 10).split("relu2")
    return Deployment(edge, Gaussian(sigma=1.0), cloud)


def _granted(access: Access, logger=None):
    deployment = _deployment()
    images, labels = torch.rand(6, 1, 28, 28), torch.arange(6)
    logger = logger or RecordingLogger()
    return deployment, granted(deployment, images, access, labels, split="relu2", logger=logger)


@pytest.mark.parametrize("name", RIGHTS)
def test_what_is_not_granted_is_absent(name):
    """Every right but the one: reaching for it raises and names it; with it, it is there."""
    everything = ~Access.NONE
    _, view = _granted(everything & ~RIGHTS[name])
    assert name not in vars(view)
    with pytest.raises(AccessDeniedError, match=RIGHTS[name].name):
        getattr(view, name)
    _, view = _granted(RIGHTS[name])
    assert getattr(view, name) is not None
    assert {n for n in RIGHTS if n in vars(view)} == {
        n for n in RIGHTS if RIGHTS[n] == RIGHTS[name]
    }


def test_an_adversarys_copies_cannot_bend_the_deployment():
    """Weights zeroed in the view leave the deployed ones alone, and take no gradient."""
    deployment, view = _granted(Access.EDGE_WEIGHTS)
    for module in (view.edge, view.cloud):
        for parameter in module.parameters():
            assert not parameter.requires_grad
            parameter.data.zero_()
    assert deployment.edge.conv1.weight.abs().sum() > 0
    assert deployment.cloud.fc1.weight.abs().sum() > 0


def test_queries_pass_the_defense_with_fresh_draws_and_are_counted():
    """Two answers to one image differ; no gradient comes back."""
    logger = RecordingLogger()
    deployment, view = _granted(Access.EDGE_QUERIES, logger)
    x = torch.rand(2, 1, 28, 28, requires_grad=True)
    first, second = view.query(x), view.query(x)
    assert not torch.equal(first, second)
    assert not first.requires_grad
    assert logger.facts["queries"] == 4
    clean = deployment.edge(x).detach()
    assert 0.8 < float((first - clean).std()) < 1.2


def _guessed_seeds(view) -> list[int]:
    """What an attack can try: seed 0, what its view's generators and fields say, hashes of both."""
    purposes = ("transmission", "queries", "accuracy", "draws", "tuning", "start", "batches")
    seeds = [0, view._seed, *(view.generator(p).initial_seed() for p in purposes)]
    for purpose in purposes:
        with view.torch_seed(purpose):
            seeds.append(torch.initial_seed())
    named = [
        derive_seed(s, *p)
        for s in (0, view._seed)
        for p in [*([p] for p in purposes), *([p, 0] for p in purposes)]
    ]
    users = ("adversary", "defense")
    return [
        *seeds,
        *named,
        *(derive_seed(s, *more) for s in (0, view._seed) for u in users for more in ([u], [u, ""])),
    ]


@pytest.mark.parametrize("defense", [Dropout(rate=0.5), Gaussian(sigma=0.5)], ids=str)
@pytest.mark.parametrize("purpose", ["transmission", "queries"])
def test_an_attack_that_guesses_the_seed_has_none_of_the_defenses_draws(cell, defense, purpose):
    """Neither seed 0 nor any seed that its view gives draws a mask or noise of the defense anew."""
    indices = str([*range(20)]).replace(" ", "")
    made = Stage.of(cell(f"target_indices={indices}", "device.threads=1"))
    access = Access.EDGE_WEIGHTS | Access.EDGE_QUERIES | Access.AUX_IMAGES | Access.DEFENSE
    deployment = made.deploy(defense)
    view = made.view(deployment, access, RecordingLogger())
    x = made.x if purpose == "transmission" else view.images[:20]
    received = made.send(deployment)[:, 0] if purpose == "transmission" else view.query(x)
    clean = deployment.edge(x).detach()
    agreements = []
    for seed in _guessed_seeds(view):
        guess = view.defense.perturb(clean, RandomStreams(seed, purpose, range(20)))
        agreements.append(float((guess - received)[clean != 0].square().mean()))
    strangers = view.defense.perturb(clean, RandomStreams(12345, "strangers", range(20)))
    chance = float((strangers - received)[clean != 0].square().mean())
    assert min(agreements) > 0.8 * chance > 0


def test_a_generator_says_nothing_of_a_seed():
    """One initial seed for every cell and purpose, within a seeded block too; different streams."""
    said, drawn, states = set(), [], []
    for seed in (0, 1):
        view = granted(_deployment(), torch.rand(6, 1, 28, 28), Access.NONE, seed=seed)
        for purpose in ("start", "batches"):
            generator = view.generator(purpose)
            states.append(generator.get_state().numpy().tobytes()[24:])
            said.add(generator.initial_seed())
            drawn.append(torch.rand(4, generator=generator).tolist())
            with view.torch_seed(purpose):
                said.add(torch.initial_seed())
                drawn.append(torch.randn(4).tolist())
    assert len(said) == 1
    assert len({tuple(row) for row in drawn}) == 8
    # no part of the state is what a seed of 32 bits, such as torch's own, would make of it
    plain = [torch.Generator().manual_seed(int.from_bytes(s[:4], "little")) for s in states]
    assert all(
        g.get_state().numpy().tobytes()[24:] != s for g, s in zip(plain, states, strict=True)
    )


def test_a_generator_is_the_same_for_the_same_seed_and_purpose_and_draws_evenly():
    """Also across views; its numbers fill [0, 1) and leave the global generator alone."""

    def first(secret):
        view = granted(_deployment(), torch.rand(6, 1, 28, 28), Access.NONE, secret=secret)
        return torch.rand(20_000, generator=view.generator("start"))

    view = granted(_deployment(), torch.zeros(6, 1, 28, 28), Access.NONE)
    before = torch.get_rng_state()
    with view.torch_seed("decoder"):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    one = first("a")
    assert torch.equal(one, first("a"))
    assert not torch.equal(one, first("b"))
    assert stats.kstest(one.numpy(), stats.uniform.cdf).pvalue > 1e-3


def test_the_adversarys_own_streams_are_none_of_the_defenses():
    """They differ by purpose and secret, and are the same for the same."""

    def drawn(secret, purpose):
        view = granted(_deployment(), torch.zeros(6, 1, 28, 28), Access.NONE, secret=secret)
        return view.streams(purpose, range(3)).normal(torch.zeros(3, 5))

    assert torch.equal(drawn("a", "draws"), drawn("a", "draws"))
    assert not torch.equal(drawn("a", "draws"), drawn("b", "draws"))
    assert not torch.equal(drawn("a", "draws"), drawn("a", "transmission"))
    assert not torch.equal(drawn("a", "draws")[0], drawn("a", "draws")[1])


def test_clean_queries_come_without_the_defense():
    """Recorded before it was switched on."""
    deployment, view = _granted(Access.CLEAN_QUERIES)
    x = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(view.clean_query(x), deployment.edge(x))


def test_a_fresh_edge_has_the_structure_and_no_weight():
    """It can be trained, and is the same every time it is asked for."""
    deployment, view = _granted(Access.EDGE_STRUCTURE)
    fresh = view.fresh_edge()
    assert [type(layer) for layer in fresh] == [type(layer) for layer in deployment.edge]
    assert not torch.equal(fresh.conv1.weight, deployment.edge.conv1.weight)
    assert fresh.conv1.weight.abs().sum() > 0
    assert fresh.conv1.weight.requires_grad
    assert torch.equal(fresh.conv2.weight, view.fresh_edge().conv2.weight)


def test_a_stand_in_edge_makes_a_white_box_of_what_was_none():
    """And brings no other right with it."""
    _, view = _granted(Access.AUX_IMAGES)
    surrogate = nn.Sequential(nn.Identity())
    white = view.with_edge(surrogate)
    assert len(white.edge) == 1
    assert "query" not in vars(white)
    with pytest.raises(AccessDeniedError, match="EDGE_WEIGHTS"):
        _ = view.edge


def test_images_are_dealt_out_evenly():
    """Balanced beginnings hold classes alike, stratified ones as often as the whole does."""
    import numpy as np

    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    beginning = labels[balanced(labels, np.random.default_rng(0))[:15]]
    assert beginning.bincount().tolist() == [5, 5, 5]
    share = labels[stratified(labels, np.random.default_rng(0))[:50]]
    assert share.bincount().tolist() == [30, 15, 5]
