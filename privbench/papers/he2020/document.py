"""Comparison of the paper with the records: its tables, figures and statements as Markdown.

Written by ``python -m privbench.papers.he2020 outputs --write sweeps/he2020/RESULTS.md``.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from privbench.papers.he2020.adaptive import PAIRS, adaptive_gap, strong_attacks, strongest
from privbench.papers.he2020.claims import STATEMENTS, judge
from privbench.papers.he2020.comparable import comparable, in_bf16, unmoved
from privbench.papers.he2020.comparison import (
    Matched,
    agreement,
    comparison_tables,
    deviations,
    match_published,
    scale,
)
from privbench.papers.he2020.coverage import counts, unmeasured
from privbench.papers.he2020.departures import LEAST_SCORES, departures, find_departures, met_scores
from privbench.papers.he2020.other_victims import accuracies
from privbench.papers.he2020.published import PAPER_IMAGES, paper_images
from privbench.papers.he2020.sources import MeasuredResults, PaperResults
from privbench.papers.he2020.verdicts import NOT_APPLICABLE, REPRODUCED, SIMILAR
from privbench.papers.he2020.victims import LEAST, spread
from privbench.papers.verdict import Verdict
from privbench.report.analysis.commands import commands_of
from privbench.report.analysis.labels import LEGEND
from privbench.report.analysis.tables import Rows, as_markdown
from privbench.report.analysis.tradeoffs import Point, SplitResults, panels
from privbench.report.analysis.worst_case import listed, mixed_victims
from privbench.store.record import Record

TEMPLATES = Path(__file__).parent / "templates"
SOURCES = {
    "table3": ("Table 3: white-box, rMLE", "sweeps=he2020/table_whitebox"),
    "table4": ("Table 4: black-box, inverse network", "sweeps=he2020/table_blackbox"),
    "table6": ("Table 6: query-free, shadow and rMLE", "sweeps=he2020/table_queryfree"),
    "table8": (
        "Table 8: a shadow fitted to answers and rMLE",
        "sweeps=he2020/table_blackbox attack=shadow_queried",
    ),
    "fig9": ("Figure 9: defenses on MNIST at relu2", "sweeps=he2020/fig9_mnist"),
    "fig10": ("Figure 10: defenses on CIFAR-10 at relu22", "sweeps=he2020/fig10_cifar"),
    "fig13": ("Figure 13: dropout at five splits of MNIST", "sweeps=he2020/fig13_mnist_splits"),
    "fig15": ("Figure 15: query-free, split by split", "sweeps=he2020/fig15_partition"),
}
"""Tables and figures of the paper, and the sweep that measures each."""
CURVES = ("fig9", "fig10", "fig13")
"""Figures whose curves are compared as a whole."""
AS_JPEG = "The images of CIFAR-10 are the published ones as JPEG, so their pixels differ slightly"
FEW_COMMANDS = 4
"""Number up to which commands are not folded."""
Makers = Mapping[str, str]
"""Command that made a record, by its key."""


def document(
    records: Sequence[Record],
    command: str,
    gaps: Mapping[str, object] | None = None,
    makers: Makers | None = None,
) -> str:
    """Return the comparison of published and measured numbers as Markdown.

    Args:
        records: Records of a store.
        command: Command that writes the document.
        gaps: Groups that lack a seed.
        makers: Command that made a record, by its key.
    """
    makers = makers or {}
    kept = comparable(records, gaps or {})
    found = panels(kept, gaps)
    matched = match_published(found)
    departed = find_departures(records)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        autoescape=False,
    )
    return environment.get_template("results.md.j2").render(
        command=command,
        legend=LEGEND,
        jpeg=f"{AS_JPEG}. " if any(_from_folders(p) for _, p in matched.values()) else "",
        mixed_victims=mixed_victims(kept),
        left_out=_left_out(records),
        sources=list(_sources(matched, found, makers)),
        deviations=_deviations(matched),
        unmeasured=unmeasured(matched),
        spread=_section(spread(records), makers),
        departures=_section(departures(departed), makers),
        met_scores=_table(met_scores(departed, matched)),
        other_victims=_section(accuracies(records), makers),
        strongest=_strongest(found, makers),
        gaps=list(_gaps(found, makers)),
        least_victims=LEAST,
        least_scores=LEAST_SCORES,
        similar={name: f"{margin:g}" for name, margin in SIMILAR.items()},
        statements=as_markdown(statements(kept)),
        cost=_cost(kept, len(records)),
    )


def _left_out(records: Sequence[Record]) -> str:
    """Return which victims are left out of which attacks, as they never moved an image there."""
    places: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for record in unmoved(records):
        places[record.dataset, record.split, record.attack].add(record.seed)
    return "; ".join(
        f"{dataset} {split}, {attack}: {listed(seeds)}"
        for (dataset, split, attack), seeds in sorted(places.items())
    )


def statements(records: Sequence[Record]) -> Rows:
    """Return every statement with its verdicts: by the paper, and under two adversaries here."""
    rows: Rows = [
        ["", "the paper states", "data", "the paper's own numbers", "published adversary here",
         "strongest here, where one is adaptive"]
    ]  # fmt: skip
    published = MeasuredResults.of(records)
    adaptive = published.with_adaptive_adversaries()
    for at, statement in enumerate(STATEMENTS, 1):
        for dataset in statement.datasets:
            cells = [_verdict_cell(statement.check(PaperResults(), dataset))]
            for results in [published, adaptive][: 1 + statement.adaptive]:
                asked = replace(results, used=[])
                verdict = judge(statement, dataset, asked)
                cells.append(_verdict_cell(verdict, asked.described_use()))
            cells += [] if statement.adaptive else [NOT_APPLICABLE]
            rows.append([str(at), statement.text, dataset, *cells])
    return rows


def _verdict_cell(verdict: Verdict, used: str = "") -> str:
    """Return a verdict with its numbers, and the seeds and images that they are of."""
    state, numbers = verdict
    parts = filter(None, (numbers, used))
    return f"**{state}**<details><summary>numbers</summary>{'; '.join(parts)}</details>"


def _sources(
    matched: Matched, found: Sequence[SplitResults], makers: Makers
) -> Iterable[dict[str, Any]]:
    rows = comparison_tables(matched, found)
    for source, (name, command) in SOURCES.items():
        if source not in rows:
            yield {"name": name, "command": command, "table": None}
            continue
        points = [point for row, (_, point) in matched.items() if row.source == source]
        sentences = [AS_JPEG] if any(_from_folders(point) for point in points) else []
        if source in CURVES:
            sentences += [agreement(matched, source), scale(matched, source)]
        yield {
            "name": name,
            "provenance": _provenance(points, makers),
            "sentences": [sentence for sentence in sentences if sentence],
            "table": as_markdown(rows[source]),
            "rows": len(rows[source]),
        }


def _from_folders(point: Point) -> bool:
    """Return whether the ten images have the numbers that they have in a folder for each class."""
    return list(paper_images(point.group.first)) == PAPER_IMAGES["cifar10"][1]


def _provenance(points: Iterable[Point], makers: Makers) -> str:
    """Return the commands that made the points, and the time that they took."""
    return _made_by([record for point in points for record in point.group.records], makers)


def _made_by(records: Sequence[Record], makers: Makers) -> str:
    """Return the commands that made records, and the time that they took.

    Imported ones have no sweep: their commands are put together from those of their cells.
    """
    typed = {makers[record.key] for record in records if record.key in makers}
    imported = commands_of(record for record in records if record.key not in makers)
    lines = [*sorted(typed), *imported]
    shown = "```\n" + "\n".join(lines) + "\n```"
    if len(lines) > FEW_COMMANDS:
        shown = f"<details><summary>{len(lines)} commands</summary>\n\n{shown}\n\n</details>"
    return f"{shown}\n\n{_compute_time(records)}.\n"


def _compute_time(records: Iterable[Record]) -> str:
    """Return the number of distinct cells and the time that they took."""
    cells = {record.key: record for record in records}.values()
    minutes = sum(record.seconds["total"] for record in cells) / 60
    threads = ", ".join(sorted({str(record.threads) for record in cells}))
    rounded = sum(map(in_bf16, cells))
    some = f", {rounded} of them in bf16," if rounded else ","
    return f"{len(cells)} cells{some} {minutes:.0f} minutes of computing ({threads} threads a job)"


def _deviations(matched: Matched) -> dict[str, Any] | None:
    """Return how many published numbers are met, and those that are not; null without any."""
    if not matched:
        return None
    return {
        "counts": list(counts(matched)),
        "psnr": f"{REPRODUCED['psnr_db']:g}",
        "ssim": f"{REPRODUCED['ssim']:g}",
        "accuracy": f"{REPRODUCED['accuracy']:g}",
        "table": _table(deviations(matched)),
    }


def _section(found: tuple[Rows, list[Record]], makers: Makers) -> dict[str, Any] | None:
    """Return a table with the commands of its records; null where it has no row."""
    rows, records = found
    if len(rows) == 1:
        return None
    return {
        "provenance": _made_by(records, makers),
        "table": as_markdown(rows),
        "rows": len(rows),
    }


def _table(rows: Rows) -> str | None:
    """Return a table as Markdown; null where it has no row."""
    return as_markdown(rows) if len(rows) > 1 else None


def _strongest(found: Sequence[SplitResults], makers: Makers) -> dict[str, str] | None:
    rows = strongest(found)
    if len(rows) == 1:
        return None
    points = [point for *_, point in strong_attacks(found)]
    provenance = _provenance(points, makers)
    return {"provenance": provenance, "table": as_markdown(rows)}


def _gaps(found: Sequence[SplitResults], makers: Makers) -> Iterable[dict[str, Any]]:
    for pair, difference in PAIRS.items():
        if section := _section(adaptive_gap(found, pair), makers):
            yield {"pair": pair, "difference": difference, **section}


def _cost(records: Sequence[Record], held: int) -> str:
    hours = sum(record.seconds["total"] for record in records) / 3600
    machines = sorted({f"{record.device}, {record.threads} threads a job" for record in records})
    seeds = sorted({record.seed for record in records})
    versions = sorted({f"{n} {v}" for r in records for n, v in r.versions.items()})
    return (
        f"{len(records)} cells, seeds {', '.join(map(str, seeds))}, {hours:.1f} hours of computing "
        f"({'; '.join(machines)}), {', '.join(versions)}. They are those of the store's {held} "
        "records that share the commonest victim, choice of targets and seeds, sent once."
    )
