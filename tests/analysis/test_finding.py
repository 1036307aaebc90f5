"""The finding of a sweep: what it shows, and what weakens it first."""

from privbench.analysis.finding import finding, weaknesses
from privbench.analysis.tradeoffs import panels
from tests.records import curve, imaged, record, spread


def test_a_finding_is_the_least_leakage_with_its_interval_attack_and_baseline():
    """At most two points of accuracy lost; a second, adaptive attack recovers more."""
    weak = [imaged(one, spread(0.36)) for one in curve()]
    strong = [
        imaged(record(strength=one.strength, accuracy=one.accuracy, attack="a", adaptive=True),
               spread(0.9 - one.strength))
        for one in weak
    ]  # fmt: skip
    found = finding(panels([*weak, *strong]))
    assert found.weaknesses == []
    (line,) = found.statements
    assert line.startswith(
        "mnist relu2: at most 2 points of accuracy lost, the least leakage is SSIM 0.502 [0.50"
    )
    assert line.endswith(
        "] on 24 images of one victim, by a against dropout 0.4 on features; a blind guess scores 0.350"
    )
    assert found.sentence == f"{line}."


def test_weaknesses_come_first_and_the_gravest_is_first():
    """Victim, no adaptive attack, missing cells, convergence, few images; each said once."""
    records = [
        record(converged=0.2, victim_warning="guesses", notes={"never_moved": seed / 4}, seed=seed)
        for seed in (1, 2)
    ]
    found = finding(panels([*records, record(strength=0.9)]), missing=2)
    assert found.weaknesses == [
        "mnist lenet5: guesses",
        "No adaptive attack was run against dropout on features: the leakage may be higher",
        "2 of 5 cells have no record: settings that lack one are left out",
        "rmle: not converged in 2 of 3 cells: more steps may recover more",
        "rmle: images that never moved in 2 of 3 cells: more steps may recover more",
        "few images: scores are means over 6 images",
    ]
    assert found.lines[0] in found.sentence
    assert found.sentence.index("No adaptive") < found.sentence.index("the least leakage is")
    assert weaknesses([record(strength=0.0, targets=64)]) == []


def test_a_finding_without_a_good_defense_or_without_any_says_so():
    """No defense in budget; no defense at all; no more than a blind guess; nothing at all."""
    (poor,) = finding(panels([record(accuracy=0.9, strength=0.8)])).statements
    assert "no measured defense keeps the accuracy within 2 points of the undefended" in poor
    assert "dropout 0.8 on features loses 9 points: SSIM 0.500" in poor
    (bare,) = finding(panels([record("none", 0.0, ssim=0.3)])).statements
    assert bare.startswith("mnist relu2: without a defense SSIM 0.300")
    assert bare.endswith("by rmle; no more than a blind guess, SSIM 0.350")
    assert finding([], missing=3).lines == [
        "3 of 3 cells have no record: settings that lack one are left out",
        "nothing was measured",
    ]
    blind = finding(panels([record(attack="blind")]))
    assert blind.statements == ["no defense was measured with every attack"]
