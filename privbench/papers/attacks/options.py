"""Options of an attack compared on auxiliary images, from records of ``tuned`` with one trial."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from privbench.report.analysis.labels import attack_name, describe_defense, describe_split
from privbench.report.analysis.tables import Rows, as_markdown
from privbench.store.record import Record

LEGEND = """\
PSNR [dB] of the mean squared error over {images} auxiliary images, by one denoiser that has not
seen them; no target takes part. `tuned` with one trial notes it: `python -m privbench
sweeps=attacks/options`; values that its files do not list were typed in addition, such as
`sweeps=attacks/options_rmle_prior attack.inner.rate=0.15`. The highest mean over the settings comes
first."""
OTHER_VICTIM = "A victim of other weights, so its scores are compared with each other alone."


def is_trial(record: Record) -> bool:
    """Return whether a record is one of options on auxiliary images, not of a choice among them."""
    tuned = record.notes.get("tuned") or {}
    return tuned.get("settings") == 1 and "errors" in tuned


def compared(records: Sequence[Record]) -> list[str]:
    """Return the part of the document about compared options; empty without such a record."""
    attacks: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        attacks[attack_name(record)].append(record)
    parts = []
    for name, held in attacks.items():
        images = held[0].notes["tuned"]["images"]
        heading = f"## Options of {name.removeprefix('tuned with ')}, on auxiliary images"
        first, *others = _by_machine(held)
        parts += [heading, LEGEND.format(images=images), as_markdown(_table(first)).rstrip()]
        for one in others:
            parts += [OTHER_VICTIM, as_markdown(_table(one)).rstrip()]
    return parts


def _by_machine(records: Sequence[Record]) -> list[list[Record]]:
    """Return records apart whose victims of the same seed have other weights, most records first.

    Another machine trains other weights, on which the same options score otherwise.
    """
    weights: dict[int, list[str]] = defaultdict(list)
    found: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        known, mine = weights[record.seed], record.victim_sha256
        if mine not in known:
            known.append(mine)
        found[known.index(mine)].append(record)
    return sorted(found.values(), key=len, reverse=True)


def _table(records: Sequence[Record]) -> Rows:
    """Return a row for each combination of options that every setting has; means over seeds."""
    named = _differing([record.config["attack"]["inner"] for record in records])
    settings = list(dict.fromkeys(_setting(record) for record in records))
    found: dict[tuple[object, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        inner = record.config["attack"]["inner"]
        decibel = -10 * math.log10(record.notes["tuned"]["errors"][0])
        found[tuple(inner[name] for name in named)][_setting(record)].append(decibel)
    means = {
        values: [fmean(scores[setting]) for setting in settings]
        for values, scores in found.items()
        if len(scores) == len(settings)
    }
    rows = [(values, [fmean(scores), *scores]) for values, scores in means.items()]
    return [
        [*named, "mean", *settings],
        *(
            [*map(_shown, values), *(f"{score:.2f}" for score in scores)]
            for values, scores in sorted(rows, key=lambda row: -row[1][0])
        ),
    ]


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _differing(options: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the names of the options that are not the same everywhere."""
    return [name for name in options[0] if len({str(one[name]) for one in options}) > 1]


def _setting(record: Record) -> str:
    defense = describe_defense(record.defense, record.strength, record.site)
    return f"{describe_split(record.dataset, record.split)}, {defense}"
