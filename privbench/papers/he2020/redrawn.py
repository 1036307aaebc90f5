"""The paper's figures redrawn from records, published and measured numbers."""

import csv
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt

from privbench.papers.he2020.comparison import Matched
from privbench.papers.he2020.published import (
    FIGURE_15,
    METRICS,
    PAPER_IMAGES,
    Published,
    load_published,
    paper_images,
)
from privbench.papers.he2020.sources import paper_images_score
from privbench.report.analysis.images import GridImage, ImageLoader, original_of, reconstruction_of
from privbench.report.analysis.labels import metric_title
from privbench.report.analysis.tradeoffs import Point, depth
from privbench.report.image_grids import grid_chart
from privbench.report.rendering import Figure
from privbench.report.style import CROSS, NO_DATA, SHAPES, series, specification

TITLES = {
    "fig9": "Figure 9: defenses on MNIST at relu2",
    "fig10": "Figure 10: defenses on CIFAR-10 at relu22",
    "fig13": "Figure 13: dropout at five splits of MNIST",
    "fig15": "Figure 15: query-free, split by split of MNIST",
    "fig6": "Figure 6: Gaussian noise, MNIST at relu2 and CIFAR-10 at relu22",
    "fig7": "Figure 7: Laplace noise, MNIST at relu2 and CIFAR-10 at relu22",
    "fig8": "Figure 8: dropout, MNIST at relu2 and CIFAR-10 at relu22",
    "fig11": "Figure 11: dropout at five splits of MNIST",
    "fig12": "Figure 12: dropout at five splits of CIFAR-10",
    "fig14": "Figure 14: query-free, split by split of MNIST",
    "tables": "Tables 3 to 8 (figures 3 to 5): attacks without a defense",
}
"""Figures that are redrawn, in the order in which they stand on the page."""
CAPTIONS = {
    "tradeoffs": "the paper's axes; dashed, crosses: published, all levels; solid, dots: the same "
    "images here, measured levels; bars: 95 % intervals",
    "curves": "dashed, crosses: published; solid: the same images here; bars: 95 % intervals",
    "bars": "the same images; bars: 95 % intervals",
    "images": "PSNR in dB and SSIM here, in brackets those of the printed image",
}
SCORES = ("psnr_db", "ssim")
"""Scores in the order of a caption."""
SIDES = ("published", "here")
DATA = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
SIZE = {"width": 210, "height": 150}


class PrintedImage(NamedTuple):
    """A reconstruction that the paper shows.

    Attributes:
        dataset: Name of the data set.
        setting: Split, defense and site.
        image: Test image, in the original order.
        strength: Of the defense.
        psnr_db: Computed from the printed image, in dB.
        ssim: The same.
    """

    dataset: str
    setting: tuple[str, str, str]
    image: int
    strength: float
    psnr_db: float
    ssim: float


@cache
def printed_images(source: str) -> tuple[PrintedImage, ...]:
    """Return the reconstructions that a figure of the paper shows."""
    with (Path(__file__).parent / "published_images.csv").open(newline="") as file:
        next(file)  # the source
        return tuple(
            PrintedImage(
                row["dataset"],
                (row["split"], row["defense"], row["site"]),
                int(row["image"]),
                *(float(row[name]) for name in ("strength", *SCORES)),
            )
            for row in csv.DictReader(file)
            if row["source"] == source
        )


def figures(matched: Matched, read: ImageLoader) -> Iterator[Figure]:
    """Yield every figure of the paper that was measured, in part at least.

    Args:
        matched: Published numbers that were measured.
        read: Loader of a record's images; a figure of images needs them in the store.
    """
    for source, title in TITLES.items():
        kind, stem, heading = _kind(source), source, title
        if kind == "curves" and (chart := _tradeoffs(source, matched)):
            yield Figure("", source, title, CAPTIONS["tradeoffs"], chart)
            stem, heading = f"{source}_strength", f"{title}, by strength"
        if chart := _chart(source, matched, read):
            yield Figure("", stem, heading, CAPTIONS[kind], chart)


def _kind(source: str) -> str:
    if source in ("fig9", "fig10", "fig13"):
        return "curves"
    return "bars" if source in ("fig15", "tables") else "images"


def _chart(source: str, matched: Matched, read: ImageLoader) -> dict[str, Any] | None:
    """Return a figure as a Vega-Lite specification; null where nothing of it was measured."""
    if _kind(source) == "curves":
        return _curves(source, matched)
    if _kind(source) == "bars":
        return _bars(source, matched)
    return _split_images(matched, read) if source == "fig14" else _images(source, matched, read)


def _tradeoffs(source: str, matched: Matched) -> dict[str, Any] | None:
    """Return accuracy over each score, as the paper has it: a curve for each site or split."""
    points = {row: point for row, (_, point) in matched.items() if row.source == source}
    rows: list[dict[str, Any]] = []
    for metric, row in product(METRICS, load_published()):
        value = getattr(row, metric)
        if row.source != source or value is None or row.accuracy is None:
            continue
        split = source == "fig13"
        title = metric_title(metric)
        place = {
            "facet": title if split else f"{title}, {row.defense}",
            "series": row.split if split else row.site,
            "strength": row.strength,
        }
        rows.append({**place, "side": SIDES[0], "x": value, "y": row.accuracy})
        if row in points:
            measured = _measured(points[row], metric)
            here = {name.replace("y", "x"): number for name, number in measured.items()}
            rows.append({**place, "side": SIDES[1], **here, "y": points[row].accuracy})
    if not points or not rows:
        return None
    colour = _colour(rows)
    x = alt.X("x:Q", title=None, scale=alt.Scale(zero=False))
    y = alt.Y("y:Q", title="accuracy", scale=alt.Scale(zero=False))
    at = {"x": x, "y": y, "color": colour, "order": alt.Order("strength:Q")}
    theirs, ours = (alt.Chart().transform_filter(f"datum.side === '{side}'") for side in SIDES)
    layers = [
        theirs.mark_line(strokeDash=[4, 3], strokeWidth=1).encode(**at),
        theirs.mark_point(shape=CROSS, size=16).encode(x=x, y=y, color=colour),
        ours.mark_rule(opacity=0.3, strokeWidth=2).encode(
            x=alt.X("x0:Q", title=None), x2="x1:Q", y=y, color=colour),
        ours.mark_line(strokeWidth=1.6).encode(**at),
        ours.mark_point(filled=True, size=14, opacity=1).encode(x=x, y=y, color=colour),
    ]  # fmt: skip
    return _faceted(layers, rows)


def _curves(source: str, matched: Matched) -> dict[str, Any] | None:
    """Return scores and accuracy over the strength, a curve for each site or split."""
    rows: list[dict[str, Any]] = []
    for metric in ("accuracy", *METRICS):
        for published, (_, point) in matched.items():
            value = getattr(published, metric)
            if published.source != source or value is None:
                continue
            facet = "accuracy" if metric == "accuracy" else metric_title(metric)
            place = {
                "facet": f"{facet}, {published.defense}",
                "series": published.split if source == "fig13" else published.site,
                "x": published.strength,
            }
            rows += _both(place, value, point, metric)
    if not rows:
        return None
    colour = _colour(rows)
    x = alt.X("x:Q", title="strength of the defense")
    y = alt.Y("y:Q", title=None, scale=alt.Scale(zero=False))
    theirs, ours = (alt.Chart().transform_filter(f"datum.side === '{side}'") for side in SIDES)
    layers = [
        theirs.mark_line(strokeDash=[4, 3], strokeWidth=1).encode(x=x, y=y, color=colour),
        theirs.mark_point(shape=CROSS, size=16).encode(x=x, y=y, color=colour),
        ours.mark_rule(opacity=0.35, strokeWidth=2).encode(x=x, y=alt.Y("y0:Q", title=None),
                                                           y2="y1:Q", color=colour),
        ours.mark_line(strokeWidth=1.6).encode(x=x, y=y, color=colour),
    ]  # fmt: skip
    return _faceted(layers, rows)


def _colour(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return the channel of the colours of the rows' series."""
    shown = series(dict.fromkeys(row["series"] for row in rows))
    colours = [one.colour for one in shown.values()]
    return alt.Color("series:N", title="", scale=alt.Scale(domain=list(shown), range=colours))


def _faceted(layers: Sequence[Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the layers for each facet of the rows: those of a defense below one another."""
    order = list(dict.fromkeys(row["facet"] for row in rows))
    defenses = len({facet.split(", ")[-1] for facet in order if ", " in facet})
    columns = defenses if defenses > 1 else len(order)
    facets = alt.Facet("facet:N", sort=order, title=None)
    faceted = alt.layer(*layers).properties(**SIZE).facet(facets, data=NO_DATA, columns=columns)
    return specification(faceted.resolve_scale(x="independent", y="independent"), rows)


def _both(
    place: Mapping[str, Any], published: float, point: Point, metric: str
) -> list[dict[str, Any]]:
    """Return the rows of a published value and of the measured one, at the same place."""
    measured = _measured(point, metric)
    return [{**place, "side": SIDES[0], "y": published}, {**place, "side": SIDES[1], **measured}]


def _measured(point: Point, metric: str) -> dict[str, float | None]:
    """Return a measured value with the ends of its interval, on the ten images where known."""
    if metric == "accuracy":
        low, high = point.accuracy_band
        return {"y": point.accuracy, "y0": low, "y1": high}
    score = paper_images_score(point, metric)
    value, interval = score or (point.score(metric), point.bands.get(metric))
    return {"y": value, "y0": interval[0] if interval else None,
            "y1": interval[1] if interval else None}  # fmt: skip


def _bars(source: str, matched: Matched) -> dict[str, Any] | None:
    """Return the scores of settings without a defense, published and measured as points."""
    rows: list[dict[str, Any]] = []
    for metric in METRICS:
        for published, (_, point) in sorted(matched.items(), key=lambda item: _order(item[0])):
            table = published.source.startswith("table")
            if getattr(published, metric) is None or not (
                table if source == "tables" else published.source == source
            ):
                continue
            place = {"facet": metric_title(metric), "series": _name(published)}
            rows += _both(place, getattr(published, metric), point, metric)
    if not rows:
        return None
    order = list(dict.fromkeys(row["series"] for row in rows))
    names = alt.Y("series:N", title=None, sort=order, axis=alt.Axis(labelLimit=260))
    value = alt.X("y:Q", title=None, scale=alt.Scale(zero=True))
    both = dict(zip(SIDES, ("#666666", "#0072B2"), strict=True))
    legend = alt.Legend(symbolOpacity=1)
    colour = alt.Color("side:N", title="", legend=legend, scale=alt.Scale(
        domain=list(both), range=list(both.values())))  # fmt: skip
    shape = alt.Shape("side:N", title="", legend=legend, scale=alt.Scale(
        domain=list(both), range=[SHAPES[3], SHAPES[0]]))  # fmt: skip
    layers = [
        alt.Chart().mark_rule(opacity=0.35, strokeWidth=2.5).encode(
            x=alt.X("y0:Q", title=None), x2="y1:Q", y=names, color=colour),
        alt.Chart().mark_point(filled=True, size=48, opacity=1).encode(
            x=value, y=names, color=colour, shape=shape),
    ]  # fmt: skip
    size = {"width": 300, "height": 17 * len(order)}
    order = list(dict.fromkeys(row["facet"] for row in rows))
    facets = alt.Facet("facet:N", sort=order, title=None)
    faceted = alt.layer(*layers).properties(**size).facet(facets, data=NO_DATA, columns=2)
    return specification(faceted.resolve_scale(x="independent"), rows)


def _order(published: Published) -> tuple[Any, ...]:
    """Return where a setting stands among the rows: by data set, from shallow to deep."""
    place = published.dataset != "mnist", depth(published.split)
    return (*place, published.source, published.attack, published.aux)


def _name(published: Published) -> str:
    """Return a setting of a table or bar in words."""
    if published.source == "fig15":
        return published.split
    aux = f", images: {published.aux}" if published.aux else ""
    return f"{DATA[published.dataset]} {published.split}, {published.attack}{aux}"


Points = Mapping[tuple[str, str, str, str, float], Point]
"""Measured points by data set, split, defense, site and strength; without a defense no site."""


def _points(matched: Matched) -> Points:
    found: dict[tuple[str, str, str, str, float], Point] = {}
    for published, (_, point) in matched.items():
        if published.defense == "none" or published.source == "fig15":
            continue
        place = published.dataset, published.split
        found[(*place, published.defense, published.site, published.strength)] = point
        if not published.strength:
            found.setdefault((*place, "", "", 0.0), point)
    return found


def _images(source: str, matched: Matched, read: ImageLoader) -> dict[str, Any] | None:
    """Return the reconstructions that a figure shows, published scores under measured ones."""
    points = _points(matched)
    by_row: dict[tuple[str, tuple[str, str, str], int], dict[float, PrintedImage]]
    by_row = defaultdict(dict)
    for one in printed_images(source):
        by_row[(one.dataset, one.setting, one.image)][one.strength] = one
    strengths = sorted({one.strength for one in printed_images(source) if _point(points, one)})
    rows: dict[str, Sequence[GridImage]] = {}
    for (dataset, (split, _, site), image), shown in by_row.items():
        cells = [_beside(shown[s], points, read) if s in shown else None for s in strengths]
        if any(cells):
            place = split if source in ("fig11", "fig12") else f"{DATA[dataset]}, on the {site}"
            rows[f"{place}, image {image}"] = cells
    return grid_chart([f"{s:g}" for s in strengths], rows) if rows else None


def _point(points: Points, printed: PrintedImage) -> Point | None:
    split, defense, site = printed.setting
    at = points.get((printed.dataset, split, defense, site, printed.strength))
    return at or (None if printed.strength else points.get((printed.dataset, split, "", "", 0.0)))


def _beside(printed: PrintedImage, points: Points, read: ImageLoader) -> GridImage:
    """Return a reconstruction with its scores, those of the printed one behind them."""
    point = _point(points, printed)
    if point is None:
        return None
    record = min(point.group.records, key=lambda record: record.seed)
    # the record may number its test images by class
    place = PAPER_IMAGES[printed.dataset][0].index(printed.image)
    image = (paper_images(record) or PAPER_IMAGES[printed.dataset][0])[place]
    found = reconstruction_of(point, record.seed, image, read)
    if found is None:
        return found
    at = record.per_image["index"].index(image)
    here = _in_short(*(record.columns[metric][at] for metric in SCORES))
    return found[0], f"{here} ({_in_short(printed.psnr_db, printed.ssim)})"


def _in_short(psnr_db: float, ssim: float) -> str:
    """Return both scores in few characters.

    >>> _in_short(12.345, 0.5), _in_short(9, -0.03)
    ('12.3/.50', '9.0/-.03')
    """
    return f"{psnr_db:.1f}/{f'{ssim:.2f}'.replace('0.', '.', 1)}"


def _split_images(matched: Matched, read: ImageLoader) -> dict[str, Any] | None:
    """Return figure 14: the reconstructions behind the bars of figure 15."""
    bars = {row.split: point for row, (_, point) in matched.items() if row.source == "fig15"}
    rows: dict[str, Sequence[GridImage]] = {}
    for split, point in bars.items():
        one = min(point.group.records, key=lambda record: record.seed)
        if not rows:
            rows["original"] = [original_of(one, index, read) for index in FIGURE_15]
        rows[split] = [reconstruction_of(point, one.seed, index, read) for index in FIGURE_15]
    kept = {name: cells for name, cells in rows.items() if any(cells)}
    return grid_chart([""] * len(FIGURE_15), kept) if kept else None


def page(drawn: Sequence[Figure], command: str, earlier: Collection[str] = ()) -> str:
    """Return a Markdown page of the figures, which lie next to it as PNG files.

    Args:
        drawn: Figures of the records.
        command: Command that drew them.
        earlier: Names of figures that lie there already: those of images stay on the page where
            the store has no images, as after ``import-records``.
    """
    images = [
        f"{DATA[name]}'s {', '.join(map(str, ten))}" for name, (ten, *_) in PAPER_IMAGES.items()
    ]
    lines = [
        "# The paper's figures, redrawn",
        "",
        "Published numbers of He et al. and those measured here, on the same test images: "
        f"{' and '.join(images)}, in the original order; CIFAR-10's are here as JPEG, so "
        "that pixels differ slightly. Published curves are read from vector graphics. In figures "
        "of images each caption has PSNR in dB and SSIM here, in brackets those of the printed "
        "image; they are of the lowest seed that was measured, curves of all of its seeds; *gap*: "
        "not measured. Drawn by:",
        "",
        f"```\n{command}\n```",
    ]
    shown = [(figure.stem, figure.title, figure.caption) for figure in drawn]
    now = {stem for stem, *_ in shown}
    shown += [
        (source, title, f"{CAPTIONS['images']}; drawn earlier, from records with their images")
        for source, title in TITLES.items()
        if _kind(source) == "images" and source in earlier and source not in now
    ]
    order = list(TITLES)
    for stem, title, said in sorted(shown, key=lambda one: order.index(one[0].partition("_")[0])):
        lines += ["", f"## {title}", "", f"![{title}]({stem}.png)"]
        lines += ["", f"{said[0].upper()}{said[1:]}."]
    return "\n".join(lines) + "\n"
