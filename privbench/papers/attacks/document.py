"""Attacks beside descents without a learned prior, by ``python -m privbench.papers.attacks``."""

from collections.abc import Sequence

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
HEAD = ["attack", "rights", "seeds", "SSIM", "PSNR [dB]", "identified",
        "SSIM, less the better descent's", "PSNR, less the better descent's", "budget", "seconds",
        "warning"]  # fmt: skip
LEGEND = """\
A score is the mean over the targets of each target's mean over seeds, in brackets its interval over
targets (95 %, BCa). *The better descent* is `rmle` or `rmle_adaptive`, whichever has the higher
score in that setting: what was there before attacks learned from images. A difference is paired,
over the same targets of the same victims, with its 95 % interval; one that excludes 0 is bold.
*Blind* is the blind baseline, the best score of guesses that use nothing of a target but its
predicted label. *Seconds* are those of one seed, trainings that another cell had made included
(records of earlier versions lack those). The options of `rmle_prior` were compared on ten MNIST
test images, which may be among the targets."""


def document(selection: Selection, command: str) -> str:
    """Return the whole document.

    Args:
        selection: Records of any settings.
        command: Command that writes it.
    """
    held = [record for record in selection.records if record.attack != "blind"]
    parts = [
        "# What attacks recover, beside descents without a learned prior",
        f"Written by `{command}`: {'; '.join(selection.metadata)}.",
        LEGEND,
    ]
    found = panels(held, selection.gaps)
    for panel in sorted(found, key=lambda panel: (panel.dataset, depth(panel.split))):
        for points in panel.settings().values():
            parts += _section(panel, points)
    return "\n\n".join(parts if found else [*parts, "No record is there yet."]) + "\n"


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
    return [
        f"## {panel.title}, {defense}{describe_aux(one)}",
        costs,
        as_markdown(_table(points)).rstrip(),
    ]


def _table(points: Sequence[Point]) -> Rows:
    ordered = sorted(points, key=lambda point: -point.score("ssim"))
    descents = [point.group for point in points if point.group.first.attack in DESCENTS]
    return [HEAD, *(_row(point, descents) for point in ordered)]


def _row(point: Point, descents: Sequence[SeedGroup]) -> list[str]:
    group, one = point.group, point.group.first
    return [
        attack_name(one),
        describe_access(one.access),
        ", ".join(map(str, group.seeds)),
        span(group, "ssim"),
        span(group, "psnr_db"),
        f"{group.score('identification'):.0%}",
        _gain(group, descents, "ssim"),
        _gain(group, descents, "psnr_db"),
        str(Budget.of(one)),
        f"{seconds_spent(group):,.0f}",
        "; ".join([*["seeds are missing"] * (not point.complete), *unreliable(group)]),
    ]


def _gain(group: SeedGroup, descents: Sequence[SeedGroup], metric: str) -> str:
    """Return the paired difference to the better descent on this attack's victims."""
    if not descents:
        return "-"
    shared = [both for descent in descents if (both := on_shared_victims(group, descent))]
    if not shared:
        return "no victim in common"
    mine, better = max(shared, key=lambda both: both[1].score(metric))
    if group.first.attack == better.first.attack:
        return "the better descent"
    interval = paired_interval(mine, better, metric)
    text = signed(mine.score(metric) - better.score(metric), metric)
    if interval is None:
        return text
    text += bracket(interval, shared_images(mine, better), metric)
    return f"**{text}**" if interval[0] > 0 or interval[1] < 0 else text
