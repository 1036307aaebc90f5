"""A plan on a terminal, at most 100 columns wide."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from privbench.plan.choice import amount
from privbench.plan.option import Option
from privbench.plan.output import cost_rows, known_rows
from privbench.plan.planner import Plan, train_command
from privbench.plan.uplink import FASTEST, SLOWEST, Window
from privbench.report.analysis.labels import metric_label
from privbench.report.analysis.tables import Rows

WIDTH = 100
LONGEST = 22
"""Widest first column; longer labels are cut."""


def to_text(plan: Plan) -> str:
    """Return the plan as lines for a terminal."""
    parts = (head(plan), _aligned(cost_rows(plan)), _below(COSTS))
    more = (_aligned(known_rows(plan)), _below(known(plan)), verdict(plan), _reasons(plan))
    last = (_rates(plan), _volume(plan), _rest(plan))
    return "\n".join(line for part in (*parts, *more, *last) for line in part)


def head(plan: Plan) -> Iterator[str]:
    """Say what is planned."""
    setup, names = plan.request.setup, plan.request.choices
    network = setup.network
    images = names["dataset"] if plan.request.of_dataset else "a typed shape"
    yield f"{plan.request.victim}, images of {images}"
    yield (
        f"platform {setup.platform.name}, network {network.name} ({network.up_mbps:g} up, "
        f"{network.down_mbps:g} down Mbit/s, {network.rtt_ms:g} ms), cloud {setup.cloud.name}"
    )
    yield ""


def _aligned(rows: Rows) -> Iterator[str]:
    """Align columns, words to the left and numbers to the right."""
    rows = [[_cut(row[0]), *row[1:]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    words = {0, *(at for at, name in enumerate(rows[0]) if name in ("by", ""))}
    for row in rows:
        cells = [
            cell.ljust(width) if at in words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = " ".join(cells).rstrip()
        yield line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def _cut(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"


def wrapped(text: str, indent: str = "  ") -> list[str]:
    """Wrap a sentence; further lines are indented."""
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


COSTS = (
    "Counted of the edge: MFLOP (convolutions, products of matrices, attention), thousands of "
    "parameters, MB (weights and the largest sum of activations in use), kB sent. Modelled, "
    "within about a factor of 2: ms of edge, network, cloud and in total, mJ of the device; "
    "alone: with the radio's promotion and tail for one isolated request."
)
"""Meaning of the columns of costs."""


def known(plan: Plan) -> str:
    """Return the meaning of the columns of other payloads, measurements and records."""
    runs, threads = plan.request.config["timing"], plan.threads
    here = f"here, ms of the edge (median of {runs}, {threads} threads); " if threads else ""
    score = metric_label(plan.request.config["leakage"])
    return (
        f"fp16, int8: kB. Measured: {here}zip, kB of int8 features of a trained victim after "
        "deflate. Modelled: img/s, with edge, network and cloud at work at once. Of records: acc, "
        f"{score}, the worst case of fp32 features; all: the image is sent, none: nothing is. "
        "* in the Pareto set, ~ only by overlapping intervals."
    )


def _below(text: str) -> list[str]:
    return [*wrapped(text, ""), ""]


def verdict(plan: Plan) -> list[str]:
    """Return the recommended option and the runner-up, a line each."""
    ranking, objective = plan.choice.ranking, plan.request.config["minimize"]
    titles = (f"least {objective}", "runner-up")
    lines = [f"{t}: {_in_a_line(one)}" for t, one in zip(titles, ranking, strict=False)]
    return lines or ["no split keeps to the limits"]


def _in_a_line(option: Option) -> str:
    joules = option.cost.energy_j
    energy = "" if joules is None else f", {amount(joules * 1e3)} mJ"
    latency, memory = option.cost.latency_s * 1e3, option.counts.memory_bytes / 1e6
    return f"{option.label} ({amount(latency)} ms{energy}, {amount(memory)} MB)"


def _reasons(plan: Plan) -> Iterator[str]:
    for label, reason in plan.choice.rejected.items():
        yield from wrapped(f"  not {label}: {reason}", "    ")


def _rates(plan: Plan) -> Iterator[str]:
    yield ""
    yield "by uplink rate:"
    yield from _indented(rates(plan))


def rates(plan: Plan) -> list[str]:
    """Return the choice by uplink rate, a line a window."""
    return [f"{_range(one)}: {one.label or 'none keeps to the limits'}" for one in plan.windows]


def _volume(plan: Plan) -> Iterator[str]:
    for line in volume(plan):
        yield ""
        yield from wrapped(line)


def volume(plan: Plan) -> list[str]:
    """Return how defenses compare by the volume that their splits dominate, if there are two."""
    if plan.volume is None:
        return []
    shares = sorted(plan.volume.shares.items(), key=lambda one: -one[1])
    listed = ", ".join(f"{name} {share:.3f}" for name, share in shares)
    return [
        "dominated share of the box of latency, errors and leakage, from the best values above to "
        f"a tenth of the range beyond the worst: {listed}"
    ]


def _range(window: Window) -> str:
    if window.low <= SLOWEST:
        return "any rate" if window.high >= FASTEST else f"up to {window.high:.4g} Mbit/s"
    if window.high >= FASTEST:
        return f"from {window.low:.4g} Mbit/s"
    return f"{window.low:.4g} to {window.high:.4g} Mbit/s"


def _rest(plan: Plan) -> Iterator[str]:
    """Say what is unknown and which commands change that, and what was not tried."""
    yield ""
    for line in warnings(plan):
        yield from wrapped(f"note: {line}")
    if plan.commands:
        yield "unknown leakage is no low leakage; these commands measure it (or measure=true):"
        yield from _indented(plan.commands)
    if plan.request.of_dataset and all(option.deflate_bits is None for option in plan.options):
        yield "deflate needs a trained victim; this command trains it:"
        yield from _indented([train_command(plan.request)])


def warnings(plan: Plan) -> list[str]:
    """Return what weakens the plan, a sentence each."""
    metric, network = plan.request.config["leakage"], plan.request.setup.network
    lines = list(plan.notes)
    if network.up_mbps > network.max_mbps:
        lines.append(f"the radio's power is taken as constant above {network.max_mbps:g} Mbit/s")
    if plan.request.setup.payload != "fp32":
        lines.append("leakage and accuracy were measured on fp32 features, another deployment")
    for option in plan.options:
        leak = option.leak(metric)
        if leak is not None and leak.caveats:
            lines.append(f"{option.label}: {'; '.join(leak.caveats)}")
        limit = plan.request.limits.given().get(metric)
        if leak is not None and limit is not None and leak.score <= limit < leak.high:
            lines.append(f"{option.label}: the interval reaches above {limit:g}")
        if option.evidence:
            lines += [f"{option.label}: {line}" for line in option.evidence.bounds]
        if option.evidence and option.evidence.not_tried:
            lines.append(f"{option.label}: not tried: {', '.join(option.evidence.not_tried)}")
    return list(dict.fromkeys(lines))


def _indented(lines: Iterable[str]) -> Sequence[str]:
    return [f"  {line}" for line in lines]
