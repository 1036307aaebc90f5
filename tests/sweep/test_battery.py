"""Batteries: fixed attacks and budgets, what their records and summaries say, and their version."""

import sys

import pytest
from omegaconf import OmegaConf

from privbench.report.analysis.battery import battery_lines
from privbench.report.analysis.selection import select
from privbench.runtime.code_identity import identities
from privbench.runtime.conf_files import load_option
from privbench.runtime.errors import UserError
from privbench.runtime.hashing import content_hash
from privbench.runtime.options import without_later_options
from privbench.store.battery import Battery
from privbench.store.sweep_log import SweepLog
from privbench.sweep import status
from privbench.sweep.batteries import WIDEST, Batteries
from tests.records import page_of, record
from tests.runs import read_records
from tests.support import ATTACK, ROOT, options

CONTENTS = {
    "full": {7: "fac897b85485bd0f52db"},
    "quick": {6: "0fbcc5a9fef334ccff2f"},
}
"""Content of each battery of sweeps/standard.yaml by version, with its attacks' options and code."""
TOY = """# @package _global_
hydra:
  mode: MULTIRUN
  sweeper:
    batteries:
      dominated: {rmle: mine is better}
      full:
        version: 8
        params: {seed: 0, targets: 5, transmissions: [1]}
        grids: [{attack: [mine, ridge]}]
      quick:
        version: 7
        params: {seed: 0, targets: 5, transmissions: [1]}
        grids: [{attack: mine, attack.fail: ["''", check]}]
"""


@pytest.fixture
def toy(warm, monkeypatch):
    """Words of a sweep with two batteries, of an attack that refuses a cell when asked to."""
    for group, name, text in (
        ("attack", "mine", "# Mine.\n_target_: seventh.Level\nlevel: 0.25\nfail: ''\n"),
        ("sweeps", "toy", TOY),
    ):
        (warm / "conf" / group).mkdir(parents=True)
        (warm / "conf" / group / f"{name}.yaml").write_text(text)
    (warm / "seventh.py").write_text(ATTACK)
    monkeypatch.syspath_prepend(str(warm))
    monkeypatch.delitem(sys.modules, "seventh", raising=False)
    return ["--config-dir", str(warm / "conf"), f"output_dir={warm}"]


def test_a_battery_counts_records_of_the_same_configuration_wherever_they_were_made(
    privbench, toy, warm
):
    """Refused attacks are no failures; the mark is of the record, the count of the summary."""
    outside = ["attack=mine", "defense.rate=0.1", "targets=5"]
    assert privbench(*toy, *outside)[0] == 0
    words = [*toy, "sweeps=toy", "defense=dropout", "defense.rate=0.1,0.3"]
    code, out, err = privbench(*words, "battery=quick")
    assert (code, out.count("] cached"), out.count("] done")) == (0, 1, 1), err
    assert "] failed" not in out
    marks = [one.battery for one in read_records(warm)]
    assert sorted(marks, key=str) == [None, {"name": "quick", "version": 7}]
    text = " ".join(out.split())
    assert text.count(" by mine (accuracy 0.9") == 2 * 3, "three scores of two strengths"
    assert "battery=quick, version 7: 2 cells, 1 computed outside of it" in text
    assert "dropout 0.3 on features (digits relu2 of lenet5): " in text
    assert text.count("mine (not applicable: attack=mine cannot be fed features of shape") == 2
    assert "ridge: in battery=full" in text and "rmle: mine is better" in text
    (folder,) = (warm / "sweeps").glob("toy-quick-*")
    page = page_of(select(folder, {}), folder)
    assert "<strong>Battery:</strong> battery=quick, version 7: 2 cells" in page
    assert page.count("not applicable") == 2


CHANNEL = """
from dataclasses import dataclass
from privbench.defenses.base import Perturbation

@dataclass(frozen=True)
class Silent(Perturbation):
    @property
    def strength(self):
        return 1.0

    def _perturb(self, t, draws):
        return t + 0.1
"""
"""A channel without a likelihood."""


def test_an_attack_that_a_defense_does_not_admit_is_left_out_of_every_sweep(
    privbench, warm, monkeypatch
):
    """Named with its reason at the end, by the status and on the page: it is no failure."""
    folder = warm / "conf" / "defense"
    folder.mkdir(parents=True)
    (folder / "silent.yaml").write_text("# Silent.\n_target_: silent.Silent\nsite: features\n")
    (warm / "silent.py").write_text(CHANNEL)
    monkeypatch.syspath_prepend(str(warm))
    words = ["--config-dir", str(warm / "conf"), f"output_dir={warm}", "-m", "targets=5"]
    words += ["defense=silent", "attack.steps=3"]
    code, out, err = privbench(*words, "attack=rmle,rmle_adaptive")
    assert (code, out.count("[1/1] done")) == (0, 1), err
    line = "not applicable: rmle_adaptive in 1 setting: defense Silent has no likelihood"
    assert line in " ".join(out.split())
    assert "have no record" not in err
    (folder,) = (warm / "sweeps").iterdir()
    assert line in status.report(folder)
    page = page_of(select(folder, {}), folder)
    assert line.replace("not", "Not", 1) in page
    code, _, err = privbench(*words, "attack=rmle_adaptive")
    assert code == 1
    assert "defense Silent has no likelihood" in err


def test_the_unsuitable_attacks_of_an_earlier_battery_are_read(tmp_path):
    """Its log has them with the battery; a newer one has them once, beside it."""
    one = {"group": "g", "attack": "mine", "reason": "no"}
    held = {"name": "quick", "version": 1, "changed": [], "untried": {}}
    for name, earlier, newer in (("earlier", [one], {}), ("newer", [], {"unsuitable": [one]})):
        log = SweepLog(tmp_path / name)
        log.append([{"cells": [], "battery": {**held, "unsuitable": earlier}, **newer}])
        assert [found.reason for found in log.battery.unsuitable] == ["no"]


def test_an_option_or_a_machine_that_an_attack_refuses_is_a_failure(privbench, warm):
    """Whatever else the sweep has: the user mends it."""
    words = [f"output_dir={warm}", "-m", "attack=rmle,inverse", "attack.images=99999", "targets=5"]
    code, out, err = privbench(*words, "attack.steps=3", "defense.rate=0.1")
    assert (code, out.count("not applicable")) == (1, 0)
    assert "attack.images=99999 where the auxiliary set holds" in " ".join(err.split())


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("battery=quick attack=blind", ["battery=quick", "type sweeps=standard"]),
        ("sweeps=smoke battery=quick", ["battery=quick", "sweeps=standard"]),
        ("sweeps=standard battery=slow", ["battery=slow", "full, quick"]),
        ("sweeps=standard battery=full,quick", ["battery", "one value"]),
    ],
)
def test_a_battery_is_chosen_where_there_is_one(refused, words, parts):
    """One line names the choices."""
    refused(words, parts)


def test_a_sentence_has_the_highest_scores_their_attacks_and_what_was_not_tried():
    """The interval, the accuracy, the number of transmissions; a group without a seed is none."""
    many = {"targets": 30}
    records = [
        record(strength=0.6, attack="rmle", ssim=0.4, accuracy=0.9, **many),
        record(strength=0.6, attack="rmle", ssim=0.7, accuracy=0.95, transmissions=16, **many),
        record(strength=0.6, attack="ridge", ssim=0.5, accuracy=0.95, transmissions=16, **many),
    ]
    battery = Battery("quick", 1, untried={"dip": "in battery=full", "tuned": ""})
    heading, sentence, rest = battery_lines(battery, records)
    assert heading.endswith("3 cells, 3 computed outside of it, of the same configuration")
    assert "SSIM 0.700 [0.69" in sentence
    assert "by rmle, sent 16 times (accuracy 0.9500)" in sentence
    assert sentence.endswith("accuracy undefended 0.9900; not tried: dip, tuned")
    assert rest == "not part of it: dip: in battery=full"


def test_an_attack_that_met_another_victim_is_named():
    """As one computed on another machine: it is stronger, and is not compared."""
    records = [
        record(strength=0.6, attack="rmle", ssim=0.4),
        record(strength=0.6, attack="ridge", ssim=0.5),
        record(strength=0.6, attack="inverse", ssim=0.9, victim_sha256="f" * 64),
    ]
    _, sentence = battery_lines(Battery("quick", 1), records)
    assert "SSIM 0.500" in sentence and "by ridge" in sentence
    assert "; inverse is not compared: seed 0 with victims of other weights" in sentence


def _standard() -> Batteries:
    config = OmegaConf.to_container(OmegaConf.load(ROOT / "sweeps" / "standard.yaml"))
    return Batteries.of(config["hydra"]["sweeper"]["batteries"])


def test_the_standard_battery_names_attacks_that_exist_and_says_which_it_leaves_out():
    """The quick one is a part of the full one; each attack left out of both has its reason."""
    standard = _standard()
    full, quick = set(standard.attacks(WIDEST)), set(standard.attacks("quick"))
    assert quick < full < set(options("attack"))
    assert set(standard.dominated) == set(options("attack")) - full
    for name in standard.grids:
        assert all({"seed", "targets", "transmissions"} <= set(g) for g in standard.require(name))


def test_typed_options_that_replace_a_part_are_named_and_such_records_bear_no_mark():
    """What is attacked, and how cells are run, is the user's to type."""
    typed = {
        name: [f"{name}={value}"]
        for name, value in {
            "dataset": "mnist", "defense.sigma": 0.5, "defense@defense.channel": "none",
            "split": "relu2", "workers": "joblib", "targets": 4, "attack.steps": 9,
            "dataset.root": "x", "dataset.aux_images": 40,
        }.items()
    }  # fmt: skip
    battery = _standard().battery("quick", typed, ["rmle", "dip", "rmle_paper", "mine"])
    changed = ["targets=4", "attack.steps=9", "dataset.aux_images=40"]
    assert battery.changed == changed
    assert battery.mark is None
    assert list(battery.untried) == ["dip", "rmle_paper", "mine"]
    assert battery_lines(battery, [record()])[0].endswith(
        f"version {_standard().versions['quick']}, but for {', '.join(changed)}: not the standard battery: 1 cell"
    )
    assert Battery.of(battery.to_fields()).to_fields() == battery.to_fields()


@pytest.mark.parametrize("name", CONTENTS)
def test_a_changed_battery_has_another_version(name):
    """After a change of its attacks, their options or their code: raise the version, add a line."""
    standard = _standard()
    attacks = {attack: load_option("attack", attack) for attack in standard.attacks(name)}
    content = content_hash(
        {
            "grids": standard.require(name),
            "attacks": without_later_options(attacks),
            "code": identities(attacks),
        }
    )
    assert CONTENTS[name][standard.versions[name]] == content


def test_a_battery_of_ones_own_needs_no_other():
    """What it leaves out is named with the battery that has it."""
    part = {"version": 1, "grids": [{"attack": "rmle"}]}
    found = Batteries.of({"short": part}).battery("short", {}, ["rmle", "blind"])
    assert found.untried == {"blind": ""}
    longer = {"short": part, "long": {"version": 2, "grids": [{"attack": ["rmle", "blind"]}]}}
    assert Batteries.of(longer).battery("short", {}, ["rmle", "blind"]).untried == {
        "blind": "in battery=long"
    }
    for lacking in ("version", "grids"):
        broken = {name: value for name, value in part.items() if name != lacking}
        with pytest.raises(
            UserError, match=f"the battery short of this sweep file lacks {lacking}"
        ):
            Batteries.of({"short": broken})
