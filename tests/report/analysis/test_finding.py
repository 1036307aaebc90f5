"""The finding of a sweep: what it shows, and what weakens it first."""

import csv
from collections import defaultdict

import pytest

from privbench.report.analysis.finding import STRONGEST, finding, strongest_not_run, weaknesses
from privbench.report.analysis.tradeoffs import panels
from tests.records import curve, imaged, put_images, record, spread
from tests.support import ROOT


def test_a_finding_is_the_least_leakage_with_its_interval_attack_and_baseline():
    """At most two points of accuracy lost; a second, adaptive attack recovers more."""
    weak = [imaged(one, spread(0.36)) for one in curve()]
    strong = [
        imaged(record(strength=one.strength, accuracy=one.accuracy, attack="a", adaptive=True),
               spread(0.9 - one.strength))
        for one in weak
    ]  # fmt: skip
    found = finding(panels([*weak, *strong]))
    assert [weakness.name for weakness in found.weaknesses] == [
        "a strong attack was not run",
        "a single victim",
        "few test images for the accuracy",
    ]
    assert found.weaknesses[2].sentence.endswith(
        "the accuracy with dropout 0.4 on features is 0.9750 [0.9650, 1.0000], without a defense "
        "0.9900: that more than 2 points are lost is not excluded"
    )  # fmt: skip
    (line,) = found.statements
    assert line.startswith(
        "mnist relu2: at most 2 points of accuracy lost, the least worst-case leakage is SSIM 0.502 [0.50"
    )
    assert line.endswith(
        "] on 24 images, 50% identified, by a against dropout 0.4 on features; a blind guess scores 0.350"
    )


@pytest.mark.parametrize(
    ("ssim", "share", "text"),
    [
        (0.4, 1.0, "by rmle against dropout 0.2 on features, and 100% identified by a; a blind"),
        (0.9, 1.0, "100% identified, by a against"),
        (0.4, 0.5, "50% identified, by rmle against"),
        (0.4, 0.2, "50% identified, by rmle against"),
    ],
)
def test_a_finding_has_the_share_that_any_attack_identifies(ssim, share, text):
    """Another one than the strongest by SSIM may reach it, and is then named."""
    strong = [imaged(one, spread(0.5)) for one in curve()]
    other = [
        imaged(record(strength=one.strength, accuracy=one.accuracy, attack="a", adaptive=True), spread(ssim))
        for one in strong
    ]  # fmt: skip
    for one in other:
        put_images(one, "identification", [share] * one.targets)
    (line,) = finding(panels([*strong, *other])).statements
    assert text in line


def test_weaknesses_come_first_and_the_gravest_is_first():
    """Each has a few words for a heading, and a sentence."""
    records = [record(converged=0.2, victim_warning="guesses", seed=seed) for seed in (1, 2)]
    found = finding(panels([*records, record(strength=0.9)]), missing=2)
    assert [(weakness.name, weakness.sentence) for weakness in found.weaknesses] == [
        ("a victim no better than the most frequent class", "mnist lenet5: guesses"),
        ("not tested against an attacker who knows it",
         "No adaptive attack was run against dropout on features: the leakage may be higher"),
        ("2 cells are missing", "2 of 5 cells have no record: more may leak"),
        ("a strong attack was not run",
         "Not run: rmle_prior, inverse. Of the attacks of sweeps/defenses rmle_prior or an inverse "
         "network has the highest SSIM in every setting of MNIST"),
        ("2 of 3 cells did not converge",
         "2 of 3 cells did not converge (2 of 3 of rmle): more steps may recover more"),
        ("few images (6)", "few images: scores are of 6 images"),
        ("only 3 victims", "only 3 victims: on others, of further seeds, more may leak"),
        ("stronger settings were not tried",
         "mnist relu2: dropout 0.9 on features is the strongest setting tried and loses 1 point of "
         "accuracy: a stronger one may leak less within 2 points"),
    ]  # fmt: skip
    assert found.lines == [*(w.sentence for w in found.weaknesses), *found.statements]
    some = [record(strength=0.9, seed=seed, targets=64) for seed in range(5)]
    some += [record(strength=0.3, attack="a", adaptive=True, targets=64, failed=1)]
    assert [weakness.name for weakness in weaknesses(some)] == [
        "in some settings not tested against an attacker who knows it",
        "a strong attack was not run",
        "1 of 6 cells gave images that never moved or are not finite",
    ]


def test_a_finding_without_a_good_defense_or_without_any_says_so():
    """No defense in budget; no defense at all; no more than a blind guess; nothing at all."""
    (poor,) = finding(panels([record(accuracy=0.9, strength=0.8)])).statements
    assert "no measured defense keeps the accuracy within 2 points of the undefended" in poor
    assert "dropout 0.8 on features loses 9 points: SSIM 0.500" in poor
    (bare,) = finding(panels([record("none", 0.0, ssim=0.3)])).statements
    assert bare.startswith("mnist relu2: without a defense SSIM 0.300")
    assert bare.endswith("by rmle; no more than a blind guess, SSIM 0.350")
    assert finding([], missing=3).lines == [
        "3 of 3 cells have no record: more may leak",
        "nothing was measured",
    ]
    blind = finding(panels([record(attack="blind")]))
    assert blind.statements == ["no defense was measured with every attack"]


def test_weights_that_were_trained_elsewhere_are_named():
    """Their training images are unknown, so that the targets may be among them."""
    one, other = record(), record(seed=1)
    one.config["victim"]["weights"] = "mine.safetensors"
    (found,) = [w for w in weaknesses([one, other]) if "elsewhere" in w.name]
    assert found.sentence.startswith("mnist lenet5: mine.safetensors may have been trained on")
    assert not [w for w in weaknesses([other]) if "elsewhere" in w.name]


def test_the_strongest_attacks_are_those_of_the_table_of_defenses():
    """One of them has the highest SSIM wherever both and others were run."""
    settings = defaultdict(dict)
    with (ROOT / "sweeps" / "defenses" / "records.csv").open() as file:
        for row in csv.DictReader(file):
            if row["dataset"] != "mnist" or row["battery"]:
                continue
            setting = tuple(row[name] for name in ("split", "defense", "site", "strength", "seed"))
            settings[setting][row["attack"].partition(" ")[0]] = float(row["ssim"])
    both = [
        scores for scores in settings.values() if len(scores) > 2 and set(STRONGEST) <= set(scores)
    ]
    assert len(both) >= 40
    best = {max(scores, key=scores.get) for scores in both}
    assert set(STRONGEST) <= best <= {name for same in STRONGEST.values() for name in same}


def test_a_setting_without_the_strongest_attacks_is_counted():
    """By setting, defended or not; a network counts that knew the defense, if there is one."""
    prior, naive, refined = (
        record(attack=name, strength=0.4)
        for name in ("rmle_prior", "inverse_refined", "inverse_refined_adaptive")
    )
    strong = [prior, refined]
    bare = [record("none", 0.0, attack=name) for name in ("rmle_prior", "inverse_refined")]
    assert not _not_run([*strong, *bare])
    assert _not_run([prior, naive]), "its network has seen undefended features alone"
    assert "inverse in 1 of 2 settings" in _not_run([*strong, bare[0]])[0]
    assert _not_run([*strong, record(strength=0.6, attack="inverse")]) == [
        "Not run: rmle_prior in 1 of 2 settings. Of the attacks of sweeps/defenses rmle_prior or "
        "an inverse network has the highest SSIM in every setting of MNIST"
    ]


def test_behind_the_latter_half_of_a_network_the_refinement_is_asked_for():
    """It recovers most there without a defense; a shallow split, or a defense, asks for none."""
    strong = ("rmle_prior", "inverse")
    places = [("fc1", 6, 0.0), ("relu1", 1, 0.0), ("fc1", 6, 0.4)]
    met = [
        [record("none" if not strength else "dropout", strength, split=split, attack=name,
                split_index=index, split_count=10) for name in (*strong, "inverse_adaptive")]
        for split, index, strength in places
    ]  # fmt: skip
    (line,) = _not_run([one for records in met for one in records])
    assert line.startswith("Not run: inverse_refined in 1 of 3 settings.")
    assert not _not_run([one for records in met[1:] for one in records])


def test_behind_a_defense_of_cifar10_its_strongest_attack_is_asked_for():
    """It is far above the others there behind dropout; no defense, or MNIST, asks for none."""
    strong = ("rmle_prior", "inverse", "inverse_refined_adaptive")

    def met(attacks, **others):
        return [record(attack=name, **others) for name in attacks]

    (line,) = _not_run(met(strong[:2], dataset="cifar10"))
    assert line.startswith("Not run: inverse_refined_adaptive. ")
    assert line.endswith("in sweeps/attacks inverse_refined_adaptive behind dropout on cifar10")
    assert strongest_not_run(met(strong[:1], dataset="cifar10")) == [*strong[1:]]
    undefended = met(strong[:2], dataset="cifar10", defense="none", strength=0.0)
    assert not _not_run([*met(strong, dataset="cifar10"), *undefended, *met(strong[:2])])


def _not_run(records):
    return [w.sentence for w in weaknesses(records) if w.name == "a strong attack was not run"]
