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
@pytest.mark.slow
def test_the_published_white_box_numbers_reproduce(attacked):
    """Table 3: 15.10 dB / .600 at relu2; one victim lies 1.2 dB / .06 above it."""
    record = attacked(*PUBLISHED_WHITE_BOX)
    assert record.accuracy_undefended > 0.99
    assert record.score("psnr_db") == pytest.approx(15.10, abs=2)
    assert record.score("ssim") == pytest.approx(0.600, abs=0.08)


@needs_mnist
@pytest.mark.slow
def test_the_published_dropout_point_reproduces(attacked):
    """Figure 9 at r = 0.6: accuracy .967 within .01, SSIM .28 within .06."""
    record = attacked("attack=rmle_paper", "split=relu2", "attack.steps=500", "defense.rate=0.6")
    assert record.accuracy == pytest.approx(0.967, abs=0.01)
    assert record.score("ssim") == pytest.approx(0.28, abs=0.06)


@needs_mnist
@pytest.mark.slow
def test_noise_at_the_input_runs_as_the_issue_types_it(run_cell):
    """64 balanced targets at conv1 behind noise of 0.4."""
    words = ["split=conv1", "attack=rmle", "defense=gaussian", "defense.sigma=0.4"]
    record = run_cell("dataset=mnist", *words, "defense.site=input", "targets=64")
    assert record.site == "input"
    assert 10 < record.score("psnr_db") < 30
    assert record.accuracy > 0.97


@needs_mnist
@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "psnr_db"), [("defense.rate=0.6", 37), ("defense=gaussian defense.sigma=1.0", 21)]
)
def test_sixteen_transmissions_reveal_what_they_hold(words, psnr_db, run_cell):
    """At relu2: 42.6 and 23.6 dB; lambda divided by K gave 18.8 for dropout, undivided 17.3 for
    noise."""
    setting = ["dataset=mnist", "split=relu2", "attack=rmle_adaptive", *words.split()]
    assert run_cell(*setting, "transmissions=16", "targets=16").score("psnr_db") > psnr_db


@needs_mnist
def test_digits_of_mnist_are_recovered_through_an_untrained_network(cell):
    """The cheapest cell on MNIST: random weights at relu2; the mean of the images scores 11 dB."""
    words = ["dataset=mnist", PAPER_IMAGES, "attack=rmle", "attack.steps=150", "defense=none"]
    made = Stage.of(cell(*words, "split=relu2"))
    deployment = made.deploy(made.cell.defense)
    view = made.view(deployment, made.cell.attack.access, RecordingLogger()).without_logging()
    x_hat = made.cell.attack.fit(view)(made.send(deployment))
    assert float(metrics.psnr_db(x_hat, made.x).mean()) > 20


@needs_mnist
@pytest.mark.slow
@pytest.mark.parametrize(
    ("split", "psnr_db", "ssim"),
    [("conv1", 75, 0.999), ("relu2", 36, 0.95)],
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
