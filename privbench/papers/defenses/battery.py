"""Defenses met by the standard battery, compared with the same ones in the table."""

import shlex
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from privbench.papers.defenses.claims import hides_images
from privbench.papers.defenses.commands import ATTACKED, in_table, planned
from privbench.papers.defenses.results import Defended, Place, defended
from privbench.papers.defenses.rows import Row
from privbench.papers.verdict import FAILS, HOLDS, INCONCLUSIVE
from privbench.report.analysis.tables import Rows, as_markdown

HEAD = [
    "defense", "strength", "lost", "SSIM (by)", "in the table", "PSNR [dB] (by)", "in the table",
    "identified (by)", "in the table", "hides images", "by the table",
]  # fmt: skip
VERDICT = {HOLDS: "yes", FAILS: "no", INCONCLUSIVE: "inconclusive"}
PROGRAM = ("python", "-m", "privbench", "sweeps=standard")
SCORES = ("ssim", "psnr_db", "identification")
LEGEND = """\
The battery sends each target once and 16 times, has one seed in `quick` and 50 targets; the table
sends once, has up to three seeds and other attacks. Each score is that of the attack that reaches
the highest. *Hides images* asks what is left of the gain over a blind guess, as for the published
claims, at this strength whatever it costs. A verdict that differs is bold."""


def by_battery(rows: Sequence[Row]) -> list[str]:
    """Return the part of the document about defenses met by a battery; empty without a row of one.

    Args:
        rows: Of the battery and of the table, of any settings.
    """
    settings: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row.battery:
            settings[row.dataset, row.victim, row.split, row.battery].append(row)
    if not settings:
        return []
    parts = ["## The standard battery", LEGEND]
    for (dataset, victim, split, battery), met in settings.items():
        name, _, version = battery.partition(" ")
        typed = [w for w in shlex.split(met[0].command) if w.startswith(ATTACKED)]
        command = shlex.join([*PROGRAM, f"battery={name}", *typed])
        alike = [r for r in rows if (r.dataset, r.victim, r.split) == (dataset, victim, split)]
        table = {one.place: one for one in defended(filter(in_table, alike))}
        parts += [
            f"### {dataset}, {victim} cut at {split}: battery={name}, version {version}",
            f"`{command} defense=NAME`, with its strength",
            as_markdown(_table(defended(_sent(met)), table)).rstrip(),
        ]
        parts += _of_other_victims(met, {r.victim_sha256 for r in filter(in_table, alike)})
        if lacking := [name for name in planned() if name not in {row.defense for row in met}]:
            parts.append(f"Not met by it yet: {', '.join(lacking)}.")
    return parts


def _of_other_victims(met: Sequence[Row], in_table: Container[str]) -> list[str]:
    """Return which rows of a battery are of victims whose weights are not those of the table."""
    defenses: dict[str, dict[str, None]] = defaultdict(dict)
    for row in met:
        if row.victim_sha256 not in in_table:
            defenses[row.victim_sha256][row.defense] = None
    if not defenses:
        return []
    if len({row.victim_sha256 for row in met}) == 1:
        return ["Its victim has other weights than those of the table."]
    others = "; ".join(", ".join(names) for names in defenses.values())
    return [f"Victims of other weights than the table's, one for each of these groups: {others}."]


def _sent(rows: Sequence[Row]) -> list[Row]:
    """Return rows of targets that are sent several times as those of attacks of another name."""
    return [
        replace(row, attack=f"{row.attack}, sent {row.transmissions} times", transmissions=1)
        if row.transmissions > 1
        else row
        for row in rows
    ]


def _table(found: Sequence[Defended], table: Mapping[Place, Defended]) -> Rows:
    """Return a row a defense, in the order of what the battery recovers."""
    ordered = sorted(found, key=lambda one: -one.best.gain())
    return [HEAD, *(_row(one, table.get(one.place)) for one in ordered)]


def _row(one: Defended, in_table: Defended | None) -> list[str]:
    verdicts = [_verdict(one), _verdict(in_table)]
    if all(verdicts) and verdicts[0] != verdicts[1]:
        verdicts = [f"**{verdict}**" for verdict in verdicts]
    scores = [_highest(met, metric) for metric in SCORES for met in (one, in_table)]
    name, strength = one.place
    return [name, f"{strength:g}", f"{one.lost:+.1f}", *scores, *verdicts]


def _highest(one: Defended | None, metric: str) -> str:
    """Return the highest score of any attack, and the attack."""
    if one is None:
        return ""
    most = one.strongest(metric)
    return f"{most.shown(metric)} ({most.first.attack})"


def _verdict(one: Defended | None) -> str:
    """Return whether a defense hides images; empty without a defense, and where it has no row."""
    if not (one and one.undefended and one.first.strength):
        return ""
    return VERDICT[hides_images(one, one.undefended)[0]]
