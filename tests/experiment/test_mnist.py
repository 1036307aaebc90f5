"""The paper's MNIST setting: victim, published numbers, and what the strong settings reach."""

from statistics import fmean

import pytest

from privbench.evaluation import metrics
from tests.stage import Stage
from tests.support import PAPER_IMAGES, PUBLISHED_WHITE_BOX, RecordingLogger, needs_mnist


@needs_mnist
@pytest.mark.slow
def test_the_published_white_box_numbers_reproduce_on_the_mean_of_three_victims(attacked):
    """Within 1 dB / .03: victims differ by 3.5 dB, for some see nothing in black."""
    records = [attacked(*PUBLISHED_WHITE_BOX, f"seed={seed}") for seed in range(3)]
    assert fmean(record.score("psnr_db") for record in records) == pytest.approx(15.10, abs=1)
    assert fmean(record.score("ssim") for record in records) == pytest.approx(0.600, abs=0.03)


@needs_mnist
@pytest.mark.parametrize(
    ("split", "psnr_db", "ssim"),
    [pytest.param("conv1", 75, 0.999, marks=pytest.mark.slow), ("relu2", 36, 0.95)],
)
def test_the_strong_settings_recover_more_than_the_published_ones_of_a_brief_victim(
    cell, split, psnr_db, ssim
):
    """A victim of one epoch; published are 40 and 15 dB."""
    words = ["dataset=mnist", PAPER_IMAGES, "attack=rmle", "defense=none", f"split={split}"]
    made = Stage.of(cell(*words, "victim.epochs=1", "victim.min_steps=1"))
    made.prepare_victim()
    deployment, logger = made.deploy(made.cell.defense), RecordingLogger()
    view = made.view(deployment, made.cell.attack.access, logger)
    x_hat = made.cell.attack.fit(view)(made.send(deployment))
    assert float(metrics.psnr_db(x_hat, made.x).mean()) > psnr_db
    assert float(metrics.ssim(x_hat, made.x).mean()) > ssim
    assert round(logger.facts["converged"], 3) >= 0.9


@needs_mnist
@pytest.mark.slow
@pytest.mark.parametrize(
    ("split", "psnr_db", "ssim"),
    [("conv1", 75, 0.999), ("relu2", 36, 0.95), ("pool2", 22, 0.75), ("fc1", 15, 0.55)],
)
def test_the_strong_settings_recover_more_than_the_published_ones(attacked, split, psnr_db, ssim):
    """One setting for every split."""
    record = attacked("attack=rmle", f"split={split}", "defense=none")
    assert record.score("psnr_db") > psnr_db
    assert record.score("ssim") > ssim
    assert record.lift["ssim"] > 0
    assert round(record.converged, 3) >= 0.9


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
    assert fmean(record.score("psnr_db") for record in records) >= psnr_db
    assert fmean(record.score("ssim") for record in records) >= ssim


@needs_mnist
@pytest.mark.slow
@pytest.mark.parametrize(
    ("split", "psnr_db", "ssim"), [("conv1", 40.72, 0.995), ("relu2", 20.81, 0.805)]
)
def test_the_published_black_box_numbers_reproduce(attacked, split, psnr_db, ssim):
    """Table 4, the attacker's own images: within 1.5 dB / .05 on the mean of three victims."""
    words = ["attack=inverse_paper", f"split={split}", "defense=none"]
    records = [attacked(*words, f"seed={seed}") for seed in range(3)]
    assert fmean(record.score("psnr_db") for record in records) == pytest.approx(psnr_db, abs=1.5)
    assert fmean(record.score("ssim") for record in records) == pytest.approx(ssim, abs=0.05)
