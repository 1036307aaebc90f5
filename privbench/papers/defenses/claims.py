"""Published claims about defenses, each with a verdict that is computed from the rows.

A defense counts as hiding images where it costs at most two points of accuracy and leaves at most
half of what the same attacks gain over the blind baseline without a defense, in SSIM and in the
share of images that are identified: that baseline is the same on both sides, for a guess behind a
cloud that errs is worse, not the attack better. A verdict falls or stands where the interval of the
score does, else it is inconclusive.
"""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from privbench.papers.defenses.results import COST, Defended, Result, same_victims
from privbench.papers.defenses.rows import Row, Score
from privbench.papers.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict

MISSING = "not measured"
Curves = Mapping[str, Sequence[Defended]]
"""Strengths of each defense of one setting, by its name."""
Pair = tuple[Defended, Defended]
"""A defense at a strength, and the same victims without it."""
Ends = tuple[float, float, float]
"""A number between the ends of its interval."""
HALF = 0.5
"""Share of the undefended gain that may be left where an image counts as hidden: our choice."""
HIDDEN = {"ssim": "SSIM", "identification": "identified images"}
"""Scores of which at most that share may be left, with their names."""
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


def _hides(*attacks: str) -> Callable[[Sequence[Pair]], Verdict]:
    """Return a check that a defense hides images from these attacks, of all where none is named."""

    def check(line: Sequence[Pair]) -> Verdict:
        paid = [pair for pair in line if pair[0].best.lost <= COST]
        strongest, undefended = paid[-1] if paid else min(line, key=lambda pair: pair[0].best.lost)
        met, before = strongest.by(*attacks), _before(undefended, attacks)
        if met is None or before is None:
            return MISSING, f"no record of {' or '.join(attacks) or 'an attack'} on both"
        state, reason = by_all = hides_images(strongest, undefended)
        if attacks:
            state, reason = _hidden(met, before, met, before)
            if state == HOLDS and by_all[0] != HOLDS:  # another attack is stronger, or was not run
                state, reason = INCONCLUSIVE, f"{reason}; of all attacks, {by_all[1]}"
        if paid:
            return state, reason
        # what does not hide at a higher cost does not at a lower one
        return FAILS if state == FAILS else INCONCLUSIVE, f"every strength costs more; {reason}"

    return check


ALL = ("rmle_prior", "inverse")
"""Attacks without which no defense is said to hide images from all."""


def hides_images(one: Defended, undefended: Defended) -> Verdict:
    """Return whether a defense hides images from the strongest of all attacks, and the reason.

    That it does needs the strong attacks on it, and that it does not needs them without it. An
    attack that met fewer seeds than others leaves the verdict open where it would give another one.
    What it costs is not asked.

    Args:
        one: The defense at a strength.
        undefended: The same victims without it.
    """
    most = [side.strongest("identification") for side in (one, undefended)]
    state, reason = _hidden(one.best, undefended.best, *most)
    fails = state == FAILS
    met, where = (undefended, "without the defense") if fails else (one, "there")
    for few in met.on_fewer_seeds:
        pairs = (one.best, few, most[0], few) if fails else (few, undefended.best, few, most[1])
        if state != INCONCLUSIVE and _hidden(*pairs)[0] != state:
            state, reason = INCONCLUSIVE, f"{reason}; {where}, on fewer seeds, {_reached(few)}"
    return _after_all(state, reason, [a for a in ALL if met.by(a) is None], where)


def _after_all(state: str, reason: str, untried: Sequence[str], where: str = "there") -> Verdict:
    """Return a verdict, which needs the strong attacks."""
    if state != INCONCLUSIVE and untried:
        return INCONCLUSIVE, f"{reason}; not run {where}: {' and '.join(untried)}"
    return state, reason


def _before(undefended: Defended, attacks: Sequence[str]) -> Result | None:
    """Return the same attacks without a defense; an adaptive one is the naive one there."""
    return undefended.by(*attacks) or undefended.by("rmle")


def _hidden(met: Result, before: Result, found: Result, found_before: Result) -> Verdict:
    """Return whether a defense leaves at most half of the gain in SSIM and in identification.

    Args:
        met: Attack whose SSIM counts.
        before: Without the defense.
        found: Attack whose share of identified images counts.
        found_before: Without the defense.
    """
    states, shares = [], []
    for metric, after, bare in (
        ("ssim", met, before),
        ("identification", found, found_before),
    ):
        score, gain, blind = after.score(metric), bare.gain(metric), bare.score(metric).baseline
        if not gain > 0:
            return INCONCLUSIVE, "without a defense the attack scores no more than a blind guess"
        least, left, most = ((end - blind) / gain for end in (score.low, score.mean, score.high))
        states.append(_at_least(-most, -least, -HALF))
        shares.append(f"{left:.0%} in {HIDDEN[metric]}")
    state = FAILS if FAILS in states else HOLDS if {*states} == {HOLDS} else INCONCLUSIVE
    return state, (
        f"at strength {met.first.strength:g} ({met.lost:+.1f} points of accuracy lost) "
        f"{_reached(met)}; of what an attack has over a blind guess without the defense, "
        f"{' and '.join(shares)} are left"
    )


def _reached(met: Result) -> str:
    """Return what an attack scores, as text."""
    return (
        f"{met.first.attack} reaches SSIM {met.shown('ssim')}, {met.shown('psnr_db')} dB, and "
        f"identifies {met.shown('identification')}"
    )


def _of_line(name: str, check: Callable[[Sequence[Pair]], Verdict]) -> Callable[[Curves], Verdict]:
    """Apply a check to the curve of a defense, each strength with the same victims without it."""

    def check_line(curves: Curves) -> Verdict:
        pairs = [(one, one.undefended) for one in curves[name]]
        line = [(one, undefended) for one, undefended in pairs if undefended]
        if not line:
            return MISSING, f"the victims of {name} have no record of none"
        return check(line)

    return check_line


def _fourfold(line: Sequence[Pair]) -> Verdict:
    """Check that some strength within the cost makes the squared error fourfold.

    By the best attack of either side, which is what an adversary gets, and by each strong attack
    compared with itself: a descent that fails on another landscape says little about what the features
    hold. Where the two disagree the verdict is open.
    """
    paid = [pair for pair in line if pair[0].best.lost <= COST]
    if not paid:
        return INCONCLUSIVE, "every strength costs more than 2 points of accuracy"
    found = [(*pair, ratios) for pair in paid if (ratios := _ratios(*pair))]
    if not found:
        return MISSING, f"no record of {' or '.join(ALL)} on both"
    # the defender chooses the strength
    one, undefended, ratios = max(
        found, key=lambda item: -item[0].strongest("psnr_db").score("psnr_db").mean
    )
    before = undefended.strongest("psnr_db")
    after = one.strongest("psnr_db")
    best = _ratio(before.score("psnr_db"), after.score("psnr_db"))
    itself = min(ratios.values(), key=lambda ends: ends[1])
    state = _at_least(min(best[0], itself[0]), max(best[2], itself[2]), 4)
    listed = ", ".join(f"{attack} {_times(ends)}" for attack, ends in ratios.items())
    reason = (
        f"at strength {one.first.strength:g} ({one.best.lost:+.1f} points of accuracy lost), by mean "
        f"PSNR, the best attack ({before.first.attack}, then {after.first.attack}) {_times(best)} "
        f"its squared error; an attack compared with itself, {listed}; {_reached(one.best)}"
    )
    untried = [attack for attack in ALL if attack not in ratios]
    return _after_all(state, reason, untried)


def _times(ends: Ends) -> str:
    """Return a ratio with its interval as text."""
    low, ratio, high = ends
    return f"{ratio:.2f} times [{low:.2f}, {high:.2f}]"


def _radius_governs(line: Sequence[Pair]) -> Verdict:
    """Check that strong attacks recover less in the order of the radius of the classes.

    Neighbours by radius are compared: the order stands where the intervals of PSNR are apart.
    """
    known = [one for one, _ in line if not math.isnan(_radius(one))]
    ordered = sorted(known, key=_radius)
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
    radii = ", ".join(f"{_radius(one):.3f}" for one in ordered)
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


def _radius(one: Defended) -> float:
    """Return the radius of the classes, the mean over the rows as their scores are."""
    return fmean(row.class_radius for row in one.rows)


def _order(smaller: Score, larger: Score) -> str:
    """Return whether the second score is above the first one, beyond both intervals."""
    return (
        HOLDS if larger.low > smaller.high else FAILS if larger.high < smaller.low else INCONCLUSIVE
    )


def _ratios(one: Defended, undefended: Defended) -> dict[str, Ends]:
    """Return how many times larger the squared error of each strong attack is than without."""
    return {
        attack: _ratio(before.score("psnr_db"), met.score("psnr_db"))
        for attack in ALL
        if (met := one.by(attack)) and (before := undefended.by(attack))
    }


def _ratio(before: Score, met: Score) -> Ends:
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
    """Check the ratio of squared errors of CEM to noise of the same cost in accuracy.

    By the best of the attacks that met every strength of both.
    """
    reference, ours = curves[REFERENCE], curves[CEM]
    if not same_victims(reference[0].rows, ours[0].rows):
        return MISSING, f"the records of {CEM} and {REFERENCE} are of different victims"
    met = [{result.first.attack for result in one.results} for one in (*reference, *ours)]
    shared = set.intersection(*met)
    if not shared:
        return MISSING, f"no attack met every strength of {CEM} and {REFERENCE}"
    line = sorted((_strongest(one, shared) for one in reference), key=lambda result: result.lost)
    without = reference[0].undefended
    bare = without.strongest("psnr_db").score("psnr_db") if without else None
    found = [(one, ends) for one in ours if (ends := _beside(line, _strongest(one, shared), bare))]
    if not found:
        return INCONCLUSIVE, "no strength of cem costs as much accuracy as one of the noise alone"
    lows, _, highs = zip(*(ratio for _, ratio in found), strict=True)
    state = _at_least(min(lows), max(highs), PLUG_IN)
    listed = ", ".join(
        f"{100 * (ratio - 1):+.0f} % [{100 * (low - 1):+.0f}, {100 * (high - 1):+.0f}] at strength "
        f"{one.first.strength:g}"
        for one, (low, ratio, high) in found
    )
    reason = (
        f"squared error by the best attack, against noise of equal accuracy, {listed}; the "
        "intervals hold those of both errors and of the accuracy"
    )
    return _after_all(state, reason, [attack for attack in ALL if attack not in shared], "on both")


def _strongest(one: Defended, attacks: Container[str]) -> Result:
    """Return the best of some attacks by PSNR."""
    met = [result for result in one.results if result.first.attack in attacks]
    return max(met, key=lambda result: result.score("psnr_db").mean)


def _beside(line: Sequence[Result], met: Result, bare: Score | None) -> Ends | None:
    """Return how many times the squared error is that of a curve where it loses as much accuracy.

    Args:
        line: The curve, by the accuracy that it loses.
        met: Compared, at its accuracy and at the ends of its interval.
        bare: Without a defense, which stands for what loses less than the curve; what loses more
            has any ratio.
    """
    before = _at_accuracy(line, met.lost)
    if before is None:
        return None
    after, (least, most) = met.score("psnr_db"), _lost(met.rows)
    cheaper, dearer = _at_accuracy(line, least) or bare, _at_accuracy(line, most)
    known = [_ratio(at, after) for at in (before, cheaper, dearer) if at]
    low = min(ends[0] for ends in known) if dearer else 0.0
    high = max(ends[2] for ends in known) if cheaper else math.inf
    return low, _ratio(before, after)[1], high


def _at_accuracy(line: Sequence[Result], lost: float) -> Score | None:
    """Return the PSNR where a curve loses so much accuracy, between two strengths."""
    points = [(result.lost, result.score("psnr_db")) for result in line]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= lost <= x1:
            share = (lost - x0) / (x1 - x0) if x1 > x0 else 0.0
            ends = ("mean", "low", "high", "baseline")
            return Score(*((1 - share) * getattr(y0, e) + share * getattr(y1, e) for e in ends))
    return None


def _keeps_accuracy(line: Sequence[Pair]) -> Verdict:
    """Check the accuracy under dropout .8 in training too, and say what is left to hide."""
    found = [pair for pair in line if abs(pair[0].first.strength - 0.8) < 1e-9]
    if not found:
        return MISSING, "no record at rate .8"
    at, undefended = found[0]
    least, most = _lost(at.rows)
    state = _at_least(-most, -least, -COST)
    left = hides_images(at, undefended)
    return state, (
        f"{at.best.lost:+.1f} points of accuracy lost [{least:.1f}, {most:.1f}]; what is left to "
        f"hide: {left[1]}"
    )


def _lost(rows: Sequence[Row]) -> tuple[float, float]:
    """Return the least and the most points of accuracy that rows lose, by their intervals."""
    least, most = (
        [100 * (row.accuracy_undefended - getattr(row, end)) for row in rows]
        for end in ("accuracy_high", "accuracy_low")
    )
    return min(least), max(most)


def _levels(bits: int) -> Callable[[Sequence[Pair]], Verdict]:
    """Return a check that quantisation to so many bits hides images, whatever it costs."""

    def check(line: Sequence[Pair]) -> Verdict:
        at = [pair for pair in line if abs(pair[0].first.strength - 2.0**-bits) < 1e-9]
        if not at:
            return MISSING, f"no record of {bits} bits"
        return hides_images(*at[0])

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
        "Label smoothing makes the squared error fourfold (Partitioning for Intrinsic Model Inversion Resistance, ICML 2026)",
        ["label_smoothing"],
        _of_line("label_smoothing", _fourfold),
    ),
    Claim(
        "The radius of the classes among the features governs how well images are recovered (the same paper); here over the strengths of label smoothing",
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
