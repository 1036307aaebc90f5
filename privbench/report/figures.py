"""Drawings of what was measured: every function returns a matplotlib Figure."""

import io
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from privbench.report.overlay import Overlay, no_overlay, reference, reference_curve
from privbench.report.tradeoffs import (
    METRICS,
    NAMES,
    Adversary,
    Point,
    SplitResults,
    depth,
    headline,
    on_common_victims,
)
from privbench.store.record import Record

# Okabe and Ito's colours, told apart by everybody
COLOURS = {"gaussian": "#0072B2", "laplace": "#E69F00", "dropout": "#009E73"}
OTHERS = ("#CC79A7", "#D55E00", "#56B4E9", "#7A5195", "#000000", "#8C6D31")
STYLES = {"input": "-", "features": "--"}
MARKS = {"input": "o", "features": "s"}
FLOOR = "#777777"
Labels = list[tuple[float, float, str, str]]
"""Places, texts and colours."""
COLUMNS = 3
"""Adversaries side by side."""
Pictures = Callable[[Record], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Originals and reconstructions of a record, ``(N, C, H, W)``."""


def colour(name: str, names: Sequence[str]) -> str:
    """A defense's, the same in every figure."""
    strange = [other for other in names if other not in COLOURS]
    return COLOURS.get(name) or OTHERS[strange.index(name) % len(OTHERS)]


def wrapped(text: str, width: int) -> str:
    """In lines, dollars as dollars."""
    text = text.replace("$", r"\$")
    return "\n".join(textwrap.wrap(text, width))


def tradeoffs(
    panel: SplitResults,
    link: Callable[[Point], str] = lambda point: "",
    overlay: Overlay = no_overlay,
) -> list[Figure]:
    """Accuracy against SSIM and PSNR, a line a defense and site, adversaries side by side.

    Args:
        panel: One victim and split.
        link: Where a point leads.
        overlay: Reference points of a record, drawn over its curve.
    """
    shown = [a for a in panel.adversaries if a.points and not a.blind]
    return [
        _tradeoff(panel, shown[at : at + COLUMNS], link, overlay)
        for at in range(0, len(shown), COLUMNS)
    ]


def _tradeoff(
    panel: SplitResults,
    adversaries: Sequence[Adversary],
    link: Callable[[Point], str],
    overlay: Overlay,
) -> Figure:
    alone = len(adversaries) == 1  # its metrics stand side by side
    width = 9.8 if alone else 4.1 * len(adversaries)
    figure = Figure(figsize=(width, 5.2 if alone else 8.2), layout="constrained")
    if alone:
        grid = figure.subplots(1, len(METRICS), squeeze=False, sharey=True).T
    else:
        shape = (len(METRICS), len(adversaries))
        grid = figure.subplots(*shape, squeeze=False, sharey=True, sharex="row")
    names = sorted({line.defense for a in panel.adversaries for line in a.lines})
    handles: dict[str, Any] = {}
    labelled: list[tuple[Axes, Labels]] = []
    for row, metric in enumerate(METRICS):
        for column, adversary in enumerate(adversaries):
            ax: Axes = grid[row, column]
            more, labels = _curves(ax, adversary, metric, names, link, overlay)
            handles |= more
            labelled.append((ax, labels))
            ax.set_xlabel(f"{NAMES[metric]} of what is recovered")
            ax.grid(color="#dddddd", linewidth=0.6)
            ax.set_axisbelow(True)
            if column == 0 and not (alone and row):
                ax.set_ylabel("accuracy")
            if row == 0 or alone:
                knows = " (knows of the defense)" if adversary.adaptive else ""
                ax.set_title(wrapped(f"{adversary.name}{knows}", 44), fontsize=10)
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=3, fontsize=8,
        frameon=False,
    )  # fmt: skip
    told = headline(panel)
    title = f"{panel.title}: {told}" if told else panel.title
    figure.suptitle(wrapped(title, int(width * 11)), fontsize=11, x=0.01, ha="left")
    _settle(figure, labelled)
    return figure


def _curves(
    ax: Axes,
    adversary: Adversary,
    metric: str,
    names: Sequence[str],
    link: Callable[[Point], str],
    overlay: Overlay,
) -> tuple[dict[str, Any], Labels]:
    handles: dict[str, Any] = {}
    labels: Labels = []
    for line in adversary.lines:
        shade, style = colour(line.defense, names), STYLES.get(line.site, ":")
        points = [point for point in line.points if point.complete]
        x, y = [p.score(metric) for p in points], [p.accuracy for p in points]
        (drawn,) = ax.plot(x, y, style, color=shade, linewidth=1.5, label=line.name)
        handles[line.name] = drawn
        _bands(ax, points, metric, shade)
        defended = [point for point in points if point.strength]
        dots = ax.scatter(
            [p.score(metric) for p in defended],
            [p.accuracy for p in defended],
            s=[22] * len(defended),
            marker=MARKS.get(line.site, "^"),
            color=[shade if p.group.converged else "white" for p in defended],
            edgecolors=shade,
            zorder=3,
        )
        dots.set_urls([link(point) for point in defended])
        _seeds(ax, points, metric, shade, style)
        labels += [(p.score(metric), p.accuracy, f"{p.strength:g}", shade) for p in defended]
        if rows := reference_curve(overlay, defended[-1].group.one) if defended else []:
            dots_ = [(x, row.accuracy) for row in rows if (x := getattr(row, metric)) is not None]
            ax.plot(*zip(*dots_, strict=True), linestyle=style, color=shade, alpha=0.45,
                    linewidth=0.9, marker="x", markersize=3, label="published")  # fmt: skip
            handles["published, in its colour"] = Line2D(
                [], [], color="#555555", alpha=0.6, linewidth=0.9, marker="x", markersize=3
            )
    if adversary.undefended:
        point = adversary.undefended
        star = ax.scatter([point.score(metric)], [point.accuracy], marker="*", s=110,
                          color="black", zorder=4)  # fmt: skip
        star.set_urls([link(point)])
        handles["no defense"] = star
    handles["blind floor"] = ax.axvline(
        adversary.floor(metric), color=FLOOR, linestyle=(0, (1, 1.5)), linewidth=1.4
    )
    if any(not p.group.converged for p in adversary.points):
        handles["hollow: not converged"] = Line2D(
            [], [], linestyle="", marker="o", markerfacecolor="white", markeredgecolor="#555555"
        )
    ax.margins(0.06)
    return handles, labels


def _bands(ax: Axes, points: Sequence[Point], metric: str, shade: str, width: int = 4) -> None:
    """Draw each point's interval over images; a point of a single image has none."""
    ends = [(p.accuracy, *band) for p in points if (band := p.bands[metric])]
    if ends:
        ax.hlines(*zip(*ends, strict=True), color=shade, alpha=0.3, linewidth=width)


def _seeds(ax: Axes, points: Sequence[Point], metric: str, shade: str, style: str) -> None:
    """Each seed a thin line, while there are fewer than five of several."""
    seeds = sorted({record.seed for point in points for record in point.group.records})
    if not 1 < len(seeds) < 5:
        return
    for seed in seeds:
        found = [
            (getattr(record, metric), record.accuracy)
            for point in points
            for record in point.group.records
            if record.seed == seed
        ]
        ax.plot(*zip(*found, strict=True), style, color=shade, alpha=0.35, linewidth=0.5)


def _settle(figure: Figure, labelled: Sequence[tuple[Axes, Labels]]) -> None:
    """Lay everything out, once for all forms; then write strengths where there is room."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax, labels in labelled:
        taken: list[NDArray[np.float64]] = []
        for x, y, text, shade in labels:
            place = ax.transData.transform((x, y)) + np.array([5.0, 4.0])
            if all(abs(place[0] - t[0]) > 20 or abs(place[1] - t[1]) > 10 for t in taken):
                taken.append(place)
                ax.annotate(
                    text, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7,
                    color=shade,
                )  # fmt: skip


def splits(
    found: Sequence[SplitResults], link: Callable[[Point], str] = lambda p: ""
) -> Iterator[Figure]:
    """The same defense at several splits, a line a split (the paper's figure 13)."""
    rooms: dict[tuple[str, ...], list[tuple[str, Sequence[Point]]]] = {}
    for panel in found:
        for adversary in panel.adversaries:
            for line in adversary.lines:
                points = line.complete.points
                if len(points) > 2:
                    name = (panel.dataset, panel.note, adversary.name, line.name)
                    rooms.setdefault(name, []).append((panel.split, points))
    for (dataset, _, attack, defense), members in rooms.items():
        if len(members) > 1:
            yield _splits(f"{dataset}, {defense}, {attack}", members, link)


def _splits(
    title: str,
    members: Sequence[tuple[str, Sequence[Point]]],
    link: Callable[[Point], str],
) -> Figure:
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    axes = figure.subplots(1, len(METRICS), sharey=True)
    labelled = []
    for ax, metric in zip(axes, METRICS, strict=True):
        labels = []
        for at, (split, points) in enumerate(members):
            shade = (*COLOURS.values(), *OTHERS)[at % (len(COLOURS) + len(OTHERS))]
            x, y = [p.score(metric) for p in points], [p.accuracy for p in points]
            (drawn,) = ax.plot(x, y, "-", marker="o", markersize=4, color=shade, label=split)
            drawn.set_url(link(points[-1]))
            labels += [
                (a, b, f"{p.strength:g}", shade) for a, b, p in zip(x, y, points, strict=True)
            ]
        ax.set_xlabel(f"{NAMES[metric]} of what is recovered")
        ax.grid(color="#dddddd", linewidth=0.6)
        ax.margins(0.06)
        labelled.append((ax, labels))
    axes[0].set_ylabel("accuracy")
    axes[0].legend(title="split", fontsize=8)
    common = set.intersection(*({p.strength for p in points} for _, points in members))
    told = title
    if means := _means(members, common):
        least, most = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        told += f": over the same strengths, {least} gives least away and {most} most (SSIM)"
    figure.suptitle(wrapped(told, 105), fontsize=11, x=0.01, ha="left")
    _settle(figure, labelled)
    return figure


def _means(
    members: Sequence[tuple[str, Sequence[Point]]], strengths: set[float]
) -> dict[str, float]:
    """Mean SSIM over these strengths, by split; on the victims that all splits have, if any."""
    named = [(split, p) for split, points in members for p in points if p.strength in strengths]
    scores: dict[str, list[float]] = {}
    compared = on_common_victims([point for _, point in named]) if named else []
    for (split, _), point in zip(named, compared, strict=False):
        scores.setdefault(split, []).append(point.score("ssim"))
    return {split: fmean(values) for split, values in scores.items()}


def partition(found: Sequence[SplitResults], overlay: Overlay = no_overlay) -> list[Figure]:
    """What is recovered behind every split without a defense, published beside (figure 15)."""
    rooms: dict[tuple[str, str, str], list[tuple[str, Point]]] = {}
    for panel in found:
        for adversary in panel.adversaries:
            if adversary.undefended and adversary.undefended.complete:
                name = (panel.dataset, panel.note, adversary.name)
                rooms.setdefault(name, []).append((panel.split, adversary.undefended))
    return [
        _bars(dataset, attack, sorted(members, key=lambda member: depth(member[0])), overlay)
        for (dataset, _, attack), members in rooms.items()
        if len(members) > 1
    ]


def _bars(
    dataset: str, attack: str, members: Sequence[tuple[str, Point]], overlay: Overlay
) -> Figure:
    figure = Figure(figsize=(max(6.4, 0.9 * len(members) + 2), 6.4), layout="constrained")
    axes = figure.subplots(len(METRICS), 1, sharex=True)
    x = np.arange(len(members))
    for ax, metric in zip(axes, METRICS, strict=True):
        height = [point.score(metric) for _, point in members]
        spread = np.array(
            [
                [max(0.0, h - low), max(0.0, high - h)]
                for (_, p), h in zip(members, height, strict=True)
                for low, high in [p.bands[metric] or (h, h)]
            ]
        ).T
        ax.bar(x - 0.2, height, 0.38, yerr=spread, capsize=2, color="#0072B2", label="measured")
        rows = [reference(overlay, point.group.one) for _, point in members]
        told = [
            (at, value)
            for at, row in enumerate(rows)
            if row and (value := getattr(row, metric)) is not None
        ]
        if told:
            ax.bar(
                [at + 0.2 for at, _ in told], [value for _, value in told], 0.38, color="white",
                edgecolor="#555555", hatch="//", label="published",
            )  # fmt: skip
        floors = [point.group.floor(metric) for _, point in members]
        ax.step(np.append(x - 0.5, len(x) - 0.5), [*floors, floors[-1]], where="post",
                color=FLOOR, linestyle=":", label="blind floor")  # fmt: skip
        ax.set_ylabel(NAMES[metric])
        ax.set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    axes[-1].set_xticks(x, [split for split, _ in members])
    axes[-1].set_xlabel("split, from shallow to deep")
    told_ = f"{dataset}, {attack}, no defense"
    if compared := on_common_victims([point for _, point in members]):
        by_split = {
            split: point.score("ssim") for (split, _), point in zip(members, compared, strict=True)
        }
        best, least = (pick(by_split, key=by_split.__getitem__) for pick in (max, min))
        told_ += f": {best} gives most away and {least} least (SSIM)"
    figure.suptitle(wrapped(told_, 80), fontsize=11, x=0.01, ha="left")
    _settle(figure, [])
    return figure


def pictures_in(store: Path) -> Pictures:
    """Reads the images that lie beside records."""

    def read(record: Record) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        path = store / "records" / record.key / "images.safetensors"
        try:
            tensors = load_file(path)
            return tensors["targets"], tensors["reconstructions"]
        except (OSError, SafetensorError, KeyError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error

    return read


CellConfig = tuple[NDArray[np.uint8], str] | None
"""A picture ``(C, H, W)`` with its caption, or a gap."""


def image_grid(
    title: str, columns: Sequence[str], rows: Mapping[str, Sequence[CellConfig]]
) -> Figure:
    """Pictures in rows and columns, a caption under each.

    Args:
        title: What is seen.
        columns: Heads.
        rows: By name; as long as there are columns.
    """
    size = 0.86
    figure = Figure(figsize=(size * len(columns) + 1.4, (size + 0.2) * len(rows) + 0.8))
    _pictures(figure, columns, rows)
    wide, high = figure.get_size_inches()
    figure.suptitle(wrapped(title, int(wide * 11)), fontsize=10, y=1 - 0.1 / high)
    # inches: names to the left, title and heads above, captions below
    figure.subplots_adjust(
        left=1.3 / wide, right=1 - 0.05 / wide, top=1 - 0.62 / high, bottom=0.2 / high,
        wspace=0.04, hspace=0.26,
    )  # fmt: skip
    return figure


def _pictures(
    figure: Figure | SubFigure, columns: Sequence[str], rows: Mapping[str, Sequence[CellConfig]]
) -> None:
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for y, (name, cells) in enumerate(rows.items()):
        for x, cell in enumerate(cells):
            ax = grid[y, x]
            ax.set_xticks([])
            ax.set_yticks([])
            for side in ax.spines.values():
                side.set_visible(False)
            if y == 0:
                ax.set_title(columns[x], fontsize=8)
            if x == 0:
                ax.set_ylabel(wrapped(name, 16), fontsize=8, rotation=0, ha="right", va="center")
            if cell is None:
                ax.text(0.5, 0.5, "gap", ha="center", va="center", fontsize=7, color="#999999")
                continue
            image, caption = cell
            shown = image.transpose(1, 2, 0)
            shown = shown[..., 0] if shown.shape[2] == 1 else shown
            ax.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            ax.set_xlabel(caption, fontsize=6, labelpad=2)


def _caption(record: Record, at: int) -> str:
    return f"{record.per_image['psnr_db'][at]:.1f} dB / {record.per_image['ssim'][at]:.2f}"


def strengths_grid(
    panel: SplitResults, adversary: Adversary, defense: str, read: Pictures, images: int = 2
) -> Figure | None:
    """Rows a site and an image, columns the strengths, the original first (figures 6-8, 11, 12)."""
    lines = [line for line in adversary.lines if line.defense == defense]
    points = {p.strength: p for line in lines for p in line.points}
    columns = sorted(points)[:12]
    rows: dict[str, list[CellConfig]] = {}
    for line in lines:
        by_strength = {point.strength: point for point in line.points}
        one = line.points[-1].group.one
        originals = _originals(one, read, images)
        for index, original in zip(one.per_image["index"], originals, strict=False):
            cells: list[CellConfig] = [original]
            for strength in columns:
                cells.append(_recovered(by_strength.get(strength), one.seed, index, read))
            rows[f"{line.site}, image {index}"] = cells
    if not rows:
        return None
    heads = ["original", *(f"{strength:g}" for strength in columns)]
    title = f"{panel.title}: what {adversary.name} recovers under {defense}, weak to strong"
    return image_grid(title, heads, rows)


def _recovered(point: Point | None, seed: int, index: int, read: Pictures) -> CellConfig:
    for record in point.group.records if point else ():
        if record.seed == seed and index in record.per_image["index"]:
            at = record.per_image["index"].index(index)
            with suppress(ValueError):  # its pictures are gone: a gap
                return read(record)[1][at], _caption(record, at)
    return None


def _original(record: Record, index: int, read: Pictures) -> CellConfig:
    with suppress(ValueError):  # its pictures are gone: a gap
        return read(record)[0][record.per_image["index"].index(index)], ""
    return None


def _originals(record: Record, read: Pictures, images: int) -> list[CellConfig]:
    try:
        return [(image, "original") for image in read(record)[0][:images]]
    except ValueError:
        return [None] * min(images, record.targets)


def splits_grid(found: Sequence[SplitResults], read: Pictures, images: int = 10) -> list[Figure]:
    """Rows an attack and a split, columns the images, originals on top (figures 3-5 and 14)."""
    rooms: dict[tuple[str, str], list[tuple[str, Point]]] = {}
    for panel in found:
        for adversary in panel.adversaries:
            if adversary.undefended:
                rooms.setdefault((panel.dataset, panel.note), []).append(
                    (f"{panel.split}, {adversary.name}", adversary.undefended)
                )
    figures = []
    for (dataset, _), members in rooms.items():
        one = min(members[0][1].group.records, key=lambda record: record.seed)
        chosen = one.per_image["index"][:images]
        rows: dict[str, list[CellConfig]] = {"original": _originals(one, read, images)}
        for name, point in members[:16]:
            rows[name] = [_recovered(point, one.seed, index, read) for index in chosen]
        title = f"{dataset}, no defense: what is recovered behind each split"
        figures.append(image_grid(title, [str(index) for index in chosen], rows))
    return figures


def knowledge(
    panel: SplitResults,
    pair: tuple[str, str],
    defense: str,
    strength: float,
    read: Pictures,
    others: Mapping[str, Point | None] | None = None,
    images: Sequence[int] = (),
) -> Figure | None:
    """What knowing of a defense adds: two adversaries' curves, and what each of them recovers.

    Args:
        panel: One victim and split.
        pair: Names of the attacks, the one that does not know first.
        defense: Its name; on the features.
        strength: Of the pictures.
        read: Images of a record.
        others: Settings to show beside them, by what they are called.
        images: Which to show, by index; some of those that were attacked where this is empty.
    """
    lines = {
        adversary.attack: line
        for adversary in panel.adversaries
        for line in adversary.lines
        if (line.defense, line.site) == (defense, "features")
    }
    if not set(pair) <= set(lines):
        return None
    called = {pair[0]: "not knowing", pair[1]: "knowing"}
    met = {
        name: next((p for p in lines[name].points if p.strength == strength and p.complete), None)
        for name in pair
    }
    pictured = {
        **(others or {}),
        **{f"{defense} {strength:g}, {name} ({called[name]})": met[name] for name in pair},
    }
    figure = Figure(figsize=(11.0, 1.0 + 0.86 * (1 + len(pictured))), layout="constrained")
    sides: Any = figure.subfigures(1, 2, width_ratios=(1, 1.2))
    left, right = sides
    ax = left.subplots()
    labels: Labels = []
    for name, shade, style in zip(pair, ("#0072B2", "#D55E00"), ("-", "--"), strict=True):
        points = [point for point in lines[name].points if point.strength and point.complete]
        x, y = [p.score("ssim") for p in points], [p.accuracy for p in points]
        ax.plot(x, y, style, marker="o", markersize=4, color=shade,
                label=f"{name} ({called[name]})")  # fmt: skip
        _bands(ax, points, "ssim", shade, width=5)
        labels += [(a, b, f"{p.strength:g}", shade) for a, b, p in zip(x, y, points, strict=True)]
    floor = max(adversary.floor("ssim") for adversary in panel.adversaries)
    ax.axvline(floor, color=FLOOR, linestyle=(0, (1, 1.5)), label="blind floor")
    ax.set_xlabel(f"SSIM of what is recovered under {defense}")
    ax.set_ylabel("accuracy")
    ax.grid(color="#dddddd", linewidth=0.6)
    ax.legend(fontsize=8, loc="lower right")
    one = next(point for line in lines.values() for point in line.points).group.one
    there = one.per_image["index"]
    chosen = [index for index in images or there if index in there][:7]
    originals = [_original(one, index, read) for index in chosen]
    rows: dict[str, Sequence[CellConfig]] = {"original": originals}
    for called_, point in pictured.items():
        rows[called_] = [_recovered(point, one.seed, index, read) for index in chosen]
    _pictures(right, [""] * len(chosen), rows)
    naive, knowing = (met[name] for name in pair)
    if naive and knowing and (both := on_common_victims([naive, knowing])):
        naive, knowing = both
        told = (
            f"{panel.dataset} at {panel.split}, {defense} {strength:g}: "
            f"accuracy {naive.accuracy:.1%}; the cloud recovers "
            f"SSIM {naive.score('ssim'):.2f} not knowing of it, "
            f"{knowing.score('ssim'):.2f} knowing"
        )
        figure.suptitle(told, fontsize=11)
    _settle(figure, [(ax, labels)])
    return figure


def encoded(figure: Figure, form: str) -> bytes:
    """As ``png``, ``pdf`` or ``svg``; the same numbers give the same bytes."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    plain: Any = {"svg.hashsalt": "privbench", "svg.fonttype": "none"}
    with rc_context(plain):
        stamp = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(form)
        figure.savefig(buffer, format=form, dpi=130, metadata=stamp)
    return buffer.getvalue()
