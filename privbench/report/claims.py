"""What the paper states, each with a verdict that is computed from numbers.

The same code judges the paper's own numbers, the published adversary's records and those of the
adversaries that know of the defense, by SSIM and by PSNR. An interval that excludes the contrary
holds a statement up; one that holds zero cannot tell.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Protocol

import numpy as np

from privbench.report.published import FIGURE_15, Published, everything, is_published
from privbench.report.tables import number, span
from privbench.report.tradeoffs import METRICS, NAMES, Panel, Point, choices, panels
from privbench.results import Record
from privbench.summary import paired

HOLDS, FAILS, UNTOLD = "holds", "does not hold", "cannot be told"
Verdict = tuple[str, str]
"""``HOLDS``, ``FAILS`` or ``UNTOLD``, and the numbers that decide."""
MISSING: Verdict = (UNTOLD, "not measured")
SPLITS = {"mnist": ("conv1", "relu2"), "cifar10": ("conv11", "relu22", "relu32")}
"""Where the attack tables cut, from shallow to deep."""
DEFENDED = {"mnist": "relu2", "cifar10": "relu22"}
"""Where the defense figures cut."""
DEPTH = ("conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "fc1", "fc1act", "fc2", "fc2act")
"""Figure 15's splits."""
GRID = {"ssim": np.arange(0.0, 1.0, 0.02), "psnr_db": np.arange(0.0, 60.0, 0.25)}
"""Scores at which two curves are compared."""
ALIKE = {"ssim": 0.1, "psnr_db": 2.0}
"""What the eye does not tell apart: our choice, the paper names none."""
NOISES = ("gaussian", "laplace")


@dataclass(frozen=True)
class Spot:
    """What an adversary recovers in one setting.

    Attributes:
        strength: Of the defense.
        accuracy: Under it; null where it was not printed.
        undefended: Accuracy without it.
        scores: By metric; null where they were not printed.
        point: What was measured, if it was: its images tell intervals.
    """

    strength: float
    accuracy: float | None
    undefended: float | None
    scores: dict[str, float | None]
    point: Point | None = None

    def told(self, metric: str) -> str:
        """A score, with its interval where there is one."""
        return span(self.point, metric) if self.point else number(self.scores[metric], metric)


Curve = list[Spot]
"""One defense from weak to strong, the undefended spot first where there is one."""


class Book(Protocol):
    """Where numbers are looked up."""

    def curve(self, dataset: str, split: str, defense: str, site: str, metric: str) -> Curve:
        """A defense against the adversary that recovers most by the metric; empty without any."""

    def attack(self, dataset: str, split: str, name: str, aux: str = "") -> Spot | None:
        """An attack of the tables', without a defense."""

    def partition(self, split: str) -> Spot | None:
        """A bar of figure 15."""


# where numbers come from -------------------------------------------------------------------------


class Printed:
    """The paper's own numbers."""

    def curve(self, dataset: str, split: str, defense: str, site: str, metric: str) -> Curve:
        """Of figures 9, 10 and 13."""
        rows = [
            row
            for row in everything()
            if row.source in ("fig9", "fig10", "fig13")
            and (row.dataset, row.split) == (dataset, split)
            and (row.defense, row.site) == (defense, site)
        ]
        rows = [row for row in rows if row.source == rows[0].source]  # relu2 is in two figures
        clean = next((row.accuracy for row in rows if not row.strength), None)
        return [self._spot(row, clean) for row in rows if getattr(row, metric) is not None]

    def attack(self, dataset: str, split: str, name: str, aux: str = "") -> Spot | None:
        """Of tables 3 to 8."""
        wanted = (dataset, split, name, aux)
        return self._first(
            row
            for row in everything()
            if row.source.startswith("table")
            and (row.dataset, row.split, row.attack, row.aux) == wanted
        )

    def partition(self, split: str) -> Spot | None:
        """Of figure 15."""
        return self._first(r for r in everything() if (r.source, r.split) == ("fig15", split))

    def _first(self, rows: Iterable[Published]) -> Spot | None:
        return next((self._spot(row, None) for row in rows), None)

    def _spot(self, row: Published, clean: float | None) -> Spot:
        return Spot(row.strength, row.accuracy, clean, {m: getattr(row, m) for m in METRICS})


@dataclass(frozen=True)
class Measured:
    """Records.

    Attributes:
        found: Of every victim and split.
        adaptive: Whether defenses are met by the strongest adversary that knows of them, or by the
            paper's.
    """

    found: Sequence[Panel]
    adaptive: bool = False

    def curve(self, dataset: str, split: str, defense: str, site: str, metric: str) -> Curve:
        """Of every panel of this split."""
        points: dict[float, Point] = {}
        for panel in self._rooms(dataset, split):
            for point in self._met(panel, metric):
                one = point.group.one
                if one.strength == 0 or (one.defense, one.site) == (defense, site):
                    points[one.strength] = point
        return [_spot(points[strength]) for strength in sorted(points)] if any(points) else []

    def _met(self, panel: Panel, metric: str) -> list[Point]:
        adversaries = [a for a in panel.adversaries if not a.blind]
        if not self.adaptive:
            return [
                point
                for a in adversaries
                for point in ([a.undefended] if a.undefended else []) + a.points
                if _is_rmle_of_figures(point.group.one)
            ]
        able = [a for a in adversaries if a.adaptive and a.points]
        room = Panel(panel.key, panel.dataset, panel.split, panel.transmissions, "", able)
        return [choice.worst for choice in choices(room, metric)]

    def attack(self, dataset: str, split: str, name: str, aux: str = "") -> Spot | None:
        """The published adversary's, on the tables' images."""
        for one, point in self._undefended(dataset, split, name):
            rmle = one.config["attack"].get("inverter", one.config["attack"])
            if (
                aux in ("", one.config["dataset"].get("aux", "disjoint"))
                and (name == "inverse_paper" or rmle.get("steps") == 5000)
                and one.config.get("include") != FIGURE_15
            ):
                return _spot(point)
        return None

    def partition(self, split: str) -> Spot | None:
        """The query-free attack's, on figure 15's images."""
        for one, point in self._undefended("mnist", split, "shadow"):
            if one.config.get("include") == FIGURE_15:
                return _spot(point)
        return None

    def _rooms(self, dataset: str, split: str) -> Iterable[Panel]:
        return (p for p in self.found if (p.dataset, p.split) == (dataset, split))

    def _undefended(self, dataset: str, split: str, name: str) -> Iterable[tuple[Record, Point]]:
        for panel in self._rooms(dataset, split):
            for adversary in panel.adversaries:
                point = adversary.undefended
                if point and point.group.one.attack == name and is_published(point.group.one):
                    yield point.group.one, point


def _spot(point: Point) -> Spot:
    scores: dict[str, float | None] = {metric: point.score(metric) for metric in METRICS}
    return Spot(point.strength, point.accuracy, point.undefended, scores, point)


def _is_rmle_of_figures(record: Record) -> bool:
    return record.attack == "rmle_paper" and record.config["attack"]["steps"] == 500


# how numbers are judged --------------------------------------------------------------------------


def _all(verdicts: Iterable[tuple[str, Verdict]]) -> Verdict:
    """All of several parts, each with its name; the failing ones are what is told of a failure."""
    parts = list(verdicts)
    states = {state for _, (state, _) in parts}
    worst = next((state for state in (FAILS, UNTOLD) if state in states), HOLDS)
    if not parts or (states == {UNTOLD} and all(verdict == MISSING for _, verdict in parts)):
        return MISSING
    telling = [(n, v) for n, v in parts if v[0] == worst and v != MISSING] or parts
    return worst, "; ".join(f"{name}: {numbers}" for name, (_, numbers) in telling)


def _by_metric(judge: Callable[[str], Verdict]) -> Verdict:
    return _all((NAMES[metric].split()[0], judge(metric)) for metric in METRICS)


def _less(one: Spot | None, other: Spot | None) -> Verdict:
    """Whether ``one`` recovers less than ``other`` by every metric."""
    if one is None or other is None:
        return MISSING
    return _by_metric(lambda metric: _less_by(one, other, metric))


def _less_by(one: Spot, other: Spot, metric: str) -> Verdict:
    """On the same images where both were measured; a plain comparison where they were printed."""
    mine, theirs = one.scores[metric], other.scores[metric]
    if mine is None or theirs is None:
        return MISSING
    told = f"{one.told(metric)} against {other.told(metric)}"
    low = high = mine - theirs
    if one.point and other.point:
        difference = paired(one.point.group, other.point.group, metric)
        if difference is None:
            return UNTOLD, f"{told}, too few images in common"
        low, high = difference
        told += f", difference {low:+.3f} to {high:+.3f}"
    return (HOLDS if high < 0 else FAILS if low > 0 else UNTOLD), told


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


def _differences(one: Curve, other: Curve, metric: str) -> list[float]:
    """Accuracy of one curve less that of another at equal scores; fewer than three tell nothing."""
    mine, theirs = _accuracy_at(one, metric), _accuracy_at(other, metric)
    found = [mine[score] - theirs[score] for score in sorted(mine.keys() & theirs.keys())]
    return found if len(found) >= 3 else []


def _higher(book: Book, dataset: str, one: tuple[str, str, str], other: tuple[str, str, str],
            metrics: Sequence[str] = METRICS) -> Verdict:  # fmt: skip
    """Whether one curve keeps more accuracy at the same score, wherever both were measured.

    Args:
        book: Where the curves are.
        dataset: Of both.
        one: Split, defense and site.
        other: The same.
        metrics: Which scores.
    """

    def judge(metric: str) -> Verdict:
        mine, theirs = (book.curve(dataset, *which, metric) for which in (one, other))
        if not mine or not theirs:
            return MISSING
        differences = _differences(mine, theirs, metric)
        if not differences:
            return UNTOLD, "the curves meet at no score"
        least, middle = min(differences), median(differences)
        told = f"accuracy at equal score {middle:+.3f} in the median, {least:+.3f} at least"
        tie = 0.01  # a point of accuracy: where both are undefended, they are the same
        return (HOLDS if least > -tie and middle > 0 else FAILS if middle < -tie else UNTOLD), told

    return _all((NAMES[metric].split()[0], judge(metric)) for metric in metrics)


def _seen(spot: Spot | None) -> Verdict:
    """Whether nothing can be seen: no image identified beyond chance."""
    if spot is None:
        return MISSING
    if spot.point is None:
        return UNTOLD, f"SSIM {spot.told('ssim')}; the paper shows images, and identifies none"
    group = spot.point.group
    share = fmean(record.identification for record in group.records)
    low = fmean(record.identification_ci95[0] for record in group.records)
    chance = group.one.chance["identification"]
    told = (
        f"{share:.0%} of the images identified among all test images (chance {chance:.2%}), "
        f"SSIM {spot.told('ssim')}"
    )
    return (HOLDS if low <= chance else FAILS), told


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
    parts = [("noise below", _weaker(NOISE, KIND)(book, data))]
    for split in SPLITS[data]:
        same, kind = book.attack(data, split, *SAME), book.attack(data, split, *KIND)
        if not same or not kind:
            continue
        for metric in METRICS:
            a, b = same.scores[metric], kind.scores[metric]
            if a is not None and b is not None:
                told = f"{number(abs(a - b), metric)} apart (alike: {ALIKE[metric]:g})"
                state = HOLDS if abs(a - b) <= ALIKE[metric] else FAILS
                name = NAMES[metric].split()[0]
                parts.append((f"{split}, the victim's images and others, {name}", (state, told)))
    return _all(parts)


LIMITS = {"gaussian": 0.8, "laplace": 0.5}
"""Below which noise on the input is said to keep MNIST's accuracy above 95 %."""


def _limits(book: Book, data: str) -> Verdict:
    def judge(defense: str, limit: float) -> Verdict:
        curve = book.curve(data, DEFENDED[data], defense, "input", "ssim")
        known = [(s.strength, s.accuracy) for s in curve if s.strength and s.accuracy is not None]
        if not known:
            return MISSING
        last = max((strength for strength, accuracy in known if accuracy > 0.95), default=0.0)
        first = min((strength for strength, _ in known if strength > last), default=float("inf"))
        told = f"above 95 % up to {last:g}, below from {first:g} (stated: {limit:g})"
        return (HOLDS if last < limit <= first else FAILS), told

    return _all((defense, judge(defense, limit)) for defense, limit in LIMITS.items())


def _still_good(book: Book, data: str) -> Verdict:
    def judge(defense: str, limit: float) -> Verdict:
        found = {}
        for metric, floor in (("ssim", 0.4), ("psnr_db", 8.5)):
            curve = book.curve(data, DEFENDED[data], defense, "input", metric)
            inside = [spot for spot in curve if 0 < spot.strength < limit]
            if not inside or inside[-1].strength < limit - 0.11:  # the strongest one decides
                return UNTOLD, "not measured up to the limit"
            least = min(score for s in inside if (score := s.scores[metric]) is not None)
            found[f"{NAMES[metric].split()[0]} at least {number(least, metric)}"] = least > floor
        told = f"{' and '.join(found)} below {limit:g}"
        return (HOLDS if all(found.values()) else FAILS), told

    return _all((defense, judge(defense, limit)) for defense, limit in LIMITS.items())


def _input_hides_more(book: Book, data: str) -> Verdict:
    """At most levels, and at none less."""

    def judge(defense: str, metric: str) -> Verdict:
        on = {
            site: book.curve(data, DEFENDED[data], defense, site, metric)
            for site in ("input", "features")
        }
        states = {
            mine.strength: _less_by(mine, theirs, metric)[0]
            for mine in on["input"]
            if mine.strength and (theirs := _at(on["features"], mine.strength))
        }
        if not states:
            return MISSING
        held = [level for level, state in states.items() if state == HOLDS]
        higher = [f"{level:g}" for level, state in states.items() if state == FAILS]
        told = f"lower on the input at {len(held)} of {len(states)} levels"
        if higher:
            return FAILS, f"{told}, higher at {', '.join(higher)}"
        return (HOLDS if len(held) > len(states) / 2 else UNTOLD), told

    return _all(
        (defense, _by_metric(lambda metric, defense=defense: judge(defense, metric)))  # type: ignore[misc]
        for defense in NOISES
    )


def _alike(book: Book, data: str) -> Verdict:
    def judge(site: str, metric: str) -> Verdict:
        one, other = (book.curve(data, DEFENDED[data], d, site, metric) for d in NOISES)
        if not one or not other:
            return MISSING
        if not (differences := _differences(one, other, metric)):
            return UNTOLD, "the curves meet at no score"
        gap = median(map(abs, differences))
        told = f"accuracy at equal score differs by {gap:.3f} in the median (alike: 0.1)"
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
        spot
        for spot in book.curve(data, DEFENDED[data], "dropout", "features", "ssim")
        if spot.accuracy is not None
    ]
    if not any(spot.strength for spot in curve):
        return MISSING
    needed = 0.95 if data == "mnist" else (curve[0].undefended or 1.0) - 0.008
    accuracy = np.array([spot.accuracy for spot in curve])
    ssim = np.array([spot.scores["ssim"] for spot in curve])
    for spot, kept, leaked in zip(curve, accuracy, ssim, strict=True):
        if kept > needed and leaked < 0.25:
            return HOLDS, f"at r = {spot.strength:g}: accuracy {kept:.3f}, SSIM {spot.told('ssim')}"
    if not accuracy.min() <= needed <= accuracy.max():
        return UNTOLD, f"accuracy {accuracy.min():.3f} to {accuracy.max():.3f} was measured"
    order = np.argsort(accuracy)
    there = float(np.interp(needed, accuracy[order], ssim[order]))
    told = (
        "at no measured strength; between two, where the curve passes "
        f"{needed:.1%}, SSIM {there:.3f}"
    )
    return (HOLDS if there < 0.25 else FAILS), told


def _nothing_left(book: Book, data: str) -> Verdict:
    return _seen(_at(book.curve(data, DEFENDED[data], "dropout", "features", "ssim"), 0.6))


def _obfuscated(book: Book, data: str) -> Verdict:
    return _all(
        (f"{s} at {rate:g}", _seen(_at(book.curve(data, s, "dropout", "features", "ssim"), rate)))
        for s, rate in (("relu1", 0.9), ("pool2", 0.2))
    )


def _order(splits: Sequence[str], metrics: Sequence[str] = METRICS) -> Callable[[Book, str], Verdict]:  # fmt: skip
    """Of figure 13, from worse to better."""

    def check(book: Book, data: str) -> Verdict:
        return _all(
            (f"{b} over {a}", _higher(book, data, (b, "dropout", "features"), (a, "dropout", "features"), metrics))
            for a, b in pairwise(splits)
        )  # fmt: skip

    return check


def _relu1(book: Book, data: str) -> Verdict:
    best = [(split, "relu1") for split in ("pool1", "conv2", "relu2", "pool2")]
    parts = [(f"relu1 over {a}", _order((a, b), ["ssim"])(book, data)) for a, b in best]
    return _all([*parts, ("relu1 over conv2", _order(("conv2", "relu1"), ["psnr_db"])(book, data))])


def _falls_with_depth(book: Book, data: str) -> Verdict:
    spots = {split: spot for split in DEPTH if (spot := book.partition(split))}
    if len(spots) < len(DEPTH):
        return (
            UNTOLD,
            f"measured at {len(spots)} of {len(DEPTH)} splits" if spots else "not measured",
        )

    def judge(metric: str) -> Verdict:
        scores = {split: spot.scores[metric] or 0.0 for split, spot in spots.items()}
        told = ", ".join(f"{split} {score:.2g}" for split, score in scores.items())
        falls = {b: scores[a] - scores[b] for a, b in pairwise(DEPTH)}
        # what the eye does not tell apart is no rise
        rises = [split for split, fall in falls.items() if fall < -ALIKE[metric] / 2]
        cliff = max(falls, key=falls.__getitem__)
        told += f"; the largest fall is at {cliff}"
        told += f", it rises at {', '.join(rises)}" if rises else ""
        return (HOLDS if not rises and cliff == "fc1" else FAILS), told

    return _by_metric(judge)


def _blind_passes(book: Book, data: str) -> Verdict:
    if not isinstance(book, Measured):
        return UNTOLD, "no blind guess was measured"
    floors = [
        record.floor["best"]
        for panel in book.found
        if panel.dataset == data
        for adversary in panel.adversaries
        if adversary.undefended
        for record in adversary.undefended.group.records
    ]
    if not floors:
        return MISSING
    ssim, psnr = (fmean(floor[metric] for floor in floors) for metric in METRICS)
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
    Statement("Figure 13, from worse to better: pool1, conv2, relu2, pool2", _order(("pool1", "conv2", "relu2", "pool2")), MNIST, adaptive=True),
    Statement("Figure 13: relu1 is the best for SSIM, and better than conv2 for PSNR", _relu1, MNIST, adaptive=True),
    Statement("Figure 15: quality falls with depth, and most sharply at fc1", _falls_with_depth, MNIST),
    Statement("PSNR > 10 dB or SSIM > 0.3 means good quality", _blind_passes),
)  # fmt: skip
"""Figure 2, of latency and energy, is left out: it is no question of privacy."""


def judged(statement: Statement, dataset: str, records: Sequence[Record], *, adaptive: bool) -> Verdict:  # fmt: skip
    """A verdict over all seeds, which no seed's own contradicts: each trains a victim of its own.

    Args:
        statement: One of ``STATEMENTS``.
        dataset: Of which.
        records: Of a store.
        adaptive: Whether the adversary knows of the defense.
    """

    def verdict(some: Iterable[Record]) -> Verdict:
        return statement.check(Measured(panels(some), adaptive), dataset)

    records = [record for record in records if record.dataset == dataset]
    state, told = verdict(records)
    seeds = sorted({record.seed for record in records})
    if len(seeds) < 2 or state == UNTOLD:
        return state, told
    contrary = FAILS if state == HOLDS else HOLDS
    alone = {seed: verdict(r for r in records if r.seed == seed) for seed in seeds}
    against = {seed: own for seed, (kind, own) in alone.items() if kind == contrary}
    if against:
        names = ", ".join(map(str, against))
        example = next(iter(against.values()))
        return UNTOLD, f"{state} on the mean ({told}), but not for seed {names} ({example})"
    return state, told
