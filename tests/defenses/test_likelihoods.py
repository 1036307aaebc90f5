"""Likelihoods of defenses: densities, of the same distribution as the draws, also pooled."""

import pytest
import torch
from scipy import stats

from privbench.defenses.base import log_normal
from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.laplace import Laplace
from privbench.defenses.none import NoDefense
from privbench.runtime.random import RandomStreams
from privbench.testing import DefenseContract

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


@pytest.mark.parametrize("b", [0.02, 0.3, 4.0])
@pytest.mark.parametrize("s", [0.05, 1.0])
def test_the_slopes_of_the_laplace_density_are_those_of_its_values(b, s):
    """By observed, clean and variance, which broadcast; both tails and the middle."""
    v = torch.linspace(-6, 6, 25, dtype=torch.float64).view(1, -1).requires_grad_()
    clean = torch.tensor([[0.1], [-0.3]], dtype=torch.float64, requires_grad=True)
    variance = torch.tensor([[s**2], [4 * s**2]], dtype=torch.float64, requires_grad=True)
    density = Laplace(scale=b).log_likelihood
    assert torch.autograd.gradcheck(density, (v, clean, variance), atol=1e-5, rtol=1e-4)


def test_sixteen_noisy_transmissions_are_one_of_a_quarter_of_the_noise():
    """The summed log-likelihood is that of the mean, up to a constant."""
    v = torch.randn(1, 16, 200, dtype=torch.float64)
    tiny, tried = _double(1e-12), torch.randn(5, 1, 200, dtype=torch.float64)
    many = Gaussian(sigma=1.0).log_likelihood(v, tried, tiny).sum((1, 2))
    mean = Gaussian(sigma=0.25).log_likelihood(v.mean(1, keepdim=True), tried, tiny).sum((1, 2))
    torch.testing.assert_close(many - many[0], mean - mean[0])


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


class Misjudged(Gaussian):
    """Gaussian noise with a likelihood of another mean, or of another variance."""

    mean, spread = 1.0, 1.0

    def _log_likelihood(self, observed, clean, variance):
        return log_normal(observed - self.mean * clean, self.spread * (variance + self.sigma**2))


@pytest.mark.parametrize(
    ("mean", "spread", "fault"),
    [
        (3.0, 1.0, "half the clean tensor is likelier"),
        (0.3, 1.0, "double the clean tensor is likelier"),
        (1.0, 100.0, "a variance of 25 is likelier"),
        (1.0, 0.01, "a variance of 400 is likelier"),
    ],
)
def test_the_contract_finds_a_likelihood_of_another_mean_or_variance(mean, spread, fault):
    """Which sends an adaptive attack astray, so that the defense looks better than it is."""
    contract, defense = DefenseContract(), Misjudged(sigma=0.5)
    victim = contract.victim()
    contract.check_likelihood(Deployment(victim.edge, defense, victim.cloud))
    object.__setattr__(defense, "mean", mean)
    object.__setattr__(defense, "spread", spread)
    with pytest.raises(AssertionError, match=fault):
        contract.check_likelihood(Deployment(victim.edge, defense, victim.cloud))
