"""Tables of adversaries that are not the paper's: stronger ones, and what adapting adds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from privbench.evaluation.statistics import interval_label, victim_interval, victim_label
from privbench.papers.he2020.comparison import baseline, seeds
from privbench.papers.he2020.published import is_published
from privbench.report.analysis.frame import (
    SeedGroup,
    on_shared_victims,
    paired_interval,
    paired_victims,
    shared_images,
)
from privbench.report.analysis.labels import (
    describe_aux,
    describe_defense,
    describe_split,
    number,
    signed,
    span,
)
from privbench.report.analysis.tables import Rows
from privbench.report.analysis.tradeoffs import Adversary, Point, SplitResults, depth
from privbench.report.analysis.worst_case import unequal_budgets
from privbench.store.record import Record

PAIRS = {
    ("rmle", "rmle_adaptive"):
        "The second is given the defense and its strength; its total variation weighs 3.5 for 4.",
    ("rmle_paper", "rmle_adaptive"):
        "The published adversary and one that is given the defense, and descends on a "
        "likelihood instead of a squared error.",
    ("inverse_naive", "inverse"):
        "The first learnt from answers that were recorded before the defense was there, the "
        "second queries the defended edge. Neither is given the defense.",
    ("inverse_naive", "inverse_adaptive"):
        "The second holds the edge's weights, is given the defense and draws it itself.",
}  # fmt: skip
"""Pairs of a non-adaptive and an adaptive attack, and how they differ."""
Setting = tuple[str, str, float]
"""Defense, site and strength."""


def adaptive_gap(found: Sequence[SplitResults], pair: tuple[str, str]) -> tuple[Rows, list[Record]]:
    """Return the gain of an adaptive over a non-adaptive attack on the same images, and records.

    Args:
        found: All that was measured.
        pair: Names of the non-adaptive and the adaptive attack.
    """
    rows: Rows = [
        ["setting", "accuracy", *(f"{name}: dB, SSIM, identified" for name in pair),
         "blind baseline", "paired difference of SSIM", "warning"]
    ]  # fmt: skip
    records: list[Record] = []
    for panel in found:
        compared = list(_compared(panel, pair))
        times = Counter(setting for setting, *_ in compared)
        for setting, options, both in compared:
            defense, site, strength = setting
            shown = describe_defense(defense, strength, site)
            several = options if times[setting] > 1 else []
            rows.append(
                [", ".join([_split_title(panel), shown, *several]), *_gap(*map(Point, both))]
            )
            records += [record for group in both for record in group.records]
    return rows, records


def _compared(
    panel: SplitResults, pair: tuple[str, str]
) -> Iterable[tuple[Setting, list[str], tuple[SeedGroup, SeedGroup]]]:
    """Yield settings of a non-adaptive and an adaptive attack on the victims that both have.

    Attacks of one name and other options come with those options.
    """
    named = ([a for a in panel.adversaries if a.attack == name] for name in pair)
    for adversaries in product(*named):
        naive, adaptive = map(_defended, adversaries)
        options = [one.name for one in adversaries if one.name not in pair]
        for setting in sorted(naive.keys() & adaptive.keys()):
            if both := on_shared_victims(naive[setting].group, adaptive[setting].group):
                yield setting, options, both


def _defended(adversary: Adversary) -> Mapping[Setting, Point]:
    return {
        (line.defense, line.site, point.strength): point
        for line in adversary.lines
        for point in line.points
        if point.strength
    }


def _gap(naive: Point, adaptive: Point) -> list[str]:
    """Compare two attacks in one setting, on the victims of both."""
    groups = adaptive.group, naive.group
    difference = paired_interval(*groups, "ssim")
    text = "-"
    if difference:
        images = interval_label(shared_images(*groups))
        text = f"{_ends(difference)} ({images})"
    victims = paired_victims(*groups, "ssim")
    if over_victims := victim_interval(victims):
        text += f", {_ends(over_victims)} ({victim_label(len(victims))})"
    return [f"{naive.accuracy:.3f}", _scores(naive), _scores(adaptive), baseline(naive), text,
            unequal_budgets(groups)]  # fmt: skip


def _ends(interval: tuple[float, float]) -> str:
    return " to ".join(signed(end, "ssim") for end in interval)


def _scores(point: Point) -> str:
    """Return the PSNR in dB, the SSIM with its interval and the share identified."""
    identified = point.group.score("identification")
    psnr = number(point.score("psnr_db"), "psnr_db")
    return f"{psnr}, {span(point.group, 'ssim')}, {identified:.0%}"


def strong_attacks(found: Iterable[SplitResults]) -> Iterable[tuple[SplitResults, str, Point]]:
    """Yield undefended points of attacks that are neither the paper's nor variants of them."""
    for panel in sorted(found, key=lambda panel: (panel.dataset, depth(panel.split))):
        for adversary in panel.adversaries:
            point = adversary.undefended
            if point is None or adversary.blind or adversary.attack.endswith("_paper"):
                continue
            if not is_published(point.group.first):
                yield panel, adversary.attack, point


def strongest(found: Iterable[SplitResults]) -> Rows:
    """Return the scores of adversaries that are not the paper's, without a defense."""
    rows: Rows = [
        ["setting", "adversary", "dB", "SSIM", "identified", "blind baseline", "seeds (images)"]
    ]
    for panel, attack, point in strong_attacks(found):
        rows.append([
            _split_title(panel), attack, span(point.group, "psnr_db"), span(point.group, "ssim"),
            f"{point.group.score('identification'):.0%}", baseline(point), seeds(point),
        ])  # fmt: skip
    return rows


def _split_title(panel: SplitResults) -> str:
    """Return a panel's title without its targets, which all records here share."""
    points = (p for a in panel.adversaries for p in (*a.points, a.undefended) if p)
    return f"{describe_split(panel.dataset, panel.split)}{describe_aux(next(points).group.first)}"
