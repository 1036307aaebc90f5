"""Verdicts on curves: their ends, their common stretch, their images."""

import pytest

from privbench.papers.he2020.attack_claims import DEPTH
from privbench.papers.he2020.defense_claims import SITES
from privbench.papers.he2020.sources import DataPoint, MeasuredResults, PaperResults
from privbench.papers.he2020.verdicts import same_tradeoff
from privbench.papers.verdict import FAILS, HOLDS, INCONCLUSIVE
from privbench.report.analysis.frame import SeedGroup
from privbench.report.analysis.tradeoffs import Point
from tests.paper_records import PAPER, figure9, statement, table, verdict
from tests.records import put_images, record


def test_what_is_alike_may_differ_in_sign_from_seed_to_seed():
    """A little more for one victim, a little less for another, is no disagreement."""
    records = [
        table("inverse_paper", split, ssim, aux, seed=seed, psnr_db=10 + 20 * ssim)
        for seed, shift in enumerate((-0.01, 0.01))
        for split in ("conv1", "relu2")
        for aux, ssim in (("train", 0.8 + shift), ("disjoint", 0.8), ("noise", 0.4))
    ]
    state, details = verdict("The adversary's images", records)
    assert state == HOLDS, details


class Bars(PaperResults):
    """Figure 15 with other bars."""

    def __init__(self, *ssim: float):
        self.bars = dict(zip(DEPTH, ssim, strict=True))

    def partition(self, dataset, split):
        score = self.bars[split]
        return DataPoint(0.0, None, None, {"ssim": score, "psnr_db": 5 + 20 * score})


@pytest.mark.parametrize(
    ("ssim", "state"),
    [
        ([0.9 - 0.09 * at for at in range(10)], HOLDS),
        ([0.9, 0.95, *[0.8 - 0.09 * at for at in range(8)]], HOLDS),
        ([0.5] * 10, FAILS),
        ([0.05 + 0.09 * at for at in range(10)], FAILS),
        ([0.9, 0.1, *[0.15 + 0.05 * at for at in range(7)], 0.1], FAILS),
    ],
    ids=["falls", "a little rise", "flat", "rises in steps", "recovers slowly"],
)
def test_quality_falls_where_it_ends_lower_and_never_comes_back(ssim, state):
    """However small each step back is."""
    assert len(DEPTH) == 10
    assert statement("quality falls with depth").check(Bars(*ssim), "mnist")[0] == state


class MeasuredBars(PaperResults):
    """Figure 15 measured on a dozen images: at ``pool1`` a third of them scores far more."""

    def __init__(self, more: float):
        self.more = more

    def partition(self, dataset, split):
        at = DEPTH.index(split)
        more = [self.more * (split == "pool1" and n % 3 == 0) for n in range(12)]
        levels = [0.9 - 0.09 * at + extra for extra in more]
        one = record("none", 0.0, split=split, targets=12)
        put_images(one, "ssim", levels)
        put_images(one, "psnr_db", [5 + 20 * level for level in levels])
        point = Point(SeedGroup([one]))
        scores = {metric: point.score(metric) for metric in ("ssim", "psnr_db")}
        return DataPoint(0.0, None, None, scores, point)


@pytest.mark.parametrize(("more", "state"), [(0.0, HOLDS), (0.9, INCONCLUSIVE)])
def test_a_rise_that_other_images_would_not_show_decides_nothing(more, state):
    """In the mean it exceeds the margin, but few images make it."""
    assert DEPTH.index("pool1") == 2
    assert statement("quality falls with depth").check(MeasuredBars(more), "mnist")[0] == state


def test_depth_as_a_defense_is_met_by_the_strong_attack_too():
    """Strong rMLE at every split stands for figure 15's bars."""
    text = "SSIM drops sharply at fc1"
    strong = [record("none", 0.0, split=s, ssim=0.9, targets=12) for s in ("pool2", "fc1")]
    assert verdict(text, strong, adaptive=True)[0] == FAILS
    assert verdict(text, strong)[0] == INCONCLUSIVE, "the published one was not measured"


def test_curves_say_nothing_that_other_images_would_not_say():
    """A difference that hangs on the images drawn is reported as such."""
    text = "Dropout on the features is better than on the input"

    def both(spread: float):
        found = []
        for site, shift in (("features", -0.02), ("input", 0.0)):
            for strength, ssim, accuracy in ((0.0, 0.6, 0.99), (0.3, 0.4, 0.9), (0.6, 0.2, 0.5)):
                one = record(
                    "dropout" if strength else "none", strength, site,
                    ssim=ssim + shift * (strength > 0), accuracy=accuracy, **PAPER,
                )  # fmt: skip
                odd = [spread * (-1) ** (at // 2 + (site == "input") * at) for at in range(12)]
                for metric, unit in (("ssim", 1), ("psnr_db", 20)):
                    scores = one.columns[metric]
                    put_images(
                        one, metric, [s + unit * o for s, o in zip(scores, odd, strict=True)]
                    )
                found.append(one)
        return list({one.key: one for one in found}.values())

    assert verdict(text, both(0.0))[0] == HOLDS
    state, details = verdict(text, both(0.3))
    assert state == INCONCLUSIVE
    assert "of resampled images" in details


def test_curves_that_share_a_short_stretch_are_compared_there():
    """On CIFAR-10 noise on the features may move PSNR by half a dB."""
    text = "Gaussian and Laplacian noise do not differ much"

    def noisy(defense, site, scores):
        return [
            record(defense, at, site, ssim=ssim, accuracy=0.9, **PAPER)
            for at, ssim in zip((0.5, 1.0), scores, strict=True)
        ]

    def all_of(laplace):
        return [
            one
            for site in SITES
            for defense, scores in (("gaussian", (0.5, 0.47)), ("laplace", laplace))
            for one in noisy(defense, site, scores)
        ]

    assert verdict(text, all_of((0.5, 0.47)))[0] == HOLDS
    state, details = verdict(text, all_of((0.3, 0.2)))
    assert state == INCONCLUSIVE
    assert "meet at no score" in details


def test_worst_case_curves_are_compared_where_all_of_their_adversaries_were():
    """A strong one that was run here and there makes no curve with a weak one between."""
    levels = {"dropout": (0.2, 0.4, 0.6, 0.8), "gaussian": (0.5, 1.0, 1.5, 2.0)}
    weak, strong = (
        [one for one in figure9(shift, attack=attack, adaptive=True)
         if one.site == "features" and one.strength in (0.0, *levels.get(one.defense, ()))]
        for shift, attack in ((0.0, "rmle_adaptive"), (0.3, "inverse_adaptive"))
    )  # fmt: skip
    sparse = [one for one in strong if one.strength != 1.0]
    lone = [one for one in figure9(0.4, attack="other", adaptive=True)
            if one.strength in (0.6, 1.5) and one.site == "features"]  # fmt: skip
    results = MeasuredResults.of([*weak, *sparse, *lone], adaptive=True)
    lines = [("relu2", defense, "features") for defense in levels]
    dropout, gaussian = results.curves("mnist", *lines, "ssim")
    assert [spot.strength for spot in dropout] == [0.0, *levels["dropout"]]
    assert [spot.strength for spot in gaussian] == [0.0, 0.5, 1.5, 2.0], (
        "1.0 the weak one alone met"
    )
    assert {spot.point.group.first.attack for spot in (*dropout, *gaussian)} == {"inverse_adaptive"}


def test_curves_have_the_accuracy_of_the_victims_that_they_share():
    """A victim of one curve alone moves neither its scores nor its accuracy."""

    def curve(seeds):
        records = {
            strength: [
                record(
                    "dropout", strength, ssim=ssim, seed=seed, targets=12,
                    accuracy=0.3 if seed else 0.9,
                )
                for seed in seeds
            ]
            for strength, ssim in ((0.2, 0.6), (0.4, 0.3))
        }  # fmt: skip
        points = [Point(SeedGroup(held)) for held in records.values()]
        return [
            DataPoint(p.strength, p.accuracy, p.undefended, {"ssim": p.score("ssim")}, p)
            for p in points
        ]

    assert same_tradeoff(curve([0, 1]), curve([0]), "ssim")[0] == HOLDS


def test_curves_without_an_image_in_common_tell_nothing():
    """Each may have been measured on images of its own."""
    text = "Dropout on the features is better than on the input"
    records = [one for one in figure9() if one.defense in ("none", "dropout")]
    assert verdict(text, records)[0] == HOLDS
    for one in records:
        if one.site == "input":
            one.per_image["index"] = [at + 100 for at in one.per_image["index"]]
    assert verdict(text, records) == (INCONCLUSIVE, "not measured")
