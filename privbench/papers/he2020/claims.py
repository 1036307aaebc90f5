"""What the paper states, each with a verdict that is computed from numbers.

The same code judges the paper's own numbers, the published adversary's records and those of the
adversaries that know of the defense, by SSIM and by PSNR.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from privbench.papers.he2020.published import everything
from privbench.papers.he2020.sources import READ, MeasuredResults, ResultSource
from privbench.papers.he2020.verdicts import (
    ALIKE,
    FAILS,
    HOLDS,
    INCONCLUSIVE,
    MISSING,
    NEAR,
    TIE,
    Verdict,
    at_strength,
    band,
    by_metric,
    every,
    higher,
    less,
    less_by,
    near,
    same,
    seen,
    short,
)
from privbench.report.tables import number
from privbench.report.tradeoffs import LAYERS, METRICS

SPLITS = {"mnist": ("conv1", "relu2"), "cifar10": ("conv11", "relu22", "relu32")}
"""Where the attack tables cut, from shallow to deep."""
DEFENDED = {"mnist": "relu2", "cifar10": "relu22"}
"""Where the defense figures cut."""
DEPTH = tuple(r.split for r in everything() if r.source == "fig15" and r.split in LAYERS)
"""Figure 15's splits, from shallow to deep, but the last layer's, whose cloud is empty."""
NOISES = ("gaussian", "laplace")
SITES = ("features", "input")


@dataclass(frozen=True)
class Statement:
    """Something that the paper states.

    Attributes:
        text: In short.
        check: A verdict from a book's numbers of a data set.
        datasets: Of which it is stated.
        adaptive: Whether it says something of defenses, which an adaptive adversary may undo.
    """

    text: str
    check: Callable[[ResultSource, str], Verdict]
    datasets: Sequence[str] = ("mnist", "cifar10")
    adaptive: bool = False


def _deeper(*attacks: tuple[str, str]) -> Callable[[ResultSource, str], Verdict]:
    """A deeper split is recovered worse, by each of these attacks."""
    return lambda book, data: every(
        (f"{deep} below {shallow}, {' '.join(attack).strip()}",
         less(book.attack(data, deep, *attack), book.attack(data, shallow, *attack)))
        for attack in attacks
        for shallow, deep in pairwise(SPLITS[data])
    )  # fmt: skip


def _weaker(
    one: tuple[str, str], *others: tuple[str, str]
) -> Callable[[ResultSource, str], Verdict]:
    """One attack recovers less than the others, at every split of the tables."""
    return lambda book, data: every(
        (f"{split}, {' '.join(one).strip()} below {' '.join(other).strip()}",
         less(book.attack(data, split, *one), book.attack(data, split, *other)))
        for split in SPLITS[data]
        for other in others
    )  # fmt: skip


RMLE, QUERYFREE = ("rmle_paper", ""), ("shadow", "disjoint")
SAME, KIND, NOISE = (("inverse_paper", aux) for aux in ("train", "disjoint", "noise"))
SHADOWS = [(name, aux) for name in ("shadow", "shadow_same") for aux in ("train", "disjoint")]
OURS = ("conv1", "conv11")
"""Where the published weight of rMLE's total variation is not known."""


def _inverse_wins(book: ResultSource, data: str) -> Verdict:
    """The inverse network recovers more than rMLE, where no weight of ours decides."""

    def judge(split: str) -> Verdict:
        state, told = less(book.attack(data, split, *RMLE), book.attack(data, split, *KIND))
        if split in OURS and isinstance(book, MeasuredResults) and (state, told) != MISSING:
            return INCONCLUSIVE, f"{state}, by a weight of total variation that is ours: {told}"
        return state, told

    return every(
        (f"{split}, rmle_paper below inverse_paper", judge(split)) for split in SPLITS[data]
    )


STATED = {
    RMLE: {"conv1": (39.69, 1.00), "relu2": (15.10, 0.60)},
    KIND: {"conv1": (40.72, 0.99), "relu2": (20.81, 0.80)},
    QUERYFREE: {"conv1": (17.86, 0.64), "relu2": (8.03, 0.38)},
}
"""What section III says of MNIST, dB and SSIM by attack and split."""


def _gives(attack: tuple[str, str]) -> Callable[[ResultSource, str], Verdict]:
    """The numbers of section III: the same in the paper's tables, near ones here."""

    def judge(book: ResultSource, data: str, split: str, stated: Sequence[float]) -> Verdict:
        spot = book.attack(data, split, *attack)
        if spot is None:
            return MISSING
        here = [spot.on_its_ten(metric) for metric in ("psnr_db", "ssim")]
        limit = NEAR if isinstance(book, MeasuredResults) else TIE
        meets = [
            abs(score - wanted) <= limit[metric] + 1e-9
            for score, wanted, metric in zip(here, stated, ("psnr_db", "ssim"), strict=True)
        ]
        told = f"{here[0]:.2f} dB / {here[1]:.3f} (stated: {stated[0]:.2f} / {stated[1]:.2f})"
        return (HOLDS if all(meets) else FAILS), told

    return lambda book, data: every(
        (split, judge(book, data, split, stated)) for split, stated in STATED[attack].items()
    )


def _stated(attack: tuple[str, str], text: str) -> str:
    numbers = (
        f"{psnr:.2f} dB / {ssim:.2f} at {split}" for split, (psnr, ssim) in STATED[attack].items()
    )
    return f"{text} gives {', '.join(numbers)}"


def _aux_kinds(book: ResultSource, data: str) -> Verdict:
    parts: list[tuple[str, Verdict]] = []
    for split in SPLITS[data]:
        same, kind, noise = (book.attack(data, split, *which) for which in (SAME, KIND, NOISE))
        for metric in METRICS:
            alike = near(same, kind, metric) if same and kind else MISSING
            margin = ALIKE[metric]
            less = less_by(noise, kind, metric, margin) if noise and kind else MISSING
            parts.append((f"{split}, the victim's and others, {short(metric)}", alike))
            parts.append((f"{split}, noise and others, {short(metric)}", less))
    return every(parts)


LIMITS = {"gaussian": 0.8, "laplace": 0.5}
"""Below which noise on the input is said to keep MNIST's accuracy above 95 %."""


def _limits(book: ResultSource, data: str) -> Verdict:
    def judge(defense: str, limit: float) -> Verdict:
        curve = book.curve(data, DEFENDED[data], defense, "input", "ssim")
        known = [(s.strength, s.accuracy) for s in curve if s.strength and s.accuracy is not None]
        last = max((strength for strength, accuracy in known if accuracy > 0.95), default=0.0)
        first = min((strength for strength, _ in known if strength > last), default=float("inf"))
        near = [strength for strength, _ in known if abs(strength - limit) < 0.11]
        if min(near, default=limit) >= limit or max(near, default=0.0) < limit:
            return MISSING  # on both sides of the limit
        told = f"above 95 % up to {last:g}, below from {first:g} (stated: {limit:g})"
        return (HOLDS if last < limit <= first else FAILS), told

    return every((defense, judge(defense, limit)) for defense, limit in LIMITS.items())


def _still_good(book: ResultSource, data: str) -> Verdict:
    def judge(defense: str, limit: float) -> Verdict:
        found, lows, highs = [], [], []
        for metric, floor in (("ssim", 0.4), ("psnr_db", 8.5)):
            curve = book.curve(data, DEFENDED[data], defense, "input", metric)
            inside = [spot for spot in curve if 0 < spot.strength < limit]
            if not inside:
                return MISSING
            if inside[-1].strength < limit - 0.11:  # the strongest one decides
                return INCONCLUSIVE, f"measured up to {inside[-1].strength:g}"
            low, high = min(band(spot, metric) for spot in inside)
            lows.append(low > floor)
            highs.append(high > floor)
            least = min(score for s in inside if (score := s.scores[metric]) is not None)
            found.append(f"{short(metric)} at least {number(least, metric)}")
        floors = {m: inside[0].floor(m) for m in METRICS}
        blind = [number(floor, m) for m, floor in floors.items() if floor is not None]
        told = f"{' and '.join(found)} below {limit:g}"
        told += f" (a blind guess: {' and '.join(blind)})" if blind else ""
        return (HOLDS if all(lows) else INCONCLUSIVE if all(highs) else FAILS), told

    return every((defense, judge(defense, limit)) for defense, limit in LIMITS.items())


def _input_hides_more(book: ResultSource, data: str) -> Verdict:
    """At most levels, and at none less."""

    def judge(defense: str, metric: str) -> Verdict:
        lines = [(DEFENDED[data], defense, site) for site in ("input", "features")]
        on_input, on_features = book.curves(data, lines[0], lines[1], metric)
        states = {
            mine.strength: less_by(mine, theirs, metric)[0]
            for mine in on_input
            if mine.strength and (theirs := at_strength(on_features, mine.strength))
        }
        if not states:
            return MISSING
        held, against = (list(states.values()).count(state) for state in (HOLDS, FAILS))
        told = f"lower on the input at {held} of {len(states)} levels, higher at {against}"
        chance = -(-len(states) // 20)  # of twenty intervals one misses
        if held > len(states) / 2 and against <= chance:
            return HOLDS, told
        return (FAILS if against > len(states) / 2 and held <= chance else INCONCLUSIVE), told

    return every(
        (defense, by_metric(lambda metric, defense=defense: judge(defense, metric)))  # type: ignore[misc]
        for defense in NOISES
    )


def _alike(book: ResultSource, data: str) -> Verdict:
    def judge(site: str, metric: str) -> Verdict:
        lines = [(DEFENDED[data], noise, site) for noise in NOISES]
        return same(*book.curves(data, lines[0], lines[1], metric), metric)

    return every(
        (site, by_metric(lambda metric, site=site: judge(site, metric)))  # type: ignore[misc]
        for site in SITES
    )


def _dropout_wins(*sites: str) -> Callable[[ResultSource, str], Verdict]:
    """Dropout at these sites beats all noise, wherever that is added."""
    return lambda book, data: every(
        (f"on {own} over {noise} on {site}",
         higher(book, data, (DEFENDED[data], "dropout", own), (DEFENDED[data], noise, site)))
        for own in sites
        for noise in NOISES
        for site in SITES
    )  # fmt: skip


def _features_win(*defenses: str) -> Callable[[ResultSource, str], Verdict]:
    """On the features a defense keeps more accuracy at the same score than on the input."""
    return lambda book, data: every(
        (d, higher(book, data, (DEFENDED[data], d, "features"), (DEFENDED[data], d, "input")))
        for d in defenses
    )


def _hidden_and_accurate(book: ResultSource, data: str) -> Verdict:
    """SSIM below 0.25 above 95 % on MNIST, within 0.8 points of the undefended on CIFAR-10."""
    curve = [
        (spot, spot.accuracy)
        for spot in book.curve(data, DEFENDED[data], "dropout", "features", "ssim")
        if spot.accuracy is not None
    ]
    if not any(spot.strength for spot, _ in curve):
        return MISSING
    weakest = curve[0][0]
    if (weakest.scores["ssim"] or 0.0) < 0.25 and not weakest.strength:
        return (
            INCONCLUSIVE,
            f"without a defense SSIM is {weakest.told('ssim')}, so there is none to hide",
        )
    needed = 0.95 if data == "mnist" else (weakest.undefended or 1.0) - 0.008
    bands = [band(spot, "ssim") for spot, _ in curve]
    for (spot, accuracy), (_, high) in zip(curve, bands, strict=True):
        if accuracy > needed and high < 0.25:
            return (
                HOLDS,
                f"at r = {spot.strength:g}: accuracy {accuracy:.3f}, SSIM {spot.told('ssim')}",
            )
    kept = [accuracy for _, accuracy in curve]
    if not min(kept) <= needed <= max(kept):
        return INCONCLUSIVE, f"accuracy {min(kept):.3f} to {max(kept):.3f} was measured"
    order = np.argsort(kept)
    reading = 0.0 if weakest.point else READ["accuracy"]
    lows, highs = (np.array(side)[order] for side in zip(*bands, strict=True))
    least = float(np.interp(needed - reading, np.array(kept)[order], lows))
    most = float(np.interp(needed + reading, np.array(kept)[order], highs))
    told = (
        "at no measured strength; between two, where the curve passes "
        f"{needed:.1%}, SSIM {least:.3f} to {most:.3f}"
    )
    return (HOLDS if most < 0.25 else FAILS if least >= 0.25 else INCONCLUSIVE), told


def _nothing_left(book: ResultSource, data: str) -> Verdict:
    """The paper shows both sites."""
    return every(
        (f"on {site}",
         seen(lambda metric, site=site: at_strength(  # type: ignore[misc]
             book.curve(data, DEFENDED[data], "dropout", site, metric), 0.6)))
        for site in SITES
    )  # fmt: skip


def _obfuscated(book: ResultSource, data: str) -> Verdict:
    return every(
        (f"{split} at {rate:g}",
         seen(lambda metric, split=split, rate=rate: at_strength(  # type: ignore[misc]
             book.curve(data, split, "dropout", "features", metric, "fig13"), rate)))
        for split, rate in (("relu1", 0.9), ("pool2", 0.2))
    )  # fmt: skip


def _over(
    book: ResultSource, data: str, one: str, other: str, metrics: Sequence[str] = METRICS
) -> tuple[str, Verdict]:
    """Of figure 13: whether dropout at one split is better than at another."""
    lines = [(split, "dropout", "features") for split in (one, other)]
    return f"{one} over {other}", higher(book, data, lines[0], lines[1], metrics, "fig13")


def _order(book: ResultSource, data: str) -> Verdict:
    worse = pairwise(("pool1", "conv2", "relu2", "pool2"))
    return every(_over(book, data, deep, shallow) for shallow, deep in worse)


def _relu1(book: ResultSource, data: str) -> Verdict:
    others = ("pool1", "conv2", "relu2", "pool2")
    best = [_over(book, data, "relu1", other, ["ssim"]) for other in others]
    return every([*best, _over(book, data, "relu1", "conv2", ["psnr_db"])])


def _falls(book: ResultSource, data: str) -> Verdict:
    """From the first split to the last, and nowhere above a split before it, as the eye tells."""
    spots = {split: spot for split in DEPTH if (spot := book.partition(data, split))}
    if len(spots) < len(DEPTH):
        told = f"measured at {len(spots)} of {len(DEPTH)} splits"
        return (INCONCLUSIVE, told) if spots else MISSING

    def judge(metric: str) -> Verdict:
        scores = {split: spot.scores[metric] or 0.0 for split, spot in spots.items()}
        margin = ALIKE[metric]
        rises = {b: None for a, b in combinations(DEPTH, 2) if scores[b] - scores[a] > margin}
        falls = scores[DEPTH[0]] - scores[DEPTH[-1]] > margin
        told = ", ".join(f"{split} {number(score, metric)}" for split, score in scores.items())
        told += f"; more than {margin:g} above a split before it: {', '.join(rises) or 'none'}"
        return (HOLDS if falls and not rises else FAILS), told

    return by_metric(judge)


def _cliff(book: ResultSource, data: str) -> Verdict:
    """By SSIM: where little is recovered the PSNR is that of a grey image on either side."""
    before, after = (book.partition(data, split) for split in ("pool2", "fc1"))
    if not before or not after:
        return MISSING
    state, told = less_by(after, before, "ssim", ALIKE["ssim"])
    return state, f"by {after.point.group.one.attack}: {told}" if after.point else told


def _blind_passes(book: ResultSource, data: str) -> Verdict:
    if not isinstance(book, MeasuredResults):
        return INCONCLUSIVE, "no blind guess was measured"
    floors = {
        tuple(round(point.group.floor(metric), digits) for metric, digits in FORMATS)
        for point in book.points
        if point.group.one.dataset == data
        and not point.strength
        and point.group.one.config["dataset"].get("aux", "disjoint") == "disjoint"
    }
    if not floors:
        return MISSING
    passes = [psnr > 10 or ssim > 0.3 for psnr, ssim in floors]
    told = " and ".join(f"{psnr:.1f} dB / {ssim:.2f}" for psnr, ssim in sorted(floors))
    state = FAILS if all(passes) else INCONCLUSIVE if any(passes) else HOLDS
    return state, f"a blind guess scores {told}"


FORMATS = (("psnr_db", 1), ("ssim", 2))


MNIST, CIFAR = ("mnist",), ("cifar10",)
STATEMENTS = (
    Statement(_stated(RMLE, "White-box: rMLE"), _gives(RMLE), MNIST),
    Statement(_stated(KIND, "Black-box: an inverse network"), _gives(KIND), MNIST),
    Statement(_stated(QUERYFREE, "Query-free: a shadow and rMLE"), _gives(QUERYFREE), MNIST),
    Statement("White-box: a deeper split is recovered worse", _deeper(RMLE)),
    Statement("Black-box: a deeper split is recovered worse", _deeper(SAME, KIND, NOISE)),
    Statement("Query-free: a deeper split is recovered worse", _deeper(*SHADOWS)),
    Statement("The inverse network recovers more than rMLE", _inverse_wins),
    Statement("Trained on noise, it recovers less than rMLE", _weaker(NOISE, RMLE)),
    Statement("The adversary's images: the victim's own and others of their kind give about the same, noise much less", _aux_kinds),
    Statement("The inverse network recovers more than a shadow fitted to answers and rMLE", _weaker(("shadow_queried", "train"), SAME)),
    Statement("Query-free is harder than white-box and black-box", _weaker(QUERYFREE, RMLE, KIND)),
    Statement("Not knowing the structure makes the query-free attack worse", lambda book, data: every(
        (aux, _weaker(("shadow", aux), ("shadow_same", aux))(book, data)) for aux in ("train", "disjoint")
    )),
    Statement("Noise on the input keeps the accuracy above 95 % only while sigma < 0.8, b < 0.5", _limits, MNIST),
    Statement("Within those limits SSIM stays above 0.4 and PSNR above 8.5 dB", _still_good, MNIST, adaptive=True),
    Statement("At the same level, noise on the input hides more than on the features", _input_hides_more, adaptive=True),
    Statement("At the same SSIM or PSNR, accuracy drops more when the noise is on the input", _features_win(*NOISES), adaptive=True),
    Statement("Gaussian and Laplacian noise do not differ much", _alike, adaptive=True),
    Statement("Dropout, on the input too, beats all noise: more accuracy at the same SSIM and PSNR", _dropout_wins(*SITES), adaptive=True),
    Statement("Dropout on the features beats all noise", _dropout_wins("features"), adaptive=True),
    Statement("Dropout on the features is better than on the input", _features_win("dropout"), adaptive=True),
    Statement("Dropout on the features: SSIM < 0.25 with accuracy above 95 %", _hidden_and_accurate, MNIST, adaptive=True),
    Statement("Dropout on the features: SSIM < 0.25 with less than 0.8 points lost", _hidden_and_accurate, CIFAR, adaptive=True),
    Statement("Dropout on either site: no useful information is left at r = 0.6", _nothing_left, adaptive=True),
    Statement("Fully obfuscated with r = 0.9 at relu1 and r = 0.2 at pool2", _obfuscated, MNIST, adaptive=True),
    Statement("Figure 13, from worse to better: pool1, conv2, relu2, pool2", _order, MNIST, adaptive=True),
    Statement("Figure 13: relu1 is the best for SSIM, and better than conv2 for PSNR", _relu1, MNIST, adaptive=True),
    Statement("Figure 15: quality falls with depth", _falls, MNIST, adaptive=True),
    Statement("Figure 15: SSIM drops sharply at fc1", _cliff, MNIST, adaptive=True),
    Statement("Hence one fully connected layer on the edge protects: nothing is recovered from fc1", lambda book, data: seen(lambda metric: book.best(data, "fc1", metric)), MNIST, adaptive=True),
    Statement("PSNR > 10 dB or SSIM > 0.3 means good quality", _blind_passes),
)  # fmt: skip
"""Figure 2, of latency and energy, is left out: it is no question of privacy."""


def judged(statement: Statement, dataset: str, book: MeasuredResults) -> Verdict:
    """A verdict over all seeds, which no seed's own contradicts: each trains a victim of its own.

    Args:
        statement: One of ``STATEMENTS``.
        dataset: Of which.
        book: Of all seeds.
    """
    state, told = statement.check(book, dataset)
    if state == INCONCLUSIVE:
        return state, told
    contrary = FAILS if state == HOLDS else HOLDS
    verdicts = {seed: statement.check(alone, dataset) for seed, alone in book.alone.items()}
    against = {seed: own for seed, (kind, own) in verdicts.items() if kind == contrary}
    if against:
        names = ", ".join(map(str, against))
        example = next(iter(against.values()))
        return (
            INCONCLUSIVE,
            f"{state} on the mean ({told}), but {contrary} for seed {names} ({example})",
        )
    return state, told
