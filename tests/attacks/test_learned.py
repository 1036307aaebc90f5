"""Adversaries that learn: what they count, what they touch, what they reach, what is kept."""

import dataclasses
import re

import pytest
import torch
from torch import nn

from privbench.attacks.components.learning import query_edge
from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.victims.lenet5 import LeNet5
from tests.support import RecordingLogger, granted, hasty


class Trapped(nn.Module):
    """An edge's layer that counts what it is fed, and can be armed against any use at all."""

    fed = 0
    armed = False

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 8, 5)

    def forward(self, x):
        assert not Trapped.armed, "the edge was used"
        assert not torch.is_grad_enabled(), "the edge was differentiated"
        Trapped.fed += len(x)
        return self.layer(x)


class Forbidden:
    """Stands where the edge stood, and bears no touch at all."""

    def __getattribute__(self, name):
        raise AssertionError(f"the edge's {name} was looked at")

    def __call__(self, *anything):
        raise AssertionError("the edge was asked")


@pytest.fixture
def trapped():
    """A view of a deployment with a trapped edge, and its journal."""

    def make(attack, defense=None):
        torch.manual_seed(0)
        cloud = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(8 * 24 * 24, 10))
        deployment = Deployment(
            nn.Sequential(Trapped()), defense or Dropout(rate=0.3), cloud.eval()
        )
        images, labels = torch.rand(40, 1, 28, 28), torch.arange(40) % 10
        logger = RecordingLogger()
        view = granted(deployment, images, attack.access, labels, split="conv1", logger=logger)
        Trapped.fed = 0
        return view, logger, deployment

    yield make
    Trapped.armed = False


def test_the_query_free_shadow_uses_no_edge_and_leaves_the_cloud_as_it_is(trapped, cell):
    """From the first image to the reconstructor; the cloud keeps every bit and its mode."""
    view, logger, deployment = trapped(hasty(cell("attack=shadow").attack))
    before = {name: t.clone() for name, t in view.cloud.state_dict().items()}
    theirs = {name: t.clone() for name, t in deployment.cloud.state_dict().items()}
    Trapped.armed, deployment.edge = True, Forbidden()
    reconstruct = hasty(cell("attack=shadow").attack).fit(view)
    x_hat = reconstruct(torch.rand(2, 1, 8, 24, 24))
    assert x_hat.shape == (2, 1, 28, 28)
    assert "queries" not in logger.facts or logger.facts["queries"] == 0
    for cloud, was in ((view.cloud, before), (deployment.cloud, theirs)):
        assert all(torch.equal(t, was[name]) for name, t in cloud.state_dict().items())
        assert not cloud.training


@pytest.mark.parametrize("budget", ["null", "40", "97", "17"])
@pytest.mark.parametrize("name", ["inverse", "inverse_naive", "inverse_paper", "shadow_queried"])
def test_what_is_recorded_as_asked_is_what_the_edge_was_asked(trapped, cell, name, budget):
    """Repeats and held-out images count; the budget is spent to the last answer."""
    attack = hasty(cell(f"attack={name}", f"attack.queries={budget}").attack)
    view, logger, _ = trapped(attack)
    attack.fit(view)
    assert Trapped.fed == logger.facts["queries"] == (40 if budget == "null" else int(budget))
    assert logger.facts["aux_images"] == min(40, Trapped.fed)
    assert logger.facts["epochs"] >= 1


def test_a_budget_buys_fresh_answers_of_the_images_that_are_trained_on():
    """Every held-out image has one answer, the others share the rest evenly."""
    asked = []

    def query(x):
        asked.append(len(x))
        return x.flatten(1)[:, :3] + len(asked)

    (v, rows), (v_last, last), *_ = query_edge(query, torch.rand(30, 1, 4, 4), 100)
    assert sum(asked) == 100
    assert last.tolist() == [27, 28, 29] and len(v_last) == 3
    counts = rows.bincount()
    assert len(counts) == 27 and int(counts.sum()) == 97 and int(counts.max() - counts.min()) <= 1
    first, again = (rows == 0).nonzero().flatten()[:2]
    assert not torch.equal(v[first], v[again])


@pytest.mark.slow
@pytest.mark.parametrize("split", LeNet5((1, 28, 28), 10).split_points)
def test_a_trained_decoder_beats_the_blind_floor_at_every_split(split, run_cell):
    """On targets it never saw, from the image itself down to the last hidden layer."""
    words = ["attack=inverse", "attack.steps=300", "attack.batch=32", "defense=none", "targets=20"]
    record = run_cell(*words, f"split={split}")
    assert record.lift["psnr_db"] > 0
    assert record.lift["ssim"] > 0
    assert record.queries == 400
    assert record.adaptive


@pytest.mark.slow
def test_a_defense_that_answers_with_nothing_leaves_the_mean_image_and_no_better(run_cell):
    """Dropout of rate 1: every answer is zero."""
    words = ["attack=inverse", "attack.steps=80", "defense.rate=1", "targets=40"]
    record = run_cell(*words)
    assert record.score("psnr_db") == pytest.approx(record.floor["mean"]["psnr_db"], abs=0.3)
    assert record.score("psnr_db") < record.floor["mean"]["psnr_db"] + 0.1


@pytest.mark.fault
def test_knowing_the_defense_by_its_answers_beats_not_knowing_it(run_cell):
    """The same network, budget and draws; dropout of .5. And the blind baseline is beaten."""
    adaptive, naive = (
        run_cell(
            f"attack={name}", "attack.steps=60", "attack.batch=32", "defense.rate=0.5", "targets=40"
        )
        for name in ("inverse", "inverse_naive")
    )
    assert adaptive.adaptive and not naive.adaptive
    assert adaptive.queries == naive.queries == 400
    assert adaptive.lift["psnr_db"] > 0 and adaptive.lift["ssim"] > 0
    assert adaptive.scores["psnr_db"].ci95[0] > naive.scores["psnr_db"].ci95[1]


def _trained(folder):
    return sorted(path.stem for path in (folder / "store" / "adversaries").glob("*.safetensors"))


@pytest.mark.fault
def test_an_adversary_is_trained_once_and_shared_by_what_it_could_see(run_cell, warm):
    """Targets and trackers share it; a seed, a split, a budget, and for those who see it a rate."""

    def seen(*words):
        run_cell(*words, f"output_dir={warm}")
        return len(_trained(warm))

    inverse = ["attack=inverse_paper", "attack.steps=2"]
    assert seen(*inverse, "targets=5", "defense.rate=0.1") == 1
    assert seen(*inverse, "targets=7", "defense.rate=0.1", "accuracy_draws=1") == 1
    assert seen(*inverse, "targets=5", "defense.rate=0.2") == 2
    assert seen(*inverse, "targets=5", "defense.rate=0.1", "split=conv1") == 3
    assert seen(*inverse, "targets=5", "defense.rate=0.1", "attack.queries=300") == 4
    assert seen(*inverse, "targets=5", "defense.rate=0.1", "attack.steps=3") == 5
    assert seen(*inverse, "targets=5", "defense.rate=0.1", "attack.keep=best") == 5
    assert seen(*inverse, "targets=5", "defense.rate=0.1", "attack.keep=last") == 6
    naive = ["attack=inverse_naive", "attack.steps=2", "targets=5"]
    assert seen(*naive, "defense.rate=0.1") == 7
    assert seen(*naive, "defense.rate=0.2") == 7
    shadow = ["attack=shadow", "attack.steps=2", "attack.inverter.steps=5", "targets=5"]
    assert seen(*shadow, "defense.rate=0.1") == 8
    assert seen(*shadow, "defense.rate=0.2", "attack.inverter.steps=6") == 8
    assert seen(*shadow, "defense.rate=0.2", "attack.structure=same") == 9


@pytest.mark.parametrize("attack", ["inverse", "shadow", "rmle_prior", "inverse_refined"])
def test_only_a_training_that_keeps_its_last_weights_says_so_in_its_key(cell, attack):
    """Records of trainings from before there was a choice keep their keys."""
    nested = "attack.network" if attack == "inverse_refined" else "attack"
    assert "keep" not in str(cell(f"attack={attack}").config["attack"])
    assert "'keep': 'last'" in str(cell(f"attack={attack}", f"{nested}.keep=last").config["attack"])


@pytest.mark.parametrize("harm", ["tampered", "half-written"])
def test_a_damaged_adversary_is_trained_again(harm, run_cell, warm):
    """And gives what it gave before."""
    words = ["attack=inverse_paper", "attack.steps=12", "targets=5", f"output_dir={warm}"]
    before = run_cell(*words)
    (name,) = _trained(warm)
    path = warm / "store" / "adversaries" / f"{name}.safetensors"
    whole = path.read_bytes()
    if harm == "tampered":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    else:
        path.write_bytes(whole[: len(whole) // 2])
        path.with_suffix(".json").unlink()
    after = run_cell(*words, "force=true")
    assert path.read_bytes() == whole
    assert after.columns == before.columns
    assert after.queries == before.queries == 400
    assert after.notes["epochs"] == before.notes["epochs"]


@pytest.mark.long
def test_the_records_numbers_do_not_depend_on_whether_the_adversary_was_trained_or_loaded(
    run_cell, warm
):
    """Queries, epochs and scores are replayed."""
    words = ["attack=shadow_queried", "attack.steps=12", "attack.inverter.steps=20", "targets=5"]
    words += [f"output_dir={warm}", "force=true"]
    first, second = (run_cell(*words) for _ in range(2))
    for name in ("columns", "queries", "notes", "converged"):
        assert getattr(first, name) == getattr(second, name)
    assert first.queries == 400 and first.notes["aux_images"] == 400
    assert first.access == ["EDGE_QUERIES", "AUX_IMAGES"]


BAD = {
    "attack=inverse attack.queries=0": ["attack.queries=0", "2"],
    "attack=inverse attack.images=401": ["attack.images=401", "400"],
    "attack=inverse attack.decoder=small": ["attack.decoder=small", "large, paper"],
    "attack=inverse dataset.aux_images=1": ["dataset.aux_images", "1 image"],
    "attack=shadow attack@attack.inverter=inverse": ["attack.inverter", "white-box"],
    "attack=shadow attack@attack.inverter=shadow": ["attack.inverter", "white-box"],
    "attack=shadow attack.inverter.steps=0": ["attack.inverter.steps=0"],
    "attack=shadow attack.queries=100": ["attack.queries=100", "shadow_queried"],
    "attack=shadow attack.structure=none": ["attack.structure=none", "other, same"],
    "attack=shadow attack.inverter=rmle": ["attack@attack.inverter=NAME"],
    "attack=shadow_queried attack.images=500": ["attack.images=500", "400"],
}


@pytest.mark.parametrize("words", BAD)
def test_bad_input_is_refused_in_one_line_before_any_training(words, refused):
    """It names the value and the choices, and leaves nothing behind."""
    refused(words, BAD[words])


DECODER = """
from torch import nn

class Odd(nn.Module):
    def __init__(self, feature_shape, image_shape, side=27):
        super().__init__()
        self.side = side
        self.layer = nn.Linear(1024, side * side)

    def forward(self, v):
        return self.layer(v.flatten(1)).view(-1, 1, self.side, self.side)
"""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    (tmp_path / "odd_decoder.py").write_text(DECODER)
    monkeypatch.syspath_prepend(str(tmp_path))
    return ["attack=inverse", "attack.decoder={_target_: odd_decoder.Odd, _partial_: true}"]


@pytest.mark.long
def test_a_decoder_from_elsewhere_is_held_to_the_images_shape(odd, privbench, warm):
    """By `_target_` alone; refused before training when it cannot do."""
    code, _, err = privbench(*odd, f"output_dir={warm}")
    assert code == 1 and "(1, 27, 27)" in err and "(1, 28, 28)" in err and err.count("\n") == 1
    code, _, err = privbench(*odd, "split=fc1", f"output_dir={warm}")
    assert code == 1 and "(120,)" in err and err.count("\n") == 1
    good = "attack.decoder={_target_: odd_decoder.Odd, _partial_: true, side: 28}"
    code, out, err = privbench(
        "attack=inverse", good, "attack.steps=6", "targets=3", f"output_dir={warm}"
    )
    assert code == 0, err
    assert re.search(r"attack +inverse \(access: ", out)


@pytest.mark.slow
def test_a_sweep_over_the_three_adversaries_runs_as_typed(privbench, warm):
    """The issue's own first line, hastier."""
    code, out, err = privbench(
        "-m",
        "attack=rmle,inverse,shadow",
        "defense.rate=0.1,0.6",
        "attack.steps=20",
        "targets=4",
        f"output_dir={warm}",
    )
    assert code == 0, err
    assert out.count("] done    attack=") == 6
    # the shadow cannot see the rate, the inverse network does
    assert len(_trained(warm)) == 3
    assert out.count("attack=shadow defense.rate=") == 2


def test_a_loaded_view_scores_what_the_journal_was_shown(stage):
    """The validation figure an attack streams is its own: held-out images, never targets."""
    made = stage("attack=inverse_paper", "attack.steps=12", "targets=3", "seed=0")
    delivered = []

    class Hearing(RecordingLogger):
        def step(self, n, x_hat=None, **scalars):
            delivered.append((n, x_hat, scalars))

    deployment = made.deploy(made.cell.defense)
    view = made.view(deployment, made.cell.attack.access, Hearing())
    dataclasses.replace(made.cell.attack, lr=1.1e-3).fit(view)
    assert delivered
    assert all(x_hat is None and "held_out_psnr_db" in scalars for _, x_hat, scalars in delivered)
