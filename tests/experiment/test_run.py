"""Keys and records of a run: the victim's checksum, its threads, its precision."""

import hashlib
import json

import pytest

from privbench.experiment.adversary import adversary_view
from privbench.experiment.config import build
from privbench.experiment.deploy import fit_deployment
from privbench.runtime.code_identity import identity
from privbench.threat.view import NullLogger
from tests.runs import BRIEF_RMLE, read_records, victim_files
from tests.stage import Stage
from tests.support import cell_spec


@pytest.mark.long
def test_the_precision_that_was_used_is_recorded(trained):
    """By the attack in the record's notes, by the victim among its facts."""
    record, victim = trained
    assert record.notes["precision"] in ("32-true", "bf16-mixed")
    assert victim["precision"] == "32-true"


@pytest.fixture
def trained(run_cell, stage):
    """The record of a short inverse network, and the facts of its victim."""
    made = stage()
    record = run_cell("attack=inverse", "attack.steps=4", "targets=3")
    return record, made.store.keep("victims", made.victim_recipe, pytest.fail).facts


def test_a_typed_number_of_threads_is_part_of_victim_and_cell(cell):
    """Another number of threads trains other weights; the accelerator is recorded, not keyed."""
    made = {
        words: Stage.of(cell(*words))
        for words in [(), ("device.threads=1",), ("device.accelerator=auto",)]
    }
    plain, typed, auto = made.values()
    assert plain.key == auto.key != typed.key
    assert plain.victim_recipe == auto.victim_recipe != typed.victim_recipe


@pytest.mark.long
def test_a_record_names_the_victim_by_the_checksum_of_its_file(privbench, without_victim):
    """As sha256sum prints it, trained or loaded; the code and the data are named too."""
    for rate in ("0.1", "0.3"):
        code, _, err = privbench(
            *BRIEF_RMLE, f"defense.rate={rate}", f"output_dir={without_victim}"
        )
        assert code == 0, err
    (path,) = victim_files(without_victim)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [record.victim_sha256 for record in read_records(without_victim)] == [expected] * 2
    sources = read_records(without_victim)[0].sources
    assert sources["attack"] == identity("privbench.attacks.rmle.RMLE")
    assert sources["victim.model"] == identity("privbench.victims.lenet5.LeNet5")
    assert {"data.train", "data.aux", "data.test", "evaluation.metrics"} <= set(sources)


def test_a_trained_victim_is_identified_by_the_checksum_of_its_weights(cell, outputs):
    """Keys of whatever is derived from it hold the checksum of the file in the store."""
    stage = Stage.of(cell())
    stage.prepare_victim()
    (sidecar,) = [
        json.loads(path.read_text())
        for path in (outputs / "store" / "victims").glob("*.json")
        if json.loads(path.read_text())["recipe"] == json.loads(json.dumps(stage.victim_recipe))
    ]
    assert stage.victim.identity["sha256"] == sidecar["sha256"]


@pytest.mark.long
def test_a_naive_adversary_learns_anew_against_each_trained_cloud(tmp_path):
    """It knows no defense, yet holds the cloud that one trained: its network is of that cloud."""
    words = ["attack=shadow", "attack.images=32", "attack.steps=1", "targets=2"]
    words += ["defense=noise_aware", "defense.epochs=1", "defense.min_steps=1"]
    for sigma in (0.5, 1.0, 0.5):
        stage = Stage.of(build(cell_spec(tmp_path, *words, f"defense.channel.sigma={sigma}")))
        plan, services, attack = stage.plan, stage.services, stage.cell.attack
        deployed = fit_deployment(plan, services, stage.victim)
        attack.fit(adversary_view(plan, services, deployed, attack.access, NullLogger()))
    assert len(list(tmp_path.glob("store/adversaries/*.safetensors"))) == 2
