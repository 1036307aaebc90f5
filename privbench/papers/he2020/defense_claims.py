"""Checks of the paper's statements on defenses."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from privbench.papers.he2020.published import METRICS
from privbench.papers.he2020.sources import READ, ResultSource
from privbench.papers.he2020.verdicts import (
    MISSING,
    all_of,
    at_strength,
    better_tradeoff,
    by_metric,
    recovers_less_by,
    recovers_nothing,
    same_tradeoff,
    score_range,
)
from privbench.papers.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict
from privbench.report.analysis.labels import metric_label, number

DEFENDED = {"mnist": "relu2", "cifar10": "relu22"}
"""Split points of the defense figures."""
NOISES = ("gaussian", "laplace")
SITES = ("features", "input")
LIMITS = {"gaussian": 0.8, "laplace": 0.5}
"""Noise levels on the input below which MNIST's accuracy is stated to exceed 95 %."""


def noise_limits(results: ResultSource, data: str) -> Verdict:
    """Check that the accuracy crosses 95 % at the stated noise levels on the input."""

    def judge(defense: str, limit: float) -> Verdict:
        curve = results.curve(data, DEFENDED[data], defense, "input", "ssim")
        known = [(s.strength, s.accuracy) for s in curve if s.strength and s.accuracy is not None]
        last = max((strength for strength, accuracy in known if accuracy > 0.95), default=0.0)
        first = min((strength for strength, _ in known if strength > last), default=float("inf"))
        near = [strength for strength, _ in known if abs(strength - limit) < 0.11]
        if min(near, default=limit) >= limit or max(near, default=0.0) < limit:
            return MISSING  # on both sides of the limit
        details = f"above 95 % up to {last:g}, below from {first:g} (stated: {limit:g})"
        return (HOLDS if last < limit <= first else FAILS), details

    return all_of((defense, judge(defense, limit)) for defense, limit in LIMITS.items())


def good_within_limits(results: ResultSource, data: str) -> Verdict:
    """Check that scores stay above the stated values below those noise levels."""

    def judge(defense: str, limit: float) -> Verdict:
        found, lows, highs = [], [], []
        for metric, floor in (("ssim", 0.4), ("psnr_db", 8.5)):
            curve = results.curve(data, DEFENDED[data], defense, "input", metric)
            inside = [spot for spot in curve if 0 < spot.strength < limit]
            if not inside:
                return MISSING
            if inside[-1].strength < limit - 0.11:  # the strongest one decides
                return INCONCLUSIVE, f"measured up to {inside[-1].strength:g}"
            ranges = [score_range(spot, metric) for spot in inside]
            low, high = (min(ends) for ends in zip(*ranges, strict=True))
            lows.append(low > floor)
            highs.append(high > floor)
            least = min(score for s in inside if (score := s.scores[metric]) is not None)
            found.append(f"{metric_label(metric)} at least {number(least, metric)}")
        floors = {m: inside[0].baseline(m) for m in METRICS}
        blind = [number(floor, m) for m, floor in floors.items() if floor is not None]
        details = f"{' and '.join(found)} below {limit:g}"
        details += f" (the blind baseline: {' and '.join(blind)})" if blind else ""
        return (HOLDS if all(lows) else INCONCLUSIVE if all(highs) else FAILS), details

    return all_of((defense, judge(defense, limit)) for defense, limit in LIMITS.items())


def input_hides_more(results: ResultSource, data: str) -> Verdict:
    """Check that noise on the input hides more at most levels, and less at none."""

    def judge(defense: str, metric: str) -> Verdict:
        lines = [(DEFENDED[data], defense, site) for site in ("input", "features")]
        on_input, on_features = results.curves(data, lines[0], lines[1], metric)
        states = {
            mine.strength: recovers_less_by(mine, theirs, metric)[0]
            for mine in on_input
            if mine.strength and (theirs := at_strength(on_features, mine.strength))
        }
        if not states:
            return MISSING
        held, against = (list(states.values()).count(state) for state in (HOLDS, FAILS))
        details = f"lower on the input at {held} of {len(states)} levels, higher at {against}"
        chance = -(-len(states) // 20)  # of twenty intervals one misses
        if held > len(states) / 2 and against <= chance:
            return HOLDS, details
        return (FAILS if against > len(states) / 2 and held <= chance else INCONCLUSIVE), details

    return all_of((defense, by_metric(partial(judge, defense))) for defense in NOISES)


def noises_similar(results: ResultSource, data: str) -> Verdict:
    """Check that Gaussian and Laplacian noise have similar trade-offs."""

    def judge(site: str, metric: str) -> Verdict:
        lines = [(DEFENDED[data], noise, site) for noise in NOISES]
        return same_tradeoff(*results.curves(data, lines[0], lines[1], metric), metric)

    return all_of((site, by_metric(partial(judge, site))) for site in SITES)


def dropout_better(*sites: str) -> Callable[[ResultSource, str], Verdict]:
    """Return a check that dropout at these sites beats all noise at either site."""
    return lambda results, data: all_of(
        (f"on {at} over {noise} on {site}",
         better_tradeoff(results, data, (DEFENDED[data], "dropout", at),
                         (DEFENDED[data], noise, site)))
        for at in sites
        for noise in NOISES
        for site in SITES
    )  # fmt: skip


def features_better(*defenses: str) -> Callable[[ResultSource, str], Verdict]:
    """Return a check that defenses keep more accuracy at the same score on the features."""
    return lambda results, data: all_of(
        (
            d,
            better_tradeoff(
                results, data, (DEFENDED[data], d, "features"), (DEFENDED[data], d, "input")
            ),
        )
        for d in defenses
    )


def hidden_and_accurate(results: ResultSource, data: str) -> Verdict:
    """Check for SSIM below 0.25 above 95 % on MNIST, within 0.8 points of accuracy on CIFAR-10."""
    curve = [
        (spot, spot.accuracy)
        for spot in results.curve(data, DEFENDED[data], "dropout", "features", "ssim")
        if spot.accuracy is not None
    ]
    if not any(spot.strength for spot, _ in curve):
        return MISSING
    weakest = curve[0][0]
    if (weakest.scores["ssim"] or 0.0) < 0.25 and not weakest.strength:
        return (
            INCONCLUSIVE,
            f"without a defense SSIM is {weakest.describe('ssim')}, so there is nothing to hide",
        )
    needed = 0.95 if data == "mnist" else (weakest.undefended or 1.0) - 0.008
    bands = [score_range(spot, "ssim") for spot, _ in curve]
    for (spot, accuracy), (_, high) in zip(curve, bands, strict=True):
        if accuracy > needed and high < 0.25:
            return (
                HOLDS,
                f"at r = {spot.strength:g}: accuracy {accuracy:.3f}, SSIM {spot.describe('ssim')}",
            )
    kept = [accuracy for _, accuracy in curve]
    if not min(kept) <= needed <= max(kept):
        return INCONCLUSIVE, f"accuracy {min(kept):.3f} to {max(kept):.3f} was measured"
    order = np.argsort(kept)
    reading = 0.0 if weakest.point else READ["accuracy"]
    lows, highs = (np.array(side)[order] for side in zip(*bands, strict=True))
    least = float(np.interp(needed - reading, np.array(kept)[order], lows))
    most = float(np.interp(needed + reading, np.array(kept)[order], highs))
    details = (
        "at no measured strength; between two, where the curve passes "
        f"{needed:.1%}, SSIM {least:.3f} to {most:.3f}"
    )
    return (HOLDS if most < 0.25 else FAILS if least >= 0.25 else INCONCLUSIVE), details


def nothing_recovered(results: ResultSource, data: str) -> Verdict:
    """Check that nothing is recovered under dropout of 0.6 at either site."""
    return all_of(
        (f"on {site}",
         recovers_nothing(lambda metric, site=site: at_strength(  # type: ignore[misc]
             results.curve(data, DEFENDED[data], "dropout", site, metric), 0.6)))
        for site in SITES
    )  # fmt: skip


def obfuscated(results: ResultSource, data: str) -> Verdict:
    """Check that nothing is recovered at the stated strengths of figure 13."""
    return all_of(
        (f"{split} at {rate:g}",
         recovers_nothing(lambda metric, split=split, rate=rate: at_strength(  # type: ignore[misc]
             results.curve(data, split, "dropout", "features", metric, "fig13"), rate)))
        for split, rate in (("relu1", 0.9), ("pool2", 0.2))
    )  # fmt: skip


def _better_at(
    results: ResultSource, data: str, one: str, other: str, metrics: Sequence[str] = METRICS
) -> tuple[str, Verdict]:
    """Return the verdict whether dropout at one split is better than at another (figure 13)."""
    lines = [(split, "dropout", "features") for split in (one, other)]
    return f"{one} over {other}", better_tradeoff(
        results, data, lines[0], lines[1], metrics, "fig13"
    )


def figure13_order(results: ResultSource, data: str) -> Verdict:
    """Check that trade-offs of dropout improve with depth from pool1 to pool2."""
    worse = pairwise(("pool1", "conv2", "relu2", "pool2"))
    return all_of(_better_at(results, data, deep, shallow) for shallow, deep in worse)


def figure13_relu1(results: ResultSource, data: str) -> Verdict:
    """Check that relu1 has the best trade-off by SSIM, and beats conv2 by PSNR."""
    others = ("pool1", "conv2", "relu2", "pool2")
    best = [_better_at(results, data, "relu1", other, ["ssim"]) for other in others]
    return all_of([*best, _better_at(results, data, "relu1", "conv2", ["psnr_db"])])
