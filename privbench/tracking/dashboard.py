"""A W&B workspace: ``python -m privbench.tracking.dashboard --entity me --project privbench``."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from privbench.evaluation.metrics import OPTIONAL_METRICS, known_metrics
from privbench.evaluation.metrics.base import Metric, Place
from privbench.runtime.pipes import ends_with_its_reader
from privbench.tracking.base import CELLS, RECONSTRUCTIONS
from privbench.tracking.wandb import LINES, PATIENCE, curves_key, line_fields

NAME = "privbench: accuracy against privacy"
READING = (
    "A line is a defense met by an attack, its points are strengths; *blind guess* is the best "
    "score without the features. Higher accuracy at the same leakage is better. The notes of each "
    "`summary of ...` run state its weaknesses and its finding. Show one of these runs at a time: "
    "lines of several sweeps have the same names."
)
SETTINGS = ("defense", "site", "strength", "split", "attack", "accuracy")
PROGRESS = {
    "attack/ssim": "attack/step",
    "attack/psnr_db": "attack/step",
    "attack/objective": "attack/step",
    "adversary/loss": "adversary/epoch",
    "adversary/held_out_loss": "adversary/epoch",
    "victim/accuracy": "victim/epoch",
    "victim/loss": "victim/epoch",
    "evaluation_classifier/accuracy": "evaluation_classifier/epoch",
    "deployment/accuracy": "deployment/epoch",
    "deployment/loss": "deployment/epoch",
}
"""Metrics of trainings and attacks, with their axis."""


def workspace(entity: str, project: str) -> Any:
    """Build a workspace of curves, cells, images, trainings and a comparison.

    Args:
        entity: User or team.
        project: Project of the user or team.

    Raises:
        ValueError: where wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError:
        raise ValueError(
            "the dashboard needs wandb-workspaces: pip install 'privbench[dashboard]'"
        ) from None

    sections = {
        "Accuracy against leakage": [
            wr.MarkdownPanel(markdown=READING),
            *_lines(wr),
            *_scatters(wr),
        ],
        "Cells": [wr.WeavePanelSummaryTable(table_name=CELLS), _coordinates(wr)],
        "Reconstructions": [wr.MediaBrowser(title="originals above", media_keys=[RECONSTRUCTIONS])],
        "Attacks and trainings": [
            wr.LinePlot(title=metric, x=axis, y=[metric]) for metric, axis in PROGRESS.items()
        ],
        "Comparison of runs": [wr.RunComparer(diff_only=True)],
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            ws.Section(name=name, panels=panels, is_open=at < 3)
            for at, (name, panels) in enumerate(sections.items())
        ],
        # grouped, W&B would draw the mean over strengths: an order keeps each run a point
        runset_settings=ws.RunsetSettings(
            order=[
                ws.Ordering(ws.Metric("Group")),
                *(ws.Ordering(ws.Summary(name)) for name in ("defense", "attack", "strength")),
            ],
            pinned_columns=[f"summary:{name}" for name in (*SETTINGS, *_names("curves"))],
        ),
    )


def _lines(wr: Any) -> list[Any]:
    """Return the curves by defense and attack, which the runs of sweeps hold as tables."""
    return [
        wr.CustomChart(
            query={"summaryTable": {"tableKey": f"{curves_key(metric.name)}_table"}},
            chart_name=LINES,
            chart_fields=line_fields(metric.title),
            chart_strings={"title": _heading(metric), "xname": metric.title},
        )
        for metric in _shown("curves")
    ]


def _scatters(wr: Any) -> list[Any]:
    """Return the cells as points, which any selection of runs has."""
    accuracy = wr.SummaryMetric("accuracy")
    return [
        wr.ScatterPlot(title=_heading(metric), x=wr.SummaryMetric(metric.name), y=accuracy)
        for metric in _shown("summary")
    ]


def _coordinates(wr: Any) -> Any:
    columns = [
        wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(name))
        for name in (*SETTINGS, *_names("curves"))
    ]
    return wr.ParallelCoordinatesPlot(title="All settings and scores", columns=columns)


def _shown(place: Place) -> list[Metric]:
    built_in = [metric for metric in known_metrics() if metric not in OPTIONAL_METRICS]
    return [metric for metric in built_in if place in metric.show]


def _names(place: Place) -> Sequence[str]:
    return [metric.name for metric in _shown(place)]


def _heading(metric: Metric) -> str:
    better = "left" if metric.higher_leaks else "right"
    return f"Accuracy against {metric.label}: the upper {better} is better"


@ends_with_its_reader
def main() -> None:
    """Create or update the workspace and print its address."""
    parser = argparse.ArgumentParser(
        prog="python -m privbench.tracking.dashboard",
        description="Creates or updates the W&B workspace of a project.",
    )
    parser.add_argument("--entity", required=True, help="user or team")
    parser.add_argument("--project", default="privbench", help="project of the user or team")
    args = parser.parse_args()
    try:
        import wandb

        wandb.setup(wandb.Settings(**PATIENCE))
        dashboard = workspace(args.entity, args.project)
        dashboard._internal_name = "nw-privbench-v"  # fixed: saving again updates it
        dashboard.save()
    except Exception as error:  # anything that W&B, its server or the network raises
        print(f"privbench: no dashboard: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    print(dashboard.url)


if __name__ == "__main__":
    main()
