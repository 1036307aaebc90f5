"""A W&B workspace: ``python -m privbench.tracking.dashboard --entity me --project privbench``."""

import argparse
import sys
from typing import Any

from privbench.evaluation.metrics import known_metrics
from privbench.evaluation.metrics.base import Metric
from privbench.tracking.wandb import PATIENCE

NAME = "privbench: accuracy against privacy"


def workspace(entity: str, project: str) -> Any:
    """Build a workspace of curves, coordinates, images and a comparison, grouped by sweep.

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

    def scatter(metric: str, title: str) -> Any:
        axes = {"x": wr.SummaryMetric(metric), "y": wr.SummaryMetric("accuracy")}
        return wr.ScatterPlot(title=title, **axes)

    compared = [metric for metric in known_metrics() if "summary" in metric.show]
    settings = ["defense", "site", "strength", "split", "attack", "accuracy"]
    columns = [*settings, *(metric.name for metric in compared if "curves" in metric.show)]
    curves = [
        *(scatter(metric.name, _heading(metric)) for metric in compared),
        wr.ParallelCoordinatesPlot(
            title="All settings and scores",
            columns=[wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(c)) for c in columns],
        ),
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            ws.Section(name="Accuracy against privacy", panels=curves, is_open=True),
            ws.Section(
                name="Reconstructions",
                panels=[wr.MediaBrowser(title="originals above", media_keys=["reconstructions"])],
                is_open=True,
            ),
            ws.Section(
                name="Progress of attacks",
                panels=[
                    wr.LinePlot(title="SSIM", x="attack/step", y=["attack/ssim"]),
                    wr.LinePlot(title="objective", x="attack/step", y=["attack/objective"]),
                ],
            ),
            ws.Section(name="Comparison of runs", panels=[wr.RunComparer(diff_only=True)]),
        ],
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Metric("Group"), ws.Summary("defense")],
            filters=[ws.Metric("JobType") == "attack"],
        ),
    )


def _heading(metric: Metric) -> str:
    better = "left" if metric.higher_leaks else "right"
    return f"Accuracy against {metric.label}: the upper {better} is better"


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
