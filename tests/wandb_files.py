"""What W&B's offline files hold, run by run."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import finished_run


@dataclass
class OfflineRun:
    """A run, read from its finished file."""

    path: Path

    def __post_init__(self) -> None:
        self.records = finished_run(self.path)
        self.header = next(r.run for r in self.records if r.HasField("run"))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of the history."""
        return [
            {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in r.history.item}
            for r in self.records
            if r.HasField("history")
        ]

    @property
    def curves(self) -> dict[str, list[Any]]:
        """Values of each metric, in their order."""
        found = defaultdict(list)
        for row in self.rows:
            for name, value in row.items():
                if not name.startswith("_"):
                    found[name].append(value)
        return dict(found)

    @property
    def summary(self) -> dict[str, Any]:
        """Final values."""
        return {
            i.key or ".".join(i.nested_key): json.loads(i.value_json)
            for r in self.records
            if r.HasField("summary")
            for i in r.summary.update
        }

    def table(self, key: str) -> dict[str, Any]:
        """Columns and rows of a table."""
        path = self.path.parent / "files" / self.summary[f"{key}.path"]
        table: dict[str, Any] = json.loads(path.read_text())
        return table

    @property
    def axes(self) -> dict[str, str]:
        """Axis of each stream of metrics."""
        return {
            r.metric.glob_name: r.metric.step_metric for r in self.records if r.HasField("metric")
        }


def offline_runs(outputs: Path, job_type: str = "attack") -> list[OfflineRun]:
    """Every offline run of a kind, in the order of their folders."""
    paths = sorted((outputs / "wandb").glob("offline-run-*/*.wandb"))
    return [run for run in map(OfflineRun, paths) if run.header.job_type == job_type]
