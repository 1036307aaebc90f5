"""A plan as a page: one HTML file, its figures as files, and the plan in the other formats."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from privbench.plan import output, terminal
from privbench.plan.figures import figures
from privbench.plan.planner import Plan
from privbench.plan.profiles import Cloud, Network, Platform, numbers
from privbench.report import page as report
from privbench.report.analysis.labels import metric_label
from privbench.report.analysis.tables import Rows
from privbench.report.rendering import Figure, require_extra
from privbench.runtime.files import replace_files

TEMPLATES = Path(__file__).parent / "templates"


def write(plan: Plan) -> Path:
    """Write the page, its figures and the plan in the other formats; return the page's path.

    Raises:
        UserError: where the libraries that draw are not installed.
    """
    request = plan.request
    require_extra("the command again")
    drawn = figures(plan)
    files = {name: data for figure in drawn for name, data in figure.files().items()}
    texts = {
        "index.html": page(plan, drawn),
        "plan.json": output.to_json(plan),
        "plan.csv": output.to_csv(plan),
        "plan.md": output.to_markdown(plan),
    }
    folder = Path(request.config["to"] or request.store.parent / "plans" / _name(plan))
    replace_files(folder, {**files, **{name: text.encode() for name, text in texts.items()}})
    return folder / "index.html"


def _name(plan: Plan) -> str:
    names = plan.request.choices
    groups = ("victim", "dataset", "platform", "network", "cloud")
    return re.sub(r"[^\w.-]+", "-", "-".join(names[group] for group in groups))


def page(plan: Plan, drawn: Iterable[Figure]) -> str:
    """Return the page as HTML."""
    held = list(drawn)
    data = {
        "cells": [_option(plan, row) for row in output.as_dict(plan)["options"]],
        "settings": ["plan"],
        "metrics": [{"name": plan.request.config["leakage"]}],
        "figures": [dict(vars(figure)) for figure in held],
        "files": [figure.stem for figure in held],
    }
    shared = (report.TEMPLATES / name for name in ("common.js", "charts.js"))
    template = report.templates(TEMPLATES).get_template("plan.html.j2")
    return template.render(
        **report.parts([*shared, TEMPLATES / "plan.js"]),
        name=_name(plan),
        verdict=terminal.verdict(plan),
        head=[line for line in terminal.head(plan) if line],
        unknown=_unknown(plan),
        notes=terminal.warnings(plan),
        commands=plan.commands,
        rates=terminal.rates(plan),
        volume=terminal.volume(plan),
        tables=[(title, note, _table(rows)) for title, note, rows in _tables(plan)],
        data=report.embedded(data),
    )


def _unknown(plan: Plan) -> str:
    """Return how many options have no measured leakage; empty where all have."""
    metric = plan.request.config["leakage"]
    count = sum(option.span(metric) is None for option in plan.options)
    some = f"{metric_label(metric)} of {count} of {len(plan.options)} rows is unknown"
    return f"{some}, which is never taken as safe" if count else ""


def _option(plan: Plan, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a mark says of its option."""
    modelled, metric = row["modelled"], plan.request.config["leakage"]
    joules, leak = modelled["energy_j"], row["recorded"]["leakage"].get(metric)
    lines = [
        f"{modelled['latency_ms']:.3g} ms: edge {modelled['edge_ms']:.3g}, network "
        f"{modelled['network_ms']:.3g}, cloud {modelled['cloud_ms']:.3g}",
        "" if joules is None else f"{joules * 1e3:.3g} mJ",
        f"{row['counted']['edge_memory_bytes'] / 1e6:.3g} MB on the device",
    ]
    if leak is not None:
        lines.append(f"{metric_label(metric)} {leak['score']:.3f} by {leak['by']}")
    lines.append(row["rejected"] or "recommended")
    return {"key": row["label"], "lines": [line for line in lines if line]}


def _tables(plan: Plan) -> Iterable[tuple[str, str, Rows]]:
    yield "Costs", terminal.COSTS, output.cost_rows(plan)
    yield "Other payloads, measurements and records", terminal.known(plan), output.known_rows(plan)
    reasons = [["split", "why not"], *([*pair] for pair in plan.choice.rejected.items())]
    yield "Why not", "", reasons
    setup = plan.request.setup
    profiles: dict[str, Platform | Network | Cloud] = {
        "platform": setup.platform,
        "network": setup.network,
        "cloud": setup.cloud,
    }
    sources = [["profile", "number", "value", "source"]]
    for group, one in profiles.items():
        for field, value in numbers(one).items():
            sources.append([f"{group} {one.name}", field, f"{value:g}", one.source.get(field, "")])
    yield "Profiles", "Constants of the model, each with its source.", sources


def _table(rows: Rows) -> dict[str, Any]:
    """Return a table as the templates of reports take it."""
    head = [name or "set" for name in rows[0]]
    return {
        "head": head,
        "rows": [("", "", list(zip(head, row, strict=True))) for row in rows[1:]],
    }
