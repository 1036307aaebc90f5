"""Verdicts on comparisons of published or measured numbers.

Scores of the same images are compared by paired intervals. Curves of accuracy against score are
compared at equal scores, again and again over resampled images: what they say stands where 95 % of
the draws say the same. Either verdict falls where one seed's records say the contrary: each
seed trains its own victim. Scores are those of ``analysis.frame``, on the victims that
all sides of a comparison attacked.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from privbench.evaluation.statistics import LEVEL, Interval, interval_label, wilson
from privbench.papers.he2020.published import METRICS
from privbench.papers.he2020.sources import READ, Curve, DataPoint, ResultSource
from privbench.papers.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict
from privbench.report.analysis.frame import (
    SeedGroup,
    on_shared_victims,
    paired_interval,
    paired_victims,
    shared_images,
)
from privbench.report.analysis.labels import metric_label, number, span
from privbench.report.analysis.worst_case import listed

NOT_APPLICABLE = "not applicable"
MISSING: Verdict = (INCONCLUSIVE, "not measured")
SIMILAR = {"ssim": 0.1, "psnr_db": 2.0, "accuracy": 0.1}
"""Margins within which scores are similar: our choice, the paper names none."""
REPRODUCED = {"psnr_db": 2.0, "ssim": 0.07, "accuracy": 0.05}
"""Margins within which a published number counts as reproduced."""
TIE = {"ssim": 0.005, "psnr_db": 0.1}
"""Margins of a tie of means of ten images, and of one seed: our choice."""
POINT = 0.01
"""A point of accuracy: less is a tie."""
RECOGNISED = {
    "identification": (0.05, "identified among all test images"),
    "semantic_accuracy": (0.1, "classified rightly by the evaluation classifier"),
}
"""Scores by which a reconstruction is recognised, with the share beyond chance that counts as
recognised (our choice), and its wording."""
CONSTANT = ("black", "grey", "mean")
"""Blind answers that use nothing of a target, not even its predicted label."""
STEPS = np.linspace(0.0, 1.0, 50)
"""Positions at which two curves are compared, over their shared range of scores."""
DRAWS = 200
"""Number of resampled sets of images for two curves."""
Array = NDArray[np.float64]
Line = tuple[Array, Array]
"""Scores of a curve, ``(draws, strengths)``, and its accuracies, ``(strengths,)``."""


def all_of(verdicts: Iterable[tuple[str, Verdict]]) -> Verdict:
    """Combine the verdicts of named parts; a failure names the failing parts."""
    parts = list(verdicts)
    states = {state for _, (state, _) in parts}
    worst = next((state for state in (FAILS, INCONCLUSIVE) if state in states), HOLDS)
    if not parts or (states == {INCONCLUSIVE} and all(verdict == MISSING for _, verdict in parts)):
        return MISSING
    decisive = [(name, verdict) for name, verdict in parts if verdict[0] == worst]
    # an inconclusive measurement is more informative than a missing one
    decisive = [(name, verdict) for name, verdict in decisive if verdict != MISSING] or decisive
    return worst, "; ".join(f"{name}: {numbers}" for name, (_, numbers) in decisive)


def by_metric(judge: Callable[[str], Verdict], metrics: Sequence[str] = METRICS) -> Verdict:
    """Combine the verdicts by each metric."""
    return all_of((metric_label(metric), judge(metric)) for metric in metrics)


def _compared(
    one: DataPoint, other: DataPoint, metric: str, state: Callable[[float, float], str]
) -> Verdict:
    """Return a verdict on ``one`` less ``other``, an interval over the same images.

    Published numbers have none: a tie is a difference that ten images do not resolve. Where seeds
    disagree, the verdict is inconclusive.
    """
    mine, theirs = one.scores[metric], other.scores[metric]
    if mine is None or theirs is None:
        return MISSING
    if not one.point or not other.point:
        details = f"{one.describe(metric)} against {other.describe(metric)}"
        return state(mine - theirs - TIE[metric], mine - theirs + TIE[metric]), details
    groups = on_shared_victims(one.point.group, other.point.group)
    if groups is None:
        details = f"{one.describe(metric)} against {other.describe(metric)}"
        return INCONCLUSIVE, f"{details}, no victim in common"
    details = " against ".join(span(group, metric) for group in groups)
    seeds = groups[0].seeds  # of the victims that both have
    if not one.point.group.seeds == other.point.group.seeds == seeds:
        details += f" on {listed(seeds)}, which both have"
    interval = paired_interval(*groups, metric)
    if interval is None:
        return INCONCLUSIVE, f"{details}, too few images in common"
    label = interval_label(shared_images(*groups))
    named = "" if label == "95 %" else f" ({label})"
    details += f", difference {interval[0]:+.3f} to {interval[1]:+.3f}{named}"
    floor = max(group.baseline(metric) for group in groups)
    highest = max(group.score(metric) for group in groups)
    details += f"; the blind baseline scores {number(floor, metric)}" if highest < floor else ""
    found = state(*interval)
    by_victim = paired_victims(*groups, metric)
    tie = TIE[metric]
    if {found, *(state(seed - tie, seed + tie) for seed in by_victim)} >= {HOLDS, FAILS}:
        return (
            INCONCLUSIVE,
            f"{details}; seeds disagree: {', '.join(f'{seed:+.3f}' for seed in by_victim)}",
        )
    return found, details


def recovers_less(one: DataPoint | None, other: DataPoint | None) -> Verdict:
    """Return the verdict whether ``one`` recovers less than ``other`` by every metric."""
    if one is None or other is None:
        return MISSING
    return by_metric(lambda metric: recovers_less_by(one, other, metric))


def recovers_less_by(one: DataPoint, other: DataPoint, metric: str, margin: float = 0.0) -> Verdict:
    """Return the verdict whether ``one`` recovers less than ``other`` by more than a margin."""

    def state(low: float, high: float) -> str:
        return HOLDS if high < -margin else FAILS if low > -margin else INCONCLUSIVE

    return _compared(one, other, metric, state)


def similar(one: DataPoint, other: DataPoint, metric: str) -> Verdict:
    """Return the verdict whether two scores are similar."""
    limit = SIMILAR[metric]

    def state(low: float, high: float) -> str:
        apart = low > limit or high < -limit
        return HOLDS if -limit <= low <= high <= limit else FAILS if apart else INCONCLUSIVE

    return _compared(one, other, metric, state)


def _resampled_curves(one: Curve, other: Curve, metric: str) -> list[Line]:
    """Return two curves as they are, and ``DRAWS`` times with their images resampled.

    Published ones have no images: they come once. Measured ones are of the images and the victims
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
    accuracies = [spot.accuracy for spot in spots]
    if groups := [spot.point.group for spot in spots if spot.point]:
        common = frozenset.intersection(*(group.victims for group in groups))
        if not common:
            return []
        shared = [group.restricted_to(common) for group in groups]
        accuracies = [group.accuracy for group in shared]
        means = [group.by_image(metric) for group in shared]
        images = sorted(set.intersection(*(set(values.index) for values in means)))
        if not images:
            return []
        table = np.array([values.loc[images] for values in means])
        drawn = np.random.default_rng(0).integers(len(images), size=(DRAWS, len(images)))
        scores = np.concatenate([table.mean(1)[None], table[:, drawn].mean(-1).T])
    parts = np.split(scores, [len(curves[0])], axis=1)
    kept = np.split(np.array(accuracies, dtype=float), [len(curves[0])])
    return list(zip(parts, kept, strict=True))


def _accuracy_gaps(one: Line, other: Line) -> tuple[Array, Array]:
    """Return scores that two curves share, ``(draws, 50)``, and the difference of accuracy there.

    Where they share none, the scores fall instead of rising.
    """
    (x, _), (y, _) = one, other
    low, high = np.maximum(x.min(1), y.min(1)), np.minimum(x.max(1), y.max(1))
    at = low[:, None] + (high - low)[:, None] * STEPS
    mine, theirs = (_interpolated(at, scores, accuracies) for scores, accuracies in (one, other))
    return at, mine - theirs


def _interpolated(at: Array, scores: Array, accuracies: Array) -> Array:
    """Interpolate a curve's accuracy at scores, row by row; constant beyond its ends."""
    order = np.argsort(scores, axis=1)
    x, y = np.take_along_axis(scores, order, 1), accuracies[order]
    if x.shape[1] == 1:
        return np.broadcast_to(y, at.shape)
    right = np.clip((x[:, None, :] <= at[:, :, None]).sum(-1), 1, x.shape[1] - 1)
    x0, x1, y0, y1 = (np.take_along_axis(z, right - k, 1) for z in (x, y) for k in (1, 0))
    share = np.clip((at - x0) / np.maximum(x1 - x0, 1e-12), 0.0, 1.0)
    return np.asarray(y0 + (y1 - y0) * share)


def _over_curves(one: Curve, other: Curve, metric: str, state: Callable[[Array], NDArray[np.str_]],
                 details: Callable[[Array], str]) -> Verdict:  # fmt: skip
    """Return the verdict of the differences of accuracy at equal score, if resampled images agree.

    Args:
        one: First curve.
        other: Second curve, whose accuracy is subtracted.
        metric: Name of the score.
        state: Function from differences ``(draws, 50)`` to a verdict per row.
        details: Function from the differences as they are to their description.
    """
    lines = _resampled_curves(one, other, metric)
    if not lines:
        return MISSING
    at, gaps = _accuracy_gaps(*lines)
    meeting = at[:, -1] - at[:, 0] > TIE[metric]
    if not meeting[0]:
        return INCONCLUSIVE, "the curves meet at no score"
    floors = [floor for spot in (*one, *other) if (floor := spot.baseline(metric)) is not None]
    low, high, floor = at[0, 0], at[0, -1], max(floors, default=0.0)
    blind = f", below the blind {number(floor, metric)}" if high < floor else ""
    text = f"{details(gaps[0])} (at {number(low, metric)} to {number(high, metric)}{blind})"
    said, *drawn = np.where(meeting, state(gaps), INCONCLUSIVE).tolist()
    if drawn and (agreeing := drawn.count(said) / len(drawn)) < LEVEL:
        doubt = f"{said}, but only for {agreeing:.0%} of resampled images"
        return INCONCLUSIVE, text if said == INCONCLUSIVE else f"{text}; {doubt}"
    return str(said), text


def better_tradeoff(
    results: ResultSource,
    dataset: str,
    one: tuple[str, str, str],
    other: tuple[str, str, str],
    metrics: Sequence[str] = METRICS,
    figure: str = "",
) -> Verdict:
    """Return the verdict whether one curve keeps more accuracy at the same score, nowhere less.

    Args:
        results: Source of the curves.
        dataset: Name of the data set.
        one: Split point, defense and site of the first curve.
        other: Split point, defense and site of the second curve.
        metrics: Names of the scores.
        figure: Figure of the paper; empty for any.
    """

    def details(gaps: Array) -> str:
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
        mine, theirs = results.curves(dataset, one, other, metric, figure)
        return _over_curves(mine, theirs, metric, state, details)

    return by_metric(judge, metrics)


def same_tradeoff(one: Curve, other: Curve, metric: str) -> Verdict:
    """Return the verdict whether two curves have similar accuracy at the same score."""
    limit = SIMILAR["accuracy"]

    def details(gaps: Array) -> str:
        apart = np.median(abs(gaps))
        return f"accuracy at equal score differs by {apart:.3f} in the median (similar: {limit:g})"

    def state(gaps: Array) -> NDArray[np.str_]:
        return np.where(np.median(abs(gaps), axis=1) <= limit, HOLDS, FAILS)

    return _over_curves(one, other, metric, state, details)


def recovers_nothing(find: Callable[[str], DataPoint | None]) -> Verdict:
    """Return the verdict whether nothing is recovered: both ways of recognition are at chance.

    Each of ``RECOGNISED`` is judged by Wilson's interval, over images, of the adversary that is
    strongest by it:

    - at chance: the interval reaches down to the level of chance, and ends less than the margin
      (5 points of identification, 10 of the classifier) above it;
    - recognised: the whole interval lies more than the margin above it;
    - neither: all else, e.g. too few images.

    Nothing is recovered where both are at chance; something is where either is recognised; else
    it is inconclusive. Chance is, for identification, the larger of guessing and the best blind
    answer; for the classifier, the best of the constant answers (black, grey, mean
    image), since an image from which the label can be read is not nothing, although the cloud
    predicts the label anyway.

    Args:
        find: Function from a score to the point of the strongest adversary.
    """
    spots = {metric: find(metric) for metric in RECOGNISED}
    found = [spot for spot in spots.values() if spot is not None]
    if len(found) < len(spots):
        return MISSING
    if printed := [spot for spot in found if spot.point is None]:
        details = f"SSIM {printed[0].describe('ssim')}"
        return INCONCLUSIVE, f"{details}; the paper shows images, and identifies none"
    return all_of((metric, _at_chance(spot, metric)) for metric, spot in spots.items() if spot)


def _at_chance(spot: DataPoint, metric: str) -> Verdict:
    """Return one part of ``recovers_nothing``."""
    if spot.point is None:
        return MISSING
    group = spot.point.group
    share, images = group.score(metric), group.images
    low, high = wilson(share, images)
    chance, (margin, said) = _chance(group, metric), RECOGNISED[metric]
    details = (
        f"{share:.0%} [{low:.0%}, {high:.0%}] of {images} images {said} (chance {chance:.1%}) by "
        f"{group.first.attack}, SSIM {spot.describe('ssim')}"
    )
    if low > chance + margin:
        return FAILS, details
    return (HOLDS if low <= chance and high < chance + margin else INCONCLUSIVE), details


def _chance(group: SeedGroup, metric: str) -> float:
    """Return the share that is recognised of answers that use no target."""
    if metric == "identification":
        return max(group.first.chance[metric], group.baseline(metric))
    answers = [name for name in CONSTANT if name in group.first.floor]
    return max(fmean(r.floor[name][metric] for r in group.records) for name in answers)


def at_strength(curve: Curve, strength: float) -> DataPoint | None:
    """Return a curve's point at a strength; null without it."""
    return next((spot for spot in curve if abs(spot.strength - strength) < 1e-9), None)


def score_range(spot: DataPoint, metric: str) -> Interval:
    """Return the interval of a measured score, or the reading error of a published one."""
    if spot.point:  # a single image has no interval, and no verdict either
        return spot.point.bands[metric] or (-np.inf, np.inf)
    score, reading = spot.scores[metric] or 0.0, READ[metric]
    return score - reading, score + reading
