"""The document of attacks compared with earlier ones."""

import dataclasses
import re
from pathlib import Path

import pytest

from privbench.papers.attacks import __main__ as command
from privbench.papers.attacks.document import document
from privbench.report.analysis.selection import Selection
from privbench.store.group_keys import group_key
from tests.records import imaged, kept, record, spread

SECONDS = {"fit": 30.0, "reconstruct": 12.0, "total": 60.0}


def attacked(attack, level, seeds=(0, 1), **others):
    """A record a seed, its images' SSIMs about a level; their PSNR is 10 dB plus 20 times it."""
    return [
        imaged(record(attack=attack, seed=seed, seconds=SECONDS, **others), spread(level, 24))
        for seed in seeds
    ]


def written(records, gaps=()):
    """The document of records; these groups lack a seed."""
    selection = Selection("x", Path("store"), records, {key: [] for key in gaps})
    return document(selection, "COMMAND")


def rows(text):
    """The cells of each attack's row, by its name."""
    lines = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {line[0]: line for line in lines if len(line) > 6 and line[0] not in ("attack", "---")}


def test_a_difference_is_paired_with_the_better_descent_of_each_score():
    """The naive one has the better SSIM or not, and the other one may have the better PSNR."""
    naive, adaptive = attacked("rmle", 0.4), attacked("rmle_adaptive", 0.3)
    for one in adaptive:  # worse by SSIM, better by PSNR
        psnr = one.scores["psnr_db"]
        object.__setattr__(psnr, "per_image", [19.0 + 0.01 * (n % 3) for n in range(24)])
    found = rows(written([*naive, *adaptive, *attacked("rmle_prior", 0.6)]))
    *_, ssim, psnr, budget, seconds, warning = found["rmle_prior"]
    assert re.match(r"\*\*\+0\.200 \[0\.\d+, 0\.\d+\]\*\*$", ssim), ssim
    assert psnr.startswith("**+3.0"), psnr  # 22.04 less 19.01
    assert (budget, seconds, warning) == ("500 steps", "42", "")
    assert found["rmle"][6:8] == ["the best earlier attack", found["rmle"][7]]
    assert found["rmle"][7].startswith("**-0.9")
    assert found["rmle_adaptive"][7] == "the best earlier attack"
    assert list(found) == ["rmle_prior", "rmle", "rmle_adaptive"]  # by SSIM


def test_a_network_is_an_earlier_attack_too_and_the_overview_counts_who_is_below_whom():
    """A prior above the descent and below the network, which ran in one setting of two."""
    one = [*attacked("rmle", 0.4), *attacked("inverse", 0.8), *attacked("rmle_prior", 0.6)]
    deep = {"split": "fc1"}
    other = [*attacked("rmle", 0.7, **deep), *attacked("rmle_prior", 0.6, **deep)]
    text = written([*one, *other])
    assert "| rmle_prior | 2 | 1 of 2 | 1 of 2 | 1 of 1 | 1 of 1 |" in text
    assert rows(written(one))["rmle_prior"][6].startswith("**-0.200")
    assert rows(written(one))["inverse"][6] == "the best earlier attack"
    assert "No record is there yet" in written([])


def test_only_victims_of_both_are_compared_and_equal_scores_are_not_bold():
    """A seed that one of them lacks says nothing about their difference."""
    rest = [*attacked("rmle", 0.5, (0, 1)), *attacked("diffusion", 0.9, (0, 2))]
    for one in rest[-1:]:  # on the other victim it is worse, which the difference does not see
        one.scores["ssim"].per_image[:] = [0.1] * 24
    found = rows(written(rest))
    assert found["diffusion"][6].startswith("**+0.400")
    assert found["diffusion"][2] == "0, 2"
    other = rows(written([*attacked("rmle", 0.5), *attacked("x", 0.5)]))
    assert other["x"][6].startswith("+0.000")
    # the better descent is that of the victims at hand
    other = [*attacked("rmle", 0.6, (5,)), *attacked("rmle_adaptive", 0.5), *attacked("x", 0.7)]
    assert rows(written(other))["x"][6].startswith("**+0.200")
    (gap,) = {group_key(one) for one in other[-2:]}
    assert rows(written(other, [gap]))["x"][-1] == "seeds are missing"
    assert rows(written(other))["x"][-1] == ""
    alone = rows(written([*attacked("rmle", 0.5, (0,)), *attacked("x", 0.5, (1,))]))
    assert alone["x"][6:8] == ["no victim in common"] * 2
    assert rows(written(attacked("x", 0.5)))["x"][6:8] == ["-", "-"]


def test_every_setting_has_its_section_and_a_score_too_low_its_reason():
    """Settings from shallow to deep, with the accuracy and the blind baseline of each."""
    deep = attacked("rmle", 0.4, defense="none", strength=0.0, split="fc1", converged=0.1)
    shallow = attacked("rmle", 0.4, defense="gaussian", strength=1.0, accuracy=0.97)
    text = written([*deep, *shallow])
    heads = re.findall("^## (.*)", text, re.M)
    assert heads == ["mnist relu2, gaussian 1 on features", "mnist fc1, no defense"]
    assert "Accuracy 0.9700 (0.9900 without a defense), 24 targets; blind" in text
    assert text.rstrip().endswith("not converged |")


def test_attacks_on_victims_of_other_weights_are_named():
    """Trained on another machine: their scores are not of the same victims."""
    elsewhere = attacked("unsplit", 0.1, seeds=(0,), victim_sha256="1" * 64)
    text = written([*attacked("shadow", 0.6), *attacked("shadow_same", 0.5), *elsewhere])
    assert text.count("On victims of other weights: unsplit.") == 1


def test_a_priors_ceiling_stands_in_its_section():
    """The mean over seeds of what the records note."""
    guided = attacked("diffusion", 0.6)
    for one, ceiling in zip(guided, (40.0, 50.0), strict=True):
        one.notes["prior_ceiling_db"] = ceiling
    text = written([*guided, *attacked("rmle", 0.4)])
    assert text.count("The prior of diffusion reaches 45.0 dB where") == 1


def test_the_command_writes_the_document_and_names_what_is_not_there(tmp_path, capsys):
    """As it is typed: a store, and a file to write."""
    store = kept(tmp_path, attacked("rmle", 0.5))
    file = tmp_path / "RESULTS.md"
    command.main([str(store), "--write", str(file)])
    assert capsys.readouterr().out == f"{file}\n"
    assert f"Written by `python -m privbench.papers.attacks {store}" in file.read_text()
    command.main([str(store)])
    assert "| rmle | edge_weights | 0, 1 |" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="privbench: .*nothing"):
        command.main([str(tmp_path / "nothing")])


def tried(rate, errors, trials=1, seed=0):
    """Records of options on auxiliary images, one a setting, of this squared error."""
    inner = {"_target_": "p", "rate": rate, "levels": 40}
    return [
        dataclasses.replace(
            one,
            overrides=["attack=tuned", "attack@attack.inner=rmle_prior"],
            config={**one.config, "attack": {"_target_": "t", "inner": inner}},
            notes={"tuned": {"settings": trials, "images": 32, "errors": [error] * trials}},
        )
        for strength, error in errors.items()
        for one in [
            record(
                strength=strength, attack="tuned", seed=seed, key=f"{rate}{strength}{trials}{seed}"
            )
        ]
    ]


def test_options_compared_on_auxiliary_images_stand_apart_and_best_mean_first():
    trials = [*tried(0.3, {0.6: 0.01, 0.8: 0.1}), *tried(0.9, {0.6: 0.001, 0.8: 0.1})]
    gap = tried(0.5, {0.6: 0.0001})
    text = written([*attacked("rmle", 0.4), *trials, *gap])
    results, table = text.split("## Options of rmle_prior, on auxiliary images")
    assert "tuned" not in results.partition("## ")[2]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    names = [f"mnist relu2, dropout {rate} on features" for rate in (0.6, 0.8)]
    assert lines[0] == f"| rate | mean | {' | '.join(names)} |"
    assert lines[2:] == ["| 0.9 | 20.00 | 30.00 | 10.00 |", "| 0.3 | 15.00 | 20.00 | 10.00 |"]
    other = written([*attacked("rmle", 0.4), *trials, *tried(0.9, {0.6: 0.1}, seed=1)])
    assert "| 0.9 | 15.00 | 20.00 | 10.00 |" in other, "the mean of seeds, 30 and 10 dB"
    elsewhere = [
        dataclasses.replace(one, victim_sha256="1" * 64) for one in tried(0.9, {0.6: 1, 0.8: 1})
    ]
    _, apart = written([*elsewhere, *trials]).split("A victim of other weights")
    assert [line for line in apart.splitlines() if line.startswith("| ")][2:] == [
        "| 0.00 | 0.00 | 0.00 |"
    ]
    # a choice among several is an attack like others
    chosen = written([*attacked("rmle", 0.4), *tried(0.3, {0.6: 0.01}, trials=8)])
    assert "tuned with rmle_prior" in chosen and "on auxiliary images\n" not in chosen
