"""Verdicts: what numbers, the paper's or measured ones, say of a comparison.

Scores of the same images are compared by paired intervals. Curves of accuracy against score are
compared at equal scores, again and again over images drawn anew: what they say stands where 95 % of
the draws say the same. Either verdict falls where one seed's records alone say the contrary: each
seed trains a victim of its own. Scores are those of ``report.worst_case``, on the victims that
all sides of a comparison attacked.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from privbench.evaluation.statistics import LEVEL, Interval, interval_label, wilson
from privbench.papers.he2020.sources import READ, Curve, DataPoint, ResultSource
from privbench.report.tables import number, span
from privbench.report.tradeoffs import METRICS, NAMES, Point
from privbench.report.worst_case import (
    SeedGroup,
    differences,
    on_shared_victims,
    paired_interval,
    paired_victims,
)

HOLDS, FAILS, INCONCLUSIVE = "holds", "does not hold", "cannot be told"
Verdict = tuple[str, str]
"""``HOLDS``, ``FAILS`` or ``INCONCLUSIVE``, and the numbers that decide."""
MISSING: Verdict = (INCONCLUSIVE, "not measured")
ALIKE = {"ssim": 0.1, "psnr_db": 2.0, "accuracy": 0.1}
"""What counts as much the same: our choice, the paper names none."""
NEAR = {"psnr_db": 2.0, "ssim": 0.07, "accuracy": 0.05}
"""Within which a published number counts as reproduced."""
TIE = {"ssim": 0.005, "psnr_db": 0.1}
"""Of the paper's means of ten images, and of one seed's: our choice."""
POINT = 0.01
"""A point of accuracy: less is a tie."""
RECOGNISED = {
    "identification": (0.05, "identified among all test images"),
    "semantic_accuracy": (0.1, "classified rightly by the evaluation classifier"),
}
"""How a recovered image is recognised; the share of images beyond chance that is no protection, our
choice, and what is said of it."""
CONSTANT = ("black", "grey", "mean")
"""Blind answers that use nothing of a target, not even the label that the cloud predicts."""
STEPS = np.linspace(0.0, 1.0, 50)
"""Scores at which two curves are compared, from the one end of what they share to the other."""
DRAWS = 200
"""How often the images of two curves are drawn anew."""
Array = NDArray[np.float64]
Line = tuple[Array, Array]
"""Scores of a curve, ``(draws, strengths)``, and its accuracies, ``(strengths,)``."""


def every(verdicts: Iterable[tuple[str, Verdict]]) -> Verdict:
    """All of several parts, each with its name; the failing ones are what is told of a failure."""
    parts = list(verdicts)
    states = {state for _, (state, _) in parts}
    worst = next((state for state in (FAILS, INCONCLUSIVE) if state in states), HOLDS)
    if not parts or (states == {INCONCLUSIVE} and all(verdict == MISSING for _, verdict in parts)):
        return MISSING
    telling = [(name, verdict) for name, verdict in parts if verdict[0] == worst]
    # what was measured and tells nothing says more than what is missing
    telling = [(name, verdict) for name, verdict in telling if verdict != MISSING] or telling
    return worst, "; ".join(f"{name}: {numbers}" for name, (_, numbers) in telling)


def short(metric: str) -> str:
    """``SSIM`` or ``PSNR``."""
    return NAMES[metric].split()[0]


def by_metric(judge: Callable[[str], Verdict], metrics: Sequence[str] = METRICS) -> Verdict:
    """What is said by every metric."""
    return every((short(metric), judge(metric)) for metric in metrics)


def _compared(
    one: DataPoint, other: DataPoint, metric: str, state: Callable[[float, float], str]
) -> Verdict:
    """A verdict on ``one`` less ``other``, an interval over the same images.

    Printed numbers have none: a tie is what their ten images do not tell apart. Where seeds
    disagree, nothing is told.
    """
    mine, theirs = one.scores[metric], other.scores[metric]
    if mine is None or theirs is None:
        return MISSING
    if not one.point or not other.point:
        told = f"{one.told(metric)} against {other.told(metric)}"
        return state(mine - theirs - TIE[metric], mine - theirs + TIE[metric]), told
    groups = on_shared_victims(one.point.group, other.point.group)
    if groups is None:
        told = f"{one.told(metric)} against {other.told(metric)}"
        return INCONCLUSIVE, f"{told}, no victim in common"
    told = " against ".join(span(Point(group), metric) for group in groups)
    interval = paired_interval(*groups, metric)
    if interval is None:
        return INCONCLUSIVE, f"{told}, too few images in common"
    label = interval_label(len(differences(*groups, metric)))
    named = "" if label == "95 %" else f" ({label})"
    told += f", difference {interval[0]:+.3f} to {interval[1]:+.3f}{named}"
    floor = max(group.floor(metric) for group in groups)
    highest = max(group.score(metric) for group in groups)
    told += f"; a blind guess scores {number(floor, metric)}" if highest < floor else ""
    found = state(*interval)
    alone = paired_victims(*groups, metric)
    tie = TIE[metric]
    if {found, *(state(seed - tie, seed + tie) for seed in alone)} >= {HOLDS, FAILS}:
        return (
            INCONCLUSIVE,
            f"{told}; seeds disagree: {', '.join(f'{seed:+.3f}' for seed in alone)}",
        )
    return found, told


def less(one: DataPoint | None, other: DataPoint | None) -> Verdict:
    """Whether ``one`` recovers less than ``other`` by every metric."""
    if one is None or other is None:
        return MISSING
    return by_metric(lambda metric: less_by(one, other, metric))


def less_by(one: DataPoint, other: DataPoint, metric: str, margin: float = 0.0) -> Verdict:
    """Whether ``one`` recovers less than ``other``, by more than a margin."""

    def state(low: float, high: float) -> str:
        return HOLDS if high < -margin else FAILS if low > -margin else INCONCLUSIVE

    return _compared(one, other, metric, state)


def near(one: DataPoint, other: DataPoint, metric: str) -> Verdict:
    """Whether two scores are alike."""
    limit = ALIKE[metric]

    def state(low: float, high: float) -> str:
        apart = low > limit or high < -limit
        return HOLDS if -limit <= low <= high <= limit else FAILS if apart else INCONCLUSIVE

    return _compared(one, other, metric, state)


def _lines(one: Curve, other: Curve, metric: str) -> list[Line]:
    """Two curves as they are, and below that with their images drawn anew, ``DRAWS`` times.

    Printed ones have no images: they come once. Measured ones are of the images and the victims
    that all points of both share. Empty where either curve is, or where they share none.
    """
    curves = [
        [s for s in curve if s.scores[metric] is not None and s.accuracy is not None]
        for curve in (one, other)
    ]
    if not all(curves):
        return []
    spots = [spot for curve in curves for spot in curve]
    scores = np.array([[spot.scores[metric] for spot in spots]], dtype=float)
    if groups := [spot.point.group for spot in spots if spot.point]:
        common = frozenset.intersection(*(group.victims for group in groups))
        seen = [group.only(common).images(metric) for group in groups] if common else [{}]
        images = sorted(set.intersection(*(set(values) for values in seen)))
        if not images:
            return []
        table = np.array([[fmean(values[at].values()) for at in images] for values in seen])
        drawn = np.random.default_rng(0).integers(len(images), size=(DRAWS, len(images)))
        scores = np.concatenate([table.mean(1)[None], table[:, drawn].mean(-1).T])
    parts = np.split(scores, [len(curves[0])], axis=1)
    accuracies = [np.array([s.accuracy for s in curve], dtype=float) for curve in curves]
    return list(zip(parts, accuracies, strict=True))


def _gaps(one: Line, other: Line) -> tuple[Array, Array]:
    """Scores that two curves share, ``(draws, 50)``, and accuracy of one less the other there.

    Where they share none, the scores fall instead of rising.
    """
    (x, _), (y, _) = one, other
    low, high = np.maximum(x.min(1), y.min(1)), np.minimum(x.max(1), y.max(1))
    at = low[:, None] + (high - low)[:, None] * STEPS
    mine, theirs = (_interpolated(at, scores, accuracies) for scores, accuracies in (one, other))
    return at, mine - theirs


def _interpolated(at: Array, scores: Array, accuracies: Array) -> Array:
    """A curve's accuracy at scores, row by row; beyond its ends that of the end."""
    order = np.argsort(scores, axis=1)
    x, y = np.take_along_axis(scores, order, 1), accuracies[order]
    if x.shape[1] == 1:
        return np.broadcast_to(y, at.shape)
    right = np.clip((x[:, None, :] <= at[:, :, None]).sum(-1), 1, x.shape[1] - 1)
    x0, x1, y0, y1 = (np.take_along_axis(z, right - k, 1) for z in (x, y) for k in (1, 0))
    share = np.clip((at - x0) / np.maximum(x1 - x0, 1e-12), 0.0, 1.0)
    return np.asarray(y0 + (y1 - y0) * share)


def _over_curves(one: Curve, other: Curve, metric: str, state: Callable[[Array], NDArray[np.str_]],
                 told: Callable[[Array], str]) -> Verdict:  # fmt: skip
    """What the differences of accuracy at equal score say, where the images drawn anew agree.

    Args:
        one: A curve.
        other: Whose accuracy is taken off.
        metric: The score.
        state: What differences say, a word a row.
        told: What is told of the differences as they are.
    """
    lines = _lines(one, other, metric)
    if not lines:
        return MISSING
    at, gaps = _gaps(*lines)
    meeting = at[:, -1] - at[:, 0] > TIE[metric]
    if not meeting[0]:
        return INCONCLUSIVE, "the curves meet at no score"
    floors = [floor for spot in (*one, *other) if (floor := spot.floor(metric)) is not None]
    low, high, floor = at[0, 0], at[0, -1], max(floors, default=0.0)
    blind = f", below the blind {number(floor, metric)}" if high < floor else ""
    text = f"{told(gaps[0])} (at {number(low, metric)} to {number(high, metric)}{blind})"
    said, *drawn = np.where(meeting, state(gaps), INCONCLUSIVE).tolist()
    if drawn and (agreeing := drawn.count(said) / len(drawn)) < LEVEL:
        doubt = f"{said}, but only for {agreeing:.0%} of images drawn anew"
        return INCONCLUSIVE, text if said == INCONCLUSIVE else f"{text}; {doubt}"
    return str(said), text


def higher(book: ResultSource, dataset: str, one: tuple[str, str, str], other: tuple[str, str, str],
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

    def told(gaps: Array) -> str:
        return (
            f"accuracy at equal score {np.median(gaps):+.3f} in the median, {gaps.min():+.3f} to "
            f"{gaps.max():+.3f}"
        )

    def state(gaps: Array) -> NDArray[np.str_]:
        # where both are undefended they are the same
        better, worse = gaps.max(1) > POINT, gaps.min(1) < -POINT
        middle = np.median(gaps, axis=1)
        held, against = better & ~worse & (middle > 0), worse & ~better & (middle < 0)
        return np.select([held, against], [HOLDS, FAILS], INCONCLUSIVE)

    def judge(metric: str) -> Verdict:
        mine, theirs = book.curves(dataset, one, other, metric, figure)
        return _over_curves(mine, theirs, metric, state, told)

    return by_metric(judge, metrics)


def same(one: Curve, other: Curve, metric: str) -> Verdict:
    """Whether two curves have much the same accuracy at the same score."""
    limit = ALIKE["accuracy"]

    def told(gaps: Array) -> str:
        apart = np.median(abs(gaps))
        return f"accuracy at equal score differs by {apart:.3f} in the median (alike: {limit:g})"

    def state(gaps: Array) -> NDArray[np.str_]:
        return np.where(np.median(abs(gaps), axis=1) <= limit, HOLDS, FAILS)

    return _over_curves(one, other, metric, state, told)


def seen(find: Callable[[str], DataPoint | None]) -> Verdict:
    """Whether nothing is left: identification and the evaluation classifier are both at chance.

    Each of ``RECOGNISED`` is judged by Wilson's interval, over images, of the adversary that does
    best by it:

    - at chance: the interval reaches down to the level of chance, and ends less than the margin
      (5 points of identification, 10 of the classifier) above it;
    - recognised: the whole interval lies more than the margin above it;
    - neither: all else, e.g. too few images.

    Nothing is left where both are at chance; something is where either is recognised; else it
    cannot be told. Chance is, of identification, the larger of guessing and the best blind answer;
    of the classifier, the best of the constant answers (black, grey, mean image), since an image
    from which the label can be read is not nothing, although the cloud predicts the label anyway.

    Args:
        find: The spot of the adversary that does best by a score.
    """
    spots = {metric: find(metric) for metric in RECOGNISED}
    found = [spot for spot in spots.values() if spot is not None]
    if len(found) < len(spots):
        return MISSING
    if printed := [spot for spot in found if spot.point is None]:
        told = f"SSIM {printed[0].told('ssim')}"
        return INCONCLUSIVE, f"{told}; the paper shows images, and identifies none"
    return every((metric, _at_chance(spot, metric)) for metric, spot in spots.items() if spot)


def _at_chance(spot: DataPoint, metric: str) -> Verdict:
    """One part of ``seen``."""
    if spot.point is None:
        return MISSING
    group = spot.point.group
    share, images = group.score(metric), len(group.images(metric))
    low, high = wilson(share, images)
    chance, (margin, said) = _chance(group, metric), RECOGNISED[metric]
    told = (
        f"{share:.0%} [{low:.0%}, {high:.0%}] of {images} images {said} (chance {chance:.1%}) by "
        f"{group.one.attack}, SSIM {spot.told('ssim')}"
    )
    if low > chance + margin:
        return FAILS, told
    return (HOLDS if low <= chance and high < chance + margin else INCONCLUSIVE), told


def _chance(group: SeedGroup, metric: str) -> float:
    """What is recognised of an answer from which nothing can be."""
    if metric == "identification":
        return max(group.one.chance[metric], group.floor(metric))
    answers = [name for name in CONSTANT if name in group.one.floor]
    return max(fmean(r.floor[name][metric] for r in group.records) for name in answers)


def at_strength(curve: Curve, strength: float) -> DataPoint | None:
    """A curve's spot, null where that strength is not there."""
    return next((spot for spot in curve if abs(spot.strength - strength) < 1e-9), None)


def band(spot: DataPoint, metric: str) -> Interval:
    """From and to: over images where it was measured, as it could be read where it was not."""
    if spot.point:  # a single image has no interval, and no verdict either
        return spot.point.bands[metric] or (-np.inf, np.inf)
    score, reading = spot.scores[metric] or 0.0, READ[metric]
    return score - reading, score + reading
