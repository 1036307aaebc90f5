"""Attacks beside descents without a learned prior, by ``python -m privbench.papers.attacks``."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

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
from privbench.report.analysis.tables import Rows, as_markdown
from privbench.report.analysis.tradeoffs import Point, SplitResults, depth, panels
from privbench.report.analysis.worst_case import Budget, listed, unreliable
from privbench.store.record import Record

EARLIER = ("rmle", "rmle_adaptive")
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
predicted label. *Seconds* are those of one seed, networks trained for it included, unless another
attack of the same setting had trained them; two attacks ran side by side, a core each. The options
of `rmle_prior` were compared on ten MNIST test images, which may be among the targets."""


def document(records: Iterable[Record], command: str, gaps: Mapping[str, Any]) -> str:
    """Return the whole document.

    Args:
        records: Records of any settings.
        command: Command that writes it.
        gaps: Groups that lack a seed of their sweep.
    """
    held = [record for record in records if record.attack != "blind"]
    parts = [
        "# What attacks recover, beside descents without a learned prior",
        f"Written by `{command}`; nothing here is typed.",
        LEGEND,
    ]
    found = panels(held, gaps)
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
        as_markdown(_table([point.group for point in points])).rstrip(),
    ]


def _table(groups: Sequence[SeedGroup]) -> Rows:
    ordered = sorted(groups, key=lambda group: -group.score("ssim"))
    descents = [group for group in groups if group.first.attack in EARLIER]
    return [HEAD, *(_row(group, descents) for group in ordered)]


def _row(group: SeedGroup, descents: Sequence[SeedGroup]) -> list[str]:
    one = group.first
    seconds = fmean(
        record.seconds["fit"] + record.seconds["reconstruct"] for record in group.records
    )
    return [
        attack_name(one),
        describe_access(one.access),
        listed(group.seeds).split(" ", 1)[1],
        span(group, "ssim"),
        span(group, "psnr_db"),
        f"{group.score('identification'):.0%}",
        _gain(group, descents, "ssim"),
        _gain(group, descents, "psnr_db"),
        str(Budget.of(one)),
        f"{seconds:,.0f}",
        "; ".join(unreliable(group)),
    ]


def _gain(group: SeedGroup, descents: Iterable[SeedGroup], metric: str) -> str:
    """Return the paired difference to the better descent, on the victims of both."""
    better = max(descents, key=lambda descent: descent.score(metric), default=None)
    if better is None:
        return "-"
    if group.key == better.key:
        return "the better descent"
    both = on_shared_victims(group, better)
    if both is None:
        return "no victim in common"
    interval = paired_interval(*both, metric)
    text = signed(both[0].score(metric) - both[1].score(metric), metric)
    if interval is None:
        return text
    text += bracket(interval, shared_images(*both), metric)
    return f"**{text}**" if interval[0] > 0 or interval[1] < 0 else text
