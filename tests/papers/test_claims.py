"""The paper's statements: verdicts are computed, can come out either way, and judge the paper too."""

import pytest

from privbench.papers.he2020.claims import STATEMENTS, judge
from privbench.papers.he2020.defense_claims import SITES
from privbench.papers.he2020.published import CIFAR10
from privbench.papers.he2020.sources import MeasuredResults, PaperResults
from privbench.papers.verdict import FAILS, HOLDS, INCONCLUSIVE
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


def test_the_ends_of_a_range_are_of_whichever_strengths_have_them():
    """A wide interval at one strength leaves no doubt that the score at another is below .4."""
    records = [
        record(noise, limit + side, "input", ssim=0.6, **PAPER)
        for noise, limit in (("gaussian", 0.8), ("laplace", 0.5))
        for side in (-0.2, -0.1)
    ]
    assert verdict("Within those limits", records)[0] == HOLDS
    wide, narrow = ((0.3, 0.9), (0.35, 0.39))
    for ends, state in (((wide, wide), INCONCLUSIVE), ((wide, narrow), FAILS)):
        others = [rescored(one, "ssim", ci95=end) for one, end in zip(records, ends, strict=False)]
        assert verdict("Within those limits", [*others, *records[2:]])[0] == state


def test_what_is_hidden_without_a_defense_is_no_merit_of_the_defense():
    """On CIFAR-10 the published attack may recover less than .25 of undefended features."""
    text = "less than 0.8 points lost"
    setting = {**PAPER, "steps": 5000, "dataset": "cifar10", "split": "relu22"}

    def cifar(clean: float, defended: float):
        found = [
            record("none", 0.0, ssim=clean, accuracy=0.99, **setting),
            record("dropout", 0.1, ssim=defended, accuracy=0.985, **setting),
        ]
        for one in found:
            one.config["attack"] |= CIFAR10
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
    records = [
        table("rmle_paper", split, ssim, dataset="cifar10")
        for split, ssim in (("conv11", 0.9), ("relu22", 0.6), ("relu32", 0.2))
    ]
    for one in records:
        one.config["attack"] |= CIFAR10
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
