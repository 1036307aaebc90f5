"""Checks of the paper's statements on attacks without a defense."""

from collections.abc import Callable, Sequence
from itertools import combinations, pairwise

from privbench.papers.he2020.published import METRICS, load_published
from privbench.papers.he2020.sources import MeasuredResults, ResultSource
from privbench.papers.he2020.verdicts import (
    MISSING,
    REPRODUCED,
    SIMILAR,
    TIE,
    all_of,
    by_metric,
    recovers_less,
    recovers_less_by,
    similar,
)
from privbench.papers.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict
from privbench.report.analysis.labels import metric_label, number
from privbench.report.analysis.tradeoffs import LAYERS

SPLITS = {"mnist": ("conv1", "relu2"), "cifar10": ("conv11", "relu22", "relu32")}
"""Split points of the attack tables, from shallow to deep."""
DEPTH = tuple(r.split for r in load_published() if r.source == "fig15" and r.split in LAYERS)
"""Split points of figure 15, from shallow to deep, without the last one (an empty cloud)."""
RMLE, QUERYFREE = ("rmle_paper", ""), ("shadow", "disjoint")
SAME, KIND, NOISE = (("inverse_paper", aux) for aux in ("train", "disjoint", "noise"))
SHADOWS = [(name, aux) for name in ("shadow", "shadow_same") for aux in ("train", "disjoint")]
OURS = ("conv1", "conv11")
"""Split points whose weight of total variation is not published."""
STATED = {
    RMLE: {"conv1": (39.69, 1.00), "relu2": (15.10, 0.60)},
    KIND: {"conv1": (40.72, 0.99), "relu2": (20.81, 0.80)},
    QUERYFREE: {"conv1": (17.86, 0.64), "relu2": (8.03, 0.38)},
}
"""Section III on MNIST: dB and SSIM by attack and split point."""
FORMATS = (("psnr_db", 1), ("ssim", 2))


def deeper_recovers_less(*attacks: tuple[str, str]) -> Callable[[ResultSource, str], Verdict]:
    """Return a check that each attack recovers less at a deeper split point."""
    return lambda results, data: all_of(
        (f"{deep} below {shallow}, {' '.join(attack).strip()}",
         recovers_less(results.attack(data, deep, *attack), results.attack(data, shallow, *attack)))
        for attack in attacks
        for shallow, deep in pairwise(SPLITS[data])
    )  # fmt: skip


def recovers_less_than(
    one: tuple[str, str], *others: tuple[str, str]
) -> Callable[[ResultSource, str], Verdict]:
    """Return a check that one attack recovers less than others at every split of the tables."""
    return lambda results, data: all_of(
        (f"{split}, {' '.join(one).strip()} below {' '.join(other).strip()}",
         recovers_less(results.attack(data, split, *one), results.attack(data, split, *other)))
        for split in SPLITS[data]
        for other in others
    )  # fmt: skip


def inverse_recovers_more(results: ResultSource, data: str) -> Verdict:
    """Check that the inverse network recovers more than rMLE, where no weight of ours decides."""

    def judge(split: str) -> Verdict:
        state, details = recovers_less(
            results.attack(data, split, *RMLE), results.attack(data, split, *KIND)
        )
        if split in OURS and isinstance(results, MeasuredResults) and (state, details) != MISSING:
            return INCONCLUSIVE, f"{state}, by a weight of total variation that is ours: {details}"
        return state, details

    return all_of(
        (f"{split}, rmle_paper below inverse_paper", judge(split)) for split in SPLITS[data]
    )


def gives_stated(attack: tuple[str, str]) -> Callable[[ResultSource, str], Verdict]:
    """Return a check of section III's numbers: equal in the paper's tables, similar here."""

    def judge(results: ResultSource, data: str, split: str, stated: Sequence[float]) -> Verdict:
        spot = results.attack(data, split, *attack)
        if spot is None:
            return MISSING
        here = [spot.comparable_score(metric) for metric in ("psnr_db", "ssim")]
        limit = REPRODUCED if isinstance(results, MeasuredResults) else TIE
        meets = [
            abs(score - wanted) <= limit[metric] + 1e-9
            for score, wanted, metric in zip(here, stated, ("psnr_db", "ssim"), strict=True)
        ]
        details = f"{spot.comparable_text()} (stated: {stated[0]:.2f} / {stated[1]:.2f})"
        return (HOLDS if all(meets) else FAILS), details

    return lambda results, data: all_of(
        (split, judge(results, data, split, stated)) for split, stated in STATED[attack].items()
    )


def stated_text(attack: tuple[str, str], text: str) -> str:
    """Return a statement with the numbers of section III."""
    numbers = (
        f"{psnr:.2f} dB / {ssim:.2f} at {split}" for split, (psnr, ssim) in STATED[attack].items()
    )
    return f"{text} gives {', '.join(numbers)}"


def aux_images_matter(results: ResultSource, data: str) -> Verdict:
    """Check that images of the same kind serve as well as the victim's, and noise much less."""
    parts: list[tuple[str, Verdict]] = []
    for split in SPLITS[data]:
        same, kind, noise = (results.attack(data, split, *which) for which in (SAME, KIND, NOISE))
        for metric in METRICS:
            alike = similar(same, kind, metric) if same and kind else MISSING
            margin = SIMILAR[metric]
            less = recovers_less_by(noise, kind, metric, margin) if noise and kind else MISSING
            parts.append((f"{split}, the victim's and others, {metric_label(metric)}", alike))
            parts.append((f"{split}, noise and others, {metric_label(metric)}", less))
    return all_of(parts)


def falls_with_depth(results: ResultSource, data: str) -> Verdict:
    """Check that scores fall from the first to the last split, and never rise by a margin."""
    spots = {split: spot for split in DEPTH if (spot := results.partition(data, split))}
    if len(spots) < len(DEPTH):
        details = f"measured at {len(spots)} of {len(DEPTH)} splits"
        return (INCONCLUSIVE, details) if spots else MISSING

    def judge(metric: str) -> Verdict:
        margin = SIMILAR[metric]

        def less(one: str, other: str) -> str:
            return recovers_less_by(spots[one], spots[other], metric, margin)[0]

        falls = less(DEPTH[-1], DEPTH[0])
        rises = {(a, b): less(a, b) for a, b in combinations(DEPTH, 2)}
        above, unsure = (
            dict.fromkeys(b for (_, b), state in rises.items() if state == wanted)
            for wanted in (HOLDS, INCONCLUSIVE)
        )
        details = ", ".join(
            f"{split} {number(spot.scores[metric] or 0.0, metric)}" for split, spot in spots.items()
        )
        details += f"; more than {margin:g} above a split before it: {', '.join(above) or 'none'}"
        if doubtful := [split for split in unsure if split not in above]:
            details += f"; inconclusive: {', '.join(doubtful)}"
        if falls == FAILS or above:
            return FAILS, details
        return (INCONCLUSIVE if unsure else falls), details

    return by_metric(judge)


def drops_at_fc1(results: ResultSource, data: str) -> Verdict:
    """Check the drop at fc1 by SSIM: PSNR is that of a grey image on either side."""
    before, after = (results.partition(data, split) for split in ("pool2", "fc1"))
    if not before or not after:
        return MISSING
    state, details = recovers_less_by(after, before, "ssim", SIMILAR["ssim"])
    return state, f"by {after.point.group.first.attack}: {details}" if after.point else details


def blind_has_good_quality(results: ResultSource, data: str) -> Verdict:
    """Check whether the blind baseline reaches the stated threshold of good quality."""
    if not isinstance(results, MeasuredResults):
        return INCONCLUSIVE, "no blind baseline was measured"
    floors = {
        tuple(round(point.group.baseline(metric), digits) for metric, digits in FORMATS)
        for point in results.points
        if point.group.first.dataset == data
        and not point.strength
        and point.group.first.config["dataset"].get("aux", "disjoint") == "disjoint"
    }
    if not floors:
        return MISSING
    passes = [psnr > 10 or ssim > 0.3 for psnr, ssim in floors]
    details = " and ".join(f"{psnr:.1f} dB / {ssim:.2f}" for psnr, ssim in sorted(floors))
    state = FAILS if all(passes) else INCONCLUSIVE if any(passes) else HOLDS
    return state, f"the blind baseline scores {details}"
