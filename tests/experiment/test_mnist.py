"""The paper's MNIST setting: victim, published numbers, and what the strong settings reach."""

from statistics import fmean

import pytest

from privbench.experiment.run import run
from tests.support import needs_mnist

TEN = "target_indices=[3,2,1,18,4,8,11,0,61,7]"
"""The images behind every published number, He et al. figures 3 to 8."""


@pytest.fixture
def attacked(composed):
    return lambda *words: run(composed("dataset=mnist", TEN, *words))


PUBLISHED = ["attack=rmle_paper", "split=relu2", "attack.steps=5000", "defense=none"]


@needs_mnist
@pytest.mark.fault
def test_the_published_white_box_numbers_reproduce(attacked):
    """Table 3: 15.10 dB / .600 at relu2; one victim lies 1.2 dB / .06 above it."""
    record = attacked(*PUBLISHED)
    assert record.accuracy_undefended > 0.99
    assert record.psnr_db == pytest.approx(15.10, abs=2)
    assert record.ssim == pytest.approx(0.600, abs=0.08)


@needs_mnist
@pytest.mark.slow
def test_the_published_white_box_numbers_reproduce_on_the_mean_of_three_victims(attacked):
    """Within 1 dB / .03: victims differ by 3.5 dB, for some see nothing in black."""
    records = [attacked(*PUBLISHED, f"seed={seed}") for seed in range(3)]
    assert fmean(record.psnr_db for record in records) == pytest.approx(15.10, abs=1)
    assert fmean(record.ssim for record in records) == pytest.approx(0.600, abs=0.03)


@needs_mnist
def test_the_published_dropout_point_reproduces(attacked):
    """Figure 9 at r = 0.6: accuracy .967 within .01, SSIM .28 within .06."""
    record = attacked("attack=rmle_paper", "split=relu2", "attack.steps=500", "defense.rate=0.6")
    assert record.accuracy == pytest.approx(0.967, abs=0.01)
    assert record.ssim == pytest.approx(0.28, abs=0.06)


@needs_mnist
@pytest.mark.parametrize(
    ("split", "psnr_db", "ssim"),
    [
        ("conv1", 75, 0.999),
        ("relu2", 36, 0.95),
        pytest.param("pool2", 22, 0.75, marks=pytest.mark.fault),
        pytest.param("fc1", 15, 0.55, marks=pytest.mark.fault),
    ],
)
def test_the_strong_settings_recover_more_than_the_published_ones(attacked, split, psnr_db, ssim):
    """One setting for every split."""
    record = attacked("attack=rmle", f"split={split}", "defense=none")
    assert record.psnr_db > psnr_db
    assert record.ssim > ssim
    assert record.lift["ssim"] > 0
    assert round(record.converged, 3) >= 0.9


@needs_mnist
@pytest.mark.fault
def test_noise_at_the_input_runs_as_the_issue_types_it(composed):
    """64 balanced targets at conv1 behind noise of 0.4."""
    words = ["split=conv1", "attack=rmle", "defense=gaussian", "defense.sigma=0.4"]
    record = run(composed("dataset=mnist", *words, "defense.site=input", "targets=64"))
    assert record.site == "input"
    assert 10 < record.psnr_db < 30
    assert record.accuracy > 0.97


@needs_mnist
@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "psnr_db", "ssim"),
    [
        ("attack=inverse split=relu2 defense=none", 24, 0.90),
        ("attack=inverse split=relu2 defense.rate=0.6 attack.queries=200000", 20, 0.82),
        ("attack=shadow split=conv1 defense=none", 17, 0.69),
        ("attack=shadow split=relu2 defense=none", 8, 0.32),
        ("attack=shadow_queried split=relu2 defense=none", 15, 0.61),
    ],
)
def test_the_learned_adversaries_reach_more_than_the_published_ones(attacked, words, psnr_db, ssim):
    """Mean over three victims."""
    records = [attacked(*words.split(), f"seed={seed}") for seed in range(3)]
    assert fmean(record.psnr_db for record in records) >= psnr_db
    assert fmean(record.ssim for record in records) >= ssim


@needs_mnist
@pytest.mark.slow
@pytest.mark.parametrize(
    ("split", "psnr_db", "ssim"), [("conv1", 40.72, 0.995), ("relu2", 20.81, 0.805)]
)
def test_the_published_black_box_numbers_reproduce(attacked, split, psnr_db, ssim):
    """Table 4, the attacker's own images: within 1.5 dB / .05 on the mean of three victims."""
    words = ["attack=inverse_paper", f"split={split}", "defense=none"]
    records = [attacked(*words, f"seed={seed}") for seed in range(3)]
    assert fmean(record.psnr_db for record in records) == pytest.approx(psnr_db, abs=1.5)
    assert fmean(record.ssim for record in records) == pytest.approx(ssim, abs=0.05)
