"""Defenses that no adaptive attack was run against, and the command that adds one."""

import copy
import dataclasses
import re
import shlex

import pytest
from hydra.utils import instantiate

from privbench.defenses.deployment import SplitVictim
from privbench.report import summary
from privbench.report.analysis import operating_points, tables, tradeoffs
from privbench.report.analysis.advice import adding, not_undefended, untried
from privbench.report.analysis.finding import finding, strongest_not_run
from privbench.runtime.conf_files import load_option
from privbench.store.sweep_log import SweepLog
from privbench.victims.lenet5 import LeNet5
from tests.records import page_text, record, sweep
from tests.support import options

UNKNOWN = "No adaptive attack was run against dropout on features: the leakage may be higher."


def _of(folder) -> str:
    return summary.of_sweep(SweepLog(folder)).whole


def _command(text: str) -> list[str]:
    (line,) = re.findall(r"to add an adaptive attack: (.*)", text.replace("\\\n", " "))
    return shlex.split(line)


def test_a_summary_without_an_adaptive_attack_says_so_first(tmp_path):
    """With the sweep's own words and the attack that knows the defense."""
    text = "python -m privbench -m attack=rmle attack.steps=20 defense.rate=0.1,0.3 targets=5"
    rmle = {"_target_": "privbench.attacks.rmle.RMLE", "steps": 20}
    naive, knowing = record("dropout", 0.3), record("dropout", 0.3, attack="a", adaptive=True)
    naive.config["attack"].update(rmle)
    for one in (naive, knowing):
        one.config["defense"]["_target_"] = "privbench.defenses.dropout.Dropout"
    summaries = {}
    for name, records in (("without", [naive]), ("with", [naive, knowing])):
        folder = sweep(tmp_path / name, name, records, [])
        lines = (folder / "cells.jsonl").read_text().splitlines()
        lines[0] = lines[0].replace(f"python -m privbench sweeps={name}", text)
        (folder / "cells.jsonl").write_text("\n".join(lines) + "\n")
        summaries[name] = summary.of_sweep(SweepLog(folder)).whole
    assert summaries["without"].startswith(f"weak   {UNKNOWN[:-1]}\n")
    want = text.replace(" attack=rmle ", " ") + " attack=rmle,rmle_adaptive"
    assert _command(summaries["without"]) == shlex.split(want)
    assert summaries["with"].startswith("weak   Not run: rmle_prior, inverse.")
    bare = _of(sweep(tmp_path, "none", [record("none", 0.0)], []))
    assert bare.startswith("weak   Not run: rmle_prior, inverse.")
    assert not any("adaptive attack" in text for text in (summaries["with"], bare))
    assert _of(sweep(tmp_path / "empty", "empty", [], [record()])) == ""


def test_the_strongest_attacks_that_were_not_run_come_with_their_command(tmp_path):
    """On the terminal where an adaptive attack was run, and on the page; options are not theirs."""
    met = [record("dropout", 0.3, attack="rmle_adaptive", adaptive=True), record("dropout", 0.3)]
    folder = sweep(tmp_path, "some", met, [])
    lines = " ".join(summary.of_sweep(SweepLog(folder)).whole.replace("\\\n", " ").split())
    added = "sweeps=some attack=rmle_adaptive,rmle,rmle_prior,inverse"
    assert f"to add what was not run: python -m privbench {added} " in f"{lines} "
    page = page_text(tmp_path / "page", met)
    assert "This adds what was not run:" in page and "attack=rmle_prior,inverse" in page
    whole = [*met, record("dropout", 0.3, attack="inverse", adaptive=True),
             record("dropout", 0.3, attack="rmle_prior", adaptive=True)]  # fmt: skip
    assert "to add what" not in _of(sweep(tmp_path / "whole", "whole", whole, []))
    assert adding(whole, strongest_not_run(whole)) == []
    (command,) = adding(met, strongest_not_run(met), "python -m privbench -m attack.steps=9")
    assert command.endswith("privbench -m attack=rmle_prior,inverse")


def test_a_linear_baseline_alone_does_not_pass_for_an_adaptive_attack(tmp_path):
    """It learns from defended answers, and a defense may withstand it and nothing else."""
    naive = record("dropout", 0.3)
    ridge = record("dropout", 0.3, attack="ridge", adaptive=True)
    network = record("dropout", 0.3, attack="inverse", adaptive=True)
    (warning,) = untried([naive, ridge]).warnings
    assert "against dropout on features (but for ridge): the leakage" in warning
    assert untried([naive]).warnings == [UNKNOWN]
    assert untried([naive, ridge, network]).warnings == []
    for held, caveats in (
        ([naive, ridge], ["no adaptive attack was run"]),
        ([naive, ridge, network], []),
    ):
        (panel,) = tradeoffs.panels(held)
        (found,) = operating_points.operating_points(panel, "ssim")
        assert found.caveats == caveats
        assert operating_points.operating_points(panel, "ssim", "ridge")[0].caveats == caveats


def test_options_of_another_attack_are_left_out_of_the_command(tmp_path):
    """They would be refused, or mean something else."""
    network = record(attack="inverse_naive")
    network.config["attack"]["_target_"] = "privbench.attacks.inverse.Inverse"
    network.config["defense"]["_target_"] = "privbench.defenses.dropout.Dropout"
    typed = "python -m privbench -m attack=inverse_naive attack.queries=100,200 defense.rate=0.3"
    (command,) = untried([network], typed).commands
    assert command.endswith("python -m privbench -m defense.rate=0.3 attack=rmle_adaptive")
    (command,) = untried([network], typed.replace(" attack.queries=100,200", "")).commands
    assert command.endswith("-m defense.rate=0.3 attack=inverse_naive,rmle_adaptive")


def test_a_defense_without_a_likelihood_is_met_by_queries(tmp_path, monkeypatch):
    """Whether it states one is read off its class, one that it inherits included."""
    (tmp_path / "mine_here.py").write_text(
        "from privbench.defenses.base import Perturbation\n"
        "from privbench.defenses.dropout import Dropout\n"
        "class Quantise(Perturbation):\n    def _perturb(self, t, draws): ...\n"
        "class Rarely(Dropout):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, attack in (("Quantise", "inverse"), ("Rarely", "rmle_adaptive")):
        one = record("mine", 0.3)
        one.config["defense"]["_target_"] = f"mine_here.{name}"
        (command,) = untried([one], "python -m privbench -m attack=rmle defense=mine").commands
        assert command.endswith(f"attack=rmle,{attack}")


def test_a_page_says_in_its_first_line_that_no_attack_knows_a_defense(tmp_path):
    """A selection of a store gets a command from what was typed for its records."""
    records = [
        record("dropout", rate, overrides=["attack=rmle", f"defense.rate={rate:g}", f"seed={seed}",
                          f"tracker={'none' if seed else 'wandb'}", "sweep.report=false"],
               seed=seed)
        for rate in (0.1, 0.3) for seed in (0, 1)
    ]  # fmt: skip
    for one in records:
        one.config["defense"]["_target_"] = "privbench.defenses.dropout.Dropout"
    text = page_text(tmp_path, records)
    first, _, weakness = text.partition("<h1>")[2].partition("</h1>")
    assert first.startswith("<em>Not tested against an attacker who knows it.</em> mnist relu2: ")
    at_once, _, folded = weakness.partition("<details")
    assert "<strong>Also weak:</strong> a strong attack was not run; few images (6); " in folded
    command = "python -m privbench -m attack=rmle_adaptive,inverse defense.rate=0.1,0.3 seed=0,1"
    assert UNKNOWN in at_once and f"<pre>{command}</pre>" in at_once
    added = "python -m privbench -m defense=none attack=rmle seed=0,1"
    assert "Undefended: not attacked" in at_once and f"<pre>{added}</pre>" in at_once
    knowing = record("dropout", 0.3, attack="rmle_adaptive", adaptive=True)
    knowing.config["defense"] = records[-1].config["defense"]
    some = [*records, knowing]
    text = page_text(tmp_path / "some", some)
    assert "was run against dropout on features in 1 of its 2 settings: the" in text


AXES = {
    "victim": {"victim": {"epochs": 25}},
    "data set": {"dataset": {"name": "cifar10"}},
    "aux images": {"dataset": {"aux_images": 100}},
    "split point": {"split": "fc1"},
    "transmissions": {"transmissions": 16},
    "strength": {"strength": 0.6, "defense": {"rate": 0.6}},
    "option of the defense": {"defense": {"train": "cloud"}},
    "targets": {"target_indices": [1, 2]},
}
"""What an adaptive attack may have met and a naive one not."""


@pytest.mark.parametrize("axis", AXES)
def test_an_adaptive_attack_in_one_setting_says_nothing_of_another(axis):
    """The other one's victim, data and so on were attacked by naive attacks alone."""
    both = [record(targets=24, adaptive=adaptive, attack=f"{adaptive}") for adaptive in (0, 1)]
    other = copy.deepcopy(both[0])
    for name, value in AXES[axis].items():
        if isinstance(value, dict):
            other.config[name].update(value)
        elif name in other.config:
            other.config[name] = value
        else:
            other = dataclasses.replace(other, **{name: value})
    assert not untried(both).warnings
    (warning,) = untried([*both, other]).warnings
    assert "against dropout on features in 1 of its 2 settings: the" in warning
    found = finding(tradeoffs.panels([*both, other])).weaknesses
    assert "in some settings not tested against an attacker who knows it" in [
        weakness.name for weakness in found
    ]
    knowing = dataclasses.replace(other, adaptive=True, attack="1")
    assert not untried([*both, other, knowing]).warnings


def test_no_setting_is_recommended_by_naive_attacks_without_a_caveat():
    """In the least leakage and the settings that none beats."""
    naive = [record("dropout", rate, ssim=0.5 - rate, targets=24) for rate in (0.1, 0.3)]
    knowing = [
        record("dropout", rate, attack="rmle_adaptive", adaptive=True, ssim=0.6, targets=24)
        for rate in (0.1, 0.3)
    ]
    (panel,) = tradeoffs.panels(naive)
    said = [
        tables.leakages([panel])[1][-1],
        tables.pareto_sets([panel])[1][-1],
    ]
    assert all("no adaptive attack was run" in text for text in said)
    (panel,) = tradeoffs.panels([*naive, *knowing])
    rows = {row[1]: row[-1] for row in tables.leakages([panel])[1:] if row[2] == "SSIM"}
    caveated = rows["worst case"] + rows["rmle_adaptive"]
    assert "no adaptive attack" not in caveated
    assert "not adaptive" not in caveated
    assert "this attack is not adaptive" in rows["rmle"]


def test_a_defense_on_the_input_is_met_by_queries():
    """Whose network recovers most there, where the likelihood without a prior recovers least."""
    one = record("dropout", 0.3, site="input")
    one.config["defense"]["_target_"] = "privbench.defenses.dropout.Dropout"
    for command in ("python -m privbench -m attack=rmle", ""):
        (advised,) = untried([one], command).commands
        assert "inverse" in advised and "rmle_adaptive" not in advised


@pytest.mark.parametrize("name", [name for name in options("defense") if name != "none"])
def test_advice_names_an_attack_that_knows_the_defense(name):
    """Of every yaml: by its likelihood where the channel states one, which its class says."""
    import torch

    one = record(name, 0.3)
    one.config["defense"] = load_option("defense", name)
    defense = instantiate(one.config["defense"], _convert_="all")
    (command,) = untried([one], "python -m privbench -m attack=rmle").commands
    with torch.device("meta"):
        model = LeNet5((1, 28, 28), 10)
        channel = defense.build(SplitVictim(*model.split("relu2"), (1, 28, 28))).channel
    known = channel.strength > 0 and channel.has_likelihood
    assert command.endswith("attack=rmle,rmle_adaptive" if known else "attack=rmle,inverse")


def test_the_command_for_a_selection_finds_the_users_own_code():
    """Its folder of configuration and PYTHONPATH are those of the records."""
    own = {"flags": ["--config-dir", "my_conf"], "pythonpath": "."}
    one = record(attack="mine", overrides=["attack=mine", "defense.rate=0.3"], **own)
    (command,) = not_undefended([one])
    assert command == (
        "PYTHONPATH=. python -m privbench -m --config-dir my_conf defense=none attack=mine"
    )


def test_records_of_one_store_get_one_command_whether_its_folder_was_typed_or_not():
    """Its folder is in the command where it was typed for any."""
    typed = (["attack=rmle", "seed=0"], ["attack=rmle", "seed=1", "output_dir=mine"])
    held = [record(seed=seed, overrides=words) for seed, words in enumerate(typed)]
    assert not_undefended(held) == [
        "python -m privbench -m defense=none attack=rmle seed=0,1 output_dir=mine"
    ]
