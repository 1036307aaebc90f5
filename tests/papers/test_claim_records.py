"""Records that a verdict is of: those of the statement's settings and no other."""

import dataclasses

import pytest

from privbench.papers.he2020.claims import STATEMENTS, judge
from privbench.papers.he2020.published import is_published
from privbench.papers.he2020.sources import MeasuredResults
from privbench.papers.verdict import FAILS, HOLDS, INCONCLUSIVE
from tests.paper_records import PAPER, figure9, table, verdict
from tests.records import record, rescored


def changed(one, part: str, **values):
    """The same record with other settings."""
    config = {**one.config, part: {**one.config[part], **values}}
    return dataclasses.replace(one, config=config, key=f"{one.key}x")


STRAY = {
    "sent 16 times": lambda one: dataclasses.replace(one, transmissions=16),
    "another weight": lambda one: changed(one, "attack", tv_weight=1e3),
    "another rate": lambda one: changed(one, "attack", lr=0.1),
    "more steps": lambda one: changed(one, "attack", steps=501),
    "another victim": lambda one: changed(one, "victim", epochs=1),
    "other targets": lambda one: record(one.defense, one.strength, one.site,
                                        **{**PAPER, "targets": 13, "ssim": 1 - one.score("ssim")}),
    "figure 15's images": lambda one: dataclasses.replace(
        one, config={**one.config, "include": [3, 2, 35, 44, 27, 23, 21, 17, 61, 73]}),
    "a lone seed": lambda one: dataclasses.replace(one, seed=7, key=f"{one.key}7"),
}  # fmt: skip


def _stray_scores(one):
    return rescored(rescored(one, "ssim", mean=0.95), "identification", mean=0.0)


@pytest.fixture(scope="module")
def relevant():
    """Records of figure 9, and what every statement's verdict is on them."""
    levels = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 2.0)
    records = [one for one in figure9(-0.05) if one.strength in levels]
    clean = MeasuredResults.of(records)
    return records, {one.text: one.check(clean, "mnist") for one in STATEMENTS}


TOGETHER = "all of them"
"""Every kind of irrelevant record at once; each kind by itself is slow."""


@pytest.mark.parametrize(
    "stray", [TOGETHER, *(pytest.param(kind, marks=pytest.mark.slow) for kind in STRAY)]
)
@pytest.mark.parametrize("first", [True, False])
def test_an_irrelevant_record_changes_no_verdict(relevant, stray, first):
    """A store holds all sorts of records: the same verdicts come of those that belong together."""
    records, verdicts = relevant
    wrong = [
        _stray_scores(dataclasses.replace(STRAY[kind](one), accuracy=0.2))
        for kind in (STRAY if stray == TOGETHER else [stray])
        for one in records
        if one.defense == "dropout" and one.strength in (0.3, 0.6)
    ]
    together = [*wrong, *records] if first else [*records, *wrong]
    mixed = MeasuredResults.of(together)
    for one in STATEMENTS:
        assert one.check(mixed, "mnist") == verdicts[one.text]
        if first:
            assert judge(one, "mnist", mixed) == verdicts[one.text]


def test_the_strongest_of_those_that_know_decides_whoever_else_met_the_setting():
    """An adversary that met one strength alone, or recovers less, hides nothing."""
    text = "SSIM < 0.25 with accuracy above 95 %"
    adaptive = figure9(0.3, attack="rmle_adaptive", adaptive=True)
    weak = record("dropout", 0.6, attack="inverse_adaptive", adaptive=True, ssim=0.01, targets=12)
    for together in ([*adaptive, weak], [weak, *adaptive]):
        assert verdict(text, together, adaptive=True)[0] == FAILS
    blindly = {"attack": "rmle_adaptive", "adaptive": True, "targets": 100}
    seen = [
        record("dropout", 0.6, ssim=0.9, identification=0.0, **blindly),
        record("dropout", 0.6, ssim=0.3, identification=1.0, **{**blindly, "attack": "other"}),
    ]
    assert verdict("no useful information", seen, adaptive=True)[0] == FAILS


@pytest.mark.parametrize(
    "stray", ["sent 16 times", "another victim", "figure 15's images", "a lone seed"]
)
def test_an_irrelevant_record_is_no_adaptive_adversary_either(stray):
    """However much it recovers."""
    adaptive = figure9(-0.1, attack="rmle_adaptive", adaptive=True)
    strong = [
        rescored(STRAY[stray](one), "ssim", mean=0.95, ci95=(0.94, 0.96))
        for one in adaptive
        if one.defense == "dropout" and one.site == "features"
    ]
    text = "SSIM < 0.25 with accuracy above 95 %"
    assert verdict(text, [*strong, *adaptive], adaptive=True)[0] == HOLDS


def test_a_group_that_lacks_a_seed_is_left_out():
    """Its mean would be over other victims than that of its rivals."""
    both = [*figure9(-0.1), *figure9(-0.1, seed=1)]
    text = "no useful information"
    assert verdict(text, both)[0] != INCONCLUSIVE
    halved = [one for one in both if (one.seed, one.defense, one.strength) != (1, "dropout", 0.6)]
    assert verdict(text, halved) == (INCONCLUSIVE, "not measured")


def test_seeds_that_disagree_on_who_recovers_more_tell_nothing():
    """However narrow the interval over images is: it knows of no other victim."""
    text = "White-box: a deeper split"

    def both(*relu2: float):
        return [
            table("rmle_paper", split, ssim, seed=seed)
            for seed, deep in enumerate(relu2)
            for split, ssim in (("conv1", 0.8), ("relu2", deep))
        ]

    assert verdict(text, both(0.4, 0.5, 0.6))[0] == HOLDS
    assert verdict(text, both(0.4, 0.5, 0.803))[0] == HOLDS, "one seed's tie is no disagreement"
    state, details = verdict(text, both(0.2, 0.3, 0.85))
    assert state == INCONCLUSIVE
    assert "seeds disagree" in details


def test_defenses_are_compared_against_the_same_adversaries():
    """One that met a single defense says nothing of the other."""
    text = "Dropout on the features beats"
    adaptive = figure9(0.1, attack="rmle_adaptive", adaptive=True)
    networks = figure9(0.4, attack="inverse_adaptive", adaptive=True)
    by_seed = [one for one in networks if one.defense == "dropout"]
    assert verdict(text, adaptive, adaptive=True)[0] == HOLDS
    assert verdict(text, [*adaptive, *by_seed], adaptive=True) == verdict(
        text, adaptive, adaptive=True
    )


def test_a_weight_of_ours_decides_nothing():
    """At conv1 the published weight of total variation is not known."""
    text = "The inverse network recovers more than rMLE"

    def both(conv1: float, relu2: float):
        return [
            table(attack, split, ssim)
            for split, inverse in (("conv1", conv1), ("relu2", relu2))
            for attack, ssim in (("rmle_paper", 0.7), ("inverse_paper", inverse))
        ]

    state, details = verdict(text, both(0.9, 0.9))
    assert state == INCONCLUSIVE
    assert "a weight of total variation that is ours" in details
    assert verdict(text, both(0.9, 0.5))[0] == FAILS, "relu2's is the published one"


DEPARTURES = {
    "rmle_paper": {"lr": 0.1, "amsgrad": False, "adaptive": True, "clamp": True, "adam_eps": 1.0},
    "inverse_paper": {
        "steps": 100,
        "batch": 1,
        "adam_eps": 1.0,
        "amsgrad": False,
        "answers": "clean",
    },
    "shadow": {"steps": 7000, "lr": 1.0, "batch": 1, "images": 100, "supervision": "queries"},
}


def test_a_record_lacks_options_that_are_off_and_is_published():
    """As the ones that a run writes do; one that is on decides."""
    one = table("inverse_paper", "relu2", 0.5)
    for name in ("conditional", "pooled"):
        assert one.config["attack"].pop(name) is False
    assert is_published(one)
    one.config["attack"]["pooled"] = True
    assert not is_published(one)


@pytest.mark.parametrize("attack", DEPARTURES)
def test_every_setting_decides_what_is_published(attack):
    """But for the arithmetic, and for rMLE's steps, which differ between tables and figures."""
    assert is_published(table(attack, "relu2", 0.5))
    assert is_published(changed(table(attack, "relu2", 0.5), "attack", precision="bf16-mixed"))
    for name, value in DEPARTURES[attack].items():
        assert not is_published(changed(table(attack, "relu2", 0.5), "attack", **{name: value}))
    if attack == "shadow":
        inner = {**table(attack, "relu2", 0.5).config["attack"]["inverter"], "clamp": True}
        assert not is_published(changed(table(attack, "relu2", 0.5), "attack", inverter=inner))


def test_the_blind_floor_is_that_of_ordinary_auxiliary_images():
    """Noise as auxiliary images leaves the blind baseline less; it is not the baseline."""
    plain, noise = table("rmle_paper", "relu2", 0.5), table("rmle_paper", "relu2", 0.5, "noise")
    noise.floor["best"] = {**noise.floor["best"], "psnr_db": 5.0, "ssim": 0.1}
    noise = dataclasses.replace(noise, key="other")
    details = verdict("means good quality", [plain, noise])
    assert details == (FAILS, "the blind baseline scores 12.0 dB / 0.35")


def test_whoever_knows_may_attack_as_if_he_did_not():
    """Where adapting misleads, the published adversary's score is what is lost; nowhere else."""
    text = "SSIM < 0.25 with accuracy above 95 %"
    naive, misled = figure9(0.2), figure9(-0.1, attack="rmle_adaptive", adaptive=True)
    assert verdict(text, misled, adaptive=True)[0] == HOLDS
    assert verdict(text, [*naive, *misled], adaptive=True)[0] == FAILS
    untried = [one for one in misled if one.strength in (0.0, 0.9)]
    curve = MeasuredResults.of([*naive, *untried], adaptive=True).curve(
        "mnist", "relu2", "dropout", "features", "ssim"
    )
    assert [spot.strength for spot in curve] == [0.0, 0.9]
