"""Metrics, intervals, keys and draws against independent implementations and known answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.nn import functional as F

from privbench.evaluation import identification, metrics, utility
from privbench.evaluation.statistics import (
    bca,
    interval_label,
    mean_interval,
    student_t,
    victim_interval,
    victim_label,
    wilson,
)
from privbench.report.frame import SeedGroup
from privbench.runtime.hashing import content_hash, derive_seed
from privbench.runtime.random import RandomStreams
from tests.records import record


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 40)])
def test_scores_equal_scikit_images(shape):
    """PSNR, SSIM and Gaussian SSIM agree with scikit-image's to 1e-5, image by image."""
    x = torch.rand(4, *shape)
    x_hat = (x + 0.2 * torch.randn_like(x)).clamp(0, 1)
    for i, (got, true) in enumerate(zip(x_hat.numpy(), x.numpy(), strict=True)):
        kind = {"data_range": 1.0, "channel_axis": 0}
        psnr = peak_signal_noise_ratio(true, got, data_range=1.0)
        assert metrics.psnr_db(x_hat, x)[i] == pytest.approx(psnr, abs=1e-4)
        assert metrics.ssim(x_hat, x)[i] == pytest.approx(
            structural_similarity(true, got, **kind), abs=1e-5
        )
        wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        assert metrics.ssim_gaussian(x_hat, x)[i] == pytest.approx(
            structural_similarity(true, got, **kind, **wang), abs=1e-5
        )


def test_an_equal_image_scores_100_db():
    """Equal images have no ratio: they are capped, not infinite."""
    x = torch.rand(2, 1, 28, 28)
    assert metrics.psnr_db(x, x).tolist() == [100, 100]


def test_a_reconstruction_that_is_not_finite_is_counted_and_scored_as_the_worst_constant():
    """It is never dropped from the mean."""
    x = torch.rand(2, 1, 28, 28)
    x_hat = x.clone()
    x_hat[1, 0, 3, 3] = torch.nan
    constants = [torch.zeros_like(x), torch.full_like(x, 0.5)]
    truth = metrics.Reference(
        x, [0, 1], x, torch.tensor([3, 4]), lambda images: torch.eye(10)[[3, 3]]
    )
    scores = metrics.score(x_hat, truth, constants)
    assert scores.failed == [False, True]
    assert scores.psnr_db[0] == 100
    assert scores.psnr_db[1] == pytest.approx(float(metrics.psnr_db(constants[0], x)[1]))

    # the classifier answers 3 for both: right once; a failed image counts as wrong, and ties with all
    assert scores.semantic_accuracy == [1, 0]
    assert scores.identification == [1, 0.5]
    assert scores.identification_class == [1, 1]


def _identified(x_hat, rows, gallery):
    labels, rows = torch.zeros(len(gallery), dtype=torch.int64), list(rows)
    truth = metrics.Reference(
        gallery[rows], rows, gallery, labels, lambda x: torch.zeros(len(x), 2)
    )
    return torch.tensor(metrics.score(x_hat, truth, [gallery[rows]]).identification)


def _moved(images, down, right):
    """Images shifted within a black frame."""
    framed = F.pad(images, (8, 8, 8, 8)).roll((down, right), (2, 3))
    return framed[..., 8:-8, 8:-8]


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -1), (2, 2), (-3, 3), (3, 1)])
@pytest.mark.parametrize("negative", [False, True])
def test_a_copy_is_identified_when_it_is_moved_by_three_pixels_or_is_a_negative(shift, negative):
    """Both together too; grey and colour."""
    for channels in (1, 3):
        gallery = torch.rand(200, channels, 28, 28)
        x_hat = _moved(gallery[:20], *shift)
        x_hat = 1 - x_hat if negative else x_hat
        assert _identified(x_hat, range(20), gallery).tolist() == [1.0] * 20


def test_a_small_image_may_be_moved_by_an_eighth_of_its_side():
    """By 1 pixel of 12, not by 3; and of 28 by 3, not by 5."""
    for side, inside, outside in ((12, 1, 3), (28, 3, 5)):
        gallery = torch.rand(400, 1, side, side)
        moved = _identified(_moved(gallery[:50], inside, 0), range(50), gallery)
        lost = _identified(_moved(gallery[:50], outside, 0), range(50), gallery)
        assert float(moved.mean()) == 1
        assert float(lost.mean()) < 0.2


def _by_hand(x_hat, rows, gallery, reach):
    """Identification, image by image and shift by shift."""
    found = []
    side = gallery.shape[-1] - 2 * reach
    middle = gallery[..., reach : reach + side, reach : reach + side].flatten(1).double().numpy()
    for one, row in zip(x_hat.double().numpy(), rows, strict=True):
        best = np.full(len(middle), -1.0)
        for top in range(2 * reach + 1):
            for left in range(2 * reach + 1):
                part = one[:, top : top + side, left : left + side].ravel()
                best = np.maximum(best, [abs(np.corrcoef(part, other)[0, 1]) for other in middle])
        ties = np.sum(np.abs(best - best[row]) <= identification.TIE)
        found.append(0.0 if (best > best[row] + identification.TIE).any() else 1 / ties)
    return found


@pytest.mark.parametrize("at_once", [8_000_000, 100])
def test_identification_equals_a_search_by_hand(at_once, monkeypatch):
    """Of good, poor and equal reconstructions, with twins in the gallery, in one part or in many."""
    monkeypatch.setattr(identification, "MAX_SIMILARITIES", at_once)
    gallery = F.avg_pool2d(torch.rand(40, 1, 20, 20), 5, 1)
    gallery[11] = gallery[5]
    noise = torch.linspace(0, 0.4, 24).view(-1, 1, 1, 1) * torch.randn(24, 1, 16, 16)
    x_hat = (gallery[:24].roll(1, 2) + noise).clamp(0, 1)
    x_hat[20:24] = x_hat[3]
    wanted = _by_hand(x_hat, range(24), gallery, 2)
    over_shifts = identification.identified_over_shifts(
        x_hat, torch.arange(24), identification.central_crops(gallery)
    )
    assert over_shifts.tolist() == pytest.approx(wanted)
    in_place = identification.identified_in_place(
        x_hat, torch.arange(24), identification.standardise(gallery)
    ).tolist()
    assert _identified(x_hat, range(24), gallery).tolist() == pytest.approx(
        [max(pair) for pair in zip(wanted, in_place, strict=True)]
    )
    assert {0.0, 0.5, 1.0} <= set(wanted)
    assert sum(wanted[20:24]) == 0


def test_another_images_negative_counts_against_identification():
    """Over shifts and sign an image is not found where another one's negative is more similar."""
    gallery = torch.rand(60, 1, 16, 16)
    for share, wanted in ((0.35, 0.0), (0.65, 1.0)):
        x_hat = share * gallery[:5] + (1 - share) * (1 - gallery[5:10])
        found = identification.identified_over_shifts(
            x_hat, torch.arange(5), identification.central_crops(gallery)
        )
        assert found.tolist() == [wanted] * 5


def test_identification_within_a_class_is_among_its_images_alone():
    """A copy of another class's image is none of its own class's."""
    gallery = torch.rand(60, 1, 16, 16)
    labels = torch.arange(60) % 3
    x_hat = gallery[[0, 1, 5, 4]] + 0.5 * gallery[[0, 4, 3, 4]]  # the third one's class is 0
    truth = metrics.Reference(
        x_hat, [0, 4, 3, 4], gallery, labels, lambda x: torch.zeros(len(x), 3)
    )
    scores = metrics.score(x_hat.clamp(0, 1), truth, [])
    assert scores.identification == [1, 0, 0, 1]
    assert scores.identification_class == [1, 0, 1, 1]


def test_an_accuracy_of_many_copies_takes_fewer_images_at_once():
    """So that memory does not grow with the number of transmissions."""
    sizes = []

    def classify(images, rows):
        sizes.append(len(images))
        return torch.eye(10)[torch.zeros(len(images), 1, dtype=torch.int64)]

    images, labels = torch.zeros(1000, 1, 8, 8), torch.arange(1000) % 10
    shares = utility.per_image_accuracy(classify, images, labels, 48)
    assert max(sizes) * 48 <= 1000 and sum(sizes) == 1000
    assert float(shares.mean()) == pytest.approx(0.1)


def test_true_images_are_identified_and_shuffled_ones_are_by_chance():
    """Among 400, and whatever their brightness and contrast."""
    gallery = torch.rand(400, 1, 28, 28)
    rows = list(range(100))
    assert float(_identified(gallery[:100], rows, gallery).mean()) == 1
    assert float(_identified(0.2 * gallery[:100] + 0.1, rows, gallery).mean()) == 1
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    shuffled = _identified(torch.rand(100, 1, 28, 28), rows, gallery)
    assert float(shuffled.mean()) < 0.05
    hits = (order == torch.arange(100)).float()
    assert torch.equal(_identified(gallery[order], rows, gallery).float(), hits)


def test_what_ties_shares_the_hit():
    """No contrast is like everything; twins are like each other."""
    gallery = torch.rand(50, 1, 12, 12)
    gallery[7] = gallery[3]
    flat = torch.full((1, 1, 12, 12), 0.5)
    assert float(_identified(flat, [0], gallery)) == pytest.approx(1 / 50)
    assert float(_identified(gallery[3:4], [3], gallery)) == pytest.approx(1 / 2)


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


def _ssims(draw: np.random.Generator, count: int) -> np.ndarray:
    """Images' scores, skewed to the left; their mean is ``SSIM``."""
    return 1 - 0.8 * draw.beta(2, 4, size=count)


SSIM = 1 - 0.8 / 3
TRIALS = 600
"""A coverage of .95 is simulated to .009, one standard deviation."""


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 10, 64])
def test_an_interval_over_images_covers_the_mean_90_to_98_times_in_100(count):
    """The bootstrap alone covers it less than 90 times with five images."""
    draw = np.random.default_rng(count)
    samples = [_ssims(draw, count) for _ in range(TRIALS)]

    def coverage(interval) -> float:
        return float(np.mean([low <= SSIM <= high for low, high in map(interval, samples)]))

    assert 0.90 <= coverage(mean_interval) <= 0.98
    if count == 5:
        assert coverage(bca) < 0.90


@pytest.mark.slow
def test_what_is_called_an_interval_about_victims_covers_their_mean_and_pooled_images_do_not():
    """Five victims of 64 images each, whose means differ by a standard deviation of .06."""
    draw = np.random.default_rng(0)
    hits = {"victims": 0, "images": 0}
    for _ in range(TRIALS // 2):
        one = SeedGroup([
            replace(record(seed=seed), per_image={
                "index": list(range(64 * seed, 64 * (seed + 1))),
                "ssim": list(_ssims(draw, 64) + draw.normal(0, 0.06)),
            })
            for seed in range(5)
        ])  # fmt: skip
        ends = {"victims": one.victim_interval("ssim"), "images": one.interval("ssim")}
        for name, (low, high) in ends.items():
            hits[name] += low <= SSIM <= high
    assert 0.90 <= hits["victims"] / (TRIALS // 2) <= 0.98
    assert hits["images"] / (TRIALS // 2) < 0.65
    assert "about victims" not in interval_label(320)


def test_intervals_of_one_value_and_of_a_perfect_share():
    """One image has no spread; a perfect share still has an interval."""
    assert bca([3.0]) == (3.0, 3.0)
    assert wilson(1.0, 100)[0] < 0.97
    assert wilson(0.0, 100)[1] > 0.03
    with pytest.raises(ValueError, match="at least one"):
        bca([])


def test_a_key_forgets_the_spelling_and_nothing_else():
    """Order, integers and the last bits of a float do not move it; a value does."""
    assert content_hash({"a": 1, "b": [0.3]}) == content_hash(
        {"b": [0.30000000000000004], "a": 1.0}
    )
    assert content_hash({"a": 1}) != content_hash({"a": 2})
    assert content_hash({"a": 1}) != content_hash({"a": True})
    assert content_hash({"a": None}) != content_hash({})
    assert derive_seed(0, "a") != derive_seed(0, "b")
    with pytest.raises(TypeError, match="cannot be part of a key"):
        content_hash({"a": object()})


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_an_images_draws_depend_on_its_index_alone(kind):
    """Alone, among others, in another order: the same; another index, number or purpose: not."""
    many = getattr(RandomStreams(0, "test", [5, 2, 9]), kind)(torch.zeros(3, 4, 6))
    alone = getattr(RandomStreams(0, "test", [2]), kind)(torch.zeros(1, 4, 6))
    assert torch.equal(many[1], alone[0])
    assert not torch.equal(many[0], many[1])
    for other in (
        RandomStreams(1, "test", [2]),
        RandomStreams(0, "more", [2]),
        RandomStreams(0, "test", [2], number=1),
    ):
        assert not torch.equal(getattr(other, kind)(torch.zeros(1, 4, 6)), alone)


def test_draws_have_the_distribution_they_are_named_for():
    """Kolmogorov-Smirnov at the 0.1 % level over 100 images."""
    streams = RandomStreams(0, "test", range(100))
    uniform = streams.uniform(torch.zeros(100, 500)).flatten().numpy()
    normal = streams.normal(torch.zeros(100, 500)).flatten().numpy()
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert stats.kstest(normal, "norm").pvalue > 1e-3
