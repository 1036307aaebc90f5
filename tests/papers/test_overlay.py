"""Published numbers drawn over and listed with measured ones."""

import pytest

from privbench.papers.he2020.__main__ import main
from privbench.papers.he2020.published import curve, load_published, overlay, published_for
from privbench.report.analysis import tables as report_tables
from privbench.report.analysis.overlay import no_overlay
from privbench.report.analysis.tradeoffs import panels
from privbench.report.undefended import undefended
from privbench.report.writing import curve_figures
from privbench.sweep.overlays import published_overlay
from tests.records import kept, record, rows_of
from tests.support import sweep_files


def test_the_published_curve_lies_over_records_of_its_settings_alone():
    """Figure 9's dropout, and nothing for another attack, step count or data set."""
    matching = record("dropout", 0.4, attack="rmle_paper", steps=500)
    assert [row.ssim for row in curve(matching)] == [
        row.ssim for row in load_published()
        if (row.source, row.defense, row.site) == ("fig9", "dropout", "features")
    ]  # fmt: skip
    assert published_for(matching)[0].ssim == pytest.approx(0.348, abs=0.05)
    for other in (
        record("dropout", 0.4),
        record("dropout", 0.4, attack="rmle_paper", steps=400),
        record("dropout", 0.4, attack="rmle_paper", dataset="digits"),
    ):
        assert curve(other) == published_for(other) == []
    figure = next(curve_figures(panels([matching]), overlay))
    plain = next(curve_figures(panels([matching]), no_overlay))
    assert not rows_of(plain, "reference")
    assert len(rows_of(figure, "reference")) == 10
    assert "published" in figure.caption and "published" not in plain.caption


def test_table_3_stands_with_its_white_box_record():
    """15.10 dB / .600 at relu2, 5,000 steps."""
    ours = record("none", 0.0, attack="rmle_paper", steps=5000)
    (row,) = published_for(ours)
    assert (row.psnr_db, row.ssim) == (15.1, 0.5998)
    head, line = report_tables.attacks(panels([ours]), overlay)
    cells = dict(zip(head, line, strict=True))
    assert cells["published SSIM"] == "0.600"
    assert cells["blind SSIM"] == "0.350"


def test_splits_have_the_published_score_next_to_the_measured_one():
    """Figure 15: a point a split with its interval, the blind baseline and the published score."""
    found = panels([
        record("none", 0.0, attack="rmle_paper", steps=5000, split=split, ssim=ssim)
        for split, ssim in (("conv1", 0.9), ("relu2", 0.5))
    ])  # fmt: skip
    figure = next(undefended(found, overlay))
    assert [row["y"] for row in rows_of(figure, "measured")] == pytest.approx([0.9, 0.5])
    published = [row["y"] for row in rows_of(figure, "published")]
    assert published == pytest.approx([0.9969, 0.5998], abs=1e-3)
    assert "conv1 leaks most and relu2 least" in figure.title


def test_a_sweep_file_in_a_papers_folder_selects_its_overlay():
    """A typed sweep, a file in no folder, or in one without published numbers has none."""
    assert published_overlay("he2020/fig9_mnist") is overlay
    assert all(published_overlay(name) is None for name in sweep_files() if "he2020/" not in name)
    for file in (None, "smoke", "wandb/grid", "mine/fig9_mnist", "a.b/c", "../he2020/x"):
        assert published_overlay(file) is None


@pytest.mark.fault
def test_the_command_writes_the_document_the_figures_and_a_page(tmp_path, capsys):
    """Printed where no file is named; a missing store is one line."""
    kept(tmp_path, [record("dropout", 0.4, attack="rmle_paper", steps=500, targets=12)])
    main([str(tmp_path), "--write", str(tmp_path / "RESULTS.md"), "--page", str(tmp_path / "page")])
    text = (tmp_path / "RESULTS.md").read_text()
    assert f"python -m privbench.papers.he2020 {tmp_path} --write" in text
    assert "| mnist relu2, rmle_paper (500 steps), dropout 0.4 on features | " in text
    assert "published SSIM" in (tmp_path / "page" / "attacks.csv").read_text().splitlines()[0]
    capsys.readouterr()
    main([str(tmp_path)])
    assert capsys.readouterr().out.startswith("# The paper")  # the generated document
    with pytest.raises(SystemExit) as refused:
        main([str(tmp_path / "nothing")])
    assert "is neither a sweep nor a store" in str(refused.value)
