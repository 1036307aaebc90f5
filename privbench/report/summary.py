"""The end of a sweep in the terminal: its worst cases, and what is missing (no torch)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from privbench.analysis.advice import untried
from privbench.analysis.labels import attack_name, describe_access, with_unit
from privbench.analysis.selection import of_cells
from privbench.analysis.worst_case import WorstCase, mixed_victims, worst_cases
from privbench.store.record import Record
from privbench.store.sweep_log import SweepLog


def table(records: Sequence[Record], gaps: Mapping[str, list[str]] | None = None) -> str:
    """Return the worst cases as lines: setting, accuracy, rights, strongest attack by each metric.

    Args:
        records: Records of any settings.
        gaps: Names of cells without a record, by their group.
    """
    lines: list[str] = []
    last = ""
    for worst in worst_cases(records, gaps):
        if worst.setting != last:
            lines += _setting_lines(worst, gaps or {})
            last = worst.setting
        lines.append(f"    within {describe_access(worst.rights)}: {_scores(worst)}")
    return "\n".join(lines)


def _setting_lines(worst: WorstCase, gaps: Mapping[str, list[str]]) -> list[str]:
    missing = [
        name for group, names in gaps.items() if group.startswith(worst.key) for name in names
    ]
    return [
        f"  {worst.setting}: accuracy {worst.accuracy:.4f}",
        *(f"    missing: {name} (the worst case may be higher)" for name in missing),
        *(f"    {note}" for note in worst.notes),
    ]


def _scores(worst: WorstCase) -> str:
    """Return the highest score by each metric, with the attack and its caveats."""
    by_attack: dict[str, list[str]] = defaultdict(list)
    for metric, group in worst.best.items():
        reasons = "; ".join(line for line in worst.caveats[metric] if line not in worst.notes)
        attack = f" by {attack_name(group.first)}"
        attack += f" (unreliable: {reasons})" if reasons else ""
        by_attack[attack].append(with_unit(group.score(metric), metric))
    return " | ".join(", ".join(scores) + attack for attack, scores in by_attack.items())


def of_sweep(ledger: SweepLog) -> str:
    """Return the summary of a sweep's cells, read from the store; empty without a record."""
    records, missing = of_cells(ledger)
    if not records:
        return ""
    gaps: dict[str, list[str]] = defaultdict(list)
    for entry, _ in missing:
        gaps[entry.group].append(entry.name or "the cell")
    missing_cells = f", {len(missing)} more have no record" if missing else ""
    launches = ledger.launches()
    command = str(launches[-1]["launch"]) if launches else ""
    return "\n".join([
        *untried(records, command).lines,
        f"worst case over {len(records)} cells{missing_cells}",
        *(f"  {line}" for line in mixed_victims(records)),
        table(records, gaps),
    ])  # fmt: skip
