"""The paper's statements: verdicts are computed, can come out either way, and judge the paper too."""

import dataclasses

import pytest

from privbench.papers.he2020.attack_claims import DEPTH
from privbench.papers.he2020.claims import STATEMENTS, judge
from privbench.papers.he2020.defense_claims import SITES
from privbench.papers.he2020.published import is_published
from privbench.papers.he2020.sources import DataPoint, MeasuredResults, PaperResults
from privbench.papers.he2020.verdicts import FAILS, HOLDS, INCONCLUSIVE
from tests.paper_records import PAPER, figure9, statement, table, verdict
from tests.records import put_images, record, rescored

OWN = {
    "White-box: rMLE gives": (HOLDS,),
    "an inverse network gives": (HOLDS,),
    "a shadow and rMLE gives": (FAILS,),
    "White-box: a deeper split": (HOLDS, HOLDS),
    "Black-box: a deeper split": (HOLDS, HOLDS),
    "Query-free: a deeper split": (HOLDS, FAILS),
    "The inverse network recovers more than rMLE": (INCONCLUSIVE, FAILS),
    "Trained on noise": (HOLDS, FAILS),
    "The adversary's images": (HOLDS, FAILS),
    "more than a shadow fitted to answers": (FAILS, INCONCLUSIVE),
    "Query-free is harder": (HOLDS, HOLDS),
    "Without the structure": (HOLDS, FAILS),
    "keeps the accuracy above 95 %": (HOLDS,),
    "Within those limits": (HOLDS,),
    "noise on the input hides more": (HOLDS, HOLDS),
    "accuracy drops more when the noise is on the input": (FAILS, FAILS),
    "do not differ much": (HOLDS, HOLDS),
    "Dropout, on the input too, beats": (INCONCLUSIVE, INCONCLUSIVE),
    "Dropout on the features beats": (HOLDS, HOLDS),
    "better than on the input": (HOLDS, HOLDS),
    "SSIM < 0.25 with accuracy above 95 %": (INCONCLUSIVE,),
    "less than 0.8 points lost": (FAILS,),
    "no useful information": (INCONCLUSIVE, INCONCLUSIVE),
    "Fully obfuscated": (INCONCLUSIVE,),
    "Figure 13, from worse to better": (HOLDS,),
    "Figure 13: relu1": (HOLDS,),
    "quality falls with depth": (FAILS,),
    "drops sharply at fc1": (HOLDS,),
    "one fully connected layer": (INCONCLUSIVE,),
    "means good quality": (INCONCLUSIVE, INCONCLUSIVE),
}
"""What the paper's own numbers say of its statements, looked up by hand in its tables and curves:
e.g. table 4's CIFAR-10 conv11 is recovered better from noise (SSIM .9996) than from images (.9992);
in figure 9 noise of 1.5 on the input leaves .565 accuracy at SSIM .293, where noise of 3.5 on the
features leaves .441 at .306; accuracy passes 95 % at SSIM .2495, nearer to .25 than it can be read;
figure 15's relu1 (.914) lies .18 above conv1; dropout of .9 on the
input leaves .219 accuracy at 6.37 dB, where noise between 2 and 2.5 on it leaves about .31;
section III gives the query-free attack the SSIM of table 6's other row (.643 for .695)."""


@pytest.mark.parametrize("text", OWN)
def test_the_papers_own_numbers_are_judged_by_the_same_code(text):
    """An oracle of every statement."""
    found = statement(text)
    verdicts = [found.check(PaperResults(), data) for data in found.datasets]
    assert tuple(state for state, _ in verdicts) == OWN[text], verdicts


def test_a_printed_number_is_known_as_far_as_it_could_be_read():
    """SSIM to .0007 and accuracy to .0015, which is .0027 more where the curve is steep."""
    _, details = statement("SSIM < 0.25 with accuracy above 95 %").check(PaperResults(), "mnist")
    assert details.endswith("SSIM 0.246 to 0.253")


def test_every_statement_is_in_the_oracle():
    """None is left out, none is there twice."""
    assert sorted(statement(text).text for text in OWN) == sorted(s.text for s in STATEMENTS)


@pytest.mark.parametrize(
    "text",
    [
        "keeps the accuracy above 95 %",
        "noise on the input hides more",
        "do not differ much",
        "better than on the input",
        "Within those limits",
    ],
)
def test_records_with_the_published_numbers_have_the_papers_verdict(text):
    """Looked up in records as in the paper: what is printed and what is measured agree."""
    assert verdict(text, figure9())[0] == statement(text).check(PaperResults(), "mnist")[0] == HOLDS


def test_a_statement_fails_where_the_records_say_the_contrary():
    """And is inconclusive without records."""
    text = "SSIM < 0.25 with accuracy above 95 %"
    assert verdict(text, figure9(0.2))[0] == FAILS
    assert verdict(text, [record()])[0] == INCONCLUSIVE


HIDDEN = {"identification": 0.0, "semantic_accuracy": 0.1}
"""The blind baseline reaches .1 of either here."""


@pytest.mark.parametrize(
    ("identified", "read", "images", "state"),
    [
        (0.02, 0.1, 100, HOLDS),
        (0.9, 0.1, 100, FAILS),
        (0.02, 0.94, 100, FAILS),
        (0.9, 0.94, 100, FAILS),
        (0.1, 0.1, 12, INCONCLUSIVE),
        (0.2, 0.1, 100, INCONCLUSIVE),
        (0.02, 0.22, 100, INCONCLUSIVE),
        (0.02, 0.13, 2000, INCONCLUSIVE),
    ],
)
def test_nothing_is_left_only_where_neither_the_image_nor_its_label_is_recognised(
    identified, read, images, state
):
    """Of few images, or of a share that is above chance by less than the margin, nothing is said."""
    shown = {"identification": identified, "semantic_accuracy": read}
    for seen in SITES:
        records = [
            record(
                "dropout",
                0.6,
                site,
                **{**PAPER, "targets": images, **(shown if site == seen else HIDDEN)},
            )
            for site in SITES
        ]
        found, details = verdict("no useful information", records)
        assert found == state, details


def test_nothing_is_left_needs_both_even_where_they_are_of_two_adversaries():
    """One identifies no image and reads the labels, the other one the reverse: something is left."""
    blindly = {"adaptive": True, "targets": 100}
    reads = {**HIDDEN, "semantic_accuracy": 0.95}
    records = [
        one
        for site in SITES
        for one in (
            record("dropout", 0.6, site, attack="rmle_adaptive", **blindly, **reads),
            record(
                "dropout",
                0.6,
                site,
                attack="other",
                **blindly,
                **{**HIDDEN, "identification": 0.02},
            ),
        )
    ]
    state, details = verdict("no useful information", records, adaptive=True)
    assert state == FAILS
    assert "classified rightly" in details and "rmle_adaptive" in details


def test_noise_is_judged_on_both_sides_of_its_limit():
    """What was measured far from it cannot tell."""
    text = "keeps the accuracy above 95 %"
    for strength, accuracy in ((0.1, 0.98), (4.5, 0.2)):
        far = [
            record(n, strength, "input", accuracy=accuracy, **PAPER)
            for n in ("gaussian", "laplace")
        ]
        assert verdict(text, far)[0] == INCONCLUSIVE
    near = [
        record(noise, limit + side, "input", accuracy=0.97 if side < 0 else 0.93, **PAPER)
        for noise, limit in (("gaussian", 0.8), ("laplace", 0.5))
        for side in (-0.1, 0.0)
    ]
    assert verdict(text, near)[0] == HOLDS


def test_what_is_hidden_without_a_defense_is_no_merit_of_the_defense():
    """On CIFAR-10 the published attack may recover less than .25 of undefended features."""
    text = "less than 0.8 points lost"
    rates = {"lr": 2.3e-3, "adam_eps": 4.4e-3}

    def cifar(clean: float, defended: float):
        found = [
            record(
                "none", 0.0, dataset="cifar10", split="relu22", ssim=clean, accuracy=0.99, **PAPER
            ),
            record(
                "dropout",
                0.1,
                dataset="cifar10",
                split="relu22",
                ssim=defended,
                accuracy=0.985,
                **PAPER,
            ),
        ]
        for one in found:
            one.config["attack"] |= rates
        return found

    assert verdict(text, cifar(0.18, 0.15), data="cifar10")[0] == INCONCLUSIVE
    assert verdict(text, cifar(0.60, 0.15), data="cifar10")[0] == HOLDS


def test_the_adaptive_column_is_of_adversaries_that_know_the_defense():
    """The published one's records do not enter it."""
    records = figure9(-0.1)
    text = "SSIM < 0.25 with accuracy above 95 %"
    assert verdict(text, records)[0] == HOLDS
    assert verdict(text, records, adaptive=True)[0] == INCONCLUSIVE
    adaptive = figure9(0.3, attack="rmle_adaptive", adaptive=True)
    assert verdict(text, [*records, *adaptive], adaptive=True)[0] == FAILS
    assert verdict(text, [*records, *adaptive])[0] == HOLDS


def test_deeper_is_worse_is_judged_by_a_paired_difference_and_by_both_metrics():
    """On the same images; where SSIM and PSNR disagree the statement fails by one, and says which."""
    text = "White-box: a deeper split"

    def both(conv1: float, relu2: float, **others):
        deep = table("rmle_paper", "relu2", relu2)
        for metric, values in others.items():
            put_images(deep, metric, values)
        return [table("rmle_paper", "conv1", conv1), deep]

    assert verdict(text, both(0.9, 0.5))[0] == HOLDS
    assert verdict(text, both(0.5, 0.9))[0] == FAILS
    state, details = verdict(text, both(0.9, 0.5, psnr_db=[60.0] * 12))
    assert state == FAILS
    assert "PSNR" in details
    assert "SSIM" not in details


def test_a_table_is_of_its_own_images_steps_and_auxiliary_set():
    """Figure 15's ten images, 500 steps and other auxiliary sets are other settings."""
    text = "Without the structure"
    whole = [
        table(name, split, ssim, aux)
        for name, ssim in (("shadow", 0.3), ("shadow_same", 0.6))
        for split in ("conv1", "relu2")
        for aux in ("train", "disjoint")
    ]
    assert verdict(text, whole)[0] == HOLDS
    assert verdict(text, whole[1:])[0] == INCONCLUSIVE, "train at conv1 is not there"
    short = table("shadow", "conv1", 0.3, "train")
    short.config["attack"]["inverter"]["steps"] = 500
    other = table("shadow", "conv1", 0.3, "train")
    other.config["include"] = [3, 2, 35, 44, 27, 23, 21, 17, 61, 73]
    for strange in (short, other):
        assert verdict(text, [strange, *whole[1:]])[0] == INCONCLUSIVE


def test_statements_of_cifar_look_at_cifar():
    """Records of one data set say nothing of the other."""
    text = "White-box: a deeper split"
    rates = {"lr": 2.3e-3, "adam_eps": 4.4e-3}
    records = [
        table("rmle_paper", split, ssim, dataset="cifar10")
        for split, ssim in (("conv11", 0.9), ("relu22", 0.6), ("relu32", 0.2))
    ]
    for one in records:
        one.config["attack"] |= rates
    assert verdict(text, records, data="cifar10")[0] == HOLDS
    assert verdict(text, records)[0] == INCONCLUSIVE


def test_a_seed_that_says_the_contrary_makes_an_inconclusive_verdict():
    """Each seed trains a victim of its own: a mean over them is no verdict."""
    found = statement("SSIM < 0.25 with accuracy above 95 %")
    agreeing = [*figure9(-0.03), *figure9(-0.04, seed=1)]
    assert judge(found, "mnist", MeasuredResults.of(agreeing))[0] == HOLDS
    split = [*figure9(-0.1), *figure9(0.03, seed=1)]
    state, details = judge(found, "mnist", MeasuredResults.of(split))
    assert state == INCONCLUSIVE
    assert details.startswith("holds on the mean")
    assert "but does not hold for seed 1" in details


@pytest.mark.parametrize("one", STATEMENTS, ids=lambda one: one.text[:40])
def test_a_single_record_is_inconclusive(one):
    """No verdict is vacuous, and none crashes."""
    for by_seed in (record("dropout", 0.1, **PAPER), record("gaussian", 0.1, "input", **PAPER)):
        for adaptive in (False, True):
            for data in one.datasets:
                state, _ = one.check(MeasuredResults.of([by_seed], adaptive=adaptive), data)
                assert state == INCONCLUSIVE


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


@pytest.mark.parametrize("stray", STRAY)
@pytest.mark.parametrize("first", [True, False])
def test_an_irrelevant_record_changes_no_verdict(stray, first):
    """A store holds all sorts of records: the same verdicts come of those that belong together."""
    levels = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 2.0)
    records = [one for one in figure9(-0.05) if one.strength in levels]
    wrong = [
        _stray_scores(dataclasses.replace(STRAY[stray](one), accuracy=0.2))
        for one in records
        if one.defense == "dropout" and one.strength in (0.3, 0.6)
    ]
    together = [*wrong, *records] if first else [*records, *wrong]
    clean, mixed = MeasuredResults.of(records), MeasuredResults.of(together)
    for one in STATEMENTS:
        want = one.check(clean, "mnist")
        assert one.check(mixed, "mnist") == want
        if first:
            assert judge(one, "mnist", mixed) == want


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


def test_curves_without_an_image_in_common_tell_nothing():
    """Each may have been measured on images of its own."""
    text = "Dropout on the features is better than on the input"
    records = [one for one in figure9() if one.defense in ("none", "dropout")]
    assert verdict(text, records)[0] == HOLDS
    for one in records:
        if one.site == "input":
            one.per_image["index"] = [at + 100 for at in one.per_image["index"]]
    assert verdict(text, records) == (INCONCLUSIVE, "not measured")
