"""Published claims about defenses, each with a verdict that is computed from the rows.

A defense counts as hiding images where it costs at most the accuracy that its claim names and
leaves at most half of what the same attacks gain over the blind baseline without a defense: that
baseline is the same on both sides, for a guess behind a cloud that errs is worse, not the attack
better. A verdict falls or stands where the interval of the score does, else it is inconclusive.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from privbench.papers.defenses.results import COST, Defended, Result, same_victims
from privbench.papers.defenses.rows import Score

HOLDS, FAILS, INCONCLUSIVE = "holds", "does not hold", "inconclusive"
MISSING = "not measured"
Verdict = tuple[str, str]
"""One of the states above, and the reason."""
Curves = Mapping[str, Sequence[Defended]]
"""Strengths of each defense of one setting, by its name."""
HALF = 0.5
"""Share of the undefended gain that may be left where an image counts as hidden: our choice."""
PLUG_IN = 1.129
"""Smallest ratio of squared errors that CEM states."""
LEAST_RADII = 3
"""Strengths of a defense from which an order of radii is judged."""
CEM, REFERENCE = "cem(gaussian)", "noise_aware(gaussian)"
"""CEM, and the defense that it adds its loss to."""


@dataclass(frozen=True)
class Claim:
    """A claim about defenses.

    Attributes:
        text: The claim and its source.
        defenses: Names of the defenses that its verdict needs, besides none.
        check: Function from the curves of a setting to a verdict.
    """

    text: str
    defenses: Sequence[str]
    check: Callable[[Curves], Verdict]


def _at_least(low: float, high: float, threshold: float) -> str:
    """Return whether a number with this interval reaches a threshold."""
    return HOLDS if low >= threshold else FAILS if high < threshold else INCONCLUSIVE


def _hides(*attacks: str) -> Callable[[Sequence[Defended], Defended], Verdict]:
    """Return a check that a defense hides images from these attacks, of all where none is named."""

    def check(line: Sequence[Defended], undefended: Defended) -> Verdict:
        paid = [one for one in line if one.lost <= COST]
        strongest = paid[-1] if paid else min(line, key=lambda one: one.lost)
        met, before = strongest.by(*attacks), _before(undefended, attacks)
        if met is None or before is None:
            return MISSING, f"no record of {' or '.join(attacks) or 'an attack'} on both"
        state, reason = _hidden(met, before) if attacks else _by_all(strongest, undefended)
        if paid:
            return state, reason
        # what does not hide at a higher cost does not at a lower one
        return FAILS if state == FAILS else INCONCLUSIVE, f"every strength costs more; {reason}"

    return check


ALL = ("rmle_prior", "inverse")
"""Attacks without which no defense is said to hide images from all."""


def _by_all(one: Defended, undefended: Defended) -> Verdict:
    """Return whether a defense hides images from the strongest of all attacks."""
    state, reason = _hidden(one.best, undefended.best)
    untried = [attack for attack in ALL if one.by(attack) is None]
    return _after_all(state, reason, untried)


def _after_all(state: str, reason: str, untried: Sequence[str]) -> Verdict:
    """Return a verdict, which cannot stand while strong attacks were not run."""
    if state == HOLDS and untried:
        return INCONCLUSIVE, f"{reason}; not run there: {' and '.join(untried)}"
    return state, reason


def _before(undefended: Defended, attacks: Sequence[str]) -> Result | None:
    """Return the same attacks without a defense; an adaptive one is the naive one there."""
    return undefended.by(*attacks) or undefended.by("rmle")


def _hidden(met: Result, before: Result) -> Verdict:
    """Return whether a defense leaves at most half of an attack's gain in SSIM."""
    score, gain, blind = met.score("ssim"), before.gain(), before.score("ssim").baseline
    if gain <= 0:
        return INCONCLUSIVE, "without a defense the attack scores no more than a blind guess"
    least, left, most = ((ssim - blind) / gain for ssim in (score.low, score.mean, score.high))
    state = _at_least(-most, -least, -HALF)
    return state, (
        f"at strength {met.first.strength:g} ({met.lost:+.1f} points of accuracy lost) "
        f"{_reached(met)}; {left:.0%} of its gain of {gain:.3f} over the blind baseline is left"
    )


def _reached(met: Result) -> str:
    """Return what an attack scores, as text."""
    return (
        f"{met.first.attack} reaches SSIM {met.shown('ssim')}, {met.shown('psnr_db')} dB, and "
        f"identifies {met.shown('identification')}"
    )


def _of_line(
    name: str, check: Callable[[Sequence[Defended], Defended], Verdict]
) -> Callable[[Curves], Verdict]:
    """Apply a check to the curve of a defense and to the point without one, of the same victims."""

    def check_line(curves: Curves) -> Verdict:
        undefended = curves[name][0].undefended
        if undefended is None:
            return MISSING, f"the victims of {name} have no record of none"
        return check(curves[name], undefended)

    return check_line


def _fourfold(line: Sequence[Defended], undefended: Defended) -> Verdict:
    """Check that some strength within the cost makes the squared error fourfold.

    By the best attack of either side, which is what an adversary gets, and by each strong attack
    beside itself: a descent that fails on another landscape says little about what the features
    hold. Where the two disagree the verdict is open.
    """
    paid = [one for one in line if one.lost <= COST]
    if not paid:
        return INCONCLUSIVE, "every strength costs more than 2 points of accuracy"
    found = [(one, ratios) for one in paid if (ratios := _ratios(one, undefended))]
    if not found:
        return MISSING, f"no record of {' or '.join(ALL)} on both"
    before = undefended.strongest("psnr_db")
    # the defender chooses the strength
    one, ratios = max(found, key=lambda item: -item[0].strongest("psnr_db").score("psnr_db").mean)
    after = one.strongest("psnr_db")
    best = _ratio(before.score("psnr_db"), after.score("psnr_db"))
    itself = min(ratios.values(), key=lambda ends: ends[1])
    state = _at_least(min(best[0], itself[0]), max(best[2], itself[2]), 4)
    listed = ", ".join(f"{attack} {_times(ends)}" for attack, ends in ratios.items())
    reason = (
        f"at strength {one.first.strength:g} ({one.lost:+.1f} points of accuracy lost), by mean "
        f"PSNR, the best attack ({before.first.attack}, then {after.first.attack}) {_times(best)} "
        f"its squared error; an attack beside itself, {listed}; {_reached(one.best)}"
    )
    untried = [attack for attack in ALL if attack not in ratios]
    return _after_all(state, reason, untried)


def _times(ends: tuple[float, float, float]) -> str:
    """Return a ratio with its interval as text."""
    low, ratio, high = ends
    return f"{ratio:.2f} times [{low:.2f}, {high:.2f}]"


def _radius_governs(line: Sequence[Defended], undefended: Defended) -> Verdict:
    """Check that strong attacks recover less in the order of the radius of the classes.

    Neighbours by radius are compared: the order stands where the intervals of PSNR are apart.
    """
    known = [one for one in line if not math.isnan(one.first.class_radius)]
    ordered = sorted(known, key=lambda one: one.first.class_radius)
    if len(ordered) < LEAST_RADII:
        return MISSING, f"the radius is recorded at {len(ordered)} strengths, of {LEAST_RADII}"
    agree, listed = [], []
    for attack in ALL:
        scores = [met.score("psnr_db") for one in ordered if (met := one.by(attack))]
        if len(scores) < len(ordered):
            return MISSING, f"no record of {attack} at every strength"
        agree += [_order(smaller, larger) for smaller, larger in pairwise(scores)]
        listed.append(f"{attack} {', '.join(f'{score.mean:.2f}' for score in scores)} dB")
    state = FAILS if FAILS in agree else HOLDS if {*agree} == {HOLDS} else INCONCLUSIVE
    radii = ", ".join(f"{one.first.class_radius:.3f}" for one in ordered)
    counts = ", ".join(
        f"{agree.count(kind)} {words}"
        for kind, words in (
            (HOLDS, "follow it"),
            (FAILS, "contradict it"),
            (INCONCLUSIVE, "overlap"),
        )
    )
    return state, (
        f"at a share of the variance within classes of {radii}: {'; '.join(listed)}; of "
        f"{len(agree)} pairs of neighbours {counts}"
    )


def _order(smaller: Score, larger: Score) -> str:
    """Return whether the second score is above the first one, beyond both intervals."""
    return (
        HOLDS if larger.low > smaller.high else FAILS if larger.high < smaller.low else INCONCLUSIVE
    )


def _ratios(one: Defended, undefended: Defended) -> dict[str, tuple[float, float, float]]:
    """Return how many times larger the squared error of each strong attack is than without."""
    return {
        attack: _ratio(before.score("psnr_db"), met.score("psnr_db"))
        for attack in ALL
        if (met := one.by(attack)) and (before := undefended.by(attack))
    }


def _ratio(before: Score, met: Score) -> tuple[float, float, float]:
    """Return how many times larger a squared error is, between the ends of both intervals.

    Args:
        before: PSNR without the defense, or with another one.
        met: PSNR with it.
    """
    low, ratio, high = (
        10 ** (decibel / 10)
        for decibel in (before.low - met.high, before.mean - met.mean, before.high - met.low)
    )
    return low, ratio, high


def _plug_in(curves: Curves) -> Verdict:
    """Check the ratio of squared errors of CEM to noise of the same cost in accuracy."""
    reference, found = curves[REFERENCE], []
    if not same_victims(reference[0].rows, curves[CEM][0].rows):
        return MISSING, f"the records of {CEM} and {REFERENCE} are of different victims"
    for one in curves[CEM]:
        before = _at_accuracy(reference, one.lost)
        if before is not None:
            found.append((one, _ratio(before, one.strongest("psnr_db").score("psnr_db"))))
    if not found:
        return INCONCLUSIVE, "no strength of cem costs as much accuracy as one of the noise alone"
    lows, _, highs = zip(*(ratio for _, ratio in found), strict=True)
    state = _at_least(min(lows), max(highs), PLUG_IN)
    listed = ", ".join(
        f"{100 * (ratio - 1):+.0f} % [{100 * (low - 1):+.0f}, {100 * (high - 1):+.0f}] at strength "
        f"{one.first.strength:g}"
        for one, (low, ratio, high) in found
    )
    return state, f"squared error by the best attack, against noise of equal accuracy, {listed}"


def _at_accuracy(line: Sequence[Defended], lost: float) -> Score | None:
    """Return the best attack's PSNR where a curve loses so much accuracy, between two strengths."""
    points = sorted(
        ((one.lost, one.strongest("psnr_db").score("psnr_db")) for one in line),
        key=lambda point: point[0],
    )
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= lost <= x1:
            share = (lost - x0) / (x1 - x0) if x1 > x0 else 0.0
            ends = ("mean", "low", "high", "baseline")
            return Score(*((1 - share) * getattr(y0, e) + share * getattr(y1, e) for e in ends))
    return None


def _keeps_accuracy(line: Sequence[Defended], undefended: Defended) -> Verdict:
    """Check the accuracy under dropout .8 in training too, and say what is left to hide."""
    at = next((one for one in line if abs(one.first.strength - 0.8) < 1e-9), None)
    if at is None:
        return MISSING, "no record at rate .8"
    least, most = (
        [100 * (row.accuracy_undefended - getattr(row, end)) for row in at.rows]
        for end in ("accuracy_high", "accuracy_low")
    )
    state = _at_least(-max(most), -min(least), -COST)
    left = _hidden(at.best, undefended.best)
    return state, (
        f"{at.best.lost:+.1f} points of accuracy lost [{min(least):.1f}, {max(most):.1f}]; what is "
        f"left to hide: {left[1]}"
    )


def _levels(bits: int) -> Callable[[Sequence[Defended], Defended], Verdict]:
    """Return a check that quantisation to so many bits hides images, whatever it costs."""

    def check(line: Sequence[Defended], undefended: Defended) -> Verdict:
        at = [one for one in line if abs(one.first.strength - 2.0**-bits) < 1e-9]
        if not at:
            return MISSING, f"no record of {bits} bits"
        return _by_all(at[0], undefended)

    return check


CLAIMS = (
    Claim(
        "Shredder hides images: 74.7 % less mutual information for 1.58 % of accuracy (Mireshghallah et al. 2020); here against an attack that subtracts the learned noise",
        ["shredder"],
        _of_line("shredder", _hides("rmle_adaptive")),
    ),
    Claim(
        "NoPeek hides images (Vepakomma et al. 2020); here against a fresh inverse network",
        ["nopeek"],
        _of_line("nopeek", _hides("inverse")),
    ),
    Claim(
        "CEM raises the squared error by 12.9 to 48.2 % at equal accuracy (Xia et al. 2025); here against noise-aware training with Gaussian noise alone",
        [CEM, REFERENCE],
        _plug_in,
    ),
    Claim(
        "Training with the noise on keeps the accuracy under dropout .8",
        ["noise_aware(dropout)"],
        _of_line("noise_aware(dropout)", _keeps_accuracy),
    ),
    Claim(
        "Label smoothing makes the squared error fourfold (ICML 2026)",
        ["label_smoothing"],
        _of_line("label_smoothing", _fourfold),
    ),
    Claim(
        "The radius of the classes among the features governs how well images are recovered (ICML 2026); here over the strengths of label smoothing",
        ["label_smoothing"],
        _of_line("label_smoothing", _radius_governs),
    ),
    Claim(
        "Sending the largest entries alone (top-k) hides images",
        ["topk"],
        _of_line("topk", _hides()),
    ),
    *(
        Claim(
            f"Quantisation to {bits} bit{'s' if bits > 1 else ''} hides images",
            ["quantize"],
            _of_line("quantize", _levels(bits)),
        )
        for bits in (1, 2, 4, 8)
    ),
)


def judge(claim: Claim, curves: Curves) -> Verdict:
    """Return the verdict on a claim; where records are missing it names them."""
    absent = [name for name in ("none", *claim.defenses) if name not in curves]
    if absent:
        return MISSING, f"no record of {' and '.join(absent)}"
    return claim.check(curves)
