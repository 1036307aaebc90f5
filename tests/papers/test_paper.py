"""The paper next to the records: tables, deviations, the gain of adaptive adversaries."""

import numpy as np
import pytest

from privbench.papers.he2020.adaptive import PAIRS, adaptive_gap, strongest
from privbench.papers.he2020.claims import STATEMENTS
from privbench.papers.he2020.comparison import (
    agreement,
    comparison_tables,
    deviations,
    match_published,
    scale,
)
from privbench.papers.he2020.coverage import unmeasured
from privbench.papers.he2020.document import document, statements
from privbench.papers.he2020.figures import write_figures
from privbench.papers.he2020.published import (
    CIFAR10,
    PAPER_IMAGES,
    is_published,
    load_published,
)
from privbench.papers.verdict import FAILS, HOLDS, INCONCLUSIVE
from privbench.report.analysis.selection import select
from privbench.report.analysis.tradeoffs import panels
from tests.paper_records import PAPER, attacked, figure9, table, undefended
from tests.records import kept, put_images, record, sweep


@pytest.mark.long
def test_every_statement_has_three_verdicts_and_every_published_number_a_row():
    """Of those that were measured; what was not measured says so."""
    records = figure9()
    rows = statements(records)
    assert len(rows) == 1 + sum(len(one.datasets) for one in STATEMENTS)
    states = (f"**{HOLDS}**", f"**{FAILS}**", f"**{INCONCLUSIVE}**", "not applicable")
    assert all(cell.startswith(states) for row in rows[1:] for cell in row[3:])
    measured = match_published(panels(records))
    assert len(comparison_tables(measured, panels(records))["fig9"]) == 1 + 92 - 5, (
        "six curves begin at one point"
    )
    text = document(records, "COMMAND")
    assert "Written by `COMMAND`" in text
    assert text.count("Not measured: no record of these settings") == 6
    assert "median |difference| to the published SSIM 0.000" in agreement(measured, "fig9")


def test_the_strongest_without_a_defense_are_those_that_are_not_the_papers():
    """From shallow to deep; the blind baseline is none of them, nor is a trial with the paper's."""
    records = [
        record("none", 0.0, split=split, attack=attack, ssim=0.8, targets=12)
        for split in ("relu2", "conv1")
        for attack in ("rmle", "rmle_paper", "blind")
    ]
    trial = table("rmle_paper", "conv1", 0.9, steps=123)
    trial.config["attack"]["tv_weight"] = 7.0
    assert not is_published(trial)
    records.append(trial)
    _, *rows = strongest(panels(records))
    assert [row[:2] for row in rows] == [["mnist conv1", "rmle"], ["mnist relu2", "rmle"]]


def test_what_is_not_met_is_listed():
    """Two dB or .07 of SSIM away from the published number; nothing nearer."""
    near, far = (table("rmle_paper", "relu2", ssim) for ssim in (0.62, 0.68))
    for one, psnr in ((near, 15.5), (far, 17.5)):
        put_images(one, "psnr_db", [psnr] * 12)
    assert len(deviations(match_published(panels([near])))) == 1, "the head alone"
    _, *rows = deviations(match_published(panels([far])))
    assert [row[2:4] for row in rows] == [["SSIM", "0.600"], ["PSNR [dB]", "15.10"]]
    assert rows[1][-2:] == ["+2.40", "17.50"]


def test_a_number_read_off_several_curves_is_not_met_once():
    """Figure 10's curves begin at one point, read off as .6268 and as .6270."""
    setting = {**PAPER, "steps": 5000, "dataset": "cifar10", "split": "relu22"}
    one = record("none", 0.0, ssim=0.3354, **setting)
    one.config["attack"] |= {**CIFAR10, "tv_weight": 195.0}
    found = match_published(panels([one]))
    assert len({row.ssim for row in found if row.source == "fig10"}) == 2
    _, *rows = deviations(found)
    assert [row[2] for row in rows if row[0] == "fig10"] == ["SSIM", "accuracy"]


def test_the_published_ten_images_are_read_from_the_images_of_a_record():
    """Their mean and not that of all images decides what is met."""
    one = table("rmle_paper", "relu2", 0.6, targets=70)
    one.config["include"] = [3, 2, 1, 18, 4, 8, 11, 0, 61, 7]
    ten = {3, 2, 1, 18, 4, 8, 11, 0, 61, 7}
    put_images(one, "ssim", [0.9 if at in ten else 0.6 for at in range(70)])
    found = panels([one])
    (_, row) = comparison_tables(match_published(found), found)["table3"]
    assert "/ 0.900 [" in row[2]
    assert row[3].split(" / ")[1].startswith("0.643")
    assert any(
        miss[2] == "SSIM" and miss[4] == "0.900"
        for miss in deviations(match_published(panels([one])))
    )


@pytest.mark.parametrize("pair", PAIRS)
def test_the_gap_is_a_paired_difference_on_the_same_images(pair):
    """Positive where the adaptive attack recovers more."""
    naive = record("dropout", 0.6, ssim=0.3, targets=12, attack=pair[0])
    adaptive = record("dropout", 0.6, ssim=0.6, attack=pair[1], adaptive=True, targets=12)
    (_, row), used = adaptive_gap(panels([naive, adaptive]), pair)
    assert {one.key for one in used} == {naive.key, adaptive.key}
    assert row[0].endswith("dropout 0.6 on features")
    assert row[-2].endswith(" (t, 12 images)")
    low, high = (float(end) for end in row[-2].partition(" (")[0].split(" to "))
    assert 0.25 < low <= high < 0.35
    title = f"Gain of an adaptive adversary: {pair[1]} less {pair[0]}"
    assert title in document([naive, adaptive], "COMMAND")


def test_two_adversaries_of_one_name_have_a_gap_each():
    """Their rows name the option in which they differ."""
    pair = ("rmle", "rmle_adaptive")
    naive = record("dropout", 0.6, ssim=0.3, targets=12, attack=pair[0])
    others = [
        record("dropout", 0.6, ssim=ssim, attack=pair[1], adaptive=True, targets=12, steps=steps)
        for ssim, steps in ((0.5, 500), (0.6, 5000))
    ]
    (_, *rows), used = adaptive_gap(panels([naive, *others]), pair)
    assert sorted(row[0].rpartition(" ")[2] for row in rows) == ["500", "5000"]
    assert {one.key for one in used} == {naive.key, *(one.key for one in others)}


@pytest.mark.long
def test_the_readmes_picture_is_drawn_where_both_adversaries_met_dropout(tmp_path, monkeypatch):
    """With a row of digits for each setting that was measured, none for those that were not."""
    from privbench.papers.he2020 import figures

    drawn = []
    whole = figures.grid_chart

    def grid_chart(columns, rows):
        drawn.append((columns, rows))
        return whole(columns, rows)

    monkeypatch.setattr(figures, "grid_chart", grid_chart)
    naive = [record("dropout", strength, ssim=0.3, targets=12) for strength in (0.3, 0.6)]
    adaptive = [
        record("dropout", strength, ssim=0.6, attack="rmle_adaptive", adaptive=True, targets=12)
        for strength in (0.3, 0.6)
    ]
    conv1 = table("rmle_paper", "conv1", 0.9)
    kept(tmp_path / "half", naive)
    assert write_figures(select(tmp_path / "half", {}), tmp_path / "to") == []
    kept(tmp_path / "whole", [*naive, *adaptive, conv1])
    (path,) = write_figures(select(tmp_path / "whole", {}), tmp_path / "to")
    assert path.read_bytes().startswith(b"\x89PNG")
    ((columns, rows),) = drawn
    for file in (tmp_path / "whole").rglob("images.safetensors"):
        file.unlink()
    assert write_figures(select(tmp_path / "whole", {}), tmp_path / "to") == []
    assert list(rows) == [
        "original", "no defense, conv1, rmle_paper", "dropout 0.6, rmle (not adaptive)",
        "dropout 0.6, rmle_adaptive (adaptive)",
    ]  # fmt: skip
    assert all(len(cells) == len(columns) == 7 and all(cells) for cells in rows.values())


def test_an_accuracy_that_is_not_met_is_listed_and_counted_apart():
    """Usability is half of what is published."""
    records = figure9(accuracy=0.1)
    rows = [row for row in deviations(match_published(panels(records))) if row[2] == "accuracy"]
    undefended = [row for row in rows if row[1].endswith("(500 steps)")]
    assert [[row[0], *row[3:6]] for row in undefended] == [
        ["fig9", "0.991", "0.100", "-0.891"],
        ["fig13", "0.992", "0.100", "-0.892"],
    ]
    text = document(records, "COMMAND")
    met = f"97 were measured and {97 - len(rows)} are met"
    assert f" published accuracies {met}" in text, "87 of figure 9, ten of 13"


def test_a_store_of_any_victim_makes_a_document():
    """A layer that no victim here has stands last."""
    own = record("none", 0.0, split="layer3", ssim=0.8, targets=12)
    known = record("none", 0.0, split="conv1", ssim=0.8, targets=12)
    assert [row[0] for row in strongest(panels([own, known]))[1:]] == [
        "mnist conv1",
        "mnist layer3",
    ]
    assert "layer3" in document([own], "COMMAND")


def test_the_commands_shown_are_those_that_made_the_records(tmp_path):
    """From the logs of the store's sweeps; that of an imported record runs its cell."""
    made = table("rmle_paper", "relu2", 0.6)
    typed = ["split=conv1", "attack=rmle_paper", "seed=0", "output_dir=/tmp/x", "tracker=none"]
    found = table("rmle_paper", "conv1", 0.99, overrides=typed)
    sweep(tmp_path, "mine", [made], [])
    kept(tmp_path, [found])
    selection = select(tmp_path, {})
    assert selection.makers == {made.key: "python -m privbench sweeps=mine"}
    text = document(selection.records, "COMMAND", selection.gaps, selection.makers)
    _, behind = text.split("### Table 3")
    own = "python -m privbench split=conv1 attack=rmle_paper seed=0"
    assert behind.split("```")[1] == f"\npython -m privbench sweeps=mine\n{own}\n"


def test_the_strongest_needs_no_images_of_the_published_adversarys_kind():
    """A white-box attack is one rival whichever images others were given."""
    train = table("inverse_paper", "conv1", 0.9, "train", access=["EDGE_QUERIES", "AUX_IMAGES"])
    other = table("inverse_paper", "conv1", 0.95, access=["EDGE_QUERIES", "AUX_IMAGES"])
    strong = table("rmle", "conv1", 0.99)

    def details(*records):
        found = panels(records)
        return {
            row[0]: row[6] for row in comparison_tables(match_published(found), found)["table4"][1:]
        }

    name = "mnist conv1, inverse_paper, images: train"
    assert details(train, other)[name] == "no other was tried"
    assert details(train, other, strong)[name].startswith("rmle ")


@pytest.mark.parametrize("times", [1.0, 2.0])
def test_how_much_larger_the_published_features_are_is_read_off_noise_on_them(times):
    """A victim whose features are half as large bears half the noise."""
    records = figure9()
    curves = {
        noise: [(r.strength, r.accuracy) for r in load_published()
                if (r.source, r.defense, r.site) == ("fig9", noise, "features")]
        for noise in ("gaussian", "laplace")
    }  # fmt: skip
    for one in records:
        if one.defense in curves and one.site == "features":
            strengths, accuracies = zip(*curves[one.defense], strict=True)
            found = float(np.interp(times * one.strength, strengths, accuracies))
            object.__setattr__(one, "accuracy", found)
    details = scale(match_published(panels(records)), "fig9")
    assert f"as published, {times:.2f} times the noise on the features (" in details
    assert " and 1.00 times the noise on the input (1.00 to 1.00 over " in details
    bare = [one for one in records if one.defense == "dropout"]
    assert scale(match_published(panels(bare)), "fig9") == ""


def test_what_was_not_measured_is_listed_by_curve():
    """A curve is one line; figure 15's last split point cannot be measured."""
    curve = [one for one in figure9() if one.defense == "gaussian" and one.site == "input"]
    lines = unmeasured(match_published(panels(curve[2:])))
    (own,) = [line for line in lines if "fig9" in line and "gaussian on input" in line]
    assert own == "fig9: mnist relu2, rmle_paper (500 steps), gaussian on input at 0.1, 0.2"
    assert "fig9: mnist relu2, rmle_paper (500 steps)" in lines
    assert "fig15: mnist fc2, shadow (500 steps)" in lines
    assert not any("fc3" in line for line in lines)
    assert not any("fig9" in line for line in unmeasured(match_published(panels(figure9()))))


def test_what_is_met_is_counted_where_all_of_it_is():
    """By data set, in figures 9 and 13; nothing is listed then."""
    text = document([attacked(0, *undefended())], "COMMAND")
    (line,) = [line for line in text.splitlines() if line.startswith("- mnist: of ")]
    assert "published scores 4 were measured and 4 are met" in line
    assert "of 136 published accuracies 2 were measured and 2 are met" in line
    assert "all that are not" not in text


def test_many_commands_are_folded():
    """Five cells that no command has together."""
    records = figure9()[:5]
    for at, one in enumerate(records):
        one.overrides[:] = [f"defense.sigma={at}", f"seed={at}"]
    text = document(records, "COMMAND")
    assert "<details><summary>5 commands</summary>" in text
    assert "summary>4 commands" not in document(records[:4], "COMMAND")


def test_a_cell_in_bf16_says_so_in_its_row():
    """One in float32 does not."""
    one = figure9()[3]
    one.notes["precision"] = "bf16-mixed"
    found = panels([one])
    (row,) = comparison_tables(match_published(found), found)["fig9"][1:]
    assert row[0].endswith(" on input, in bf16")


@pytest.mark.parametrize("numbering", PAPER_IMAGES["cifar10"])
def test_images_read_from_folders_are_said_to_be_jpeg(numbering):
    """In the table that has them, whose numbering is that of a folder for each class."""
    one = record("none", 0.0, split="relu22", dataset="cifar10", attack="rmle_paper", steps=5000,
                 targets=10)  # fmt: skip
    one.config["attack"] |= CIFAR10
    one.config["include"] = list(numbering)
    one.per_image["index"] = list(numbering)
    own = document([one], "COMMAND").split("### Table 3")[1].split("### ")[0]
    assert ("as JPEG" in own) == (numbering[1] == 1000)
