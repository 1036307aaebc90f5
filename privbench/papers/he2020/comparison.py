"""Published and measured numbers side by side, and the deviations."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median

import numpy as np

from privbench.evaluation.statistics import Interval
from privbench.papers.he2020.comparable import in_bf16
from privbench.papers.he2020.published import METRICS, Published, published_for
from privbench.papers.he2020.sources import comparable_score, paper_images_score
from privbench.papers.he2020.verdicts import REPRODUCED
from privbench.report.analysis.frame import SeedGroup
from privbench.report.analysis.labels import (
    bracket,
    describe_split,
    metric_title,
    number,
    signed,
    span,
)
from privbench.report.analysis.tables import Rows
from privbench.report.analysis.tradeoffs import Point, SplitResults
from privbench.report.analysis.worst_case import ComparableAttacks, listed

Matched = Mapping[Published, tuple[SplitResults, Point]]
"""Published numbers that were measured, each with its split's results and its point."""


def match_published(found: Iterable[SplitResults]) -> Matched:
    """Return the published numbers whose setting was measured."""
    points: dict[Published, tuple[SplitResults, Point]] = {}
    for panel in found:
        for adversary in panel.adversaries:
            anchor = [adversary.undefended] if adversary.undefended else []
            for point in (*anchor, *adversary.points):
                for row in published_for(point.group.first) if point.complete else ():
                    points.setdefault(row, (panel, point))
    return points


def _strongest(found: Iterable[SplitResults], panel: SplitResults, point: Point) -> str:
    """Return the strongest attack by SSIM on the same images in the same setting.

    Attacks without auxiliary images count whichever auxiliary images the others have.
    """

    def setting(at: Point) -> tuple[object, ...]:
        first = at.group.first
        defense = (first.defense, first.site, first.strength) if first.strength else None
        return defense, first.targets, first.config.get("include")

    met = {
        rival.group.key: (rival.group, adversary.attack)
        for other in found
        if (other.dataset, other.split) == (panel.dataset, panel.split)
        and other.transmissions == panel.transmissions
        for adversary in other.adversaries
        if not adversary.blind
        for rival in (*adversary.points, adversary.undefended)
        if rival and rival.complete and setting(rival) == setting(point)
        and (other is panel or "AUX_IMAGES" not in rival.group.first.access)
    }  # fmt: skip
    if len({attack for _, attack in met.values()}) < 2:
        return "no other was tried"
    compared = ComparableAttacks.of(group for group, _ in met.values())
    best = compared.strongest("ssim")
    scores = " / ".join(number(best.score(m), m) for m in ("psnr_db", "ssim"))
    fewer = f" ({listed(best.seeds)})" if best.seeds != point.group.seeds else ""
    return f"{met[best.key][1]} {scores}{fewer}"


def describe(row: Published) -> str:
    """Return a published setting in words."""
    defense = f", {row.defense} {row.strength:g} on {row.site}" if row.strength else ""
    aux = f", images: {row.aux}" if row.aux else ""
    steps = f" ({row.steps} steps)" if row.steps else ""
    return f"{describe_split(row.dataset, row.split)}, {row.attack}{steps}{aux}{defense}"


def describe_defended(row: Published) -> str:
    """Return split point and defense of a published setting in words, whatever its attack."""
    defense = f"{row.defense} {row.strength:g} on {row.site}" if row.strength else "no defense"
    return f"{describe_split(row.dataset, row.split)}, {defense}"


def printed_scores(row: Published) -> str:
    """Return the published PSNR in dB and SSIM of a setting."""
    return f"{number(row.psnr_db, 'psnr_db') or '-'} / {number(row.ssim, 'ssim') or '-'}"


def comparison_tables(measured: Matched, found: Iterable[SplitResults]) -> dict[str, Rows]:
    """Return published and measured numbers by table and figure, a row for each setting.

    Args:
        measured: Published numbers that were measured.
        found: All that was measured.
    """
    head = ["setting", "published dB / SSIM", "the same ten images here", "all images here",
            "seeds (images)", "blind baseline", "strongest in this setting (by SSIM)",
            "accuracy: published, here"]  # fmt: skip
    rows: dict[str, Rows] = defaultdict(lambda: [head])
    for row in sorted(measured, key=lambda row: (row.source, row.dataset == "cifar10")):
        panel, point = measured[row]
        ten = {metric: paper_images_score(point, metric) for metric in METRICS}
        line = [
            describe(row) + (", in bf16" if any(map(in_bf16, point.group.records)) else ""),
            printed_scores(row),
            " / ".join(_short(ten[metric], metric) for metric in ("psnr_db", "ssim")),
            f"{span(point.group, 'psnr_db')} / {span(point.group, 'ssim')}",
            seeds(point),
            baseline(point),
            _strongest(found, panel, point),
            f"{row.accuracy:.3f}, {point.accuracy:.3f}" if row.accuracy is not None else "",
        ]
        if line not in rows[row.source]:  # curves share the point without a defense
            rows[row.source].append(line)
    return dict(rows)


def _short(score: tuple[float, Interval | None] | None, metric: str) -> str:
    if score is None:
        return "-"
    value, interval = score
    return f"{number(value, metric)}{bracket(interval, 10, metric)}"


def agreement(measured: Matched, source: str) -> str:
    """Return the distance of a figure's curves from the published ones at equal strength.

    It is that of the published ten images where they were attacked.
    """
    differences: dict[str, list[float]] = defaultdict(list)
    for row, (_, point) in measured.items():
        if row.source == source and row.ssim is not None:
            name = row.split if source == "fig13" else f"{row.defense} on {row.site}"
            differences[name].append(comparable_score(point, "ssim") - row.ssim)
    return "; ".join(
        f"{name}: median |difference| to the published SSIM {median(map(abs, values)):.3f}, "
        f"largest {max(map(abs, values)):.3f}"
        for name, values in sorted(differences.items())
    )


def scale(measured: Matched, source: str) -> str:
    """Return how much more noise a published victim tolerates on its features and its input.

    Noise on features is in their own units: where strengths that cost the same share of accuracy
    are always in one ratio, it is that of the features' scales, times that of the clouds'
    robustness. Noise on the input is in the same units for all: its ratio is robustness alone.
    Empty where neither was measured.
    """
    sentences = []
    for site in ("features", "input"):
        if ratios := _ratios(measured, source, site):
            sentences.append(
                f"{median(ratios):.2f} times the noise on the {site} ({min(ratios):.2f} to "
                f"{max(ratios):.2f} over {len(ratios)} levels)"
            )
    if not sentences:
        return ""
    return f"To cost the same share of accuracy it takes, as published, {' and '.join(sentences)}"


def _ratios(measured: Matched, source: str, site: str) -> list[float]:
    curves: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for row, (_, point) in measured.items():
        noisy = row.defense in ("gaussian", "laplace") and row.site == site
        if row.source == source and noisy and row.accuracy is not None:
            curves[row.defense].append((row.strength, row.accuracy, point.accuracy))
    found: list[float] = []
    for curve in curves.values():
        strengths, theirs, ours = np.array(sorted(curve)).T
        if strengths[0] or len(strengths) < 3:
            continue
        theirs, ours = theirs / theirs[0], ours / ours[0]
        steep = (theirs < STEEP[0]) & (theirs > max(STEEP[1], ours.min()))
        # the share falls with strength, and interpolation wants it to rise
        found += list(strengths[steep] / np.interp(-theirs[steep], -ours, strengths))
    return found


STEEP = (0.97, 0.3)
"""Shares of the undefended accuracy between which a curve falls fast enough to be read."""


def deviations(measured: Matched) -> Rows:
    """Return the published numbers that are not reproduced, on the same images where known.

    The last column has the score of each seed: each trains a victim, and the paper had one.
    """
    rows: Rows = [["where", "setting", "number", "published", "here", "difference", "by seed"]]
    for (source, setting, metric), (row, point) in unique_published(measured).items():
        wanted, here = getattr(row, metric), _measured(point, metric)
        if abs(here - wanted) <= REPRODUCED[metric]:
            continue
        by_seed = [
            _measured(Point(SeedGroup([record])), metric)
            for record in sorted(point.group.records, key=lambda record: record.seed)
        ]
        difference = here - wanted
        rows.append([
            source, setting, metric_title(metric), number(wanted, metric),
            number(here, metric),
            signed(difference, metric),
            ", ".join(number(s, metric) for s in by_seed),
        ])  # fmt: skip
    return rows


def unique_published(measured: Matched) -> Mapping[tuple[str, str, str], tuple[Published, Point]]:
    """Return distinct published numbers by source, setting and metric; curves share some."""
    distinct: dict[tuple[str, str, str], tuple[Published, Point]] = {}
    for row, (_, point) in measured.items():
        for metric in (*METRICS, "accuracy"):
            if getattr(row, metric) is not None:
                distinct.setdefault((row.source, describe(row), metric), (row, point))
    return distinct


def _measured(point: Point, metric: str) -> float:
    return point.accuracy if metric == "accuracy" else comparable_score(point, metric)


def baseline(point: Point) -> str:
    """Return the scores of the blind baseline, dB and SSIM."""
    return " / ".join(number(point.group.baseline(m), m) for m in ("psnr_db", "ssim"))


def seeds(point: Point) -> str:
    """Return the seeds and the number of images of each."""
    numbers = ", ".join(str(seed) for seed in sorted(r.seed for r in point.group.records))
    return f"{numbers} ({point.group.first.targets})"
