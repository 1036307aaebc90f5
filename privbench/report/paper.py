"""The paper beside the records: its tables and figures, and its statements with a verdict each.

``python -m privbench.report outputs --paper sweeps/README.md``. A verdict is computed from the
records alone: an interval that excludes the contrary holds it up, one that holds zero cannot tell.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

import numpy as np

from privbench.intervals import Interval, bca
from privbench.report.published import (
    FIGURE_15,
    Published,
    beside,
    everything,
    is_published,
)
from privbench.report.selection import Selection
from privbench.report.tables import Rows, as_markdown, number, span
from privbench.report.tradeoffs import METRICS, Line, Panel, Point, choices, panels
from privbench.results import Record
from privbench.summary import paired

HOLDS, FAILS, UNTOLD = "holds", "does not hold", "cannot be told"
TEN = {
    "mnist": (3, 2, 1, 18, 4, 8, 11, 0, 61, 7),
    "fig15": tuple(FIGURE_15),
}
"""The test images behind the published numbers, as far as they are known."""
COMMANDS = {
    "table3": "sweeps=table_whitebox dataset=mnist",
    "table4": "sweeps=table_blackbox dataset=mnist",
    "table6": "sweeps=table_queryfree dataset=mnist",
    "table8": "sweeps=table_blackbox dataset=mnist attack=shadow_queried",
    "fig9": "sweeps=fig9_mnist",
    "fig10": "sweeps=fig10_cifar",
    "fig13": "sweeps=fig13_mnist_splits",
    "fig15": "sweeps=fig15_partition",
}
NAMES = {
    "table3": "Table 3: white-box, rMLE",
    "table4": "Table 4: black-box, inverse network",
    "table6": "Table 6: query-free, shadow and rMLE",
    "table8": "Table 8: a shadow fitted to answers and rMLE",
    "fig9": "Figure 9: defenses on MNIST at relu2",
    "fig10": "Figure 10: defenses on CIFAR-10 at relu22",
    "fig13": "Figure 13: dropout at five splits of MNIST",
    "fig15": "Figure 15: query-free, split by split",
}
Verdict = tuple[str, str]
"""``HOLDS``, ``FAILS`` or ``UNTOLD``, and the numbers that decide."""


@dataclass(frozen=True)
class Book:
    """All records, by setting and adversary.

    Attributes:
        found: Of every victim and split.
        adaptive: Whether the adversary is the strongest that knows of the defense, or the paper's.
    """

    found: Sequence[Panel]
    adaptive: bool = False

    def line(self, split: str, defense: str, site: str, dataset: str = "mnist") -> Line | None:
        """A defense's points, weak to strong, the undefended one first where it was measured."""
        points: dict[float, Point] = {}
        for panel in self._rooms(dataset, split):
            for choice in self._choices(panel):
                one = choice.group.one
                if one.strength == 0 or (one.defense, one.site) == (defense, site):
                    points[one.strength] = choice
        defended = [point for strength, point in sorted(points.items()) if strength]
        anchor = [points[0.0]] if 0.0 in points else []
        return Line(defense, site, [*anchor, *defended]) if defended else None

    def _choices(self, panel: Panel) -> list[Point]:
        adversaries = [a for a in panel.adversaries if not a.blind]
        if not self.adaptive:
            return [
                point
                for a in adversaries
                for point in ([a.undefended] if a.undefended else []) + a.points
                if _is_rmle_of_figures(point.group.one)
            ]
        able = [a for a in adversaries if a.adaptive and a.points]
        if not able:
            return []
        room = Panel(panel.key, panel.dataset, panel.split, panel.transmissions, "", able)
        return [choice.worst for choice in choices(room, "ssim")]

    def _rooms(self, dataset: str, split: str) -> Iterable[Panel]:
        return (p for p in self.found if (p.dataset, p.split) == (dataset, split))

    def attack(
        self, split: str, name: str, aux: str = "disjoint", steps: int | None = None
    ) -> Point | None:
        """A published adversary without a defense, on MNIST."""
        for panel in self._rooms("mnist", split):
            for adversary in panel.adversaries:
                point = adversary.undefended
                if point is None or not is_published(one := point.group.one):
                    continue
                settings = one.config
                if (
                    one.attack == name
                    and settings["dataset"].get("aux") == aux
                    and steps in (None, settings["attack"].get("steps"))
                    and settings.get("include") != FIGURE_15
                ):
                    return point
        return None


def _is_rmle_of_figures(record: Record) -> bool:
    return record.attack == "rmle_paper" and record.config["attack"]["steps"] == 500


def _less(one: Point | None, other: Point | None, metric: str = "ssim") -> Verdict:
    """Whether ``one`` recovers less than ``other`` on the same images."""
    if one is None or other is None:
        return UNTOLD, "not measured"
    difference = paired(one.group, other.group, metric)
    values = f"{span(one, metric)} against {span(other, metric)}"
    if difference is None:
        return UNTOLD, f"{values}; too few images in common"
    low, high = difference
    told = f"{values}; difference {low:+.3f} to {high:+.3f}"
    return (HOLDS if high < 0 else FAILS if low > 0 else UNTOLD), told


def _all(verdicts: Iterable[tuple[str, Verdict]]) -> Verdict:
    """All of several parts, each with its name."""
    parts = list(verdicts)
    told = "; ".join(f"{name}: {numbers}" for name, (_, numbers) in parts)
    states = {state for _, (state, _) in parts}
    if FAILS in states:
        failing = [f"{name}: {numbers}" for name, (state, numbers) in parts if state == FAILS]
        return FAILS, "; ".join(failing)
    if UNTOLD in states or not parts:
        return UNTOLD, told or "not measured"
    return HOLDS, told


def _accuracy_at(line: Line, ssim: float) -> float | None:
    """Accuracy where a curve passes a SSIM; null beyond its ends."""
    x = np.array([point.score("ssim") for point in line.points])
    y = np.array([point.accuracy for point in line.points])
    order = np.argsort(x)
    if not x.min() <= ssim <= x.max():
        return None
    return float(np.interp(ssim, x[order], y[order]))


def _higher(one: Line | None, other: Line | None) -> Verdict:
    """Whether ``one`` keeps more accuracy at the same SSIM, where both were measured."""
    if one is None or other is None:
        return UNTOLD, "not measured"
    differences = [
        a - b
        for ssim in np.arange(0.0, 1.0, 0.02)
        if (a := _accuracy_at(one, ssim)) is not None
        and (b := _accuracy_at(other, ssim)) is not None
    ]
    if len(differences) < 3:
        return UNTOLD, f"{one.name} and {other.name} meet no SSIM in common"
    least, middle = min(differences), median(differences)
    told = (
        f"{one.name} less {other.name}, accuracy at equal SSIM: median {middle:+.3f}, "
        f"least {least:+.3f}"
    )
    tie = 0.01  # a point of accuracy: where both are undefended, they are the same
    return (HOLDS if least > -tie and middle > 0 else FAILS if middle < 0 else UNTOLD), told


def _seen(point: Point | None) -> Verdict:
    """Whether nothing can be seen: no image identified beyond chance."""
    if point is None:
        return UNTOLD, "not measured"
    share = fmean(record.identification for record in point.group.records)
    low = fmean(record.identification_ci95[0] for record in point.group.records)
    chance = point.group.one.chance["identification"]
    told = (
        f"{share:.0%} of the images identified among all test images (chance {chance:.2%}), "
        f"SSIM {span(point, 'ssim')}"
    )
    return (HOLDS if low <= chance else FAILS), told


def _at(line: Line | None, strength: float) -> Point | None:
    points = line.points if line else []
    return next((point for point in points if abs(point.strength - strength) < 1e-9), None)


@dataclass(frozen=True)
class Statement:
    """Something that the paper states.

    Attributes:
        text: In short.
        check: A verdict from the records of an adversary.
        adaptive: Whether it says something of defenses, which an adaptive adversary may undo.
    """

    text: str
    check: Callable[[Book], Verdict]
    adaptive: bool = True


def _limits(book: Book) -> Verdict:
    parts = []
    for defense, limit in (("gaussian", 0.8), ("laplace", 0.5)):
        line = book.line("relu2", defense, "input")
        defended = [point for point in line.points if point.strength] if line else []
        if not defended:
            return UNTOLD, "not measured"
        kept = [point.strength for point in defended if point.accuracy > 0.95]
        last = max(kept, default=0.0)
        first = min((p.strength for p in defended if p.strength > last), default=0.0)
        right = last < limit <= first
        told = f"above 95 % up to {last:g}, below from {first:g} (stated: {limit:g})"
        parts.append((defense, (HOLDS if right else FAILS, told)))
    return _all(parts)


def _still_good(book: Book) -> Verdict:
    parts = []
    for defense, limit in (("gaussian", 0.8), ("laplace", 0.5)):
        line = book.line("relu2", defense, "input")
        inside = [p for p in line.points if 0 < p.strength < limit] if line else []
        if not inside or inside[-1].strength < limit - 0.11:  # the strongest one decides
            return UNTOLD, "not measured up to the limit"
        ssim, psnr = (min(point.score(metric) for point in inside) for metric in METRICS)
        told = f"least SSIM {ssim:.3f}, least PSNR {psnr:.2f} dB below {limit:g}"
        parts.append((defense, (HOLDS if ssim > 0.4 and psnr > 8.5 else FAILS, told)))
    return _all(parts)


def _input_hides_more(book: Book) -> Verdict:
    parts = []
    for defense in ("gaussian", "laplace"):
        one, other = (book.line("relu2", defense, site) for site in ("input", "features"))
        if not one or not other:
            return UNTOLD, "not measured"
        both = [
            (a, b) for a in one.points if a.strength and (b := _at(other, a.strength)) is not None
        ]
        if not both:
            return UNTOLD, "no level was measured on both"
        verdicts = [_less(a, b)[0] for a, b in both]
        held = verdicts.count(HOLDS)
        told = f"SSIM lower on the input at {held} of {len(both)} levels"
        state = HOLDS if held == len(both) else FAILS if FAILS in verdicts else UNTOLD
        parts.append((defense, (state, told)))
    return _all(parts)


def _alike(book: Book) -> Verdict:
    parts = []
    for site in ("input", "features"):
        one, other = (book.line("relu2", defense, site) for defense in ("gaussian", "laplace"))
        if not one or not other:
            return UNTOLD, "not measured"
        gaps = [
            abs(a - b)
            for ssim in np.arange(0.0, 1.0, 0.02)
            if (a := _accuracy_at(one, ssim)) is not None
            and (b := _accuracy_at(other, ssim)) is not None
        ]
        if len(gaps) < 3:
            return UNTOLD, "the curves meet no SSIM in common"
        told = f"accuracy at equal SSIM differs by {median(gaps):.3f} in the median (alike: 0.1)"
        parts.append((site, (HOLDS if median(gaps) <= 0.1 else FAILS, told)))
    return _all(parts)


def _dropout_wins(book: Book) -> Verdict:
    ours = book.line("relu2", "dropout", "features")
    return _all(
        (f"{defense} on {site}", _higher(ours, book.line("relu2", defense, site)))
        for defense in ("gaussian", "laplace")
        for site in ("features", "input")
    )


def _hidden_and_accurate(
    dataset: str, split: str, least: float | None
) -> Callable[[Book], Verdict]:
    """SSIM below 0.25 at an accuracy of at least ``least``, or within 0.8 points of undefended."""

    def check(book: Book) -> Verdict:
        line = book.line(split, "dropout", "features", dataset)
        if not line:
            return UNTOLD, "not measured"
        needed = least if least is not None else line.points[0].undefended - 0.008
        hidden = [p for p in line.points if p.accuracy > needed and p.score("ssim") < 0.25]
        if hidden:
            one = hidden[0]
            return (
                HOLDS,
                f"at r = {one.strength:g}: accuracy {one.accuracy:.3f}, SSIM {span(one, 'ssim')}",
            )
        accuracy = np.array([point.accuracy for point in line.points])
        if not accuracy.min() <= needed <= accuracy.max():
            return UNTOLD, f"accuracy {accuracy.min():.3f} to {accuracy.max():.3f} was measured"
        ssim = np.array([point.score("ssim") for point in line.points])
        order = np.argsort(accuracy)
        there = float(np.interp(needed, accuracy[order], ssim[order]))
        told = f"at no measured strength; between two, where the curve passes {needed:.1%}, SSIM {there:.3f}"
        return (HOLDS if there < 0.25 else FAILS), told

    return check


def _nothing_left(book: Book) -> Verdict:
    cifar = book.line("relu22", "dropout", "features", "cifar10")
    parts = [("MNIST", _seen(_at(book.line("relu2", "dropout", "features"), 0.6)))]
    return _all([*parts, ("CIFAR-10", _seen(_at(cifar, 0.6)))] if cifar else parts)


def _obfuscated(book: Book) -> Verdict:
    return _all(
        (f"{split} at {rate:g}", _seen(_at(book.line(split, "dropout", "features"), rate)))
        for split, rate in (("relu1", 0.9), ("pool2", 0.2))
    )


def _split_order(book: Book) -> Verdict:
    order = ("pool1", "conv2", "relu2", "pool2")
    lines = [book.line(split, "dropout", "features") for split in order]
    pairs = zip(pairwise(order), pairwise(lines), strict=True)
    return _all((f"{b} over {a}", _higher(y, x)) for (a, b), (x, y) in pairs)


def _depth(book: Book) -> Verdict:
    points = [(split, point) for split in DEPTH if (point := _of_fig15(book, split))]
    if len(points) < len(DEPTH):
        return UNTOLD, f"measured at {len(points)} of {len(DEPTH)} splits"
    scores = {split: point.score("ssim") for split, point in points}
    told = ", ".join(f"{split} {score:.2f}" for split, score in scores.items())
    drops = {after: scores[before] - scores[after] for before, after in pairwise(DEPTH)}
    rises = [split for split, drop in drops.items() if drop < -0.05]
    cliff = max(drops, key=drops.__getitem__)
    told += f"; the largest fall is at {cliff}"
    return (HOLDS if not rises and cliff == "fc1" else FAILS), told


DEPTH = ("conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "fc1", "fc1act", "fc2", "fc2act")


def _of_fig15(book: Book, split: str) -> Point | None:
    for panel in book.found:
        for adversary in panel.adversaries:
            point = adversary.undefended
            if (
                point
                and (panel.dataset, panel.split) == ("mnist", split)
                and point.group.one.attack == "shadow"
                and is_published(point.group.one)
                and point.group.one.config.get("include") == FIGURE_15
            ):
                return point
    return None


def _blind_passes(book: Book) -> Verdict:
    floors = [
        record.floor["best"]
        for panel in book.found
        if panel.dataset == "mnist"
        for adversary in panel.adversaries
        if adversary.undefended
        for record in adversary.undefended.group.records
    ]
    if not floors:
        return UNTOLD, "not measured"
    ssim, psnr = (fmean(floor[metric] for floor in floors) for metric in METRICS)
    passes = psnr > 10 or ssim > 0.3
    return (FAILS if passes else HOLDS), f"a blind guess scores {psnr:.1f} dB / {ssim:.2f}"


def _aux_kinds(book: Book) -> Verdict:
    parts = []
    for split in ("conv1", "relu2"):
        same, kind, noise = (
            book.attack(split, "inverse_paper", aux) for aux in ("train", "disjoint", "noise")
        )
        parts.append((f"{split}, noise below", _less(noise, kind)))
        if same and kind:
            difference = abs(same.score("ssim") - kind.score("ssim"))
            told = f"the victim's images and others differ by SSIM {difference:.3f}"
            parts.append((split, (HOLDS if difference < 0.05 else FAILS, told)))
    return _all(parts)


STATEMENTS = (
    Statement("White-box: a deeper split (relu2) is recovered worse than conv1", lambda book: _less(
        book.attack("relu2", "rmle_paper", steps=5000), book.attack("conv1", "rmle_paper", steps=5000)
    ), adaptive=False),
    Statement("The inverse network recovers more than rMLE", lambda book: _all(
        (split, _less(book.attack(split, "rmle_paper", steps=5000), book.attack(split, "inverse_paper", aux)))
        for split in ("conv1", "relu2") for aux in ("disjoint",)
    ), adaptive=False),
    Statement("Query-free is harder than white-box and black-box", lambda book: _all(
        (f"{split} below {name}", _less(book.attack(split, "shadow"), book.attack(split, name, steps=steps)))
        for split in ("conv1", "relu2") for name, steps in (("rmle_paper", 5000), ("inverse_paper", None))
    ), adaptive=False),
    Statement("Query-free: a deeper split is recovered worse", lambda book: _less(
        book.attack("relu2", "shadow"), book.attack("conv1", "shadow")
    ), adaptive=False),
    Statement("Noise on the input keeps the accuracy above 95 % only while sigma < 0.8, b < 0.5", _limits, adaptive=False),
    Statement("Within those limits SSIM stays above 0.4 and PSNR above 8.5 dB", _still_good),
    Statement("At the same level, noise on the input hides more than on the features", _input_hides_more),
    Statement("At fixed SSIM, accuracy drops more when the noise is on the input", lambda book: _all(
        (defense, _higher(book.line("relu2", defense, "features"), book.line("relu2", defense, "input")))
        for defense in ("gaussian", "laplace")
    )),
    Statement("Gaussian and Laplacian noise do not differ much", _alike),
    Statement("Dropout on the features beats all noise: more accuracy at the same SSIM", _dropout_wins),
    Statement("Dropout on the features is better than on the input", lambda book: _higher(
        book.line("relu2", "dropout", "features"), book.line("relu2", "dropout", "input")
    )),
    Statement("MNIST, dropout on the features: SSIM < 0.25 with accuracy above 95 %", _hidden_and_accurate("mnist", "relu2", 0.95)),
    Statement("CIFAR-10, dropout on the features: SSIM < 0.25 with less than 0.8 points lost", _hidden_and_accurate("cifar10", "relu22", None)),
    Statement("No useful information is left at r = 0.6", _nothing_left),
    Statement("Fully obfuscated with r = 0.9 at relu1 and r = 0.2 at pool2", _obfuscated),
    Statement("Figure 13, from worse to better: pool1, conv2, relu2, pool2", _split_order),
    Statement("Figure 15: quality falls with depth, and most sharply at fc1", _depth, adaptive=False),
    Statement("PSNR > 10 dB or SSIM > 0.3 means good quality", _blind_passes, adaptive=False),
    Statement("The adversary's images: the victim's own and others of their kind are alike, noise is much worse", _aux_kinds, adaptive=False),
    Statement("The inverse network beats a shadow fitted to answers and rMLE", lambda book: _all(
        (split, _less(book.attack(split, "shadow_queried", "train"), book.attack(split, "inverse_paper", "train")))
        for split in ("conv1", "relu2")
    ), adaptive=False),
    Statement("Not knowing the structure makes the query-free attack worse", lambda book: _all(
        (split, _less(book.attack(split, "shadow"), book.attack(split, "shadow_same")))
        for split in ("conv1", "relu2")
    ), adaptive=False),
)  # fmt: skip


def judged(statement: Statement, records: Sequence[Record], *, adaptive: bool) -> Verdict:
    """A verdict over all seeds, which no seed's own contradicts: each trains a victim of its own."""
    state, told = statement.check(Book(panels(records), adaptive))
    seeds = sorted({record.seed for record in records})
    if len(seeds) < 2 or state == UNTOLD:
        return state, told
    alone = {
        seed: statement.check(Book(panels(r for r in records if r.seed == seed), adaptive))
        for seed in seeds
    }
    contrary = FAILS if state == HOLDS else HOLDS
    against = [str(seed) for seed, (own, _) in alone.items() if own == contrary]
    if against:
        example = alone[int(against[0])][1]
        return (
            UNTOLD,
            f"{state} on the mean ({told}), but not for seed {', '.join(against)} ({example})",
        )
    return state, told


def statements(records: Sequence[Record]) -> Rows:
    """Every statement with its verdicts, under the paper's adversary and under the adaptive one."""
    rows: Rows = [["", "the paper states", "published adversary", "adaptive adversary"]]
    for at, statement in enumerate(STATEMENTS, 1):
        cells = []
        for adaptive in (False, True):
            if adaptive and not statement.adaptive:
                cells.append("of no concern")
                continue
            state, told = judged(statement, records, adaptive=adaptive)
            cells.append(f"**{state}**: {told}")
        rows.append([str(at), statement.text, *cells])
    return rows


def of_ten(point: Point, metric: str, ten: Sequence[int]) -> tuple[float, Interval] | None:
    """Mean over the published ten images alone, with its interval over them."""
    images = point.group.images(metric)
    if not set(ten) <= set(images):
        return None
    values = [fmean(images[index].values()) for index in ten]
    return fmean(values), bca(values)


def _matched(found: Sequence[Panel]) -> dict[Published, tuple[Panel, Point]]:
    """The point that has a published number's setting, with its surroundings."""
    points: dict[Published, tuple[Panel, Point]] = {}
    for panel in found:
        for adversary in panel.adversaries:
            anchor = [adversary.undefended] if adversary.undefended else []
            for point in (*anchor, *adversary.points):
                for row in beside(point.group.one) if point.complete else ():
                    points.setdefault(row, (panel, point))
    return points


def _strongest(panel: Panel, point: Point) -> str:
    """Who recovers most in the same setting, of all that were measured; by SSIM."""
    one = point.group.one
    names = {
        id(p): a.name.split()[0]
        for a in panel.adversaries
        for p in (*a.points, a.undefended)
        if p and not a.blind
    }
    setting = (one.defense, one.site, one.strength) if one.strength else ("none", "", 0.0)
    met = [p for p in panel.settings()[setting] if p.complete and id(p) in names]
    best = max(met, key=lambda p: p.score("ssim"))
    numbers = " / ".join(number(best.score(metric), metric) for metric in ("psnr_db", "ssim"))
    return f"{names[id(best)]} {numbers}"


def _minutes(found: Sequence[Panel], source: str) -> str:
    """What the cells behind a table or figure took."""
    cells = {
        record.key: record
        for row, (_, point) in _matched(found).items()
        if row.source == source
        for record in point.group.records
    }
    minutes = sum(record.seconds["total"] for record in cells.values()) / 60
    threads = ", ".join(sorted({str(record.threads) for record in cells.values()}))
    return f"{len(cells)} cells, {minutes:.0f} minutes of computing ({threads} threads a job)"


def tables(found: Sequence[Panel]) -> dict[str, Rows]:
    """Published beside measured, by table and figure; a row for each published number."""
    points = _matched(found)
    head = ["setting", "published dB / SSIM", "the same ten images here", "100 images", "seeds",
            "blind floor", "strongest adversary here", "accuracy: published, here"]  # fmt: skip
    rows: dict[str, Rows] = defaultdict(lambda: [head])
    for row in everything():
        if row not in points:
            continue
        panel, point = points[row]
        ten = TEN["fig15" if row.source == "fig15" else "mnist"] if row.dataset == "mnist" else ()
        told = {metric: of_ten(point, metric, ten) if ten else None for metric in METRICS}
        few = " / ".join(_short(told[metric], metric) for metric in ("psnr_db", "ssim"))
        many = f"{span(point, 'psnr_db')} / {span(point, 'ssim')}"
        floors = [
            number(fmean(r.floor["best"][m] for r in point.group.records), m)
            for m in ("psnr_db", "ssim")
        ]
        defense = f", {row.defense} {row.strength:g} on {row.site}" if row.strength else ""
        aux = f", images: {row.aux}" if row.aux else ""
        accuracy = f"{row.accuracy:.3f}, {point.accuracy:.3f}" if row.accuracy else ""
        line = [f"{row.split}, {row.attack}{aux}{defense}",
             f"{number(row.psnr_db, 'psnr_db') or '-'} / {number(row.ssim, 'ssim') or '-'}",
             few, many, _seeds(point), " / ".join(floors), _strongest(panel, point), accuracy]  # fmt: skip
        if line not in rows[row.source]:  # curves share the point without a defense
            rows[row.source].append(line)
    return dict(rows)


def _seeds(point: Point) -> str:
    return ", ".join(str(record.seed) for record in sorted(point.group.records, key=_seed))


def _seed(record: Record) -> int:
    return record.seed


def _short(told: tuple[float, Interval] | None, metric: str) -> str:
    if told is None:
        return "-"
    value, (low, high) = told
    return f"{number(value, metric)} [{number(low, metric)}, {number(high, metric)}]"


def agreement(found: Sequence[Panel], source: str) -> str:
    """How far a figure's curves lie from the published ones, at equal strength."""
    differences: dict[str, list[float]] = defaultdict(list)
    for panel in found:
        for adversary in panel.adversaries:
            for point in adversary.points:
                for row in beside(point.group.one):
                    if row.source == source and row.ssim is not None:
                        name = f"{row.defense} on {row.site}" if source != "fig13" else row.split
                        differences[name].append(point.score("ssim") - row.ssim)
    return "; ".join(
        f"{name}: median |difference| to the published SSIM {median(map(abs, values)):.3f}, "
        f"largest {max(map(abs, values)):.3f}"
        for name, values in sorted(differences.items())
    )


def gap(found: Sequence[Panel], pair: tuple[str, str] = ("rmle", "rmle_adaptive")) -> Rows:
    """What knowing that the defense is dropout adds, on the same images."""
    rows: Rows = [["setting", "accuracy", pair[0], pair[1], "paired difference of SSIM, 95 %"]]
    for panel in found:
        named: Mapping[str, Mapping[tuple[str, str, float], Point]] = {
            adversary.name.split()[0]: {
                (line.defense, line.site, point.strength): point
                for line in adversary.lines
                for point in line.points
                if point.strength
            }
            for adversary in panel.adversaries
        }
        naive, adaptive = (named.get(name, {}) for name in pair)
        for setting in sorted(naive.keys() & adaptive.keys()):
            one, other = naive[setting], adaptive[setting]
            difference = paired(other.group, one.group, "ssim")
            told = f"{difference[0]:+.3f} to {difference[1]:+.3f}" if difference else "-"
            defense, site, strength = setting
            rows.append(
                [f"{panel.title}, {defense} {strength:g} on {site}", f"{one.accuracy:.3f}",
                 span(one, "ssim"), span(other, "ssim"), told]
            )  # fmt: skip
    return rows


def document(records: Sequence[Record], how: str, gaps: Mapping[str, object] | None = None) -> str:
    """``sweeps/README.md``: what the paper says and what is measured, side by side.

    Args:
        records: Of a store.
        how: The command that wrote it.
        gaps: Groups that lack a seed.
    """
    records = [record for record in records if not record.config["target_indices"]]
    found = panels(records, gaps)
    parts = [HEAD.format(how=how)]
    told = tables(found)
    for source, name in NAMES.items():
        parts.append(f"\n### {name}\n\n`python -m privbench {COMMANDS[source]}`\n")
        if source not in told:
            parts.append("\nNot measured: no record of these settings lies in the store.\n")
            continue
        parts.append(f"\n{_minutes(found, source)}.\n")
        if source != "fig15" and (told_ := agreement(found, source)):
            parts.append(f"\n{told_}.\n")
        table = as_markdown(told[source])
        long = len(told[source]) > 16
        parts.append(
            f"\n<details><summary>all numbers</summary>\n\n{table}\n</details>\n"
            if long
            else f"\n{table}"
        )
    known = gap(found)
    if len(known) > 1:
        parts.append(
            "\n## What knowing of the defense adds\n\n`python -m privbench sweeps=adaptive`\n\n"
        )
        parts.append(as_markdown(known))
    parts.append("\n## What the paper states\n\n")
    parts.append(as_markdown(statements(records)))
    parts.append(_cost(records))
    return "".join(parts)


def pictures(selection: Selection, folder: Path) -> list[Path]:
    """The README's picture of what knowing of dropout adds, where it was measured."""
    from privbench.report.figures import encoded, knowledge, pictures_in

    read = pictures_in(selection.store)
    for panel in panels(selection.records):
        if (panel.dataset, panel.split) == ("mnist", "relu2") and panel.transmissions == 1:
            figure = knowledge(panel, ("rmle", "rmle_adaptive"), "dropout", 0.6, read)
            if figure:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "dropout.png").write_bytes(encoded(figure, "png"))
                return [folder / "dropout.png"]
    return []


def _cost(records: Sequence[Record]) -> str:
    hours = sum(record.seconds["total"] for record in records) / 3600
    machines = sorted({f"{record.device}, {record.threads} threads a job" for record in records})
    seeds = sorted({record.seed for record in records})
    versions = sorted({f"{n} {v}" for r in records for n, v in r.versions.items()})
    return (
        f"\n{len(records)} cells, seeds {', '.join(map(str, seeds))}, {hours:.1f} hours of computing "
        f"({'; '.join(machines)}), {', '.join(versions)}.\n"
    )


HEAD = """# Sweeps

A file here is one figure or table: `python -m privbench sweeps=NAME` runs it, the same command goes on with it, and what is typed beside it replaces that axis. Its end writes a page, `outputs/sweeps/NAME/report/index.html`; `python -m privbench.report outputs/sweeps/NAME` writes it again.

![The page of figure 9: what is seen, the curves, the recovered images](../.github/report.png)

Weights & Biases, without a network: runs lie in `outputs/wandb`, and `wandb sync outputs/wandb/offline-run-*` uploads them, a sweep as a group with a summary run that holds its table and curves. `python -m privbench.dashboard --entity ME --project privbench` makes the workspace to look at them in. `wandb sweep sweeps/wandb/grid.yaml` lets W&B's agents drive.

## The paper beside what is measured

Written by `{how}` from the records; nothing here is typed. Published numbers are means of ten images; *the same ten images here* are those, read from `per_image`, with the interval that ten images leave; *100 images* holds them and 90 more, three seeds. The blind floor is what the best of four answers scores that look at no feature. Brackets are 95 % over images.
"""
