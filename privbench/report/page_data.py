"""Data of the page's scripts: cells with scores, images, intervals and commands, as JSON."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.special import stdtrit

from privbench.evaluation.statistics import FEW_IMAGES, LEVEL
from privbench.report.analysis.cell_facts import (
    Distinct,
    cell_facts,
    metric_facts,
    missing_facts,
    places,
)
from privbench.report.analysis.cell_table import cell_columns, described
from privbench.report.analysis.labels import curve_metrics, table_metrics
from privbench.report.analysis.selection import Selection
from privbench.report.analysis.tradeoffs import SplitResults
from privbench.report.image_sheets import ImageSheets
from privbench.report.rendering import Figure
from privbench.store.record import Record


def page_data(
    selection: Selection,
    found: Sequence[SplitResults],
    figures: Sequence[Figure],
    sheets: ImageSheets,
    folder: Path,
) -> dict[str, Any]:
    """Return all that the page's scripts need.

    Args:
        selection: Records and what is missing.
        found: Their results by victim and split point.
        figures: Figures that the page draws.
        sheets: Images of the records.
        folder: Folder that the page will lie in: links are relative to it.
    """
    records = selection.records
    indices = Distinct()
    at_place = places(found)
    cells = [
        {
            **cell_facts(record, indices),
            **_files(record, selection, sheets, folder),
            **at_place.get(record.key, {}),
        }
        for record in records
    ]
    columns = cell_columns(table_metrics(records))
    values = [[text(record) for _, text in columns] for record in records]
    headings = [name for name, _ in columns]
    missing = [missing_facts(*gap, headings) for gap in selection.missing]
    most = max((record.targets for record in records), default=2)
    return {
        "cells": [
            *({**cell, "values": row} for cell, row in zip(cells, values, strict=True)),
            *missing,
        ],
        "columns": described(columns, values, [cell["values"] for cell in missing]),
        "settings": [panel.title for panel in found],
        "metrics": [metric_facts(name) for name in curve_metrics(records)],
        "indices": indices.held,
        "sheets": sheets.held,
        "figures": [dict(vars(figure)) for figure in figures],
        "t": [None, *(round(float(stdtrit(df, (1 + LEVEL) / 2)), 4) for df in range(1, most))],
        "few": FEW_IMAGES,
    }


def _files(
    record: Record, selection: Selection, sheets: ImageSheets, folder: Path
) -> dict[str, str]:
    """Return the command, the folder and the sheets of a record."""
    path = selection.store / "records" / record.key
    return {
        "command": selection.rerun_command(record),
        "record": os.path.relpath(path, folder.resolve()),
        **sheets.of.get(record.key, {}),
    }
