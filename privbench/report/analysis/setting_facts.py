"""Facts of settings as JSON: finding, what weakens it, commands that mend that (no torch)."""

from collections.abc import Sequence
from typing import Any

from privbench.report.analysis.advice import adding, not_undefended, untried
from privbench.report.analysis.finding import (
    UNMET,
    Finding,
    by_setting,
    finding,
    strongest_not_run,
)
from privbench.report.analysis.tradeoffs import SplitResults, unequal_settings


def setting_facts(
    found: Sequence[SplitResults], missing: int = 0, command: str = ""
) -> list[dict[str, Any]]:
    """Return what a page says of each setting; one without a title where nothing was measured.

    Args:
        found: Results by victim and split point.
        missing: Number of cells without a record.
        command: Command of the sweep; empty for a selection.
    """
    if not found:
        return [{"title": "", "cells": 0, **_facts(finding([], missing), [], command)}]
    return [
        {
            "title": panel.title,
            "cells": len(panel.records),
            **_facts(result, [panel], command),
        }
        for panel, result in zip(found, by_setting(found, missing), strict=True)
    ]


def _facts(result: Finding, found: Sequence[SplitResults], command: str) -> dict[str, Any]:
    """Return the finding; the lack of an adaptive attack apart from other weaknesses."""
    records = [record for panel in found for record in panel.records]
    advice = untried(records, command)
    unmet = next((one for one in result.weaknesses if one.name.endswith(UNMET)), None)
    others = [one for one in result.weaknesses if one is not unmet]
    return {
        "finding": result.statements[0],
        "unmet": unmet.name if unmet else "",
        "weaknesses": list(dict.fromkeys(one.name for one in others)),
        "notes": [*(one.sentence for one in others), *unequal_settings(found)],
        "warnings": advice.warnings,
        "commands": advice.commands,
        "stronger": adding(records, strongest_not_run(records), command),
        "undefended": not_undefended(records, command),
    }
