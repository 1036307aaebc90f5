"""Tables of a report, as CSV and as Markdown."""

import csv
import io
from collections.abc import Iterable, Sequence

from privbench.evaluation.statistics import Interval, interval_label, victim_label
from privbench.report.overlay import Overlay, no_overlay, reference
from privbench.report.tradeoffs import (
    ACCURACY_BUDGETS,
    METRICS,
    NAMES,
    Adversary,
    OperatingPoint,
    Point,
    SplitResults,
    choices,
    comparisons,
    pareto,
    within,
)
from privbench.report.worst_case import Budget, SeedGroup, doubts
from privbench.store.record import Record

Rows = list[list[str]]
"""The first one is the head."""


def as_csv(rows: Rows) -> str:
    """With commas."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def as_markdown(rows: Rows) -> str:
    """With bars."""
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines.insert(1, ["---"] * len(rows[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float | None, metric: str) -> str:
    """With the digits of its metric."""
    if value is None:
        return ""
    return f"{value:.2f}" if metric == "psnr_db" else f"{value:.3f}"


def span(point: Point, metric: str) -> str:
    """Return a score with its interval over images, and the one over victims where there is one.

    The label of an interval stands behind it unless it is the usual one, 95 % over images.
    """
    text = (
        f"{number(point.score(metric), metric)}{bracket(point.bands[metric], point.images, metric)}"
    )
    over = point.group.victim_interval(metric)
    if over is None:
        return text
    label = victim_label(len(point.group.victims))
    return f"{text}, [{number(over[0], metric)}, {number(over[1], metric)}] ({label})"


def bracket(interval: Interval | None, images: int, metric: str) -> str:
    """Return an interval over images behind its score; its label unless that is 95 %."""
    if interval is None:
        return " (one image: no interval)"
    low, high = interval
    label = interval_label(images)
    named = "" if label == "95 %" else f" ({label})"
    return f" [{number(low, metric)}, {number(high, metric)}]{named}"


LEGEND = (
    "A score is the mean over distinct images of each image's mean over seeds; an accuracy is the "
    "mean over seeds. Brackets are intervals of the score over images, of these victims: 95 % "
    "(BCa) from 20 images on; under 20 Student's t, named with the number of images. From three "
    "seeds on a second bracket is Student's t over the victims, one a seed; it is an interval "
    "about victims from five of them on. Scores are compared on the victims that both sides have."
)
"""What scores and brackets of a report are."""


def cells(records: Iterable[Record]) -> Rows:
    """Every record."""
    head = ["key", "dataset", "split", "attack", "defense", "site", "strength", "transmissions",
            "seed", "targets", "accuracy", "ssim", "psnr_db", "identification", "floor_ssim",
            "floor_psnr_db", "converged", "failed", "finished"]  # fmt: skip
    rows: Rows = [head]
    for r in records:
        best = r.floor["best"]
        values = [r.key, r.dataset, r.split, r.attack, r.defense, r.site, f"{r.strength:g}",
                  r.transmissions, r.seed, r.targets, f"{r.accuracy:.4f}", f"{r.ssim:.4f}",
                  f"{r.psnr_db:.3f}", f"{r.identification:.4f}", f"{best['ssim']:.4f}",
                  f"{best['psnr_db']:.3f}", "" if r.converged is None else f"{r.converged:.2f}",
                  r.failed, r.finished]  # fmt: skip
        rows.append([str(value) for value in values])
    return rows


def attacks(found: Sequence[SplitResults], overlay: Overlay | None = None) -> Rows:
    """Return every attack in every setting: measured, blind, and published where it is handed in.

    Args:
        found: All that was measured.
        overlay: Reference points of a record; without one there is no column for them.
    """
    head = ["setting", "defense", "attack", "seeds", "accuracy", "published SSIM", "SSIM",
            "blind SSIM", "published PSNR", "PSNR [dB]", "blind PSNR", "budget",
            "warning"]  # fmt: skip
    every_group = [
        p.group for panel in found for points in panel.settings().values() for p in points
    ]
    rows = [head]
    for panel in found:
        for adversary in panel.adversaries:
            anchor = [adversary.undefended] if adversary.undefended else []
            rows += [
                _attack_row(panel, adversary, point, every_group, overlay or no_overlay)
                for point in [*anchor, *adversary.points]
            ]
    if overlay is None:
        shown = [at for at, name in enumerate(head) if not name.startswith("published")]
        rows = [[row[at] for at in shown] for row in rows]
    return rows


def _attack_row(
    panel: SplitResults,
    adversary: Adversary,
    point: Point,
    every_group: Sequence[SeedGroup],
    overlay: Overlay,
) -> list[str]:
    one = point.group.one
    rival = reference(overlay, one)
    printed = {m: number(getattr(rival, m), m) if rival else "" for m in METRICS}
    floors = {m: number(point.group.floor(m), m) for m in METRICS}
    defense = f"{one.defense} {one.strength:g} on {one.site}" if one.strength else "none"
    warnings = [] if point.complete else ["seeds are missing"]
    for metric in METRICS:
        warnings += doubts(point.group, every_group, metric)
    return [
        panel.title, defense, adversary.name, str(len(point.group.victims)),
        f"{point.accuracy:.4f}", printed["ssim"], span(point, "ssim"), floors["ssim"],
        printed["psnr_db"], span(point, "psnr_db"), floors["psnr_db"],
        str(Budget.of(one)), "; ".join(dict.fromkeys(warnings)),
    ]  # fmt: skip


def _leak(choice: OperatingPoint | None) -> str:
    if choice is None:
        return "none"
    doubt = f" ({'; '.join(choice.doubts)})" if choice.doubts else ""
    return f"{span(choice.worst, choice.metric)}: {choice.name}, by {choice.adversary}{doubt}"


def leakages(found: Sequence[SplitResults]) -> Rows:
    """The least leakage at a loss of accuracy, for each adversary and for the worst case."""
    rows: Rows = [
        [
            "setting",
            "adversary",
            "metric",
            *(f"at most {loss * 100:.0f} points" for loss in ACCURACY_BUDGETS),
        ]
    ]
    for panel in found:
        able = [a.name for a in panel.adversaries if a.points and not a.blind]
        for only in [*([None] if len(able) > 1 else []), *able]:
            for metric in METRICS:
                measured = [c for c in choices(panel, metric, only) if c.worst.strength]
                cells_ = [_leak(within(measured, loss)) for loss in ACCURACY_BUDGETS]
                rows.append([panel.title, only or "worst case", NAMES[metric], *cells_])
    return rows


def pareto_sets(found: Sequence[SplitResults]) -> Rows:
    """Settings that no other one beats, by the worst case."""
    rows: Rows = [["setting", "metric", "defense", "accuracy", "leakage", "by", "warning"]]
    for panel in found:
        for metric in METRICS:
            for choice in pareto(choices(panel, metric)):
                rows.append(
                    [panel.title, NAMES[metric], choice.name, f"{choice.worst.accuracy:.4f}",
                     span(choice.worst, metric), choice.adversary, "; ".join(choice.doubts)]
                )  # fmt: skip
    return rows


def pairwise_comparisons(found: Sequence[SplitResults]) -> Rows:
    """Two defenses at the same price on the same images: what can be said of them."""
    rows: Rows = [["setting", "at most", "what can be said (paired by image and victim)"]]
    for panel in found:
        for loss in ACCURACY_BUDGETS:
            for comparison in comparisons(panel, "ssim", loss):
                rows.append([panel.title, f"{loss * 100:.0f} points", comparison.told])
    return rows
