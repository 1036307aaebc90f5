"""Confidence intervals against SciPy and by their coverage."""

import numpy as np
import pytest
from scipy import stats

from privbench.evaluation.statistics import (
    bca,
    interval_label,
    mean_interval,
    student_t,
    victim_interval,
    victim_label,
    wilson,
)
from tests.samples import SSIM, TRIALS, skewed_scores


def test_bca_agrees_with_scipys():
    """On skewed data, where the plain percentile interval differs."""
    values = np.random.default_rng(3).exponential(size=50)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=1)
    assert bca(values) == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)


def test_bca_covers_the_true_mean_about_95_times_in_100():
    """Over 200 samples of 40; 3 standard deviations of that count are 9 points."""
    draw = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        low, high = bca(draw.gamma(2.0, size=40))
        hits += low <= 2.0 <= high
    assert 172 <= hits <= 200


def test_a_mean_of_few_images_has_students_interval_and_no_level():
    """SciPy's, under twenty; from twenty on it is the bootstrap's, called 95 %."""
    draw = np.random.default_rng(0)
    for n in (2, 10, 19):
        x = draw.normal(size=n)
        theirs = stats.t.interval(0.95, n - 1, x.mean(), stats.sem(x))
        assert mean_interval(x) == pytest.approx(theirs)
        assert interval_label(n) == f"t, {n} images"
    x = draw.normal(size=20)
    assert mean_interval(x) == bca(x)
    assert interval_label(20) == "95 %"
    assert mean_interval([3.0]) is None
    assert mean_interval([3.0, 3.0]) == (3.0, 3.0)


def test_victims_have_an_interval_from_three_on_and_one_about_victims_from_five():
    """Student's, over their means."""
    assert victim_interval([0.1, 0.2]) is None
    assert victim_interval([0.1, 0.2, 0.3]) == student_t([0.1, 0.2, 0.3])
    assert "about victims" not in victim_label(4)
    assert "about victims" in victim_label(5)


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 10, 64])
def test_an_interval_over_images_covers_the_mean_90_to_98_times_in_100(count):
    """The bootstrap alone covers it less than 90 times with five images."""
    draw = np.random.default_rng(count)
    samples = [skewed_scores(draw, count) for _ in range(TRIALS)]

    def coverage(interval) -> float:
        return float(np.mean([low <= SSIM <= high for low, high in map(interval, samples)]))

    assert 0.90 <= coverage(mean_interval) <= 0.98
    if count == 5:
        assert coverage(bca) < 0.90


def test_intervals_of_one_value_and_of_a_perfect_share():
    """One image has no spread; a perfect share still has an interval."""
    assert bca([3.0]) == (3.0, 3.0)
    assert wilson(1.0, 100)[0] < 0.97
    assert wilson(0.0, 100)[1] > 0.03
    with pytest.raises(ValueError, match="at least one"):
        bca([])
