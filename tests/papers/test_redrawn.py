"""The paper's figures redrawn: published beside measured, and nothing of what was not measured."""

from statistics import fmean

import pytest

from privbench.papers.he2020.__main__ import main
from privbench.papers.he2020.comparison import match_published
from privbench.papers.he2020.published import CIFAR10, FIGURE_15, PAPER_IMAGES, load_published
from privbench.papers.he2020.redrawn import figures, printed_images
from privbench.report.analysis.images import image_loader
from privbench.report.analysis.tradeoffs import panels
from tests.paper_records import figure9, table
from tests.records import kept, put_images, record

SPLITS = ("relu1", "pool1", "conv2", "relu2", "pool2")


def drawn(folder, records):
    """Return the redrawn figures by name."""
    matched = match_published(panels(records))
    found = figures(matched, image_loader(kept(folder, records)))
    return {figure.stem: figure for figure in found}


def rows(figure, **wanted):
    values = figure.chart["data"]["values"]
    return [row for row in values if all(row.get(name) == v for name, v in wanted.items())]


def dropout(split, strength, **others):
    return record(
        "dropout", strength, split=split, attack="rmle_paper", targets=70, seed=0, **others
    )


def test_figure_9_has_the_papers_axes_and_all_published_levels(tmp_path):
    """Accuracy over each score; of what was not measured the published points alone."""
    records = figure9()
    figure = drawn(tmp_path, [one for one in records if one.defense != "laplace"])["fig9"]
    published = [row for row in load_published() if row.source == "fig9" and row.ssim is not None]
    for defense in ("gaussian", "laplace"):
        theirs = rows(figure, facet=f"SSIM, {defense}", series="input", side="published")
        wanted = [(r.ssim, r.accuracy) for r in published
                  if (r.defense, r.site) == (defense, "input")]  # fmt: skip
        assert [(row["x"], row["y"]) for row in theirs] == wanted
    ours = rows(figure, facet="SSIM, gaussian", series="input", side="here")
    of = {one.strength: one for one in records if (one.defense, one.site) == ("gaussian", "input")}
    assert all(row["y"] == of[row["strength"]].accuracy for row in ours if row["strength"])
    assert all(row["x0"] <= row["x"] <= row["x1"] for row in ours) and len(ours) > 2
    assert not rows(figure, facet="SSIM, laplace", series="input", side="here")[1:]
    assert len({row["facet"] for row in figure.chart["data"]["values"]}) == 6


def test_figure_9_by_strength_has_every_measured_point_beside_the_published_one(tmp_path):
    """In a plot for each defense and number, a colour for each site."""
    figure = drawn(tmp_path, figure9())["fig9_strength"]
    published = [row for row in load_published() if row.source == "fig9" and row.ssim is not None]
    theirs = rows(figure, facet="SSIM, gaussian", series="input", side="published")
    wanted = {r.strength: r.ssim for r in published if (r.defense, r.site) == ("gaussian", "input")}
    assert {row["x"]: row["y"] for row in theirs} == wanted
    ours = rows(figure, facet="SSIM, gaussian", series="input", side="here")
    assert [row["x"] for row in ours] == [row["x"] for row in theirs]
    assert all(row["y0"] <= row["y"] <= row["y1"] for row in ours)
    assert len({row["facet"] for row in figure.chart["data"]["values"]}) == 9


def test_figure_11_shows_images_with_their_scores_and_the_printed_ones(tmp_path):
    """A row for each split and a column for each strength that was measured; gaps in between."""
    records = [dropout(split, strength) for split in SPLITS[:2] for strength in (0.2, 0.6)][:3]
    figure = drawn(tmp_path, records)["fig11"]
    assert [row["text"] for row in rows(figure, kind="name")] == [
        "relu1, image 11",
        "pool1, image 11",
    ]
    assert len(rows(figure, kind="image")) == 3
    captions = [row["text"] for row in rows(figure, kind="caption")]
    assert captions.count("gap") == 1
    assert [row["text"] for row in rows(figure, kind="head")] == ["0.2", "0.6"]
    (printed,) = [
        one for one in printed_images("fig11") if one.setting[0] == "relu1" and one.strength == 0.2
    ]
    at = records[0].per_image["index"].index(11)
    here = f"{records[0].columns['psnr_db'][at]:.1f}/"
    shown = f"({printed.psnr_db:.1f}/{f'{printed.ssim:.2f}'[1:]})"
    assert any(text.startswith(here) and text.endswith(shown) for text in captions)


def test_the_tables_and_the_bars_of_figure_15_are_drawn_as_points(tmp_path):
    """Figure 14 has the ten images of those bars."""
    bar = record("none", 0.0, attack="shadow", split="fc1", targets=75)
    bar.config["include"] = FIGURE_15
    found = drawn(tmp_path, [table("rmle_paper", "conv1", 0.9), bar])
    assert [row["series"] for row in rows(found["tables"], facet="SSIM", side="here")] == [
        "MNIST conv1, rmle_paper"
    ]
    assert [row["series"] for row in rows(found["fig15"], facet="SSIM", side="published")] == [
        "fc1"
    ]
    assert [row["text"] for row in rows(found["fig14"], kind="name")] == ["original", "fc1"]
    assert len(rows(found["fig14"], kind="image")) == 20
    assert "fig9" not in found


@pytest.mark.parametrize("numbering", PAPER_IMAGES["cifar10"])
def test_figure_12_finds_its_image_in_the_original_order_and_in_folders_of_classes(
    numbering, tmp_path
):
    """The frog is test image 4, or the first of its class, and has its own score."""
    one = record(
        "dropout",
        0.2,
        split="relu22",
        dataset="cifar10",
        attack="rmle_paper",
        steps=5000,
        targets=10,
    )
    one.config["attack"] |= CIFAR10
    one.config["include"] = list(numbering)
    one.per_image["index"] = list(numbering)
    (frog,) = [at for at, image in enumerate(numbering) if image in (4, 6000)]
    put_images(one, "psnr_db", [20.0 + at for at in range(10)])
    figure = drawn(tmp_path, [one])["fig12"]
    assert [row["text"] for row in rows(figure, kind="name")] == ["relu22, image 4"]
    (caption,) = [row["text"] for row in rows(figure, kind="caption")]
    assert caption.startswith(f"{20 + frog}.0/"), caption
    assert caption.endswith("(16.5/.27)")


def test_printed_images_are_of_the_published_curves():
    """Their settings and images are; where all ten were printed the mean would be the curve's."""
    curves = {
        ("fig6", "mnist"): "fig9", ("fig7", "mnist"): "fig9", ("fig8", "mnist"): "fig9",
        ("fig11", "mnist"): "fig13", ("fig6", "cifar10"): "fig10", ("fig7", "cifar10"): "fig10",
        ("fig8", "cifar10"): "fig10",
    }  # fmt: skip
    for (source, dataset), curve in curves.items():
        settings = {
            (row.split, row.defense, row.site) for row in load_published() if row.source == curve
        }
        found = [one for one in printed_images(source) if one.dataset == dataset]
        assert {one.setting for one in found} <= settings
        assert {one.image for one in found} <= set(PAPER_IMAGES[dataset][0])
        means = {
            row.strength: row.ssim
            for row in load_published()
            if row.source == curve and (row.split, row.defense, row.site) == found[0].setting
        }
        # two of ten images lie about the mean of the ten
        first = found[0].setting
        levels = [one for one in found if one.setting == first and one.strength in means]
        distance = fmean(one.ssim - means[one.strength] for one in levels)
        assert abs(distance) < 0.15


def test_the_command_writes_a_page_of_pictures(tmp_path, capsys):
    """PNG files beside it; a store without a published setting is one line."""
    kept(tmp_path, [dropout("relu2", strength) for strength in (0.2, 0.4)])
    main([str(tmp_path), "--redrawn", str(tmp_path / "to")])
    text = (tmp_path / "to" / "README.md").read_text()
    for stem in ("fig9", "fig11", "fig13"):
        assert f"({stem}.png)" in text
        assert (tmp_path / "to" / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    assert f"python -m privbench.papers.he2020 {tmp_path} --redrawn" in text
    for path in tmp_path.glob("store/records/*/images.safetensors"):
        path.unlink()
    main([str(tmp_path), "--redrawn", str(tmp_path / "to")])
    again = (tmp_path / "to" / "README.md").read_text()
    assert "drawn earlier, from records with their images" in again
    assert again.count("![Figure 11") == text.count("![Figure 11") == 1
    heads = [line for line in again.splitlines() if line.startswith("## ")]
    assert heads == [line for line in text.splitlines() if line.startswith("## ")]
    kept(tmp_path / "other", [record("dropout", 0.4, attack="rmle")])
    with pytest.raises(SystemExit, match="no record has a setting of the paper"):
        main([str(tmp_path / "other"), "--redrawn", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()
