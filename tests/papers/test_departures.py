"""Attacks of the paper with other options than published."""

import dataclasses

import pytest

from privbench.papers.he2020.comparable import comparable, of_usual_victim
from privbench.papers.he2020.comparison import match_published
from privbench.papers.he2020.departures import departures, find_departures, met_scores
from privbench.papers.he2020.document import document
from privbench.papers.he2020.published import FIGURE_15, SHADOW_TRAINING
from privbench.report.analysis.tradeoffs import panels
from tests.paper_records import PAPER, TEN, attacked, figure9
from tests.records import record, with_victim


def rows(*records):
    found, _ = departures(find_departures(records))
    return [one[:4] for one in found[1:]]


def with_options(one, **changes):
    """The same record with other options of its attack."""
    one.config["attack"] |= changes
    return one


def test_the_published_attack_departs_from_nothing():
    """Nor does another attack, nor one with more options than a departure has."""
    other = attacked(0, 20.0, 0.8)
    assert rows(other) == []
    many = with_options(attacked(0, 20.0, 0.8), lr=1.0, adam_eps=1.0, amsgrad=False, clamp=True,
                        tv_beta=1.0)  # fmt: skip
    assert rows(many) == []
    for name in ("rmle", "mine"):
        rival = record("none", 0.0, attack=name, targets=10)
        rival.config["include"] = TEN
        assert rows(rival) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lr": 0.2}, "attack.lr=0.2"),
        ({"tv_weight": 9.0}, "attack.tv_weight=9.0"),
        ({"steps": 50}, "attack.steps=50"),
        ({"lr": 0.2, "amsgrad": False}, "attack.lr=0.2 attack.amsgrad=false"),
    ],
)
def test_an_option_is_named_with_the_published_numbers(changes, named):
    """Each source once: curves share the point without a defense."""
    found = rows(with_options(attacked(1, 12.0, 0.5), **changes))
    assert {one[2] for one in found} == {named}
    assert len({one[0] for one in found}) == len(found)
    assert ["fig9", "mnist relu2, rmle_paper (500 steps)", named, "10.30 / 0.510"] in found


def test_options_within_an_attack_are_named_in_figure_15():
    """Those of rMLE behind a shadow; its images are its own."""
    one = record("none", 0.0, attack="shadow", split="relu1", targets=10)
    one.config["include"] = FIGURE_15
    one.per_image["index"] = list(FIGURE_15)
    one.config["attack"]["inverter"] |= {"lr": 0.05, "tv_weight": 0.4}
    (found,) = rows(one)
    assert found[:3] == [
        "fig15",
        "mnist relu1, shadow (500 steps)",
        "attack.inverter.lr=0.05 attack.inverter.tv_weight=0.4",
    ]


def test_the_published_training_of_a_shadow_is_named_in_words():
    """It is seven options, which would be too many for a departure; part of it is no name."""
    one = record("none", 0.0, attack="shadow", split="relu1", targets=10)
    one.config["include"] = FIGURE_15
    one.per_image["index"] = list(FIGURE_15)
    with_options(one, **SHADOW_TRAINING, patience=2800, steps=2800)
    (found,) = rows(one)
    assert found[2] == "trained as published, attack.steps=2800"
    assert rows(with_options(one, patience=700)) == []  # which may have ended it earlier
    assert rows(with_options(one, patience=2800, keep="best")) == []


def test_seeds_of_a_departure_are_one_row():
    """Its score is their mean, and each is named."""
    records = [with_options(attacked(s, 10.0 + s, 0.5), lr=0.2) for s in (1, 2, 4)]
    found, used = departures(find_departures(records))
    (own,) = [one for one in found[1:] if one[0] == "fig9"]
    assert own[4:] == [
        "12.33 / 0.500",
        "seeds 1, 2, 4",
        "11.00 / 0.500; 12.00 / 0.500; 14.00 / 0.500",
    ]
    assert {one.key for one in used} == {one.key for one in records}


def test_another_victim_is_a_departure():
    """The commonest is the one of the table; a recipe of the same name names what it changes."""
    common = [attacked(seed, 12.0, 0.5) for seed in range(3)]
    other = attacked(0, 14.0, 0.6, victim="another")
    other.config["victim"] = {"_target_": "v", "epochs": 3}
    longer = attacked(0, 14.0, 0.6, key="longer")
    longer.config["victim"] = {"_target_": "v", "epochs": 30}
    found = rows(*common, other, longer)
    assert {one[2] for one in found} == {"victim=another", "victim.epochs=30"}


def test_other_images_of_the_adversary_are_a_departure():
    """As many as the commonest records have are none; the folder never is."""
    common = [attacked(seed, 12.0, 0.5) for seed in range(3)]
    for seed, one in enumerate(common):
        one.config["dataset"] |= {"aux_images": 10_000, "root": f"/{seed}"}
    few = attacked(0, 14.0, 0.6, key="few")
    few.config["dataset"] |= {"aux_images": 500, "root": "/x"}
    assert {one[2] for one in rows(*common, few)} == {"dataset.aux_images=500"}


def test_every_victim_counts_but_those_whose_attack_never_moved():
    """Two machines trained seed 1; float32 comes before bf16, in any order."""
    records = [
        with_options(with_victim(attacked(1, psnr, 0.5, key=sha), sha), lr=0.2)
        for sha, psnr in (("a", 10.0), ("b", 20.0))
    ]
    still = attacked(3, 6.4, 0.0, notes={"never_moved": 1})
    rounded = with_victim(attacked(1, 99.0, 0.5, key="c", notes={"precision": "bf16-mixed"}), "b")
    records += [with_options(still, lr=0.2), with_options(rounded, lr=0.2, precision="bf16-mixed")]
    for order in (records, records[::-1]):
        found, _ = departures(find_departures(order))
        (own,) = [one for one in found[1:] if one[0] == "fig9"]
        assert own[4:] == [
            "15.00 / 0.500",
            "seed 1; never moved: seed 3",
            "10.00 / 0.500; 20.00 / 0.500",
        ]


def on_the_ten(records, name, **changes):
    """Records of the published ten images, with other options of their attack."""
    for one in records:
        one.config["include"] = TEN
        one.per_image["index"] = list(TEN)
        one.config["attack"] |= changes
    return [dataclasses.replace(one, key=f"{one.key}{name}") for one in records]


def test_scores_that_a_departure_meets_are_counted_beside_those_met_without_it():
    """Of the settings that both have; of a departure with few of them nothing is counted."""
    usual = on_the_ten(figure9(targets=10), "")
    departed = on_the_ten(figure9(0.09, targets=10), "-far", lr=0.2)
    few = on_the_ten(figure9(targets=10)[:2], "-few", lr=0.3)
    records = [*usual, *departed, *few]
    matched = match_published(panels(comparable(records)))
    head, *counted = met_scores(find_departures(records), matched)
    assert head[2:] == ["scores", "met with it", "met without it"]
    ((data, words, scores, met, without),) = counted
    assert (data, words) == ("mnist", "attack.lr=0.2")
    published = [one.published for one in find_departures(records) if one.words == words]
    assert int(scores) == sum(
        (one.psnr_db is not None) + (one.ssim is not None) for one in published
    )
    assert (met, int(without)) == ("0", sum(one.ssim is not None for one in published))
    assert met_scores(find_departures(usual), matched) == [head]
    elsewhere = [dataclasses.replace(one, seed=5) for one in departed]
    assert met_scores(find_departures([*usual, *elsewhere]), matched) == [head]


def test_of_a_departure_that_is_met_in_part_that_part_is_counted():
    """Each score by itself; the document has the counts."""
    usual = on_the_ten(figure9(targets=10), "")
    near = on_the_ten(figure9(0.03, targets=10), "-near", lr=0.2)
    far = on_the_ten(figure9(0.2, targets=10)[:5], "-far", lr=0.2)
    names = {one.key.removesuffix("-far") for one in far}
    departed = [*far, *(one for one in near if one.key.removesuffix("-near") not in names)]
    records = [*usual, *departed]
    matched = match_published(panels(comparable(records)))
    table = met_scores(find_departures(records), matched)
    ((*_, scores, met, _),) = table[1:]
    rows_far = {
        (row.published.source, row.place)
        for row in find_departures([*usual, *far])
        if row.published.ssim is not None
    }
    ssims = sum(one.published.ssim is not None for one in find_departures(records) if one.words)
    assert int(met) == ssims - len(rows_far) > 0
    shown = document(records, "COMMAND")
    line = f"| mnist | attack.lr=0.2 | {scores} | {met} |"
    assert shown.count(line) == 1
    assert "met without it" not in document(usual, "COMMAND")


def test_the_usual_victim_is_the_one_of_most_published_settings():
    """Not the one of most records: levels that the paper does not have count not."""
    own = figure9()[:4]
    other = [record("gaussian", 0.01 * at, "input", key=f"o{at}", **PAPER) for at in range(1, 9)]
    for one in other:
        one.config["victim"] = {"_target_": "v", "epochs": 3}
    found = {one.key for one in of_usual_victim([*own, *other])}
    assert found == {one.key for one in own}
