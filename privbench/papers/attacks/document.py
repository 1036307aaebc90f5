"""Attacks compared with earlier ones, by ``python -m privbench.papers.attacks``."""

from collections.abc import Sequence
from statistics import fmean

from privbench.evaluation.statistics import Interval
from privbench.papers.attacks.options import compared, is_trial
from privbench.report.analysis.frame import (
    SeedGroup,
    on_shared_victims,
    paired_interval,
    shared_images,
)
from privbench.report.analysis.labels import (
    attack_name,
    bracket,
    describe_access,
    describe_aux,
    describe_defense,
    number,
    signed,
    span,
)
from privbench.report.analysis.selection import Selection
from privbench.report.analysis.tables import Rows, as_markdown
from privbench.report.analysis.tradeoffs import Point, SplitResults, depth, panels
from privbench.report.analysis.worst_case import Budget, seconds_spent, unreliable

DESCENTS = ("rmle", "rmle_adaptive")
"""Descents that learn nothing from images: naive, and with the defense known."""
NETWORK = "inverse"
"""A network that learns from answers of the defended edge."""
EARLIER = (*DESCENTS, NETWORK)
"""What there was before priors and refinements."""
METRICS = {"ssim": "SSIM", "psnr_db": "PSNR"}
HEAD = ["attack", "rights", "seeds", "SSIM", "PSNR [dB]", "identified",
        "SSIM, less the best earlier attack's", "PSNR, less the best earlier attack's", "budget",
        "seconds", "warning"]  # fmt: skip
LEGEND = """\
A score is the mean over the targets of each target's mean over seeds, in brackets its interval over
targets (95 %, BCa). *The best earlier attack* is `rmle`, `rmle_adaptive` or `inverse`, whichever of
those that were run has the highest score in that setting; *the better descent* is one of the first
two. Where `inverse` has no row it was not run, and the difference says nothing about it; the first
table's last columns count settings with it alone. A difference is paired, over the same targets of
the same victims, with its 95 % interval; one that excludes 0 is bold.
*Blind* is the blind baseline, the best score of guesses that use nothing of a target but its
predicted label. *Seconds* are those of one seed, trainings that another cell had made included
(records of earlier versions lack those), on a machine that ran other cells at the same time.
Convergence is judged of descents on the pixels; a prior's turns, a network's training and `unsplit`
end with their schedule, so that an empty last column says nothing of them. The options of
`rmle_prior` and `diffusion_adaptive` were compared on auxiliary images (the last tables). The
former's budget of 800 passes was first set on ten MNIST test images; on auxiliary images half as
many recover less, and twice as many more."""


def document(selection: Selection, command: str) -> str:
    """Return the whole document.

    Args:
        selection: Records of any settings.
        command: Command that writes it.
    """
    tried = [record for record in selection.records if is_trial(record)]
    held = [r for r in selection.records if r.attack != "blind" and not is_trial(r)]
    parts = [
        "# What attacks recover, compared with earlier ones",
        f"Written by `{command}`: {'; '.join(selection.metadata)}.",
        LEGEND,
    ]
    found = sorted(panels(held, selection.gaps), key=lambda one: (one.dataset, depth(one.split)))
    settings = [(panel, points) for panel in found for points in panel.settings().values()]
    parts += [as_markdown(_overview([points for _, points in settings])).rstrip()] * bool(found)
    for panel, points in settings:
        parts += _section(panel, points)
    parts += compared(tried)
    return "\n\n".join(parts if found or tried else [*parts, "No record is there yet."]) + "\n"


def _section(panel: SplitResults, points: Sequence[Point]) -> list[str]:
    """Return heading, costs and table of one setting."""
    one = points[0].group.first
    defense = describe_defense(one.defense, one.strength, one.site)
    largest = max(points, key=lambda point: len(point.group.records))
    costs = (
        f"Accuracy {largest.accuracy:.4f} ({largest.undefended:.4f} without a defense), "
        f"{largest.images} targets; blind {number(largest.group.baseline('psnr_db'), 'psnr_db')} "
        f"dB, SSIM {number(largest.group.baseline('ssim'), 'ssim')}."
    )
    costs += "".join(_ceiling(point.group) for point in points)
    groups = [point.group for point in points]
    apart = [group for group in groups if group.victims.isdisjoint(largest.group.victims)]
    if apart:
        names = ", ".join(attack_name(group.first) for group in apart)
        costs += f" On victims of other weights: {names}."
    return [
        f"## {panel.title}, {defense}{describe_aux(one)}",
        costs,
        as_markdown(_table(points)).rstrip(),
    ]


def _ceiling(group: SeedGroup) -> str:
    """Return a sentence about what an attack's prior allows; empty where it is not measured."""
    noted = [record.notes.get("prior_ceiling_db") for record in group.records]
    found = [decibel for decibel in noted if decibel is not None]
    if not found:
        return ""
    return (
        f" The prior of {attack_name(group.first)} reaches {fmean(found):.1f} dB where it is given "
        "images in place of features."
    )


def _overview(settings: Sequence[Sequence[Point]]) -> Rows:
    """Return in how many settings each later attack is below earlier ones, beyond the interval.

    Below the best of all counts where the network was run, too: it is the strongest in many.
    """
    rows: Rows = [["attack", "settings", *(
        f"{metric} below {whose}"
        for whose in ("the better descent's", "the best earlier attack's")
        for metric in METRICS.values()
    )]]  # fmt: skip
    met: dict[str, list[tuple[SeedGroup, list[SeedGroup]]]] = {}
    for points in settings:
        groups = [point.group for point in points]
        for group in groups:
            if group.first.attack not in EARLIER:
                met.setdefault(attack_name(group.first), []).append((group, groups))
    for name, pairs in sorted(met.items(), key=lambda item: -len(item[1])):
        cells = [name, str(len(pairs))]
        for earlier in (DESCENTS, EARLIER):
            for metric in METRICS:
                differences = [
                    _difference(group, _of(groups, earlier), metric)
                    for group, groups in pairs
                    if earlier is DESCENTS or _of(groups, [NETWORK])
                ]
                known = [one[1] for one in differences if one and one[1]]
                cells.append(f"{sum(high < 0 for _, high in known)} of {len(known)}")
        rows.append(cells)
    return rows


def _of(groups: Sequence[SeedGroup], attacks: Sequence[str]) -> list[SeedGroup]:
    return [group for group in groups if group.first.attack in attacks]


def _table(points: Sequence[Point]) -> Rows:
    ordered = sorted(points, key=lambda point: -point.score("ssim"))
    earlier = _of([point.group for point in points], EARLIER)
    return [HEAD, *(_row(point, earlier) for point in ordered)]


def _row(point: Point, earlier: Sequence[SeedGroup]) -> list[str]:
    group, one = point.group, point.group.first
    return [
        attack_name(one),
        describe_access(one.access),
        ", ".join(map(str, group.seeds)),
        span(group, "ssim"),
        span(group, "psnr_db"),
        f"{group.score('identification'):.0%}",
        *(_gain(group, earlier, metric) for metric in METRICS),
        str(Budget.of(one)),
        f"{seconds_spent(group):,.0f}",
        "; ".join([*["seeds are missing"] * (not point.complete), *unreliable(group)]),
    ]


def _gain(group: SeedGroup, earlier: Sequence[SeedGroup], metric: str) -> str:
    """Return the paired difference to the best earlier attack on this attack's victims."""
    if not earlier:
        return "-"
    found = _difference(group, earlier, metric)
    if found is None:
        return "no victim in common"
    better, interval, images = found
    if group.first.attack == better.first.attack:
        return "the best earlier attack"
    text = signed(group.restricted_to(better.victims).score(metric) - better.score(metric), metric)
    if interval is None:
        return text
    text += bracket(interval, images, metric)
    return f"**{text}**" if interval[0] > 0 or interval[1] < 0 else text


def _difference(
    group: SeedGroup, earlier: Sequence[SeedGroup], metric: str
) -> tuple[SeedGroup, Interval | None, int] | None:
    """Return the best earlier attack on shared victims, and how far this one is above it.

    Returns:
        Its records of the shared victims, the paired interval, and the number of images; null
        where no victim is shared.
    """
    shared = [both for one in earlier if (both := on_shared_victims(group, one))]
    if not shared:
        return None
    mine, better = max(shared, key=lambda both: both[1].score(metric))
    return better, paired_interval(mine, better, metric), shared_images(mine, better)
