"""Attacks of the paper with other options or another victim than published, each a row."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from privbench.papers.he2020.comparable import commonest
from privbench.papers.he2020.comparison import describe
from privbench.papers.he2020.published import (
    METRICS,
    Published,
    attacks,
    changed_options,
    paper_images,
    published_at,
    rmle_options,
)
from privbench.papers.he2020.sources import comparable_score
from privbench.report.analysis.frame import SeedGroup
from privbench.report.analysis.labels import number
from privbench.report.analysis.tables import Rows
from privbench.report.analysis.tradeoffs import Point
from privbench.report.analysis.worst_case import listed
from privbench.store.record import Record

MOST = 4
"""Options that may differ from the published attack's: with more it is another attack."""


def departures(records: Iterable[Record]) -> tuple[Rows, list[Record]]:
    """Return the scores of attacks that depart from the published ones, and their records.

    Scores are those of the published ten images, of each seed and their mean.

    Args:
        records: Of any settings.
    """
    head = ["where", "setting", "departure", "published dB / SSIM", "here", "seeds", "by seed"]
    found: dict[tuple[str, str, str], dict[int, Record]] = defaultdict(dict)
    published: dict[tuple[str, str], Published] = {}
    for record, usual in _with_usual_victim(records):
        for row, options in _departed(record, usual):
            place = row.source, describe(row)  # curves share the point without a defense
            published[place] = row
            found[*place, options][record.seed] = record
    rows: Rows = [head]
    for source, setting, options in sorted(found):
        row, held = published[source, setting], found[source, setting, options]
        by_seed = [_scores([held[seed]]) for seed in sorted(held)]
        rows.append([
            source, setting, options,
            f"{number(row.psnr_db, 'psnr_db') or '-'} / {number(row.ssim, 'ssim') or '-'}",
            _scores(held.values()), listed(held),
            "; ".join(by_seed) if len(by_seed) > 1 else "",
        ])  # fmt: skip
    return rows, [record for held in found.values() for record in held.values()]


def _with_usual_victim(records: Iterable[Record]) -> Iterable[tuple[Record, Mapping[str, Any]]]:
    """Yield the records that may count, each with the commonest victim of its data set."""
    held = [record for record in records if record.transmissions == 1 and paper_images(record)]
    for dataset in dict.fromkeys(record.dataset for record in held):
        own = [record for record in held if record.dataset == dataset]
        usual = commonest(own, lambda record: record.config["victim"])[0].config["victim"]
        yield from ((record, usual) for record in own if record.attack in attacks())


def _departed(record: Record, usual: Mapping[str, Any]) -> Iterable[tuple[Published, str]]:
    """Yield published numbers with what a record of their setting has otherwise."""
    changed = changed_options(record)
    other = {} if record.config["victim"] == usual else {"victim": record.victim}
    if len(changed) > MOST:
        return
    steps = rmle_options(record).get("steps")
    rows = [row for row in published_at(record) if row.psnr_db is not None or row.ssim is not None]
    same = [row for row in rows if row.steps in (None, steps)]
    for row in same or rows:
        longer = {} if same else {_steps_of(record): steps}
        words = {**other, **_attack_options(changed), **longer}
        if words:
            yield row, " ".join(f"{name}={value}" for name, value in words.items())


def _attack_options(changed: Mapping[str, Any]) -> dict[str, Any]:
    return {f"attack.{name}": value for name, value in changed.items()}


def _steps_of(record: Record) -> str:
    return "attack.steps" if record.attack == "rmle_paper" else "attack.inverter.steps"


def _scores(records: Iterable[Record]) -> str:
    groups: Sequence[Point] = [Point(SeedGroup([record])) for record in records]
    means = {metric: fmean(comparable_score(p, metric) for p in groups) for metric in METRICS}
    return f"{number(means['psnr_db'], 'psnr_db')} / {number(means['ssim'], 'ssim')}"
