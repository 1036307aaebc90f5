"""The workspace draws what a sweep logged; the summary run holds its finding and its curves."""

import json
import warnings

import pytest

from privbench.report.analysis.selection import select
from privbench.report.analysis.tracked import sweep_summary
from tests.records import curve, record, sweep
from tests.support import ROOT
from tests.wandb_files import offline_runs


def _workspace() -> dict:
    """The specification of the workspace as a server gets it."""
    with warnings.catch_warnings():  # its own code's age is not ours
        warnings.simplefilter("ignore")
        pytest.importorskip("wandb_workspaces.workspaces")
        from privbench.tracking.dashboard import workspace

        model = workspace("me", "privbench")._to_model()
        return json.loads(model.model_dump_json(by_alias=True, exclude_none=True))["spec"][
            "section"
        ]


def test_a_tracker_gets_finding_curves_and_cells(tmp_path):
    """A line for each defense and attack, its points with their intervals; numbers are numbers."""
    gap = record(strength=0.9)
    folder = sweep(tmp_path, "figure", [*curve(), *curve("gaussian", "input")[1:]], [gap])
    summary = sweep_summary(select(folder, {}), folder / "report")
    assert summary.finding[0].startswith("No adaptive attack was run against dropout on features")
    assert summary.finding[-1].startswith("mnist relu2: at most 2 points of accuracy lost")
    assert summary.numbers == {"cells": 7, "gaps": 1}
    found = summary.curves["ssim"]
    lines: dict[str, list] = {}
    for line, *values in found.rows:
        lines.setdefault(line, []).append(values)
    assert found.columns[:3] == ["curve", "SSIM", "accuracy"]
    assert sorted(lines) == [
        f"{defense}, {attack}"
        for defense in ("dropout on features", "gaussian on input")
        for attack in ("blind guess", "rmle")
    ]
    dropout = lines["dropout on features, rmle"]
    assert [values[0] for values in dropout] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert [values[1] for values in dropout] == pytest.approx([0.99, 0.985, 0.975, 0.9])
    assert all(low < score < high for score, *_, low, high in dropout)
    assert [values[0] for values in lines["dropout on features, blind guess"]] == [
        pytest.approx(0.35)
    ] * 4
    head, *cells = summary.cells
    assert {type(row[head.index("strength")]) for row in cells} == {float}
    assert {row[head.index("attack")] for row in cells} == {"rmle"}


@pytest.mark.long
def test_a_panel_of_the_workspace_has_the_keys_that_a_sweep_logs(privbench, warm):
    """Curves, cells and images by the names that offline files hold; without a page too."""
    words = ["-m", "attack=rmle", "attack.steps=20", "targets=5", "defense.rate=0.1,0.3"]
    code, _, err = privbench(*words, f"output_dir={warm}", "tracker=wandb", "sweep.report=false")
    assert code == 0, err
    cells, (summary,) = offline_runs(warm), offline_runs(warm, "summary")
    (folder,) = (warm / "sweeps").iterdir()
    assert summary.header.run_group == folder.name
    assert summary.header.notes.startswith("No adaptive attack was run against dropout")
    assert "few images: scores are of 5 images" in summary.header.notes
    section = _workspace()
    panels = [p for s in section["panelBankConfig"]["sections"] for p in s["panels"]]
    text = json.dumps(panels)
    kinds = {panel["viewType"] for panel in panels}
    assert {"Vega2", "Scatter Plot", "Weave", "Media Browser", "Run Comparer"} <= kinds
    for panel in (p["config"] for p in panels if p["viewType"] == "Vega2"):
        (runs,) = panel["userQuery"]["queryFields"]
        key = next(f for f in runs["fields"] if f["name"] == "summaryTable")["args"][0]["value"]
        assert set(panel["fieldSettings"].values()) <= set(summary.table(key)["columns"])
    assert summary.table("cells")["data"]
    assert '"cells"' in text
    for panel in (p["config"] for p in panels if p["viewType"] == "Scatter Plot"):
        axes = {panel[axis].removeprefix("summary:") for axis in ("xAxis", "yAxis")}
        assert axes <= set(cells[0].summary)
    logged = set(cells[0].curves)
    for panel in (p["config"] for p in panels if p["viewType"] == "Run History Line Plot"):
        stream = panel["xAxis"].partition("/")[0]
        if stream in ("attack", "victim", "evaluation_classifier"):
            assert {panel["xAxis"], *panel["metrics"]} <= logged
    (browser,) = [p["config"] for p in panels if p["viewType"] == "Media Browser"]
    assert f"{browser['mediaKeys'][0]}.path" in logged


def test_the_readme_draws_every_section_of_the_workspace():
    """The description in ``conf/tracker`` follows the code."""
    drawn = (ROOT / "conf" / "tracker" / "README.md").read_text()
    section = _workspace()["panelBankConfig"]["sections"]
    assert [s["name"] for s in section if s["name"] not in drawn] == []
    titles = [p["config"].get("chartTitle", "") for s in section for p in s["panels"]]
    named = [title.removeprefix("Accuracy against ").partition(":")[0] for title in titles]
    assert [name for name in named if name not in drawn] == []
