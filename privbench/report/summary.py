"""The end of a sweep in the terminal: weaknesses, finding, worst cases, gaps (no torch)."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from privbench.report.analysis.advice import adding, untried
from privbench.report.analysis.battery import battery_lines
from privbench.report.analysis.finding import finding, strongest_not_run
from privbench.report.analysis.labels import (
    HEADLINE,
    attack_name,
    describe_access,
    describe_defense,
    in_column,
    leakage,
    metric_title,
)
from privbench.report.analysis.selection import of_cells
from privbench.report.analysis.tradeoffs import SplitResults, panels
from privbench.report.analysis.variants import with_distinct_defenses
from privbench.report.analysis.worst_case import WorstCase, worst_cases
from privbench.runtime.terminal import Line, aligned, command_lines, labelled, wrapped
from privbench.store.battery import not_applicable
from privbench.store.group_keys import setting_key
from privbench.store.record import Record
from privbench.store.sweep_log import SweepLog

MOST_FINDINGS = 4
"""Split points whose finding is a sentence; the table has all of them."""
MOST_LINES = 40
"""Lines of the worst cases on a terminal; beyond, a setting has one for all rights together."""
Gaps = Mapping[str, Sequence[str]]
"""Names of cells without a record, by their group."""


@dataclass(frozen=True)
class Summary:
    """The end of a sweep.

    Attributes:
        head: Weaknesses, finding, the lines of a battery, number of cells.
        by_rights: Worst cases within every set of rights.
        by_setting: Worst case of every setting, in fewer lines.
    """

    head: Sequence[str] = ()
    by_rights: Sequence[str] = ()
    by_setting: Sequence[str] = ()

    @property
    def whole(self) -> str:
        """All lines; empty without a record."""
        return "\n".join([*self.head, *self.by_rights])

    @property
    def short(self) -> str:
        """Lines for a terminal: a long table without what each set of rights adds."""
        if len(self.by_rights) <= MOST_LINES:
            return self.whole
        rest = f" summary.txt has the worst case within every set of rights: {len(self.by_rights)}"
        return "\n".join([*self.head, *self.by_setting, f"{rest} lines"])


def of_sweep(ledger: SweepLog) -> Summary:
    """Return the summary of a sweep's cells, read from the store."""
    measured, missing = of_cells(ledger)
    records = with_distinct_defenses(measured)
    if not records:
        return Summary(_not_applicable(ledger))
    gaps: dict[str, list[str]] = defaultdict(list)
    for entry, _ in missing:
        gaps[entry.group].append(entry.title)
    launches = ledger.launches()
    command = str(launches[-1]["launch"]) if launches else ""
    more = f", {len(missing)} more have no record" if missing else ""
    cells = f"{len(records)} cell{'s' * (len(records) > 1)}"
    found, worst = panels(records, gaps), worst_cases(records, gaps)
    adaptive = untried(records, command).commands
    # where an adaptive attack lacks, its command is enough; a battery's attacks are fixed
    lacking = [] if adaptive or ledger.battery else strongest_not_run(records)
    stronger = adding(records, lacking, command)
    head = _finding(found, len(missing), adaptive, stronger)
    if ledger.battery:
        entries = [entry for entry, _ in missing]
        head += labelled("tried", battery_lines(ledger.battery, records, entries))
    else:
        head += _not_applicable(ledger)
    strongest = _strongest(worst)
    return Summary(
        [*head, f"worst case over {cells}{more}"],
        _tables(found, worst, gaps),
        _tables(found, strongest, gaps, rights=False) if len(strongest) < len(worst) else (),
    )


def _not_applicable(ledger: SweepLog) -> list[str]:
    """Return the attacks that defenses do not admit, with the reason."""
    lines = [f"not applicable: {line}" for line in not_applicable(ledger.unsuitable)]
    return labelled("tried", lines)


def _strongest(found: Sequence[WorstCase]) -> list[WorstCase]:
    """Return of each setting the set of rights within which most leaks."""
    best: dict[str, WorstCase] = {}
    for one in found:
        other = best.get(one.key)
        if other is None or _lead(one) > _lead(other):
            best[one.key] = replace(one, notes=())
    return list(best.values())


def _lead(worst: WorstCase) -> float:
    """Return the highest leakage, by SSIM where there is one."""
    metric = HEADLINE if HEADLINE in worst.best else next(iter(worst.best), "")
    return leakage(worst.best[metric].score(metric), metric) if metric else -math.inf


def _finding(
    found: Sequence[SplitResults], missing: int, adaptive: Sequence[str], stronger: Sequence[str]
) -> list[str]:
    """Return the weaknesses, commands that mend them, and the findings."""
    result = finding(found, missing)
    more = len(result.statements) - MOST_FINDINGS
    rest = [f"{more} more split points: see the table"] if more > 0 else []
    return [
        *labelled("weak", [weakness.sentence for weakness in result.weaknesses]),
        *(line for one in adaptive for line in command_lines("to add an adaptive attack:", one)),
        *(line for one in stronger for line in command_lines("to add what was not run:", one)),
        *labelled("found", [*result.statements[:MOST_FINDINGS], *rest]),
    ]


def table(records: Sequence[Record], gaps: Gaps | None = None) -> str:
    """Return the worst cases: accuracy and highest scores by setting and rights, with caveats.

    Args:
        records: Records of any settings.
        gaps: Names of cells without a record, by their group.
    """
    gaps = gaps or {}
    return "\n".join(_tables(panels(records, gaps), worst_cases(records, gaps), gaps))


def _tables(
    found: Sequence[SplitResults], worst: Sequence[WorstCase], gaps: Gaps, *, rights: bool = True
) -> list[str]:
    """Return the lines of a table for each split point."""
    lines: list[str] = []
    for panel in found:
        keys = {setting_key(p.group.key) for points in panel.settings().values() for p in points}
        lines += _panel(panel, [one for one in worst if one.key in keys], gaps, rights=rights)
    return lines


def _panel(
    panel: SplitResults, found: Sequence[WorstCase], gaps: Gaps, *, rights: bool
) -> list[str]:
    metrics = list(dict.fromkeys(metric for worst in found for metric in worst.best))
    body: list[Line | str] = _context(panel, metrics)
    last = ""
    for worst in _most_first(found):
        names = f" ({describe_access(worst.rights)})" if rights else ""
        body += _rows(worst, metrics, names, new=worst.key != last)
        if worst.key != last:
            body += _missing(worst, gaps)
        last = worst.key
    head: Line = (
        [panel.title, "accuracy", *map(metric_title, metrics)],
        f"strongest attack{' (rights)' * rights}",
    )
    return [*aligned([head, *body]), *_notes(found)] if found else []


def _most_first(found: Iterable[WorstCase]) -> list[WorstCase]:
    """Return the worst cases of each setting, the rights within which most leaks first.

    Rights within which nothing beats the blind attack are left out where the setting has others:
    its score stands above the settings.
    """
    settings: dict[str, list[WorstCase]] = defaultdict(list)
    for worst in found:
        settings[worst.key].append(worst)
    ordered = []
    for held in settings.values():
        attacked = [
            one for one in held if any(g.first.attack != "blind" for g in one.best.values())
        ]
        ordered += sorted(attacked or held, key=_lead, reverse=True)
    return ordered


def _context(panel: SplitResults, metrics: Sequence[str]) -> list[Line | str]:
    """Return the lines to compare with: the blind guess, and the accuracy without a defense."""
    points = [point for found in panel.settings().values() for point in found]
    blind = [
        in_column(max((p.group.baseline(m) for p in points), key=partial(leakage, metric=m)), m)
        for m in metrics
    ]
    undefended = [f"{points[0].undefended:.4f}", *[""] * len(metrics)]
    rows: list[Line | str] = [([" blind guess", "", *blind], "none: it uses the predicted label")]
    if not any(point.strength == 0 for point in points):
        rows.append(([" no defense", *undefended], "not attacked"))
    return rows


def _rows(worst: WorstCase, metrics: Sequence[str], rights: str, *, new: bool) -> list[Line | str]:
    """Return a line for each attack that is the strongest by some metric, and its caveats."""
    by_attack: dict[str, dict[str, str]] = defaultdict(dict)
    doubts: dict[str, list[str]] = defaultdict(list)
    lead = worst.best.get(HEADLINE)
    for metric, best in worst.best.items():
        tied = lead and lead.has(metric) and lead.score(metric) == best.score(metric)
        group = lead if lead and tied else best
        attack = attack_name(group.first)
        by_attack[attack][metric] = in_column(group.score(metric), metric)
        doubts[attack] += [line for line in worst.caveats[metric] if line not in worst.notes]
    found: list[Line | str] = []
    for attack, scores in by_attack.items():
        shown = [f" {_setting(worst)}", f"{worst.accuracy:.4f}"] if new and not found else ["", ""]
        values = [scores.get(metric, "") for metric in metrics]
        found.append(([*shown, *values], f"{attack}{rights}"))
        if doubts[attack]:
            found.append(f"unreliable: {'; '.join(dict.fromkeys(doubts[attack]))}")
    return [*found, *worst.bounds]


def _setting(worst: WorstCase) -> str:
    one = next(iter(worst.best.values())).first
    return describe_defense(one.defense, one.strength, one.site)


def _missing(worst: WorstCase, gaps: Gaps) -> list[Line | str]:
    names = [name for group, held in gaps.items() if group.startswith(worst.key) for name in held]
    return [f"missing: {name} (the worst case may be higher)" for name in names]


def _notes(found: Sequence[WorstCase]) -> list[str]:
    """Return the caveats of whole settings, each once, with the number of settings it concerns."""
    notes = {worst.key: worst.notes for worst in found}
    counts = Counter(note for held in notes.values() for note in held)
    return [
        line
        for note, count in counts.items()
        for line in wrapped(
            note if count == len(notes) else f"{note} ({count} of {len(notes)} settings)", 4
        )
    ]
