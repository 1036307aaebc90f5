"""Defenses that differ in another option than their strength."""

from privbench.report.analysis.operating_points import operating_points
from privbench.report.analysis.tradeoffs import panels
from privbench.report.analysis.variants import with_distinct_defenses
from tests.records import record


def defended(strength: float, ssim: float = 0.5, **options):
    """A record of a defense with these options."""
    one = record("dp_gaussian", strength, ssim=ssim, key=f"{strength} {options}")
    one.config["defense"] = {"_target_": "d", "site": "features", **options}
    return one


def test_a_training_of_two_kinds_makes_two_defenses():
    """Each has its own worst case, and strengths of its own."""
    records = [
        defended(1 / epsilon, ssim, epsilon=epsilon, train=train)
        for train, ssim in (("none", 0.2), ("both", 0.6))
        for epsilon in (2.0, 4.0)
    ]
    found = with_distinct_defenses(records)
    assert [one.defense for one in found] == ["dp_gaussian train none"] * 2 + [
        "dp_gaussian train both"
    ] * 2
    (panel,) = panels([record("none", 0.0), *found])
    points = [one for one in operating_points(panel, "ssim") if one.worst.strength]
    assert {(one.defense, round(one.worst.score("ssim"), 3)) for one in points} == {
        ("dp_gaussian train none", 0.2),
        ("dp_gaussian train both", 0.6),
    }
    assert len(points) == 4


def test_options_that_only_give_the_strength_distinguish_nothing():
    """Nor does one that an earlier record does not have, nor seeds, nor the undefended cell."""
    records = [defended(1 / levels, levels=levels, low=None) for levels in (2, 4, 16)]
    records += [record("none", 0.0), record("none", 0.0, seed=1)]
    del records[0].config["defense"]["low"]
    assert [one.defense for one in with_distinct_defenses(records)] == ["dp_gaussian"] * 3 + [
        "none"
    ] * 2


def test_a_number_at_one_strength_distinguishes():
    """Two clippings at one strength are two defenses."""
    found = with_distinct_defenses([defended(0.5, clip=clip) for clip in (1.0, 2.0)])
    assert [one.defense for one in found] == ["dp_gaussian clip 1.0", "dp_gaussian clip 2.0"]
