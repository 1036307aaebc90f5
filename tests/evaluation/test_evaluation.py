"""Blind answers and the accuracy of several transmissions, as a record holds them."""

import json

import pytest
import torch

from privbench.attacks.blind import LABEL_ONLY, LOGITS, Blind
from privbench.attacks.components.class_images import ClassImages, LocalSsim, most_similar
from privbench.data.digits import Digits
from privbench.evaluation import metrics
from privbench.evaluation.metrics import RECONSTRUCTION_METRICS
from privbench.runtime.random import RandomStreams
from privbench.store.artifacts import Store
from privbench.store.result_table import table
from tests.records import record
from tests.stage import Stage


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 40)])
def test_the_ssim_that_is_maximised_is_the_one_that_is_scored(shape):
    """To 1e-5, image by image, of flat and equal images too."""
    images, image = torch.rand(6, *shape), torch.rand(shape)
    images[0], images[1] = image, 0.3
    for one in (image, torch.zeros(shape)):
        found = LocalSsim(images)(one)
        torch.testing.assert_close(
            found, metrics.ssim(one.expand_as(images), images), atol=1e-5, rtol=0
        )


@pytest.fixture(scope="module")
def digits():
    return Digits(name="digits", size=28, aux="disjoint", aux_images=None).load(
        Store(None), show_progress=False
    )


@pytest.mark.long
def test_the_image_of_a_class_that_is_optimised_for_ssim_beats_the_mean_on_held_out_images(digits):
    """By .02 on digits, where the mean has .62 (on MNIST by .12)."""
    images, labels = digits.aux.images, digits.aux.labels
    answers = ClassImages(labels, digits.shape, images.device)
    answers.fill(images, labels)
    x, predicted = digits.test.images, digits.test.labels
    means = torch.stack([images[labels == label].mean(0) for label in range(10)])
    mean, optimised = (
        float(metrics.ssim(guess, x).mean()) for guess in (means[predicted], answers(predicted))
    )
    assert optimised > mean + 0.01
    assert float(answers.answers.min()) >= 0 and float(answers.answers.max()) <= 1


def test_a_class_without_images_is_answered_with_the_image_of_all():
    """As a class that the adversary has never seen may be predicted."""
    images, labels = torch.rand(9, 1, 12, 12), torch.tensor([4] * 6 + [2] * 3)
    answers = ClassImages(labels, (1, 12, 12), images.device)
    answers.fill(images, labels)
    found = answers(torch.tensor([2, 4, 7, 0]))
    torch.testing.assert_close(found[0], most_similar(images[6:]))
    torch.testing.assert_close(found[1], most_similar(images[:6]))
    torch.testing.assert_close(found[2], most_similar(images))
    assert torch.equal(found[2], found[3])


def test_the_best_blind_answer_uses_the_label_at_most(run_cell):
    """By metric it is at least all that do, and the logits, which say more, are a line apart."""
    record = run_cell("attack=rmle", "attack.steps=5", "defense=none", "targets=60")
    floor = record.floor
    assert set(floor) == {*LABEL_ONLY, "logits", "best"}
    for metric in (one.name for one in RECONSTRUCTION_METRICS):
        assert floor["best"][metric] == max(floor[answer][metric] for answer in LABEL_ONLY)
        assert record.lift[metric] == record.score(metric) - floor["best"][metric]
    assert floor["class_ssim"]["ssim"] > floor["class_mean"]["ssim"]
    for metric in ("psnr_db", "ssim"):
        assert floor["logits"][metric] > floor["best"][metric] + 0.02
        images = record.per_image[f"floor_{metric}"]
        assert sum(images) / len(images) == pytest.approx(floor["best"][metric])
    logits = floor["logits"]
    output = f"from the logits {logits['psnr_db']:.2f} dB, SSIM {logits['ssim']:.3f}"
    assert output in table(record, {})


def test_the_ceiling_of_a_prior_is_printed():
    """Only where the attack has measured one."""
    lines = table(record(notes={"prior_ceiling_db": 48.4159}), {}).splitlines()
    (line,) = [line.split() for line in lines if line.split()[0] == "ceiling"]
    assert line[1:3] == ["48.42", "dB,"]
    assert "ceiling" not in table(record(), {})


@pytest.mark.parametrize("answer", ["class_ssim", "logits"])
def test_a_blind_answer_is_an_attack_that_scores_its_floor(answer, run_cell):
    """Under rights of its own; several transmissions are averaged."""
    words = ["attack=blind", f"attack.answer={answer}", "defense.rate=0.3", "transmissions=2"]
    record = run_cell(*words, "targets=12")
    for metric in (one.name for one in RECONSTRUCTION_METRICS):
        assert record.score(metric) == pytest.approx(record.floor[answer][metric])
    asked = {"class_ssim": ["AUX_LABELS"], "logits": ["CLEAN_QUERIES"]}[answer]
    assert set(record.access) == {"AUX_IMAGES", *asked}
    assert not record.adaptive
    assert (record.queries > 0) == (answer == "logits")


@pytest.mark.long
def test_the_images_of_classes_are_computed_once_for_all_victims(cell, tmp_path):
    """Whatever split, seed and defense a cell has; an untrained victim does."""
    given = []
    for words in (["defense=none"], ["split=conv1", "seed=3", "victim.epochs=1"]):
        made = Stage.of(cell(*words, "targets=3", f"output_dir={tmp_path}"))
        given.append(made.blind(made.send(made.deploy(made.cell.defense))))
    kept = (tmp_path / "store" / "baselines").glob("*.json")
    recipes = [json.loads(path.read_text())["recipe"]["recipe"] for path in kept]
    assert sorted(recipe["baseline"] for recipe in recipes) == ["class_ssim", "logits", "logits"]
    codes = {recipe["code"] for recipe in recipes}
    assert codes == {Blind.version, LOGITS}, "other code, other answers"
    assert set(given[0]) == set(given[1]) == {*LABEL_ONLY, "logits"}


NOISE = ["defense=dropout", "defense.rate=0.9", "attack=blind", "targets=5"]


@pytest.mark.long
def test_a_cloud_that_averages_16_transmissions_is_more_accurate_than_with_one(run_cell):
    """Records and tables hold both; of one transmission they are the same."""
    many = run_cell(*NOISE, "transmissions=16")
    one = run_cell(*NOISE)
    assert many.accuracy > many.accuracy_single + 0.1
    assert many.accuracy_single == one.accuracy_single == one.accuracy
    output = table(many, {})
    assert f"{many.accuracy:.4f}" in output
    assert f"16 transmissions ({many.accuracy_single:.4f} by one)" in output
    assert "by one" not in table(one, {})


def test_the_accuracy_of_k_transmissions_is_of_independent_groups_of_k(stage):
    """Each group has draws of its own; the largest mean logit is the answer."""
    made = stage(*NOISE, "accuracy_draws=2")
    test, deployment = made.data.test, made.deploy(made.cell.defense)
    v = deployment.transmit(
        test.images, RandomStreams(made.defense_seed, "accuracy", range(len(test))), 6
    )
    logits = deployment.predict(v)
    groups = [logits[:, :3].mean(1).argmax(1), logits[:, 3:].mean(1).argmax(1)]
    wanted = torch.stack([(group == test.labels).double() for group in groups]).mean(0)
    found = made.usability(defended=True, transmissions=3)
    assert float((found - wanted).abs().mean()) < 0.01  # a tie may turn with the batch
    assert set(found.tolist()) == {0.0, 0.5, 1.0}
    assert not torch.equal(found, made.usability(defended=True))


def test_logits_are_refused_behind_features_that_the_undefended_edge_does_not_give(refused):
    """A bottleneck sends fewer channels."""
    words = "attack=blind attack.answer=logits defense=bottleneck defense.rate=0.75"
    refused(words, ["undefended features", "class_mean"])
