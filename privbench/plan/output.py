"""A plan as JSON, CSV and Markdown: counted, measured, modelled and recorded numbers apart."""

import json
import math
from collections.abc import Mapping
from typing import Any

from privbench.evaluation.metrics import metric as metric_of
from privbench.plan.choice import amount
from privbench.plan.cost import BITS
from privbench.plan.evidence import Leak
from privbench.plan.option import Option
from privbench.plan.planner import Plan
from privbench.plan.profiles import Cloud, Network, Platform, numbers
from privbench.report.analysis.tables import Rows, as_csv, as_markdown
from privbench.runtime.options import flat

BY_RIGHTS = "leakage_by_rights"


def as_dict(plan: Plan) -> dict[str, Any]:
    """Return the whole plan in plain containers, with the source of each number of a profile."""
    setup, request, best = plan.request.setup, plan.request, plan.choice.best
    profiles: dict[str, Platform | Network | Cloud] = {
        "platform": setup.platform,
        "network": setup.network,
        "cloud": setup.cloud,
    }
    return {
        "victim": request.choices["victim"],
        "dataset": request.choices["dataset"],
        "profiles": {
            group: {"name": one.name, **numbers(one), "source": dict(one.source)}
            for group, one in profiles.items()
        },
        "payload": setup.payload,
        "minimize": request.config["minimize"],
        "max": request.limits.given(),
        "min": {k: v for k, v in request.limits.smallest.items() if v is not None},
        "threads": plan.threads,
        "options": [_option(plan, option) for option in plan.options],
        "recommended": best.label if best else None,
        "runner_up": plan.choice.ranking[1].label if len(plan.choice.ranking) > 1 else None,
        "hypervolume": dict(vars(plan.volume)) if plan.volume else None,
        "uplink_mbps": [
            {"low": one.low, "high": one.high, "choice": one.label or None} for one in plan.windows
        ],
        "commands": list(plan.commands),
        "notes": list(plan.notes),
    }


def _option(plan: Plan, option: Option) -> dict[str, Any]:
    evidence = option.evidence
    return {
        "label": option.label,
        "split": option.split,
        "defense": evidence.defense if evidence else "no defense",
        "transmissions": option.transmissions,
        "counted": _counted(option),
        "measured": {
            "edge_ms": option.measured_ms,
            "payload_int8_deflate_bits": option.deflate_bits,
        },
        "modelled": _modelled(option),
        "recorded": _recorded(option),
        "pareto": plan.marks.get(option.label),
        "rejected": plan.choice.rejected.get(option.label),
    }


def _counted(option: Option) -> dict[str, Any]:
    counts = option.counts
    bits = {f"payload_{name}_bits": counts.payload_bits[name] for name in BITS}
    return {
        "edge_flops": counts.edge.flops,
        "cloud_flops": counts.cloud.flops,
        "edge_parameters": counts.parameters,
        "edge_memory_bytes": counts.memory_bytes,
        **bits,
        "encoder_bits": 8 * counts.edge.weight_bytes,
    }


def _modelled(option: Option) -> dict[str, Any]:
    cost = option.cost
    return {
        "edge_ms": cost.edge_s * 1e3,
        "network_ms": cost.network_s * 1e3,
        "cloud_ms": cost.cloud_s * 1e3,
        "latency_ms": cost.latency_s * 1e3,
        "throughput_hz": cost.throughput_hz,
        "energy_j": cost.energy_j,
        "energy_isolated_j": cost.energy_isolated_j,
    }


def _recorded(option: Option) -> dict[str, Any]:
    evidence = option.evidence
    return {
        "accuracy": option.accuracy,
        "victims": evidence.victims if evidence else 0,
        "not_tried": list(evidence.not_tried) if evidence else None,
        "deployment": dict(evidence.deployed) if evidence else {},
        "bounds": list(evidence.bounds) if evidence else [],
        "leakage": _leaks(evidence.leaks if evidence else {}),
        BY_RIGHTS: {
            rights: _leaks(leaks)
            for rights, leaks in (evidence.by_rights if evidence else {}).items()
        },
    }


def _leaks(leaks: Mapping[str, Leak]) -> dict[str, Any]:
    return {
        name: {
            "score": leak.score,
            "interval": [leak.low, leak.high] if math.isfinite(leak.high) else None,
            "by": leak.by,
            "access": leak.access,
            "baseline": leak.baseline,
            "caveats": list(leak.caveats),
        }
        for name, leak in leaks.items()
    }


def to_json(plan: Plan) -> str:
    """Return the plan in JSON."""
    return json.dumps(as_dict(plan), indent=1, allow_nan=False)


def to_csv(plan: Plan) -> str:
    """Return a row for each option, with columns such as ``modelled.latency_ms``."""
    options = as_dict(plan)["options"]
    for option in options:  # a column for each score, right and field would be hundreds
        del option["recorded"][BY_RIGHTS]
    fields = [flat(option) for option in options]
    columns = list(dict.fromkeys(name for row in fields for name in row))
    rows: Rows = [columns, *([_text(row.get(name)) for name in columns] for row in fields)]
    return as_csv(rows)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)


def cost_rows(plan: Plan) -> Rows:
    """Return the table of costs: counted numbers, then modelled ones."""
    setup = plan.request.setup
    rows: Rows = [
        ["split", "MFLOP", "kparam", "MB", "kB", "edge", "net", "cloud", "total", "mJ", "alone"]
    ]
    for option in plan.options:
        counts, cost = option.counts, option.cost
        rows.append(
            [
                option.label,
                amount(counts.edge.flops / 1e6),
                amount(counts.parameters / 1e3),
                amount(counts.memory_bytes / 1e6),
                amount(option.payload_kb(setup.payload)),
                *(amount(s * 1e3) for s in (cost.edge_s, cost.network_s, cost.cloud_s)),
                amount(cost.latency_s * 1e3),
                *(_or_dash(j, 1e3) for j in (cost.energy_j, cost.energy_isolated_j)),
            ]
        )
    return rows


def known_rows(plan: Plan) -> Rows:
    """Return the table of other payloads, measurements and records."""
    metric = plan.request.config["leakage"]
    rows: Rows = [
        ["split", "", "fp16", "int8", "zip", "here", "img/s", "acc", metric_of(metric).title, "by"]
    ]
    for option in plan.options:
        rows.append(
            [
                option.label,
                plan.marks.get(option.label, ""),
                amount(option.payload_kb("fp16")),
                amount(option.payload_kb("int8")),
                _or_dash(option.deflate_bits, 1 / 8e3),
                _or_dash(option.measured_ms),
                amount(option.cost.throughput_hz),
                "-" if option.accuracy is None else f"{option.accuracy:.3f}",
                *_leak(option, metric),
            ]
        )
    return rows


def _leak(option: Option, metric: str) -> tuple[str, str]:
    leak, span = option.leak(metric), option.span(metric)
    if leak is None:
        if span is None:
            return "unknown", ""
        return ("all" if span.score > 0 else "none"), ""
    show = metric_of(metric).number
    ends = f" [{show(leak.low)}, {show(leak.high)}]" if math.isfinite(leak.high) else ""
    return f"{show(leak.score)}{ends}", leak.by


def _or_dash(value: float | None, unit: float = 1.0) -> str:
    return "-" if value is None else amount(value * unit)


def to_markdown(plan: Plan) -> str:
    """Return both tables and the reasons in Markdown."""
    reasons: Rows = [["split", "why not"], *(list(pair) for pair in plan.choice.rejected.items())]
    tables = [cost_rows(plan), known_rows(plan), reasons]
    return "\n".join(as_markdown(rows) for rows in tables)
