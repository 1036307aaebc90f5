"""Figure 2 and section IV-C of He et al. (2020) for any victim: by cost and by leakage."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from omegaconf import OmegaConf
from torch import nn

from privbench.evaluation.metrics import PAPER_THRESHOLDS
from privbench.experiment.config import make_part
from privbench.plan import terminal
from privbench.plan.choice import Limits, amount
from privbench.plan.cost import Setup
from privbench.plan.meta import without_compiler
from privbench.plan.missing import commands
from privbench.plan.names import CLOUD_ONLY, EDGE_ONLY
from privbench.plan.option import Option
from privbench.plan.planner import Plan, Request
from privbench.plan.uplink import Sensitivity
from privbench.report.analysis.labels import leakage, metric_label, number
from privbench.report.analysis.tables import Rows, as_markdown
from privbench.runtime.errors import UserError
from privbench.runtime.paths import ROOT

PLATFORMS = ("tk1_gpu", "rpi4", "phone_sd855")
"""Platforms on which the guideline is judged by cost: the paper's, a board and a telephone."""
PAPER_S = {CLOUD_ONLY: (1.08, 0.36), EDGE_ONLY: (0.82, 0.62), "fastest split": (0.52, 0.29)}
"""Seconds and joules in figure 2."""
NO_LIMITS = Limits({}, {})


@dataclass(frozen=True)
class Guideline:
    """The rows that section IV-C compares.

    Attributes:
        before: The last split without a fully connected layer on the edge.
        behind: The first split with one.
        edge_only: Everything on the edge.
    """

    before: Option
    behind: Option
    edge_only: Option

    def at(self, setup: Setup) -> "Guideline":
        """Return the rows with their costs in another setup."""
        return Guideline(self.before.at(setup), self.behind.at(setup), self.edge_only.at(setup))

    @property
    def rows(self) -> tuple[Option, Option, Option]:
        """The rows in order."""
        return self.before, self.behind, self.edge_only


def to_text(plan: Plan) -> str:
    """Return figure 2 for the plan's platform, and the guideline on three, with the verdicts."""
    guideline = find(plan)
    lines = [
        *_figure_2(plan),
        "",
        "Section IV-C: at least one fully connected layer on the edge "
        f"({guideline.behind.name}, behind {guideline.before.name})",
        as_markdown(_platforms(plan, guideline)),
        *terminal.wrapped(f"by cost: {_by_cost(plan, guideline)}"),
        *terminal.wrapped(f"by leakage: {by_leakage(plan, guideline.behind)}"),
    ]
    return "\n".join([*lines, *(f"  {line}" for line in _commands(plan, guideline.behind))])


def find(plan: Plan) -> Guideline:
    """Return the rows around the first fully connected layer.

    Raises:
        UserError: for a network that has none behind its first split, or none before its last.
    """
    with without_compiler():
        model = plan.request.model("meta")
    rows = {o.split: o for o in plan.options if not (o.evidence and o.evidence.defended)}
    points = [point for point in model.split_points if point in rows]
    connected = [
        any(isinstance(layer, nn.Linear) for layer in model.split(point)[0].modules())
        for point in points
    ]
    if all(connected) or not any(connected):
        raise UserError(
            f"victim={plan.request.choices['victim']} has no fully connected layer between two "
            "split points: choose another victim, such as lenet5"
        )
    at = connected.index(True)
    return Guideline(rows[points[at - 1]], rows[points[at]], rows[EDGE_ONLY])


def _figure_2(plan: Plan) -> Iterator[str]:
    setup = plan.request.setup
    yield from terminal.wrapped(
        f"Figure 2: {plan.request.victim} on {setup.platform.name}, "
        f"{setup.network.name}, {setup.cloud.name}, modelled. tk1_gpu and k40 are set so that "
        "AlexNet takes Neurosurgeon's times by construction, which validates nothing."
    )
    rows: Rows = [["payload", CLOUD_ONLY, EDGE_ONLY, "fastest split", "a split wins at"]]
    paper = [f"{seconds} s, {joules} J" for seconds, joules in PAPER_S.values()]
    rows.append(["the paper", *paper, "not given"])
    for payload in ("fp32", "int8"):
        rows.append([payload, *_extremes(plan, replace(setup, payload=payload))])
    yield as_markdown(rows).rstrip()


def _extremes(plan: Plan, setup: Setup) -> list[str]:
    """Return cloud-only, edge-only, the fastest split between, and the rates at which it wins."""
    options = [o.at(setup) for o in plan.options if not (o.evidence and o.evidence.defended)]
    ends = {option.split: option for option in options if option.split in (CLOUD_ONLY, EDGE_ONLY)}
    best = min((o for o in options if o.split not in ends), key=lambda o: o.cost.latency_s)
    asked = Sensitivity(options, NO_LIMITS, "latency", plan.request.config["leakage"], setup)
    won = [window for window in asked.windows() if window.label not in ends]
    rates = f"{won[0].low:.3g} to {won[-1].high:.3g} Mbit/s" if won else "no rate"
    return [_cost(ends[CLOUD_ONLY]), _cost(ends[EDGE_ONLY]), f"{best.name} {_cost(best)}", rates]


def _cost(option: Option) -> str:
    joules = option.cost.energy_j
    energy = "" if joules is None else f", {amount(joules)} J"
    return f"{amount(option.cost.latency_s * 1e3)} ms{energy}"


def _setups(request: Request) -> Iterator[Setup]:
    """Yield the request's setup, fp32, on each platform of the guideline."""
    for name in PLATFORMS:
        node = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "platform" / f"{name}.yaml"))
        platform = make_part({"platform": node}, "platform")
        yield replace(request.setup, platform=platform, payload="fp32")


def _platforms(plan: Plan, guideline: Guideline) -> Rows:
    names = ("before", "behind", EDGE_ONLY)
    rows: Rows = [["platform", *names]]
    for setup in _setups(plan.request):
        moved = guideline.at(setup).rows
        memory = [f"{amount(option.counts.memory_bytes / 1e6)} MB" for option in moved]
        costs = [f"{_cost(one)}, {size}" for one, size in zip(moved, memory, strict=True)]
        rows.append([setup.platform.name, *costs])
    return rows


def _by_cost(plan: Plan, guideline: Guideline) -> str:
    """Judge the guideline by memory, and by latency against what else keeps the image."""
    before, behind, _ = guideline.rows
    times = behind.counts.memory_bytes / before.counts.memory_bytes
    slower, useless = [], []
    for setup in _setups(plan.request):
        at = guideline.at(setup)
        if at.behind.cost.latency_s > at.before.cost.latency_s:
            slower.append(setup.platform.name)
        if at.edge_only.cost.latency_s <= at.behind.cost.latency_s:
            useless.append(setup.platform.name)
    return (
        f"it takes {times:.3g} times the memory, is slower than the split before on "
        f"{_listed(slower)}; edge-only, which sends nothing, is as fast or faster on "
        f"{_listed(useless)} of {', '.join(PLATFORMS)}"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def by_leakage(plan: Plan, behind: Option) -> str:
    """Judge the guideline by the worst case of records: by the limit, else the paper's threshold.

    Args:
        plan: With the records' evidence.
        behind: The first split with a fully connected layer on the edge.
    """
    metric = plan.request.config["leakage"]
    leak, label = behind.leak(metric), metric_label(metric)
    if leak is None:
        unknown = f"{label} behind {behind.name} was not measured"
        return f"{unknown}, so there is no verdict; this measures it:"
    limit = plan.request.limits.given().get(metric, PAPER_THRESHOLDS.get(metric))
    said = f"behind {behind.name} {leak.by} recovers {label} {number(leak.score, metric)}"
    blind, known = number(leak.baseline, metric), behind.leak("identification")
    if known is not None:
        said += f" and identifies {known.score:.0%}"
        blind += f", {known.baseline:.0%}"
    said += f" (a blind guess: {blind})"
    open_ = behind.evidence.not_tried if behind.evidence else ()
    missing = f"; not tried: {', '.join(open_)}" if open_ else ""
    if limit is None:
        return f"{said}{missing}"
    above = leakage(leak.score, metric) > leakage(limit, metric)
    if above and leak.more_than_blind(metric):
        holds = f"it does not protect ({limit:g})"
    elif known is not None and known.more_than_blind("identification"):
        but = "that of a blind guess" if above else f"at most {limit:g}"
        holds = f"it does not protect, for images are identified, though {label} is {but}"
    elif above:
        holds = "no attack in the records recovers more than a blind guess"
    else:
        holds = f"no attack in the records is above {limit:g}"
    return f"{said}: {holds}{missing}"


def _commands(plan: Plan, behind: Option) -> list[str]:
    """Return the commands that measure what the verdict lacks."""
    base = plan.request.base()
    if not plan.request.of_dataset:  # images of that shape are the user's
        base = ["dataset=image_folder", "dataset.root=FOLDER", *base[1:]]
    return commands([behind], base, plan.request.config["battery"])
