"""Published numbers beside measured ones: what is met, and by how much what is not."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median

import numpy as np

from privbench.evaluation.statistics import Interval
from privbench.papers.he2020.published import Published, beside
from privbench.papers.he2020.sources import TEN, of_ten, on_its_ten
from privbench.papers.he2020.verdicts import NEAR
from privbench.report.tables import Rows, bracket, number, span
from privbench.report.tradeoffs import METRICS, NAMES, Point, SplitResults
from privbench.report.worst_case import Contest, SeedGroup

Matched = Mapping[Published, tuple[SplitResults, Point]]
"""Published numbers that were measured, each with its point and what surrounds it."""


def matched(found: Iterable[SplitResults]) -> Matched:
    """Published numbers whose setting was measured."""
    points: dict[Published, tuple[SplitResults, Point]] = {}
    for panel in found:
        for adversary in panel.adversaries:
            anchor = [adversary.undefended] if adversary.undefended else []
            for point in (*anchor, *adversary.points):
                for row in beside(point.group.one) if point.complete else ():
                    points.setdefault(row, (panel, point))
    return points


def _strongest(found: Iterable[SplitResults], panel: SplitResults, point: Point) -> str:
    """Who recovers most of the same images in the same setting; by SSIM.

    Which images an adversary has is nothing to those that use none.
    """

    def setting(at: Point) -> tuple[object, ...]:
        told = at.group.one
        where = (told.defense, told.site, told.strength) if told.strength else None
        return where, told.targets, told.config.get("include")

    met = {
        rival.group.key: (rival.group, adversary.attack)
        for other in found
        if (other.dataset, other.split) == (panel.dataset, panel.split)
        and other.transmissions == panel.transmissions
        for adversary in other.adversaries
        if not adversary.blind
        for rival in (*adversary.points, adversary.undefended)
        if rival and rival.complete and setting(rival) == setting(point)
        and (other is panel or "AUX_IMAGES" not in rival.group.one.access)
    }  # fmt: skip
    if len({attack for _, attack in met.values()}) < 2:
        return "no other was tried"
    contest = Contest.of(group for group, _ in met.values())
    best = contest.strongest("ssim")
    scores = " / ".join(number(best.score(m), m) for m in ("psnr_db", "ssim"))
    notes = f" ({'; '.join(contest.notes)})" if contest.notes else ""
    return f"{met[best.key][1]} {scores}{notes}"


def _setting(row: Published) -> str:
    defense = f", {row.defense} {row.strength:g} on {row.site}" if row.strength else ""
    aux = f", images: {row.aux}" if row.aux else ""
    steps = f" ({row.steps} steps)" if row.steps else ""
    return f"{row.dataset} {row.split}, {row.attack}{steps}{aux}{defense}"


def tables(measured: Matched, found: Iterable[SplitResults]) -> dict[str, Rows]:
    """Published beside measured, by table and figure; a row for each published setting.

    Args:
        measured: What was measured of it.
        found: All that was measured.
    """
    head = ["setting", "published dB / SSIM", "the same ten images here", "all images here",
            "seeds (images)", "blind floor", "strongest that met it (by SSIM)",
            "accuracy: published, here"]  # fmt: skip
    rows: dict[str, Rows] = defaultdict(lambda: [head])
    for row in sorted(measured, key=lambda row: (row.source, row.dataset == "cifar10")):
        panel, point = measured[row]
        told = {metric: of_ten(point, metric) for metric in METRICS}
        line = [
            _setting(row),
            f"{number(row.psnr_db, 'psnr_db') or '-'} / {number(row.ssim, 'ssim') or '-'}",
            " / ".join(_short(told[metric], metric) for metric in ("psnr_db", "ssim")),
            f"{span(point, 'psnr_db')} / {span(point, 'ssim')}",
            seeds(point),
            floor(point),
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
    return f"{number(value, metric)}{bracket(interval, len(TEN), metric)}"


def agreement(measured: Matched, source: str) -> str:
    """How far a figure's curves lie from the published ones at equal strength.

    On the published ten images where they are known, which is MNIST's alone.
    """
    differences: dict[str, list[float]] = defaultdict(list)
    for row, (_, point) in measured.items():
        if row.source == source and row.ssim is not None:
            name = row.split if source == "fig13" else f"{row.defense} on {row.site}"
            differences[name].append(on_its_ten(point, "ssim") - row.ssim)
    return "; ".join(
        f"{name}: median |difference| to the published SSIM {median(map(abs, values)):.3f}, "
        f"largest {max(map(abs, values)):.3f}"
        for name, values in sorted(differences.items())
    )


def scale(measured: Matched, source: str) -> str:
    """How much more noise a published victim bears, on its features and on its input.

    Noise on features is in their own units: where strengths that cost the same share of accuracy
    are always in one ratio, it is that of the features' scales, times that of the clouds'
    robustness. Noise on the input is in the same units for all: its ratio is robustness alone.
    Empty where neither was measured.
    """
    told = []
    for site in ("features", "input"):
        if ratios := _ratios(measured, source, site):
            told.append(
                f"{median(ratios):.2f} times the noise on the {site} ({min(ratios):.2f} to "
                f"{max(ratios):.2f} over {len(ratios)} levels)"
            )
    if not told:
        return ""
    return f"To cost the same share of accuracy it takes, as published, {' and '.join(told)}"


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


def misses(measured: Matched) -> Rows:
    """Published numbers that are not met, on the same images as far as these are known.

    With what each seed alone gives: it trains a victim of its own, and the paper had one.
    """
    rows: Rows = [["where", "setting", "number", "published", "here", "difference", "by seed"]]
    for (source, setting, metric), (row, point) in printed(measured).items():
        wanted, here = getattr(row, metric), _here(point, metric)
        if abs(here - wanted) <= NEAR[metric]:
            continue
        alone = [
            _here(Point(SeedGroup([record])), metric)
            for record in sorted(point.group.records, key=lambda record: record.seed)
        ]
        difference = here - wanted
        rows.append([
            source, setting, NAMES.get(metric, metric), number(wanted, metric),
            number(here, metric),
            f"{difference:+.2f}" if metric == "psnr_db" else f"{difference:+.3f}",
            ", ".join(number(s, metric) for s in alone),
        ])  # fmt: skip
    return rows


def printed(measured: Matched) -> Mapping[tuple[str, str, str], tuple[Published, Point]]:
    """Distinct printed numbers by place, setting and name: curves share the undefended ones."""
    distinct: dict[tuple[str, str, str], tuple[Published, Point]] = {}
    for row, (_, point) in measured.items():
        for metric in (*METRICS, "accuracy"):
            if getattr(row, metric) is not None:
                distinct.setdefault((row.source, _setting(row), metric), (row, point))
    return distinct


def _here(point: Point, metric: str) -> float:
    return point.accuracy if metric == "accuracy" else on_its_ten(point, metric)


def floor(point: Point) -> str:
    """What a blind guess scores, dB and SSIM."""
    return " / ".join(number(point.group.floor(m), m) for m in ("psnr_db", "ssim"))


def seeds(point: Point) -> str:
    """Which, and how many images each."""
    numbers = ", ".join(str(seed) for seed in sorted(r.seed for r in point.group.records))
    return f"{numbers} ({point.group.one.targets})"
