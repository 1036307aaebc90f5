"""What the paper states, each with a verdict that is computed from numbers.

The same code judges the paper's own numbers, the published adversary's records and those of the
adversaries that know of the defense, by SSIM and by PSNR. Scores of the same images are compared by
paired intervals; curves of accuracy against score by their values. Either verdict falls where one
seed's records alone say the contrary: each seed trains a victim of its own.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

import numpy as np

from privbench.intervals import Interval, wilson
from privbench.report.books import Book, Curve, Measured, Printed, Spot
from privbench.report.published import everything
from privbench.report.tables import number
from privbench.report.tradeoffs import LAYERS, METRICS, NAMES
from privbench.summary import Group, differences, paired

HOLDS, FAILS, UNTOLD = "holds", "does not hold", "cannot be told"
Verdict = tuple[str, str]
"""``HOLDS``, ``FAILS`` or ``UNTOLD``, and the numbers that decide."""
MISSING: Verdict = (UNTOLD, "not measured")
SPLITS = {"mnist": ("conv1", "relu2"), "cifar10": ("conv11", "relu22", "relu32")}
"""Where the attack tables cut, from shallow to deep."""
DEFENDED = {"mnist": "relu2", "cifar10": "relu22"}
"""Where the defense figures cut."""
DEPTH = tuple(r.split for r in everything() if r.source == "fig15" and r.split in LAYERS)
"""Figure 15's splits, from shallow to deep, but the last layer's, whose cloud is empty."""
GRID = {"ssim": np.arange(0.0, 1.0, 0.02), "psnr_db": np.arange(0.0, 60.0, 0.25)}
"""Scores at which two curves are compared."""
ALIKE = {"ssim": 0.1, "psnr_db": 2.0}
"""What the eye does not tell apart: our choice, the paper names none."""
TIE = {"ssim": 0.005, "psnr_db": 0.1}
"""Of the paper's means of ten images: our choice."""
POINT = 0.01
"""A point of accuracy: less is a tie."""
SEEN = 0.05
"""Share of images, beyond a blind guess, whose being identified is no protection: our choice."""
NOISES = ("gaussian", "laplace")


# how numbers are judged --------------------------------------------------------------------------


def _all(verdicts: Iterable[tuple[str, Verdict]]) -> Verdict:
    """All of several parts, each with its name; the failing ones are what is told of a failure."""
    parts = list(verdicts)
    states = {state for _, (state, _) in parts}
    worst = next((state for state in (FAILS, UNTOLD) if state in states), HOLDS)
    if not parts or (states == {UNTOLD} and all(verdict == MISSING for _, verdict in parts)):
        return MISSING
    telling = [(name, verdict) for name, verdict in parts if verdict[0] == worst]
    # what was measured and tells nothing says more than what is missing
    telling = [(name, verdict) for name, verdict in telling if verdict != MISSING] or telling
    return worst, "; ".join(f"{name}: {numbers}" for name, (_, numbers) in telling)


def _name(metric: str) -> str:
    return NAMES[metric].split()[0]


def _by_metric(judge: Callable[[str], Verdict], metrics: Sequence[str] = METRICS) -> Verdict:
    return _all((_name(metric), judge(metric)) for metric in metrics)


def _compared(one: Spot, other: Spot, metric: str, state: Callable[[float, float], str]) -> Verdict:
    """A verdict on ``one`` less ``other``, an interval over the same images.

    Printed numbers have none: a tie is what their ten images do not tell apart. Where seeds
    disagree, nothing is told.
    """
    mine, theirs = one.scores[metric], other.scores[metric]
    if mine is None or theirs is None:
        return MISSING
    told = f"{one.told(metric)} against {other.told(metric)}"
    if not one.point or not other.point:
        return state(mine - theirs - TIE[metric], mine - theirs + TIE[metric]), told
    interval = paired(one.point.group, other.point.group, metric)
    if interval is None:
        return UNTOLD, f"{told}, too few images in common"
    told += f", difference {interval[0]:+.3f} to {interval[1]:+.3f}"
    floor = max(spot.floor(metric) or 0.0 for spot in (one, other))
    told += f"; a blind guess scores {number(floor, metric)}" if max(mine, theirs) < floor else ""
    found = state(*interval)
    alone = _by_seed(one.point.group, other.point.group, metric)
    if {found, *(state(seed, seed) for seed in alone)} >= {HOLDS, FAILS}:
        return UNTOLD, f"{told}; seeds disagree: {', '.join(f'{seed:+.3f}' for seed in alone)}"
    return found, told


def _by_seed(one: Group, other: Group, metric: str) -> list[float]:
    """Mean of ``one`` less ``other`` over the images of both, for each seed that both have."""
    found: dict[int, list[float]] = defaultdict(list)
    for seeds in differences(one, other, metric).values():
        for seed, difference in seeds.items():
            found[seed].append(difference)
    return [fmean(found[seed]) for seed in sorted(found)]


def _less(one: Spot | None, other: Spot | None) -> Verdict:
    """Whether ``one`` recovers less than ``other`` by every metric."""
    if one is None or other is None:
        return MISSING
    return _by_metric(lambda metric: _less_by(one, other, metric))


def _less_by(one: Spot, other: Spot, metric: str, margin: float = 0.0) -> Verdict:
    """Whether ``one`` recovers less than ``other``, by more than a margin."""

    def state(low: float, high: float) -> str:
        return HOLDS if high < -margin else FAILS if low > -margin else UNTOLD

    return _compared(one, other, metric, state)


def _near(one: Spot, other: Spot, metric: str) -> Verdict:
    """Whether two scores are alike."""
    limit = ALIKE[metric]

    def state(low: float, high: float) -> str:
        apart = low > limit or high < -limit
        return HOLDS if -limit <= low <= high <= limit else FAILS if apart else UNTOLD

    return _compared(one, other, metric, state)


def _accuracy_at(curve: Curve, metric: str) -> dict[float, float]:
    """Accuracy where a curve passes a score, at every score of ``GRID`` between its ends."""
    known = sorted(
        (score, spot.accuracy)
        for spot in curve
        if (score := spot.scores[metric]) is not None and spot.accuracy is not None
    )
    if not known:
        return {}
    x, y = zip(*known, strict=True)
    inside = [float(at) for at in GRID[metric] if x[0] <= at <= x[-1]]
    return dict(zip(inside, map(float, np.interp(inside, x, y)), strict=True))


def _differences(one: Curve, other: Curve, metric: str) -> tuple[list[float], str]:
    """Accuracy of one curve less that of another at equal scores, and where they were compared.

    Fewer than three scores in common tell nothing: the list is empty.
    """
    mine, theirs = _accuracy_at(one, metric), _accuracy_at(other, metric)
    common = sorted(mine.keys() & theirs.keys())
    if len(common) < 3:
        return [], "the curves meet at no score"
    floors = [floor for spot in (*one, *other) if (floor := spot.floor(metric)) is not None]
    blind = f", below the blind {number(max(floors), metric)}" if floors and common[-1] < max(floors) else ""  # fmt: skip
    where = f"{number(common[0], metric)} to {number(common[-1], metric)}{blind}"
    return [mine[score] - theirs[score] for score in common], where


def _higher(book: Book, dataset: str, one: tuple[str, str, str], other: tuple[str, str, str],
            metrics: Sequence[str] = METRICS, figure: str = "") -> Verdict:  # fmt: skip
    """Whether one curve keeps more accuracy at the same score: somewhere, and nowhere less.

    Args:
        book: Where the curves are.
        dataset: Of both.
        one: Split, defense and site.
        other: The same.
        metrics: Which scores.
        figure: Of the paper.
    """

    def judge(metric: str) -> Verdict:
        mine, theirs = book.curves(dataset, one, other, metric, figure)
        if not mine or not theirs:
            return MISSING
        gaps, where = _differences(mine, theirs, metric)
        if not gaps:
            return UNTOLD, where
        least, middle, most = min(gaps), median(gaps), max(gaps)
        told = (
            f"accuracy at equal score {middle:+.3f} in the median, {least:+.3f} to "
            f"{most:+.3f} (at {where})"
        )
        # where both are undefended they are the same
        better, worse = most > POINT, least < -POINT
        held, against = better and not worse and middle > 0, worse and not better and middle < 0
        return (HOLDS if held else FAILS if against else UNTOLD), told

    return _by_metric(judge, metrics)


def _seen(spot: Spot | None) -> Verdict:
    """Whether nothing is recovered: hardly more images are identified than by a blind guess."""
    if spot is None:
        return MISSING
    if spot.point is None:
        return UNTOLD, f"SSIM {spot.told('ssim')}; the paper shows images, and identifies none"
    group = spot.point.group
    share, images = group.score("identification"), len(group.images("identification"))
    low, high = wilson(share, images)
    blind = max(group.one.chance["identification"], spot.floor("identification") or 0.0)
    told = (
        f"{share:.0%} [{low:.0%}, {high:.0%}] of {images} images identified among all test images "
        f"(a blind guess {blind:.1%}) by {group.one.attack}, SSIM {spot.told('ssim')}"
    )
    bar = blind + SEEN
    return (FAILS if low > bar else HOLDS if high < bar else UNTOLD), told


def _at(curve: Curve, strength: float) -> Spot | None:
    return next((spot for spot in curve if abs(spot.strength - strength) < 1e-9), None)


# the statements ----------------------------------------------------------------------------------


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
    check: Callable[[Book, str], Verdict]
    datasets: Sequence[str] = ("mnist", "cifar10")
    adaptive: bool = False


def _deeper(*attacks: tuple[str, str]) -> Callable[[Book, str], Verdict]:
    """A deeper split is recovered worse, by each of these attacks."""
    return lambda book, data: _all(
        (f"{deep} below {shallow}, {' '.join(attack).strip()}",
         _less(book.attack(data, deep, *attack), book.attack(data, shallow, *attack)))
        for attack in attacks
        for shallow, deep in pairwise(SPLITS[data])
    )  # fmt: skip


def _weaker(one: tuple[str, str], *others: tuple[str, str]) -> Callable[[Book, str], Verdict]:
    """One attack recovers less than the others, at every split of the tables."""
    return lambda book, data: _all(
        (f"{split}, {' '.join(one).strip()} below {' '.join(other).strip()}",
         _less(book.attack(data, split, *one), book.attack(data, split, *other)))
        for split in SPLITS[data]
        for other in others
    )  # fmt: skip


RMLE, QUERYFREE = ("rmle_paper", ""), ("shadow", "disjoint")
SAME, KIND, NOISE = (("inverse_paper", aux) for aux in ("train", "disjoint", "noise"))
SHADOWS = [(name, aux) for name in ("shadow", "shadow_same") for aux in ("train", "disjoint")]


def _aux_kinds(book: Book, data: str) -> Verdict:
    parts: list[tuple[str, Verdict]] = []
    for split in SPLITS[data]:
        same, kind, noise = (book.attack(data, split, *which) for which in (SAME, KIND, NOISE))
        for metric in METRICS:
            alike = _near(same, kind, metric) if same and kind else MISSING
            margin = ALIKE[metric]
            less = _less_by(noise, kind, metric, margin) if noise and kind else MISSING
            parts.append((f"{split}, the victim's and others, {_name(metric)}", alike))
            parts.append((f"{split}, noise and others, {_name(metric)}", less))
    return _all(parts)


LIMITS = {"gaussian": 0.8, "laplace": 0.5}
"""Below which noise on the input is said to keep MNIST's accuracy above 95 %."""


def _limits(book: Book, data: str) -> Verdict:
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

    return _all((defense, judge(defense, limit)) for defense, limit in LIMITS.items())


def _still_good(book: Book, data: str) -> Verdict:
    def judge(defense: str, limit: float) -> Verdict:
        found = {}
        for metric, floor in (("ssim", 0.4), ("psnr_db", 8.5)):
            curve = book.curve(data, DEFENDED[data], defense, "input", metric)
            inside = [spot for spot in curve if 0 < spot.strength < limit]
            if not inside:
                return MISSING
            if inside[-1].strength < limit - 0.11:  # the strongest one decides
                return UNTOLD, f"measured up to {inside[-1].strength:g}"
            least = min(score for s in inside if (score := s.scores[metric]) is not None)
            found[f"{_name(metric)} at least {number(least, metric)}"] = least > floor
        floors = {m: inside[0].floor(m) for m in METRICS}
        blind = [number(floor, m) for m, floor in floors.items() if floor is not None]
        told = f"{' and '.join(found)} below {limit:g}"
        told += f" (a blind guess: {' and '.join(blind)})" if blind else ""
        return (HOLDS if all(found.values()) else FAILS), told

    return _all((defense, judge(defense, limit)) for defense, limit in LIMITS.items())


def _input_hides_more(book: Book, data: str) -> Verdict:
    """At most levels, and at none less."""

    def judge(defense: str, metric: str) -> Verdict:
        lines = [(DEFENDED[data], defense, site) for site in ("input", "features")]
        on_input, on_features = book.curves(data, lines[0], lines[1], metric)
        states = {
            mine.strength: _less_by(mine, theirs, metric)[0]
            for mine in on_input
            if mine.strength and (theirs := _at(on_features, mine.strength))
        }
        if not states:
            return MISSING
        held, against = (list(states.values()).count(state) for state in (HOLDS, FAILS))
        told = f"lower on the input at {held} of {len(states)} levels, higher at {against}"
        chance = -(-len(states) // 20)  # of twenty intervals one misses
        if held > len(states) / 2 and against <= chance:
            return HOLDS, told
        return (FAILS if against > len(states) / 2 and held <= chance else UNTOLD), told

    return _all(
        (defense, _by_metric(lambda metric, defense=defense: judge(defense, metric)))  # type: ignore[misc]
        for defense in NOISES
    )


def _alike(book: Book, data: str) -> Verdict:
    def judge(site: str, metric: str) -> Verdict:
        lines = [(DEFENDED[data], noise, site) for noise in NOISES]
        one, other = book.curves(data, lines[0], lines[1], metric)
        if not one or not other:
            return MISSING
        gaps, where = _differences(one, other, metric)
        if not gaps:
            return UNTOLD, where
        gap = median(map(abs, gaps))
        told = (
            f"accuracy at equal score differs by {gap:.3f} in the median (alike: 0.1; at {where})"
        )
        return (HOLDS if gap <= 0.1 else FAILS), told

    return _all(
        (site, _by_metric(lambda metric, site=site: judge(site, metric)))  # type: ignore[misc]
        for site in ("input", "features")
    )


def _dropout_wins(book: Book, data: str) -> Verdict:
    split = DEFENDED[data]
    ours = (split, "dropout", "features")
    return _all(
        (f"over {noise} on {site}", _higher(book, data, ours, (split, noise, site)))
        for noise in NOISES
        for site in ("features", "input")
    )


def _features_win(*defenses: str) -> Callable[[Book, str], Verdict]:
    """On the features a defense keeps more accuracy at the same score than on the input."""
    return lambda book, data: _all(
        (d, _higher(book, data, (DEFENDED[data], d, "features"), (DEFENDED[data], d, "input")))
        for d in defenses
    )


def _hidden_and_accurate(book: Book, data: str) -> Verdict:
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
        return UNTOLD, f"without a defense SSIM is {weakest.told('ssim')}, so there is none to hide"
    needed = 0.95 if data == "mnist" else (weakest.undefended or 1.0) - 0.008
    bands = [_band(spot) for spot, _ in curve]
    for (spot, accuracy), (_, high) in zip(curve, bands, strict=True):
        if accuracy > needed and high < 0.25:
            return (
                HOLDS,
                f"at r = {spot.strength:g}: accuracy {accuracy:.3f}, SSIM {spot.told('ssim')}",
            )
    kept = [accuracy for _, accuracy in curve]
    if not min(kept) <= needed <= max(kept):
        return UNTOLD, f"accuracy {min(kept):.3f} to {max(kept):.3f} was measured"
    order = np.argsort(kept)
    reading = 0.0 if weakest.point else Printed.ACCURACY
    lows, highs = (np.array(side)[order] for side in zip(*bands, strict=True))
    least = float(np.interp(needed - reading, np.array(kept)[order], lows))
    most = float(np.interp(needed + reading, np.array(kept)[order], highs))
    told = (
        "at no measured strength; between two, where the curve passes "
        f"{needed:.1%}, SSIM {least:.3f} to {most:.3f}"
    )
    return (HOLDS if most < 0.25 else FAILS if least >= 0.25 else UNTOLD), told


def _band(spot: Spot) -> Interval:
    """SSIM, from and to: over images where it was measured, as it could be read where it was not."""
    if spot.point:
        return spot.point.bands["ssim"]
    ssim = spot.scores["ssim"] or 0.0
    return ssim - Printed.SSIM, ssim + Printed.SSIM


def _nothing_left(book: Book, data: str) -> Verdict:
    return _seen(
        _at(book.curve(data, DEFENDED[data], "dropout", "features", "identification"), 0.6)
    )


def _obfuscated(book: Book, data: str) -> Verdict:
    return _all(
        (f"{split} at {rate:g}",
         _seen(_at(book.curve(data, split, "dropout", "features", "identification", "fig13"), rate)))
        for split, rate in (("relu1", 0.9), ("pool2", 0.2))
    )  # fmt: skip


def _over(
    book: Book, data: str, one: str, other: str, metrics: Sequence[str] = METRICS
) -> tuple[str, Verdict]:
    """Of figure 13: whether dropout at one split is better than at another."""
    lines = [(split, "dropout", "features") for split in (one, other)]
    return f"{one} over {other}", _higher(book, data, lines[0], lines[1], metrics, "fig13")


def _order(book: Book, data: str) -> Verdict:
    worse = pairwise(("pool1", "conv2", "relu2", "pool2"))
    return _all(_over(book, data, deep, shallow) for shallow, deep in worse)


def _relu1(book: Book, data: str) -> Verdict:
    others = ("pool1", "conv2", "relu2", "pool2")
    best = [_over(book, data, "relu1", other, ["ssim"]) for other in others]
    return _all([*best, _over(book, data, "relu1", "conv2", ["psnr_db"])])


def _falls(book: Book, data: str) -> Verdict:
    """No split is recovered better than the one before it, as far as the eye can tell."""
    spots = {split: spot for split in DEPTH if (spot := book.partition(split))}
    if len(spots) < len(DEPTH):
        told = f"measured at {len(spots)} of {len(DEPTH)} splits"
        return (UNTOLD, told) if spots else MISSING

    def judge(metric: str) -> Verdict:
        scores = {split: spot.scores[metric] or 0.0 for split, spot in spots.items()}
        rises = [b for a, b in pairwise(DEPTH) if scores[b] - scores[a] > ALIKE[metric]]
        told = ", ".join(f"{split} {number(score, metric)}" for split, score in scores.items())
        told += f"; it rises by more than {ALIKE[metric]:g} at {', '.join(rises) or 'none'}"
        return (FAILS if rises else HOLDS), told

    return _by_metric(judge)


def _cliff(book: Book, data: str) -> Verdict:
    """By SSIM: behind fc1 the PSNR is that of a grey image, whatever was before."""
    before, after = book.partition("pool2"), book.partition("fc1")
    return _less_by(after, before, "ssim", ALIKE["ssim"]) if before and after else MISSING


def _blind_passes(book: Book, data: str) -> Verdict:
    if not isinstance(book, Measured):
        return UNTOLD, "no blind guess was measured"
    points = [p for p in book.points if p.group.one.dataset == data and not p.strength]
    if not points:
        return MISSING
    ssim, psnr = (fmean(point.group.floor(metric) for point in points) for metric in METRICS)
    passes = psnr > 10 or ssim > 0.3
    return (FAILS if passes else HOLDS), f"a blind guess scores {psnr:.1f} dB / {ssim:.2f}"


MNIST, CIFAR = ("mnist",), ("cifar10",)
STATEMENTS = (
    Statement("White-box: a deeper split is recovered worse", _deeper(RMLE)),
    Statement("Black-box: a deeper split is recovered worse", _deeper(SAME, KIND, NOISE)),
    Statement("Query-free: a deeper split is recovered worse", _deeper(*SHADOWS)),
    Statement("The inverse network recovers more than rMLE", _weaker(RMLE, KIND)),
    Statement("Trained on noise, it recovers less than rMLE", _weaker(NOISE, RMLE)),
    Statement("The adversary's images: the victim's own and others of their kind give about the same, noise much less", _aux_kinds),
    Statement("The inverse network recovers more than a shadow fitted to answers and rMLE", _weaker(("shadow_queried", "train"), SAME)),
    Statement("Query-free is harder than white-box and black-box", _weaker(QUERYFREE, RMLE, KIND)),
    Statement("Not knowing the structure makes the query-free attack worse", lambda book, data: _all(
        (aux, _weaker(("shadow", aux), ("shadow_same", aux))(book, data)) for aux in ("train", "disjoint")
    )),
    Statement("Noise on the input keeps the accuracy above 95 % only while sigma < 0.8, b < 0.5", _limits, MNIST),
    Statement("Within those limits SSIM stays above 0.4 and PSNR above 8.5 dB", _still_good, MNIST, adaptive=True),
    Statement("At the same level, noise on the input hides more than on the features", _input_hides_more, adaptive=True),
    Statement("At the same SSIM or PSNR, accuracy drops more when the noise is on the input", _features_win(*NOISES), adaptive=True),
    Statement("Gaussian and Laplacian noise do not differ much", _alike, adaptive=True),
    Statement("Dropout on the features beats all noise: more accuracy at the same SSIM and PSNR", _dropout_wins, adaptive=True),
    Statement("Dropout on the features is better than on the input", _features_win("dropout"), adaptive=True),
    Statement("Dropout on the features: SSIM < 0.25 with accuracy above 95 %", _hidden_and_accurate, MNIST, adaptive=True),
    Statement("Dropout on the features: SSIM < 0.25 with less than 0.8 points lost", _hidden_and_accurate, CIFAR, adaptive=True),
    Statement("No useful information is left at r = 0.6", _nothing_left, adaptive=True),
    Statement("Fully obfuscated with r = 0.9 at relu1 and r = 0.2 at pool2", _obfuscated, MNIST, adaptive=True),
    Statement("Figure 13, from worse to better: pool1, conv2, relu2, pool2", _order, MNIST, adaptive=True),
    Statement("Figure 13: relu1 is the best for SSIM, and better than conv2 for PSNR", _relu1, MNIST, adaptive=True),
    Statement("Figure 15: quality falls with depth", _falls, MNIST),
    Statement("Figure 15: it drops sharply at fc1", _cliff, MNIST),
    Statement("Hence one fully connected layer on the edge protects: nothing is recovered from fc1", lambda book, data: _seen(book.best(data, "fc1")), MNIST, adaptive=True),
    Statement("PSNR > 10 dB or SSIM > 0.3 means good quality", _blind_passes),
)  # fmt: skip
"""Figure 2, of latency and energy, is left out: it is no question of privacy."""


def judged(statement: Statement, dataset: str, book: Measured) -> Verdict:
    """A verdict over all seeds, which no seed's own contradicts: each trains a victim of its own.

    Args:
        statement: One of ``STATEMENTS``.
        dataset: Of which.
        book: Of all seeds.
    """
    state, told = statement.check(book, dataset)
    if state == UNTOLD:
        return state, told
    contrary = FAILS if state == HOLDS else HOLDS
    verdicts = {seed: statement.check(alone, dataset) for seed, alone in book.alone.items()}
    against = {seed: own for seed, (kind, own) in verdicts.items() if kind == contrary}
    if against:
        names = ", ".join(map(str, against))
        example = next(iter(against.values()))
        return UNTOLD, f"{state} on the mean ({told}), but {contrary} for seed {names} ({example})"
    return state, told
