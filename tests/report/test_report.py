"""A report: its numbers, its figures by their data, and what a tracker gets."""

import base64
import copy
import io
import re
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from privbench.report import curves, image_grids, image_sheets, style, undefended
from privbench.report.analysis import tables
from privbench.report.analysis.finding import statement
from privbench.report.analysis.images import image_loader
from privbench.report.analysis.labels import file_stem
from privbench.report.analysis.operating_points import (
    ACCURACY_BUDGETS,
    comparisons,
    operating_points,
    pareto,
    within,
)
from privbench.report.analysis.overlay import ReferencePoint, no_overlay
from privbench.report.analysis.tradeoffs import attack_names, panels
from privbench.report.image_sheets import ImageSheets, sheet
from privbench.report.rendering import IMAGES, Figure
from privbench.report.writing import curve_figures
from tests.records import curve, kept, record, rows_of


def _figures(records, metric="ssim"):
    return [f for f in curve_figures(panels(records), no_overlay) if f.metric == metric]


def _at(rows, *names):
    return [[row[name] for name in names] for row in rows]


def test_a_curve_runs_from_no_defense_to_the_strongest_through_its_means():
    """Rows, labels and axes of the figure are the records' numbers, with both intervals."""
    records = [*curve(targets=30), *curve("gaussian", "input", 0.05, targets=30)[1:]]
    (figure,) = _figures(records)
    points, anchors = rows_of(figure, "point"), rows_of(figure, "anchor")
    dropout = [row for row in points if row["series"] == "dropout"]
    assert np.allclose(_at(dropout, "x", "y"), [[0.6, 0.985], [0.4, 0.975], [0.2, 0.9]])
    assert np.allclose(_at(anchors, "x", "y"), [[0.8, 0.99]] * 2)
    assert {row["facet"] for row in points} == {"rmle, on features", "rmle, on input"}
    for row in points:
        assert row["x0"] < row["x"] < row["x1"] and row["y0"] < row["y"] < row["y1"]
    stars = rows_of(figure, "undefended")
    assert np.allclose(_at(stars, "x", "y"), [[0.8, 0.99]] * 2), "in every facet"
    assert [row["x"] for row in rows_of(figure, "blind")] == pytest.approx([0.35] * 2)
    assert [row["y"] for row in rows_of(figure, "accuracy")] == pytest.approx([0.99] * 2)
    assert {"0.2", "0.4", "0.8"} == {row["text"] for row in dropout}
    low, high = _domain(figure, "y")
    assert low < min(row["y0"] for row in points) and high > 1.0
    colours = _scale(figure, "color")
    assert dict(zip(colours["domain"], colours["range"], strict=True)) == {
        "dropout": style.COLOURS["dropout"], "gaussian": style.COLOURS["gaussian"]
    }  # fmt: skip
    assert "least worst-case leakage" in figure.title
    assert figure.stem == "tradeoff-mnist-relu2-ssim"


def _scale(figure, channel):
    layers = figure.chart["spec"]["layer"]
    return next(e[channel]["scale"] for e in (x["encoding"] for x in layers) if channel in e)


def _domain(figure, channel):
    return _scale(figure, channel)["domain"]


@pytest.mark.long
def test_figures_are_facets_by_attack_with_the_same_colours_and_few_labels():
    """The naive attack first; a thin line for each seed while there are fewer than five."""
    adaptive = curve(attack="rmle_adaptive", adaptive=True, converged=0.2)
    many = [record("dropout", n / 20, ssim=0.6 - n / 100, accuracy=0.98) for n in range(1, 20)]
    (figure,) = _figures([*adaptive, *many])
    facets = dict.fromkeys(row["facet"] for row in rows_of(figure, "point"))
    assert list(facets) == ["rmle, on features", "rmle_adaptive, on features"]
    assert "hollow: not converged" in figure.caption
    labelled = [row for row in rows_of(figure, "point") if row["facet"] == "rmle, on features"]
    assert [row["text"] for row in labelled if "text" in row] == ["0.05", "0.5", "0.95"]
    (figure,) = _figures([*many, record("none", 0.0, ssim=0.6, accuracy=0.98)])
    beside_star = [row.get("text") for row in rows_of(figure, "point")]
    assert [text for text in beside_star if text] == ["0.5", "0.95"], "0.05 would hide the star"
    three = [one for seed in range(3) for one in curve(seed=seed)]
    (figure,) = _figures(three)
    assert {row["seed"] for row in rows_of(figure, "seed")} == {0, 1, 2}
    five = [one for seed in range(5) for one in curve(seed=seed)]
    (figure,) = _figures(five)
    assert not rows_of(figure, "seed")


def test_a_defense_at_several_split_points_is_a_figure():
    """A curve for each split; the title says which leaks least, on shared victims."""
    found = panels([*curve(split="conv1", shift=0.1), *curve(split="pool2")])
    figure = next(curves.splits(found))
    assert {row["series"] for row in rows_of(figure, "point")} == {"conv1", "pool2"}
    assert "pool2 leaks least and conv1 most" in figure.title


def test_a_figure_is_a_file_that_a_paper_includes():
    """SVG, PNG and PDF by names without a dot or a space; the same numbers, the same drawing."""
    (figure,) = _figures(curve())
    files = figure.files()
    assert set(files) == {f"tradeoff-mnist-relu2-ssim.{form}" for form in ("svg", "png", "pdf")}
    svg, png, pdf = (files[f"tradeoff-mnist-relu2-ssim.{form}"] for form in ("svg", "png", "pdf"))
    assert b"SSIM" in svg and png.startswith(b"\x89PNG") and pdf.startswith(b"%PDF")
    assert figure.files()["tradeoff-mnist-relu2-ssim.svg"] == svg


def test_everything_that_a_curve_has_is_drawn():
    """Marks of the file by kind, of two facets: the second one's star is that of its naive twin."""

    def published(_record):
        return [ReferencePoint(rate, 0.9, 15.0, 0.5 - rate / 2, False) for rate in (0.2, 0.6)]

    adaptive = curve(attack="rmle_adaptive", adaptive=True, targets=24)[1:]
    records = [*curve(targets=24), *curve(seed=1, targets=24), *adaptive]
    figure = next(curve_figures(panels(records), published))
    svg = ElementTree.fromstring(figure.files()[f"{figure.stem}.svg"])
    drawn = Counter()
    for group in svg.iter("{http://www.w3.org/2000/svg}g"):
        kind, *rest = (group.get("class") or "none").removeprefix("mark-").split()
        if rest and rest[0] == "role-mark" and rest[1].startswith("child_layer"):
            drawn[kind] += len(group)
    bars, guides, borrowed = 2 * (4 + 3), 2 * 2, 1
    assert drawn["rule"] == bars + guides, "accuracy and blind baseline; intervals of every point"
    assert drawn["symbol"] == 2 * (3 + 1 + 2), "points, star, published ones"
    assert drawn["line"] == 2 * 2 + 2, "curves and published ones; seeds of the first"
    labels = sum("text" in row for row in rows_of(figure, "point"))
    assert labels and drawn["text"] == 2 * labels + borrowed
    assert [row.get("of") for row in rows_of(figure, "undefended")] == [None, "rmle"]
    assert "star with a name: by that naive attack" in figure.caption


def test_names_of_files_are_short_and_distinct_where_settings_differ_by_long_options():
    """Titles too: long lists are cut, and a victim's name stands for its recipe."""
    records = [one for _ in range(2) for one in copy.deepcopy(curve(targets=60))]
    for at, one in enumerate(records):
        start = 1000 * (1 + at // 4)
        one.config["include"] = list(range(start, start + 60))
    figures = list(curve_figures(panels(records), no_overlay))
    stems = [figure.stem for figure in figures]
    assert len(set(stems)) == len(stems) == 4
    assert all(re.fullmatch(r"[a-z0-9-]{1,80}", stem) for stem in stems)
    assert stems[0].startswith("tradeoff-mnist-relu2-targets-60-with-")
    long = [file_stem("images", *[f"a part of many words, {n}"] * 5) for n in (1, 2)]
    assert max(map(len, long)) <= 80 and len(set(long)) == 2
    (first, _) = panels(records)
    assert first.title == "mnist relu2 (targets 60 with 1000,1001,1002,...)"
    paper = record(victim="lenet5_paper")
    paper.config["victim"] = {"epochs": 10, "lr": 0.001}
    alike = copy.deepcopy(record(strength=0.7))
    alike.config["include"] = [0, 1, 2, 3]
    other = copy.deepcopy(alike)
    other.config["include"] = [0, 1, 2, 4]
    titles = [panel.title for panel in panels([record(), paper, alike, other])]
    assert titles[1] == "mnist relu2 (lenet5_paper, targets 6)"
    assert len(set(titles)) == 4, "titles cut to the same text differ by a hash"


def test_leakage_at_a_price_is_the_worst_case_among_measured_settings():
    """By the adversary that recovers most; none where nothing is within it."""
    naive, adaptive = curve(), curve(attack="rmle_adaptive", adaptive=True, shift=0.15)
    (panel,) = panels([*naive, *adaptive])
    found = operating_points(panel, "ssim")
    best = within([c for c in found if c.worst.strength], 0.02)
    assert (best.adversary, best.worst.strength) == ("rmle_adaptive", 0.4)
    assert best.leakage == pytest.approx(0.55)
    alone = within(operating_points(panel, "ssim", "rmle"), 0.02)
    assert alone.leakage == pytest.approx(0.4)
    dear = [record("dropout", 0.9, ssim=0.1, accuracy=0.5)]
    (poor,) = panels(dear)
    assert within(operating_points(poor, "ssim"), max(ACCURACY_BUDGETS)) is None
    assert "no measured defense keeps the accuracy" in statement(poor)
    rows = tables.leakages([poor])
    assert rows[1][3:] == ["none"] * 3


def test_settings_are_chosen_by_what_they_cost_and_leak_on_the_victims_that_they_share():
    """A loss, and an attack that is strongest, on a setting's own victims do not count."""

    def setting(strength, *seeds):
        return [
            record(attack=attack, strength=strength, seed=seed, ssim=ssim, accuracy=accuracy)
            for seed, accuracy, scores in seeds
            for attack, ssim in scores.items()
        ]

    even = {"rmle": 0.5, "rmle_adaptive": 0.4}
    (panel,) = panels([
        # lost .015 in the mean and .03 on seed 0, which the other one shares
        *setting(0.3, (0, 0.96, even), (1, 0.99, {"rmle": 0.1, "rmle_adaptive": 0.1})),
        *setting(0.2, (0, 0.98, even)),
    ])  # fmt: skip
    best = within(operating_points(panel, "ssim"), 0.02)
    assert (best.worst.strength, best.worst.group.seeds) == (0.2, [0])
    (panel,) = panels([
        # by the mean, rmle is strongest against .3; on seed 0 the adaptive attack is
        *setting(0.3, (0, 0.98, {"rmle": 0.1, "rmle_adaptive": 0.6}), (1, 0.98, {"rmle": 0.9, "rmle_adaptive": 0.1})),
        *setting(0.2, (0, 0.98, even)),
    ])  # fmt: skip
    found = operating_points(panel, "ssim")
    assert {one.worst.strength: one.adversary for one in found} == {0.3: "rmle", 0.2: "rmle"}
    best = within(found, 0.02)
    assert (best.worst.strength, best.leakage) == (0.2, pytest.approx(0.5))
    alone = found[1].on(found[0].worst.group.victims)
    assert (alone.adversary, alone.leakage) == ("rmle_adaptive", pytest.approx(0.6))
    # both lose too much on the shared seed: without the dearer one the other has its own victims
    both = [
        *setting(0.3, (0, 0.95, even), (1, 1.0, even)),
        *setting(0.2, (0, 0.96, even), (2, 1.0, even)),
    ]
    best = within(operating_points(panels(both)[0], "ssim"), 0.02)
    assert (best.worst.strength, best.worst.group.seeds) == (0.2, [0, 2])


def test_a_setting_that_a_strong_attack_did_not_meet_does_not_compare():
    """It would look better than it is; a weak attack that few settings met is not missed."""
    strong = curve(attack="rmle_adaptive", adaptive=True)[:2]
    weak = [record(strength=0.4, ssim=0.0, attack="ridge")]
    (panel,) = panels([*curve(), *strong, *weak])
    found = operating_points(panel, "ssim")
    assert {one.worst.strength: list(one.missing) for one in found} == {
        0.0: [], 0.2: [], 0.4: ["rmle_adaptive"], 0.8: ["rmle_adaptive"],
    }  # fmt: skip
    assert found[-1].caveats[-1] == "not run there: rmle_adaptive"
    assert {one.worst.strength for one in pareto(found)} == {0.0, 0.2}
    assert within(found[1:], 1.0).worst.strength == 0.2, "others leak less and lack the attack"
    assert within(found[2:], 1.0).worst.strength == 0.8, "all of them lack it"


def test_pareto_sets_hold_what_nothing_beats():
    """A defense that is worse in both is none of them."""
    (panel,) = panels([*curve(), record("gaussian", 1.0, ssim=0.7, accuracy=0.95)])
    found = pareto(operating_points(panel, "ssim"))
    assert [choice.worst.strength for choice in found] == [0.0, 0.2, 0.4, 0.8]
    assert all(choice.defense != "gaussian" for choice in found)


def test_better_is_a_statement_with_an_interval():
    """Paired over the same images; equal ones are inconclusive."""
    apart = panels([*curve(), *curve("gaussian", "input", 0.1)])[0]
    (found,) = comparisons(apart, "ssim", 0.02)
    assert found.difference[1] < 0
    assert found.description.startswith(
        "dropout 0.4 on features leaks less than gaussian 0.4 on input"
    )
    alike = panels([*curve(), *curve("gaussian", "input")])[0]
    assert "inconclusive" in comparisons(alike, "ssim", 0.02)[0].description
    few = panels([*curve(targets=3), *curve("gaussian", "input", targets=3)])[0]
    assert "too few images" in comparisons(few, "ssim", 0.02)[0].description


def test_namesakes_are_distinguished_by_what_differs():
    """Steps of an attack, targets of a setting."""
    assert attack_names([record(steps=500), record(steps=5000)]) == [
        "rmle steps 500",
        "rmle steps 5000",
    ]
    found = panels([record(targets=6), record(targets=7)])
    assert [panel.title for panel in found] == [
        "mnist relu2 (targets 6)",
        "mnist relu2 (targets 7)",
    ]


def test_image_grids_hold_originals_scores_and_gaps(tmp_path):
    """Columns are strengths, a strength that was not measured is a gap."""
    both = [*curve(), *curve("dropout", "input")[1:3]]
    (panel,) = panels(both)
    read = image_loader(kept(tmp_path, both))
    (figure,) = image_grids.by_strength(panel, read)
    assert [row["text"] for row in rows_of(figure, "head")] == [
        "original", "0", "0.2", "0.4", "0.8",
    ]  # fmt: skip
    captions = [row["text"] for row in rows_of(figure, "caption")]
    one = both[1].columns
    assert f"{one['psnr_db'][0]:.1f} dB / {one['ssim'][0]:.2f}" in captions
    assert captions.count("gap") == 2
    first = rows_of(figure, "image")[0]["url"]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(first.partition(",")[2]))))
    assert np.array_equal(shown[::4, ::4], read(both[0])[0][0, 0]), "the original, enlarged"


def test_sheets_hold_every_image_in_the_page_or_in_files(tmp_path, monkeypatch):
    """Lossless while they fit; compressed where they do not, and in files where nothing fits."""
    one = record(targets=5)
    read = image_loader(kept(tmp_path, [one]))
    sheets = ImageSheets.read([one], read)
    originals, recovered = (sheets.held[sheets.of[one.key][n]] for n in ("originals", "recovered"))
    assert (originals["width"], originals["columns"], originals["images"]) == (28, 3, 5)
    data = base64.b64decode(recovered["source"].partition(",")[2])
    whole = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    for at, image in enumerate(read(one)[1][:, 0]):
        y, x = 28 * (at // 3), 28 * (at % 3)
        assert np.array_equal(whole[y : y + 28, x : x + 28], image)
    assert (sheets.note, sheets.files) == ("", {})
    monkeypatch.setattr(image_sheets, "MAX_BYTES", 100)
    sheets = ImageSheets.read([one], read)
    assert sheets.quality == image_sheets.QUALITIES[-1]
    assert {held["source"] for held in sheets.held.values()} == set(sheets.files)
    assert "compressed" in sheets.note and "images/" in sheets.note


def test_figures_across_split_points_do_not_mix_numbers_of_transmissions():
    """Sent once and sixteen times are two figures, each with its own title."""
    records = [
        record("dropout" if rate else "none", rate, split=split, transmissions=times, targets=20)
        for split in ("conv1", "relu2")
        for times in (1, 16)
        for rate in (0.0, 0.2, 0.4)
    ]
    for drawn in (curves.splits, undefended.undefended):
        titles = {figure.title.partition(":")[0] for figure in drawn(panels(records))}
        assert len(titles) == 2 and sum("sent 16 times" in title for title in titles) == 1


def test_a_figure_of_images_keeps_their_colours():
    """A palette of 256 colours would cost more than many reconstructions differ."""
    pixels = np.random.default_rng(0).integers(256, size=(40, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    chart = {"width": 40, "height": 40, "data": {"values": [{"url": f"data:image/png;base64,{data}"}]},
             "mark": {"type": "image", "width": 40, "height": 40}, "encoding": {"url": {"field": "url"}}}  # fmt: skip
    counts = []
    for section in (IMAGES, "Curves"):
        png = Figure(section, "s", "t", "", chart).files()["s.png"]
        counts.append(len(Image.open(io.BytesIO(png)).convert("RGB").getcolors(1 << 24)))
    assert counts[1] <= 256 < counts[0]


def test_twenty_defenses_differ_in_colour_or_shape():
    names = [f"d{number}" for number in range(20)]
    found = style.series([*names[:9], "gaussian", *names[9:], "dropout", "laplace"])
    assert len({(one.colour, one.shape) for one in found.values()}) == 23


def test_large_images_are_shrunk_one_by_one_and_the_page_says_so():
    """The colour of one does not run into its neighbour."""
    images = np.zeros((4, 1, 224, 224), np.uint8)
    images[::2] = 255
    data, side, columns = sheet(images, None)
    assert side == (74, 74) and columns == 2
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    assert set(np.unique(shown)) == {0, 255}
    assert "at most 96 pixels" in ImageSheets(smaller=True).note
