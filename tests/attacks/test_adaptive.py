"""Adversaries who know of the defense: likelihoods, what they gain, and who is believed."""

import dataclasses
from itertools import islice

import pytest
import torch
from scipy import stats
from torch import nn

from privbench.attacks.components.data_terms import independent_observations
from privbench.attacks.rmle import RMLE
from privbench.defenses.base import Defense
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.laplace import Laplace
from privbench.defenses.none import NoDefense
from privbench.deployment import Deployment
from privbench.evaluation import metrics
from privbench.evaluation.recognition import EVALUATION_CLASSIFIER
from privbench.evaluation.recognition import SEED as JUDGES_SEED
from privbench.experiment.config import build
from privbench.experiment.run import run
from privbench.report import frame, summary, worst_case
from privbench.runtime.random import RandomStreams
from privbench.threat import Access
from tests.support import granted, lenet_edge, scenes

DEFENSES = [Dropout(rate=0.4), Gaussian(sigma=0.5), Laplace(scale=0.3)]


def _double(value):
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("defense", [*DEFENSES, NoDefense(), Dropout(rate=0.0)], ids=str)
@pytest.mark.parametrize("s", [0.01, 0.1, 1.0])
def test_a_likelihood_is_a_density(defense, s):
    """It integrates to 1, whatever the receiver resolves and was sent."""
    v = torch.linspace(-30, 30, 600_001, dtype=torch.float64)
    for clean in (0.0, 0.7, -2.0):
        density = defense.log_likelihood(v, _double(clean), _double(s * s)).exp()
        assert float(torch.trapezoid(density, v)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("defense", DEFENSES, ids=str)
@pytest.mark.parametrize("s", [0.05, 0.3])
def test_the_expected_log_likelihood_is_greatest_at_the_truth(defense, s):
    """Over 200,000 draws of the defense's own sampler, seen through the receiver's noise."""
    clean = torch.full((200, 1000), 0.8)
    receiver = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    v = defense.perturb(clean, RandomStreams(0, "test", range(200))) + s * receiver
    tried = torch.linspace(0.4, 1.2, 17)
    scores = [float(defense.log_likelihood(v, c, torch.tensor(s * s)).mean()) for c in tried]
    assert float(tried[max(range(17), key=scores.__getitem__)]) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("defense", DEFENSES, ids=str)
def test_the_sampler_and_the_density_are_of_one_distribution(defense):
    """Kolmogorov-Smirnov at the 0.1 % level, 100,000 draws, receiver of s = 0.1."""
    s, clean = 0.1, torch.full((100, 1000), 0.8)
    receiver = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    v = defense.perturb(clean, RandomStreams(3, "test", range(100))) + s * receiver
    grid = torch.linspace(-12, 12, 480_001, dtype=torch.float64)
    density = defense.log_likelihood(grid, _double(0.8), _double(s * s)).exp()
    steps = torch.cumulative_trapezoid(density, grid)

    def distribution(at):
        place = ((torch.as_tensor(at) + 12) / 24 * 480_000).long().clamp(0, 479_999)
        return steps[place].numpy()

    assert stats.kstest(v.flatten().double().numpy(), distribution).pvalue > 1e-3


@pytest.mark.parametrize("b", [1e-4, 1e-2, 0.1, 3.0])
@pytest.mark.parametrize("s", [1e-3, 0.1, 1.0, 10.0])
def test_the_laplace_density_is_as_exact_in_32_bits(b, s):
    """Density and slope by the variance, which the EM step lives on, at any ratio of b to s."""
    v = torch.linspace(-5, 5, 101)
    found = []
    for kind in (torch.float32, torch.float64):
        variance = torch.tensor(s * s, dtype=kind, requires_grad=True)
        density = Laplace(scale=b).log_likelihood(v.to(kind), torch.zeros((), dtype=kind), variance)
        (slope,) = torch.autograd.grad(density.mean(), variance)
        found.append((density.detach().double(), slope.double()))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-2, atol=1e-3 / s**2)


def test_where_everything_was_dropped_there_is_an_answer_all_the_same(composed):
    """All features zero: finite images, none failed."""
    words = ["attack=rmle_adaptive", "defense.rate=1", "targets=3", "attack.steps=20"]
    assert run(composed(*words)).failed == 0


def test_sixteen_noisy_transmissions_are_one_of_a_quarter_of_the_noise():
    """The summed log-likelihood is that of the mean, up to a constant."""
    v = torch.randn(1, 16, 200, dtype=torch.float64)
    tiny, tried = _double(1e-12), torch.randn(5, 1, 200, dtype=torch.float64)
    many = Gaussian(sigma=1.0).log_likelihood(v, tried, tiny).sum((1, 2))
    mean = Gaussian(sigma=0.25).log_likelihood(v.mean(1, keepdim=True), tried, tiny).sum((1, 2))
    torch.testing.assert_close(many - many[0], mean - mean[0])


def _attacked(attack, edge, x, defense, copies=1, v=None):
    cloud = nn.Sequential(nn.Flatten())
    deployment = Deployment(edge, defense, cloud)
    if v is None:
        v = deployment.transmit(x, RandomStreams(0, "transmission", range(len(x))), copies)
    view = granted(
        deployment, scenes(3), attack.access
    ).without_logging()  # no facts: no longer run
    return attack.fit(view)(v)


ADAPTIVE = RMLE(steps=200, adaptive=True)


@pytest.mark.parametrize("defense", [NoDefense(), Dropout(rate=0.0), Gaussian(sigma=0)], ids=str)
def test_where_there_is_no_defense_adaptive_and_naive_agree(defense):
    """Bit for bit; and a noise of next to nothing changes next to nothing.

    By .4 dB on any instruction set after 60 steps; after 200 the last bits decide on 2.3 dB.
    """
    x, edge = scenes(4), lenet_edge("relu2")
    naive = _attacked(RMLE(steps=60), edge, x, defense)
    adaptive = dataclasses.replace(ADAPTIVE, steps=60)
    assert torch.equal(_attacked(adaptive, edge, x, defense), naive)
    close = _attacked(adaptive, edge, x, Gaussian(sigma=1e-6))
    scores = [metrics.psnr_db(answer, x).mean() for answer in (naive, close)]
    assert float(scores[1]) > float(scores[0]) - 2


@pytest.mark.parametrize("split", ["conv1", "relu2"])
def test_who_knows_of_dropout_sees_through_it(split):
    """By 3 dB at least at a rate of one half."""
    x, edge = scenes(6), lenet_edge(split)
    naive, adaptive = (
        metrics.psnr_db(_attacked(attack, edge, x, Dropout(rate=0.5)), x).mean()
        for attack in (RMLE(steps=200), ADAPTIVE)
    )
    assert adaptive > naive + 3


@pytest.mark.parametrize("defense", [Gaussian(sigma=0.5), Laplace(scale=0.35)], ids=str)
def test_more_transmissions_are_never_worse(defense):
    """K = 16 less K = 1, paired by image: the interval is not wholly below 0."""
    from privbench.evaluation.statistics import bca

    attack = dataclasses.replace(ADAPTIVE, steps=60)
    x, edge = scenes(5), lenet_edge("conv1")
    once, often = (
        metrics.psnr_db(_attacked(attack, edge, x, defense, copies), x) for copies in (1, 16)
    )
    assert bca((often - once).tolist())[1] > 0
    assert float(often.mean()) > float(once.mean()) + 3


class FixedMask(Dropout):
    """Dropout whose mask is the device's own: every transmission repeats the first."""

    def _pool(self, received):
        return received[:, :1].contiguous(), self


def test_a_mask_that_never_changes_says_no_more_the_sixteenth_time():
    """A defense that declares its transmissions repeats loses and gains nothing, bit for bit."""
    x, edge, defense = scenes(3), lenet_edge("relu2"), FixedMask(rate=0.5)
    v = Deployment(edge, defense, nn.Sequential()).transmit(x, RandomStreams(0, "device", range(3)))
    attack = dataclasses.replace(ADAPTIVE, steps=20)
    once = _attacked(attack, edge, x, defense, v=v)
    repeated = _attacked(attack, edge, x, defense, v=v.repeat(1, 16, 1, 1, 1))
    assert torch.equal(once, repeated)


def test_pooled_noise_has_the_likelihood_of_all_transmissions():
    """Gaussian: of the mean; Laplace: of each; up to a constant, for any clean tensor."""
    tiny, clean = _double(1e-12), torch.randn(3, 1, 200, dtype=torch.float64)
    tried = torch.randn(5, 1, 1, 200, dtype=torch.float64)
    for defense, left in ((Gaussian(sigma=0.7), 1), (Laplace(scale=0.3), 16)):
        v = clean + torch.randn(3, 16, 200, dtype=torch.float64)
        pooled, known = defense.pool(v)
        assert pooled.shape == (3, left, 200)
        many = defense.log_likelihood(v, tried, tiny).sum((2, 3))
        few = known.log_likelihood(pooled, tried, tiny).sum((2, 3))
        torch.testing.assert_close(many - many[0], few - few[0])


@pytest.mark.parametrize("copies", [2, 5, 16])
def test_pooled_dropout_has_the_likelihood_of_all_masks(copies):
    """Kept once is kept; what no transmission shows is zero, or was dropped K times."""
    defense, tiny = Dropout(rate=0.8), _double(1e-12)
    clean = torch.randn(4, 300, dtype=torch.float64) * (torch.rand(4, 300) < 0.5)
    draws = RandomStreams(0, "pool", range(4))
    v = torch.stack([defense.perturb(clean, draws.for_draw(k)) for k in range(copies)], 1)
    pooled, known = defense.pool(v)
    seen = (v != 0).any(1)
    assert torch.equal(pooled[:, 0], torch.where(seen, clean, 0.0))
    assert known.rate == pytest.approx(0.8**copies)
    # every guess at what was never seen: nothing there, something, or the truth
    hidden = [torch.zeros_like(clean), torch.full_like(clean, 0.9), clean]
    tried = torch.stack([torch.where(seen, clean, guess) for guess in hidden])[:, :, None]
    many = defense.log_likelihood(v, tried, tiny).sum((2, 3))
    few = known.log_likelihood(pooled, tried, tiny).sum((2, 3))
    assert float((many[0] - many[1]).abs().min()) > 1, "guesses that differ"
    torch.testing.assert_close(many - many[0], few - few[0])


@pytest.mark.parametrize("rate", [1e-300, 1e-30, 1e-3, 0.999, 1.0])
def test_pooling_stays_finite_at_any_rate(rate):
    """Density and slope, at rate**K that underflows, at zeros of either sign, at all dropped."""
    v = torch.tensor([[[0.0, -0.0, 1.5]] + 15 * [[-0.0, 0.0, 0.0]]])
    pooled, known = Dropout(rate=rate).pool(v)
    assert pooled.tolist() == [[[0.0, 0.0, 1.5]]]
    assert known.rate == rate**16
    for observed in (pooled, torch.zeros_like(pooled), -torch.zeros_like(pooled)):
        clean = torch.tensor([0.0, 0.3, 1.5], requires_grad=True)
        variance = torch.full((1, 1, 1), 1e-9, requires_grad=True)
        density = known.log_likelihood(observed, clean, variance)
        assert density.isfinite().all()
        assert all(
            g.isfinite().all() for g in torch.autograd.grad(density.sum(), [clean, variance])
        )


@pytest.mark.parametrize("defense", [NoDefense(), Dropout(rate=0), Gaussian(sigma=0)], ids=str)
def test_what_does_nothing_is_observed_once(defense):
    """Sixteen transmissions of an untouched tensor are one; a single one stays as it is."""
    v = torch.randn(2, 1, 3)
    for copies in (1, 16):
        pooled, known = defense.pool(v.repeat(1, copies, 1))
        assert torch.equal(pooled, v) and known == defense


@pytest.mark.parametrize("site", ["features", "input"])
@pytest.mark.parametrize("defense", [Dropout(rate=0.3), Laplace(scale=0.3)], ids=str)
def test_lambda_is_divided_by_what_pooling_leaves(defense, site):
    """Undivided for dropout on features; by K for noise, and for disturbed images by the end."""
    x, defense = scenes(2), dataclasses.replace(defense, site=site)
    edge = lenet_edge("conv1")
    v = Deployment(edge, defense, nn.Sequential()).transmit(x, RandomStreams(0, "t", range(2)), 16)
    attack = RMLE(adaptive=True)
    observed, known = independent_observations(v, defense)
    data_term = attack._data_term(edge, observed, known, 0.1 * x)
    prior = attack._prior(4.0, observed.shape[1], data_term)
    first, last = (float(prior(torch.tensor(r))) for r in (1.0, attack.noise_variance_last))
    alone = isinstance(defense, Dropout) and site == "features"
    assert last == pytest.approx(4.0 if alone else 4.0 / 16)
    assert first == pytest.approx(4.0 if alone or site == "input" else 4.0 / 16)


def test_noise_on_the_input_comes_back_as_the_noisy_image_and_no_better():
    """One transmission, no prior, conv1, which loses nothing: the likeliest image is the noisy one."""
    x = 0.25 + 0.5 * scenes(4)
    edge = lenet_edge("conv1")
    defense = Gaussian(sigma=0.1, site="input")
    draws = RandomStreams(0, "transmission", range(4))
    noisy = (1 + defense.perturb(edge[0](x), draws)) / 2  # back from the units of the network
    attack = RMLE(steps=500, tv_weight=0.0, adaptive=True)
    x_hat = _attacked(attack, edge, x, defense)
    assert float(metrics.psnr_db(x_hat, noisy.clamp(0, 1)).mean()) > 40
    difference = metrics.psnr_db(x_hat, x) - metrics.psnr_db(noisy.clamp(0, 1), x)
    assert float(difference.abs().max()) < 0.5


class Silent(Defense):
    """A defense of which nothing is stated."""

    @property
    def strength(self):
        return 1.0

    def _perturb(self, t, draws):
        return t.abs()


def test_an_adaptive_attack_on_a_defense_that_states_no_likelihood_is_refused():
    """By name; and adaptivity is refused where the view does not hold the defense."""
    from privbench.threat import AccessDeniedError

    attack = RMLE(adaptive=True)
    deployment = Deployment(lenet_edge("conv1"), Silent(), nn.Sequential(nn.Flatten()))

    with pytest.raises(ValueError, match="Silent has no likelihood"):
        attack.check(granted(deployment, scenes(2), attack.access))
    with pytest.raises(AccessDeniedError, match="DEFENSE"):
        attack.fit(granted(deployment, scenes(2), Access.EDGE_WEIGHTS))


BAD = {
    "transmissions=0": ["transmissions=0"],
    "attack=rmle_adaptive attack.objective=squared": ["attack.objective=squared", "profile"],
    "attack=tuned attack.images=401": ["attack.images=401", "400"],
    "attack=tuned attack.images=1": ["attack.images=1"],
    "attack=tuned attack.trials=0": ["attack.trials=0"],
    "attack=tuned attack.inner.tv_weight=0": ["attack.inner.tv_weight=0"],
    "attack=tuned attack@attack.inner=blind": ["attack.inner", "rmle"],
}


@pytest.mark.parametrize("words", BAD)
def test_bad_input_is_refused_in_one_line_before_any_training(words, refused):
    """It names the value and what may stand there."""
    refused(words, BAD[words])


@pytest.mark.parametrize("inner", ["rmle", "rmle_adaptive"])
def test_tuning_tries_the_attacks_own_setting_and_keeps_what_was_best(inner, composed):
    """On equal budgets, on images of the adversary's own, once."""
    words = [
        "attack=tuned",
        f"attack@attack.inner={inner}",
        "attack.trials=4",
        "attack.images=6",
        "attack.inner.steps=30",
        "targets=4",
        "defense.rate=0.3",
    ]
    first, second = (run(composed(*words, f"accuracy_draws={n}")) for n in (1, 2))
    assert first.columns == second.columns
    assert first.notes["tuned"] == second.notes["tuned"]
    assert first.notes["tuned"]["settings"] == 4 and first.notes["tuned"]["images"] == 6
    assert first.adaptive == (inner == "rmle_adaptive")
    assert ("DEFENSE" in first.access) == first.adaptive
    tried = build(composed(*words)).attack
    starts = [(a.init, a.tv_weight) for a in islice(tried._candidates(), 4)]
    own = 3.5 if first.adaptive else 4.0
    assert starts == [("dark", own), ("grey", own), ("dark", 4 * own), ("grey", 4 * own)]


def test_the_adaptive_inverter_composes_with_the_shadow(composed):
    """No new file: the shadow's rights grow by DEFENSE."""
    words = ["attack=shadow", "attack@attack.inverter=rmle_adaptive", "attack.steps=12"]
    record = run(composed(*words, "attack.inverter.steps=10", "targets=3"))
    assert record.access == ["AUX_IMAGES", "AUX_LABELS", "DEFENSE"]
    assert record.adaptive


def test_the_judge_is_nobodys_kin(composed, stage):
    """Another seed than any cell may have, another architecture, no weight shared; and it can read."""
    assert JUDGES_SEED > 2**32 - 1
    made = stage()
    judge = EVALUATION_CLASSIFIER.build(made.data.shape, 10, JUDGES_SEED)
    assert type(judge) is not type(made.model)
    mine = {id(p) for p in made.model.parameters()}
    assert not mine & {id(p) for p in made.truth().evaluator.parameters()}
    record = run(composed("attack=rmle", "defense=none", "targets=20", "attack.steps=150"))
    assert record.judge_accuracy > 0.95
    assert record.score("semantic_accuracy") > 0.9 and record.score("identification") > 0.9
    assert record.above["attack"] == {"psnr_db": 1.0, "ssim": 1.0}
    assert record.above["black"]["psnr_db"] <= 1
    assert record.floor["black"]["identification"] == pytest.approx(record.chance["identification"])
    assert record.floor["class_mean"]["semantic_accuracy"] > 0.9


def test_the_worst_case_is_taken_within_the_rights_and_doubted_where_it_must_be(composed):
    """Weights imply queries; an attack that does better at a greater strength was no bound."""

    def cell(attack, rate, *words):
        return run(composed(f"attack={attack}", f"defense.rate={rate}", "targets=10", *words))

    records = [
        cell("blind", 0.3),
        cell("rmle", 0.3, "attack.steps=150"),
        cell("rmle_adaptive", 0.2, "attack.steps=150"),
        cell("rmle_adaptive", 0.6, "attack.steps=150"),
    ]
    # as if the stronger defense had hidden less
    low, high = records[2:]
    records[2:] = [
        dataclasses.replace(
            record,
            strength=rate,
            config={**record.config, "defense": {**record.config["defense"], "rate": rate}},
        )
        for record, rate in ((low, 0.5), (high, 0.3))
    ]
    inverse = cell("inverse_paper", 0.3, "attack.steps=12")
    worst = {(w.rights, w.setting): w for w in worst_case.worst_cases([*records, inverse])}
    assert len(worst) == 5
    settings = {setting for _, setting in worst}
    at = next(s for s in settings if "0.3" in s)
    white = worst[("EDGE_WEIGHTS",), at]
    assert white.best["psnr_db"].first.attack == "rmle"
    adaptive = worst[("EDGE_WEIGHTS", "DEFENSE"), at]
    assert adaptive.best["ssim"].first.attack in ("rmle", "rmle_adaptive")
    groups = frame.grouped(records)
    weak = next(g for g in groups if g.first.attack == "rmle_adaptive" and g.first.strength == 0.3)
    assert any("0.5 gives more" in doubt for doubt in worst_case.caveats(weak, groups, "psnr_db"))
    output = summary.table(records)
    assert "accuracy" in output and "edge_weights" in output


def test_more_steps_that_give_more_are_a_doubt(composed):
    """Paired by image, beyond the interval."""
    few, many = (
        run(composed("attack=rmle_adaptive", "defense.rate=0.3", "targets=10", f"attack.steps={n}"))
        for n in (150, 5)
    )
    groups = frame.grouped([few, many])
    longer = next(g for g in groups if worst_case.steps(g.first) == 150)
    assert not [d for d in worst_case.caveats(longer, groups, "psnr_db") if "steps" in d]
    swapped = [
        dataclasses.replace(
            record, config={**record.config, "attack": {**record.config["attack"], "steps": steps}}
        )
        for record, steps in ((few, 5), (many, 150))
    ]
    groups = frame.grouped(swapped)
    longer = next(g for g in groups if worst_case.steps(g.first) == 150)
    assert any("5 steps give more" in d for d in worst_case.caveats(longer, groups, "psnr_db"))
