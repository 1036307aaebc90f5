"""A report: its numbers, its figures by their data, and what a tracker gets."""

import warnings

import numpy as np
import pytest
from matplotlib.colors import to_hex

from privbench.analysis import tables
from privbench.analysis.operating_points import (
    ACCURACY_BUDGETS,
    comparisons,
    headline,
    operating_points,
    pareto,
    within,
)
from privbench.analysis.selection import select
from privbench.analysis.tradeoffs import attack_names, panels
from privbench.report import figure_style, figures, image_grids
from privbench.report.writing import sweep_summary
from tests.records import curve, kept, record, sweep
from tests.support import finished_run


def test_a_curve_runs_from_no_defense_to_the_strongest_through_its_means():
    """Lines, labels and axes of the figure are the records' numbers."""
    (panel,) = panels([*curve(), *curve("gaussian", "input", 0.05)])
    (figure,) = figures.tradeoffs(panel)
    first, second = figure.axes
    assert first.get_xlabel().startswith("SSIM")
    assert second.get_xlabel().startswith("PSNR")
    assert first.get_ylabel() == "accuracy"
    drawn = {line.get_label(): line for line in first.lines}
    dropout, gaussian = drawn["dropout on features"], drawn["gaussian on input"]
    assert np.allclose(dropout.get_xdata(), [0.8, 0.6, 0.4, 0.2])
    assert np.allclose(dropout.get_ydata(), [0.99, 0.985, 0.975, 0.9])
    assert (dropout.get_linestyle(), gaussian.get_linestyle()) == ("--", "-")
    assert to_hex(dropout.get_color()).upper() == figure_style.COLOURS["dropout"]
    texts = {text.get_text() for text in first.texts}
    assert {"0.2", "0.4", "0.8"} <= texts
    ends = [line.get_xdata() for line in first.lines if len(line.get_xdata()) == 2]
    (floor,) = [x for x in ends if np.allclose(x, 0.35)]
    assert len(floor) == 2
    low, high = first.get_ylim()
    assert low < 0.9
    assert high > 0.99
    assert "least leakage" in figure.get_suptitle()


def test_naive_and_adaptive_adversaries_stand_side_by_side():
    """On the same axes, the naive one first."""
    (panel,) = panels([*curve(attack="rmle_adaptive", adaptive=True), *curve()])
    (figure,) = figures.tradeoffs(panel)
    titles = [ax.get_title().replace("\n", " ") for ax in figure.axes[:2]]
    assert titles == ["rmle", "rmle_adaptive"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_each_seed_is_a_thin_line_while_there_are_fewer_than_five():
    """And the band is over images, whose seeds are averaged first."""
    three = [one for seed in range(3) for one in curve(seed=seed)]
    (panel,) = panels(three)
    (figure,) = figures.tradeoffs(panel)
    thin = [line for line in figure.axes[0].lines if line.get_linewidth() == 0.5]
    assert len(thin) == 3
    point = panel.adversaries[0].lines[0].points[1]
    assert len(point.group.records) == 3
    low, high = point.bands["ssim"]
    assert low < 0.6 < high
    five = [one for seed in range(5) for one in curve(seed=seed)]
    (figure,) = figures.tradeoffs(panels(five)[0])
    assert not [line for line in figure.axes[0].lines if line.get_linewidth() == 0.5]


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
    assert "no measured defense keeps the accuracy" in headline(poor)
    rows = tables.leakages([poor])
    assert rows[1][3:] == ["none"] * 3


def test_a_setting_that_one_adversary_did_not_meet_has_no_worst_case():
    """It would look better than it is."""
    (panel,) = panels([*curve(), *curve(attack="rmle_adaptive", adaptive=True)[:2]])
    assert {c.worst.strength for c in operating_points(panel, "ssim")} == {0.0, 0.2}


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
    store = kept(tmp_path, both)
    (panel,) = panels(both)
    read = image_grids.image_loader(store)
    figure = image_grids.image_grid_by_strength(panel, panel.adversaries[0], "dropout", read)
    heads = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert heads == ["original", "0", "0.2", "0.4", "0.8"]
    captions = [ax.get_xlabel() for ax in figure.axes]
    one = both[1].columns
    assert f"{one['psnr_db'][0]:.1f} dB / {one['ssim'][0]:.2f}" in captions
    assert sum(text.get_text() == "gap" for ax in figure.axes for text in ax.texts) == 2
    shown = figure.axes[0].images[0].get_array()
    assert np.array_equal(shown, read(both[-1])[0][0, 0])


def test_the_end_of_a_sweep_draws_its_page_and_logs_it(privbench, warm):
    """A summary run of the sweep's group: the table of cells, the curves, the pictures."""

    words = ["-m", "attack=rmle", "attack.steps=20", "targets=5", "defense.rate=0.1,0.3"]
    code, out, err = privbench(*words, f"output_dir={warm}", "tracker=wandb", "sweep.report=true")
    assert code == 0, err
    (page,) = (warm / "sweeps").glob("*/report/index.html")
    assert str(page) in out
    found = []
    for path in (warm / "wandb").glob("offline-run-*/*.wandb"):
        records = finished_run(path)
        run = next((r.run for r in records if r.HasField("run")), None)
        if run and run.job_type == "summary":
            found.append((run, records))
    ((run, records),) = found
    assert run.run_group == page.parent.parent.name
    keys = {
        i.key or i.nested_key[0] for r in records if r.HasField("history") for i in r.history.item
    }
    assert "cells" in keys
    assert any("accuracy against SSIM" in key for key in keys)
    assert any(key.startswith("tradeoff") for key in keys)


def test_a_tracker_gets_the_curves(tmp_path):
    """Lines by name, places along x and y."""
    folder = sweep(tmp_path, "figure", curve(), [])
    delivered = sweep_summary(select(folder, {}), folder / "report")
    names, xs, ys = delivered["curves"]["mnist relu2, rmle: accuracy against SSIM"]
    assert names == ["dropout on features"]
    assert np.allclose(xs[0], [0.8, 0.6, 0.4, 0.2])
    assert np.allclose(ys[0], [0.99, 0.985, 0.975, 0.9])
    assert len(delivered["cells"]) == 5


def test_the_workspace_has_the_curves_the_images_and_a_comparer():
    """Built offline."""
    with warnings.catch_warnings():  # its own code's age is not ours
        warnings.simplefilter("ignore")
        pytest.importorskip("wandb_workspaces.workspaces")
        from privbench.tracking.dashboard import workspace

        made = workspace("me", "privbench")
    kinds = {panel.__class__.__name__ for section in made.sections for panel in section.panels}
    assert {"ScatterPlot", "ParallelCoordinatesPlot", "MediaBrowser", "RunComparer"} <= kinds
    scatters = [p for s in made.sections for p in s.panels if type(p).__name__ == "ScatterPlot"]
    assert {plot.x.name for plot in scatters} >= {"ssim", "psnr_db"}
    assert {plot.y.name for plot in scatters} == {"accuracy"}
