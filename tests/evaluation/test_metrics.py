"""Metrics against independent implementations and known answers."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.nn import functional as F

from privbench.evaluation import identification, metrics, scoring, utility
from privbench.evaluation.reference import Reference


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
    truth = Reference(x, [0, 1], x, torch.tensor([3, 4]), lambda images: torch.eye(10)[[3, 3]])
    scores = scoring.score(x_hat, truth, constants)
    assert scores.failed == [False, True]
    assert scores.per_image["psnr_db"][0] == 100
    assert scores.per_image["psnr_db"][1] == pytest.approx(
        float(metrics.psnr_db(constants[0], x)[1])
    )

    # the classifier answers 3 for both: right once; a failed image counts as wrong, and ties with all
    assert scores.per_image["semantic_accuracy"] == [1, 0]
    assert scores.per_image["identification"] == [1, 0.5]
    assert scores.per_image["identification_class"] == [1, 1]


def _identified(x_hat, rows, gallery):
    labels, rows = torch.zeros(len(gallery), dtype=torch.int64), list(rows)
    truth = Reference(gallery[rows], rows, gallery, labels, lambda x: torch.zeros(len(x), 2))
    return torch.tensor(scoring.score(x_hat, truth, [gallery[rows]]).per_image["identification"])


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


@pytest.mark.long
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
    truth = Reference(x_hat, [0, 4, 3, 4], gallery, labels, lambda x: torch.zeros(len(x), 3))
    scores = scoring.score(x_hat.clamp(0, 1), truth, [])
    assert scores.per_image["identification"] == [1, 0, 0, 1]
    assert scores.per_image["identification_class"] == [1, 0, 1, 1]


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


@pytest.mark.parametrize(
    ("shape", "size"), [((1, 28, 28), 250), ((3, 32, 32), 64), ((3, 224, 224), 8)]
)
def test_fewer_large_images_are_classified_at_once(shape, size):
    """So that their feature maps fit a cache."""
    sizes = []

    def classify(images, rows):
        sizes.append(len(images))
        return torch.eye(10)[torch.zeros(len(images), 1, dtype=torch.int64)]

    images = torch.zeros(1, *shape).expand(260, *shape)
    utility.per_image_accuracy(classify, images, torch.zeros(260, dtype=torch.int64))
    assert max(sizes) == size and sum(sizes) == 260


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
