"""The table of all defenses as Markdown, written by ``python -m privbench.papers.defenses``."""

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from statistics import fmean

from privbench.papers.defenses.battery import by_battery
from privbench.papers.defenses.claims import ALL, CLAIMS, MISSING, judge
from privbench.papers.defenses.commands import (
    PROGRAM,
    further_seeds,
    in_table,
    lacking,
    missing,
    planned,
    setting_words,
)
from privbench.papers.defenses.results import (
    COST,
    Defended,
    Result,
    Setting,
    at_cost,
    by_setting,
    curves,
    defended,
    name_of,
)
from privbench.papers.defenses.rows import AMORTISED, Row
from privbench.papers.verdict import Verdict
from privbench.report.analysis.labels import in_column, number
from privbench.report.analysis.tables import Rows, as_markdown
from privbench.runtime.paths import ROOT

README = ROOT / "conf" / "defense" / "README.md"
"""Says which attack on a defense does not exist yet."""
FAR = 1.0
"""Points of accuracy that a strength may cost more or less than those of the comparison."""
MANY = 10.0
"""Lost points of accuracy that are named with a score below the blind baseline."""
LEGEND = f"""\
A score is the mean over the targets, in brackets its interval over them (95 %, BCa, for shares
Wilson); with several seeds it is the mean over them, between the outermost ends of their
intervals. *Lost* are points of accuracy that the defense costs the same victim. *Blind* is the
blind baseline, the best score of guesses that use nothing of a target but its predicted label.
Attacks that met most seeds are ranked by SSIM, so the strongest is a little favoured by chance;
*identified* is the highest share that any of them reaches, by the one in brackets where that is
another. Defenses are compared at the strength that costs nearest to {COST:g} points of accuracy
with seed 0, and only there further seeds are run; \\* marks a mean over the seeds that is more
than {FAR:g} point away from them. They are ordered by SSIM minus its blind baseline, the one that
leaks most first. *Strength* is 1/epsilon of `dp_gaussian` and `dp_laplace`, 1/levels of `quantize`,
1/dFIL of `fisher`, the channel's for `noise_aware`, else the value of the option in
[the table of defenses](../../conf/defense/README.md). The options of
`rmle_prior` were [compared on auxiliary images](../attacks/RESULTS.md); so was its
budget of 800 passes, which was first set on ten MNIST test images.
Where a defense trains nothing a network also draws it anew in every step (`inverse_adaptive`), and
behind noise that is trained with at the compared strength; `inverse` has one answer an image."""
RULE = f"""\
A defense *hides images* where it costs at most {COST:g} points of accuracy and leaves at most half
of what the attacks have over a blind guess without it, in SSIM and in identified images; the half
is our choice. A claim *holds* or *does not hold* where the whole interval says so, and the attacks
{" and ".join(f"`{attack}`" for attack in ALL)} were run; else it is *inconclusive*. That an error
grows fourfold is judged by the strongest attack and by each attack compared with itself: where they
disagree it is inconclusive."""


def document(rows: Sequence[Row], command: str) -> str:
    """Return the whole document.

    Args:
        rows: Of any settings.
        command: Command that writes it.
    """
    parts = [
        "# What defenses leave of an image, and what they cost",
        f"Written by `{command}` from [`records.csv`](records.csv), a row a record; "
        "nothing here is typed.",
        LEGEND,
    ]
    settings = by_setting(filter(in_table, rows))
    counts = {setting: len(curves(defended(held))) for setting, held in settings.items()}
    for setting in sorted(counts, key=lambda one: -counts[one]):
        parts += _section(setting, settings[setting], command, max(counts.values()))
    parts += by_battery(rows)
    if not rows:
        first = ["dataset=mnist"]
        claims = as_markdown(_claims({}, first)).rstrip()
        parts += ["No record is there yet.", claims, _commands(missing([], first))]
    return "\n\n".join(parts) + "\n"


def _section(setting: Setting, rows: Sequence[Row], command: str, most: int) -> list[str]:
    """Return the parts of one data set, victim and split point.

    Args:
        setting: All that its rows share.
        rows: Of the setting.
        command: Adds records to the table.
        most: Number of defenses of the setting that has most.
    """
    dataset, victim, split, targets = setting
    lines, words = curves(defended(rows)), setting_words(rows[0])
    heading = [f"## {dataset}, {victim} cut at {split}, {targets} targets"]
    heading.append(f"`{shlex.join([*PROGRAM, *words])} defense=NAME`, then `{command} outputs`")
    heading += _resolution(rows)
    if len(lines) < most / 2:
        return [*heading, *_of_some(rows, lines)]
    return [
        *heading,
        f"### At about {COST:g} points of lost accuracy, by the strongest attack",
        as_markdown(_summary(lines)).rstrip(),
        *_victims(rows),
        *_mixed(rows),
        *_weak(lines),
        "### Published claims",
        RULE,
        as_markdown(_claims(lines, words)).rstrip(),
        "### All strengths and attacks",
        as_markdown(_everything(lines)).rstrip(),
        *_amortised(lines),
        "### What was not tried",
        *_never_met(rows),
        as_markdown(_untried(lines, rows)).rstrip(),
        _commands({**missing(rows, words), **_labelled(further_seeds(rows))}),
    ]


def _resolution(rows: Sequence[Row]) -> list[str]:
    """Return what an accuracy of few test images cannot tell apart."""
    half = 50 * fmean(row.accuracy_high - row.accuracy_low for row in rows)
    if not half > COST:
        return []
    return [
        f"Few test images: an accuracy is known to {half:.0f} points to either side, so {COST:g} "
        "points choose a strength by chance; compare the rows of all strengths."
    ]


def _of_some(rows: Sequence[Row], lines: Mapping[str, Sequence[Defended]]) -> list[str]:
    """Return the parts of a setting that has less than half of the defenses of another one.

    The claims are judged where most defenses were run; here those that can be are.
    """
    head, *claims = _claims(lines, setting_words(rows[0]))
    known = [claim for claim in claims if claim[1] != f"**{MISSING}**"]
    judged = ["### Published claims", as_markdown([head, *known]).rstrip()] if known else []
    never = ", ".join(name for name in planned() if name not in {"none", *_run(lines)})
    return [
        f"### At about {COST:g} points of lost accuracy, by the strongest attack",
        as_markdown(_summary(lines)).rstrip(),
        *_victims(rows),
        *_mixed(rows),
        *_weak(lines),
        *judged,
        "### All strengths and attacks",
        as_markdown(_everything(lines)).rstrip(),
        f"Not run here: {never}; seeds other than {', '.join(map(str, _all_seeds(rows)))}.",
    ]


def _all_seeds(rows: Sequence[Row]) -> list[int]:
    return sorted({row.seed for row in rows})


def _victims(rows: Sequence[Row]) -> list[str]:
    """Return which defenses have which victim, for each seed that has several."""
    found = []
    for seed in _all_seeds(rows):
        names: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if row.seed == seed and name_of(row) not in names[row.victim_sha256]:
                names[row.victim_sha256].append(name_of(row))
        listed = [f"`{sha}` of {', '.join(held)}" for sha, held in names.items()]
        if len(names) > 1:
            found.append(f"- seed {seed}: {'; '.join(listed)}")
    if not found:
        return []
    first = (
        "Seeds with several victims, by the hash of the weights: processors round differently, so "
        "one seed has another victim on another machine. A verdict compares rows of one victim; "
        "the table above joins them."
    )
    return [first, "\n".join(found)]


def _mixed(rows: Sequence[Row]) -> list[str]:
    """Return which rows stand together although their options or their code differ."""
    codes: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.strength:
            codes[f"{name_of(row)} {row.strength:g}"].add(row.defense_code)
        codes[f"{row.attack} on {name_of(row)}"].add(row.attack_code)
    several = [name for name, held in codes.items() if len(held - {""}) > 1]
    if not several:
        return []
    return [f"Rows of several options or versions stand together: {', '.join(sorted(several))}."]


def _labelled(commands: Mapping[str, str]) -> dict[str, str]:
    return {f"{name}, further seeds": command for name, command in commands.items()}


def _summary(lines: Mapping[str, Sequence[Defended]]) -> Rows:
    head = ["defense", "strength", "seed", "lost", "strongest attack", "SSIM", "blind",
            "PSNR [dB]", "blind", "identified (by)", "naive `rmle` SSIM",
            "payload [bit]"]  # fmt: skip
    chosen = [(name, at_cost(line)) for name, line in lines.items()]
    ordered = sorted(chosen, key=lambda item: -item[1].best.gain())
    return [head, *(_summary_row(name, one) for name, one in ordered)]


def _summary_row(name: str, one: Defended) -> list[str]:
    best, naive = one.best, one.by("rmle")
    return [
        name,
        f"{one.first.strength:g}",
        _seeds(best),
        f"{best.lost:+.1f}" + r"\*" * (abs(best.lost - COST) > FAR and best.first.strength > 0),
        best.first.attack,
        *_scores(best),
        _most_identified(one),
        naive.shown("ssim") if naive else "",
        f"{best.first.payload_bits:,.0f}",
    ]


def _most_identified(one: Defended) -> str:
    """Return the highest share of images that any attack identifies, and another one's name."""
    most = max(one.results, key=lambda met: (met.score("identification").mean, met is one.best))
    return most.shown("identification") + (f" ({most.first.attack})" * (most is not one.best))


def _scores(met: Result) -> list[str]:
    """Return SSIM and PSNR, each with its blind baseline."""
    found = []
    for metric in ("ssim", "psnr_db"):
        found += [met.shown(metric), number(met.score(metric).baseline, metric)]
    return found


def _seeds(met: Result) -> str:
    return ", ".join(str(row.seed) for row in met.rows)


def _everything(lines: Mapping[str, Sequence[Defended]]) -> Rows:
    rows: Rows = [["defense", "strength", "accuracy", "lost", "attack", "seed", "SSIM", "blind",
                   "PSNR [dB]", "blind", "identified", "payload [bit]"]]  # fmt: skip
    for name, line in lines.items():
        for one in line:
            rows += [_row(name, met) for met in one.results]
    return rows


def _row(name: str, met: Result) -> list[str]:
    row = met.first
    return [
        name,
        f"{row.strength:g}",
        f"{row.accuracy:.4f} [{row.accuracy_low:.4f}, {row.accuracy_high:.4f}]",
        f"{met.lost:+.1f}",
        row.attack,
        _seeds(met),
        *_scores(met),
        met.shown("identification"),
        f"{row.payload_bits:,.0f}",
    ]


def _claims(lines: Mapping[str, Sequence[Defended]], setting: Sequence[str]) -> Rows:
    plans = planned()
    rows: Rows = [["claim", "verdict", "reason"]]
    for claim in CLAIMS:
        state, reason = judge(claim, lines)
        if state == MISSING:
            words = (" ".join([*PROGRAM, *setting, *plans[n].words]) for n in claim.defenses)
            reason = f"{reason}; {', '.join(f'`{command}`' for command in words)}"
        rows.append([claim.text, f"**{state}**", reason])
    return rows


def _weak(lines: Mapping[str, Sequence[Defended]]) -> list[str]:
    """Return why the strongest attack scores below the blind baseline, where it does."""
    found = [one for line in lines.values() for one in line]
    below = [
        f"- {name_of(one.first)} {one.first.strength:g}, {best.first.attack}: "
        f"{_reason(one, best, metric)}"
        for metric in ("ssim", "psnr_db")
        for one in found
        if (best := one.strongest(metric)).gain(metric) < 0
    ]
    return ["Below the blind baseline:", "\n".join(below)] if below else []


def _reason(one: Defended, best: Result, metric: str) -> str:
    """Explain a score below the blind baseline by the other score."""
    (other,) = {"ssim", "psnr_db"} - {metric}
    by_other = one.strongest(other)
    scores = f"{_against_blind(best, metric)}; "
    if by_other.gain(other) > 0:
        return (
            f"{scores}above it is {_against_blind(by_other, other)} ({by_other.first.attack}): "
            + (
                "what is recovered is near in squares, and SSIM punishes its noise or blur"
                if metric == "ssim"
                else "the structure is found, at other brightnesses"
            )
        )
    known = _no_attack_yet().get(one.first.defense.partition("(")[0], "")
    why = "not explained, so a stronger attack may exist" + (f": {known}" if known else "")
    lost = f"; the cloud itself loses {one.lost:.1f} points" if one.lost > MANY else ""
    return scores + why + lost


def _against_blind(met: Result, metric: str) -> str:
    score = met.score(metric)
    mean, blind = (in_column(value, metric) for value in (score.mean, score.baseline))
    return f"{'SSIM' if metric == 'ssim' else 'PSNR [dB]'} {mean} where a blind guess has {blind}"


def _untried(lines: Mapping[str, Sequence[Defended]], rows: Sequence[Row]) -> Rows:
    known, plans, left = _no_attack_yet(), planned(), lacking(rows)
    found: Rows = [["defense", "attacks of the sweep without a record", "attacks that are missing"]]
    for name, line in lines.items():
        defense = line[0].first.defense
        without = plans[defense].among(left[defense]) if defense in left else []
        absent = known.get(name.partition("(")[0], "")
        if without or absent:
            found.append([name, ", ".join(without), absent])
    never = [name for name in plans if name not in _run(lines)]
    return [*found, *([name, "all", known.get(name.partition("(")[0], "")] for name in never)]


def _amortised(lines: Mapping[str, Sequence[Defended]]) -> list[str]:
    """Compare one network for all strengths with one a strength, where both were trained."""
    rows: Rows = [["defense", "strength", "one for all [dB]", "one a strength [dB]", "difference"]]
    gains = []
    for name, line in lines.items():
        for one in line:
            both = [met for attack in (AMORTISED, "inverse") if (met := one.by(attack))]
            if len(both) < 2:
                continue
            shared, single = (met.score("psnr_db").mean for met in both)
            gains.append(shared - single)
            cells = [met.shown("psnr_db") for met in both]
            rows.append([name, f"{one.first.strength:g}", *cells, f"{gains[-1]:+.2f}"])
    if not gains:
        return []
    text = (
        "The one for all draws the defense itself, at random strengths and with three times the "
        "steps; one a strength is `inverse`, which learns from answers of the defended edge. The "
        f"first scores {min(gains):+.2f} to {max(gains):+.2f} dB, {fmean(gains):+.2f} in the mean."
    )
    title = "### One inverse network for all strengths of a defense"
    return [title, text, as_markdown(rows).rstrip()]


def _never_met(rows: Sequence[Row]) -> list[str]:
    """Return which attacks that know a defense, by its table, have met none here."""
    met = {row.attack.partition(" ")[0] for row in rows}
    never = [name for name in _knowing() if name not in met]
    if not never:
        return []
    return [f"Attacks that know defenses and have met none here: {', '.join(map(_code, never))}."]


def _code(name: str) -> str:
    return f"`{name}`"


def _run(lines: Mapping[str, Sequence[Defended]]) -> set[str]:
    """Return the defenses that were run, at whatever site."""
    return {line[0].first.defense for line in lines.values()}


@cache
def _known() -> str:
    """Return the section of ``conf/defense/README.md`` about what attacks know."""
    return README.read_text().partition("## Which attack knows what")[2].partition("\n## ")[0]


@cache
def _knowing() -> list[str]:
    """Return the attacks that know a defense, and their refinements, in the order of the table."""
    (head,) = [line for line in _known().splitlines() if line.startswith("| defense |")]
    found = re.findall(r"`(\w+)`", head.split("|", 3)[3])
    further = re.findall(r"`(\w+_refined_adaptive)`", _known())
    return list(dict.fromkeys([*found, *further]))


@cache
def _no_attack_yet() -> dict[str, str]:
    """Return the last column of the table in ``conf/defense/README.md``, by defense."""
    found = {}
    for line in _known().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`(\w+)`", cells[0]) if line.startswith("| `") else ():
            found[name] = cells[-1]
    return found


def _commands(commands: Mapping[str, str]) -> str:
    """Return commands with the defense of each as a comment, in a block."""
    if not commands:
        return "Every cell of the sweep has a row."
    lines = [f"{command}  # {name}" for name, command in commands.items()]
    return "\n".join(["```", *lines, "```"])


def verdicts(rows: Iterable[Row]) -> dict[str, Verdict]:
    """Return the verdict on every claim by the rows of one setting, by its text."""
    lines = curves(defended(rows))
    return {claim.text: judge(claim, lines) for claim in CLAIMS}
