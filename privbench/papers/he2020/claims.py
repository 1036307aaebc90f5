"""Statements of the paper, each with a verdict that is computed from numbers.

The same code judges the paper's own numbers, the published adversary's records and those of
adaptive adversaries, by SSIM and by PSNR.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from privbench.papers.he2020.attack_claims import (
    KIND,
    NOISE,
    QUERYFREE,
    RMLE,
    SAME,
    SHADOWS,
    aux_images_matter,
    blind_has_good_quality,
    deeper_recovers_less,
    drops_at_fc1,
    falls_with_depth,
    gives_stated,
    inverse_recovers_more,
    recovers_less_than,
    stated_text,
)
from privbench.papers.he2020.defense_claims import (
    NOISES,
    SITES,
    dropout_better,
    features_better,
    figure13_order,
    figure13_relu1,
    good_within_limits,
    hidden_and_accurate,
    input_hides_more,
    noise_limits,
    noises_similar,
    nothing_recovered,
    obfuscated,
)
from privbench.papers.he2020.sources import MeasuredResults, ResultSource
from privbench.papers.he2020.verdicts import all_of, recovers_nothing
from privbench.papers.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict


@dataclass(frozen=True)
class Statement:
    """A statement of the paper.

    Attributes:
        text: The statement in short.
        check: Function from a source of numbers and a data set to a verdict.
        datasets: Names of the data sets that it is about.
        adaptive: True where it is about defenses, which an adaptive adversary may undo.
    """

    text: str
    check: Callable[[ResultSource, str], Verdict]
    datasets: Sequence[str] = ("mnist", "cifar10")
    adaptive: bool = False


MNIST, CIFAR = ("mnist",), ("cifar10",)
STATEMENTS = (
    Statement(stated_text(RMLE, "White-box: rMLE"), gives_stated(RMLE), MNIST),
    Statement(stated_text(KIND, "Black-box: an inverse network"), gives_stated(KIND), MNIST),
    Statement(stated_text(QUERYFREE, "Query-free: a shadow and rMLE"), gives_stated(QUERYFREE), MNIST),
    Statement("White-box: a deeper split is recovered worse", deeper_recovers_less(RMLE)),
    Statement("Black-box: a deeper split is recovered worse", deeper_recovers_less(SAME, KIND, NOISE)),
    Statement("Query-free: a deeper split is recovered worse", deeper_recovers_less(*SHADOWS)),
    Statement("The inverse network recovers more than rMLE", inverse_recovers_more),
    Statement("Trained on noise, it recovers less than rMLE", recovers_less_than(NOISE, RMLE)),
    Statement("The adversary's images: the victim's own and others of their kind give about the same, noise much less", aux_images_matter),
    Statement("The inverse network recovers more than a shadow fitted to answers and rMLE", recovers_less_than(("shadow_queried", "train"), SAME)),
    Statement("Query-free is harder than white-box and black-box", recovers_less_than(QUERYFREE, RMLE, KIND)),
    Statement("Without the structure the query-free attack is worse", lambda results, data: all_of(
        (aux, recovers_less_than(("shadow", aux), ("shadow_same", aux))(results, data)) for aux in ("train", "disjoint")
    )),
    Statement("Noise on the input keeps the accuracy above 95 % only while sigma < 0.8, b < 0.5", noise_limits, MNIST),
    Statement("Within those limits SSIM stays above 0.4 and PSNR above 8.5 dB", good_within_limits, MNIST, adaptive=True),
    Statement("At the same level, noise on the input hides more than on the features", input_hides_more, adaptive=True),
    Statement("At the same SSIM or PSNR, accuracy drops more when the noise is on the input", features_better(*NOISES), adaptive=True),
    Statement("Gaussian and Laplacian noise do not differ much", noises_similar, adaptive=True),
    Statement("Dropout, on the input too, beats all noise: more accuracy at the same SSIM and PSNR", dropout_better(*SITES), adaptive=True),
    Statement("Dropout on the features beats all noise", dropout_better("features"), adaptive=True),
    Statement("Dropout on the features is better than on the input", features_better("dropout"), adaptive=True),
    Statement("Dropout on the features: SSIM < 0.25 with accuracy above 95 %", hidden_and_accurate, MNIST, adaptive=True),
    Statement("Dropout on the features: SSIM < 0.25 with less than 0.8 points lost", hidden_and_accurate, CIFAR, adaptive=True),
    Statement("Dropout on either site: no useful information is left at r = 0.6", nothing_recovered, adaptive=True),
    Statement("Fully obfuscated with r = 0.9 at relu1 and r = 0.2 at pool2", obfuscated, MNIST, adaptive=True),
    Statement("Figure 13, from worse to better: pool1, conv2, relu2, pool2", figure13_order, MNIST, adaptive=True),
    Statement("Figure 13: relu1 is the best for SSIM, and better than conv2 for PSNR", figure13_relu1, MNIST, adaptive=True),
    Statement("Figure 15: quality falls with depth", falls_with_depth, MNIST, adaptive=True),
    Statement("Figure 15: SSIM drops sharply at fc1", drops_at_fc1, MNIST, adaptive=True),
    Statement("Hence one fully connected layer on the edge protects: nothing is recovered from fc1", lambda results, data: recovers_nothing(lambda metric: results.best(data, "fc1", metric)), MNIST, adaptive=True),
    Statement("PSNR > 10 dB or SSIM > 0.3 means good quality", blind_has_good_quality),
)  # fmt: skip
"""Figure 2, of latency and energy, is left out: ``privbench.plan`` models it."""


def judge(statement: Statement, dataset: str, results: MeasuredResults) -> Verdict:
    """Return a verdict over all seeds that no single seed contradicts.

    Args:
        statement: One of ``STATEMENTS``.
        dataset: Name of the data set.
        results: Measured results of all seeds.
    """
    state, details = statement.check(results, dataset)
    if state == INCONCLUSIVE:
        return state, details
    contrary = FAILS if state == HOLDS else HOLDS
    verdicts = {
        seed: statement.check(by_seed, dataset) for seed, by_seed in results.by_seed.items()
    }
    against = {seed: own for seed, (kind, own) in verdicts.items() if kind == contrary}
    if against:
        names = ", ".join(map(str, against))
        example = next(iter(against.values()))
        return (
            INCONCLUSIVE,
            f"{state} on the mean ({details}), but {contrary} for seed {names} ({example})",
        )
    return state, details
