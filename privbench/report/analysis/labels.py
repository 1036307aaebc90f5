"""Settings, scores and intervals in words: the one wording of every table, page and picture."""

import re
from collections.abc import Iterable

from privbench.evaluation.metrics import known_metrics
from privbench.evaluation.metrics import metric as metric_of
from privbench.evaluation.metrics.base import Place
from privbench.evaluation.statistics import Interval, interval_label, victim_label
from privbench.report.analysis.frame import SeedGroup
from privbench.runtime.hashing import content_hash
from privbench.store.record import Record

HEADLINE = "ssim"
"""Metric of sentences and comparisons, and the first of curves and tables."""
LEGEND = (
    "A score is the mean over distinct images of each image's mean over seeds; an accuracy is the "
    "mean over seeds. Brackets are intervals of the score over images, of these victims: 95 % "
    "(BCa) from 20 images on; under 20 Student's t, named with the number of images; of shares "
    "Wilson's. From three "
    "seeds on a second bracket is Student's t over the victims, one a seed; it is an interval "
    "about victims from five of them on. Scores are compared on the victims that both sides have."
)
"""Definition of the scores and brackets of a report."""

MAX_PART, MAX_STEM = 26, 80
"""Characters of a part of a file's name, and of the whole."""


def shown_metrics(records: Iterable[Record], place: Place) -> list[str]:
    """Return the metrics that are shown in a place and that all records have."""
    shown = [metric.name for metric in known_metrics() if place in metric.show]
    held = list(records)
    return [name for name in shown if all(record.has(name) for record in held)]


def curve_metrics(records: Iterable[Record]) -> list[str]:
    """Return the metrics that are drawn and compared, and that all records have; SSIM first."""
    return sorted(shown_metrics(records, "curves"), key=lambda name: name != HEADLINE)


def table_metrics(records: Iterable[Record]) -> list[str]:
    """Return the metrics of a table of cells: those that any record has, curves' first."""
    held = list(records)
    shown = [metric.name for metric in known_metrics() if "table" in metric.show]
    first = curve_metrics([])
    kept = [name for name in shown if any(record.has(name) for record in held)]
    return sorted(kept, key=lambda name: first.index(name) if name in first else len(first))


def number(value: float | None, metric: str) -> str:
    """Format a score with the digits of its metric; empty for a missing one.

    >>> number(17.4821, "psnr_db"), number(0.77412, "ssim")
    ('17.48', '0.774')
    """
    return metric_of(metric).number(value)


def signed(value: float, metric: str) -> str:
    """Format a difference of scores with its sign.

    >>> signed(0.5, "psnr_db"), signed(-0.02, "ssim")
    ('+0.50', '-0.020')
    """
    return metric_of(metric).signed(value)


def with_unit(value: float, metric: str) -> str:
    """Format a score with its name or unit.

    >>> with_unit(17.4821, "psnr_db"), with_unit(0.77412, "ssim"), with_unit(1.0, "identification")
    ('17.48 dB', 'SSIM 0.774', '100% identified')
    """
    return metric_of(metric).with_unit(value)


def in_column(value: float, metric: str) -> str:
    """Format a score for a column that names its metric.

    >>> in_column(17.4821, "psnr_db"), in_column(0.987, "identification")
    ('17.48', '99%')
    """
    share = metric_of(metric).interval == "wilson"
    return f"{value:.0%}" if share else number(value, metric)


def metric_label(metric: str) -> str:
    """Return the name of a metric without its unit: ``SSIM`` or ``PSNR``."""
    return metric_of(metric).label


def metric_title(metric: str) -> str:
    """Return the name of a metric with its unit: ``SSIM`` or ``PSNR [dB]``."""
    return metric_of(metric).title


def leakage(value: float, metric: str) -> float:
    """Return a score with the sign that makes more of it more leakage."""
    return metric_of(metric).leakage(value)


def in_points(share: float) -> str:
    """Format a loss of accuracy in percentage points.

    >>> in_points(0.01), in_points(0.0083), in_points(1e-16)
    ('1 point', '0.83 points', '0 points')
    """
    text = f"{round(share * 100, 4):.3g}"
    return f"{text} point{'s' * (text != '1')}"


def bracket(interval: Interval | None, images: int, metric: str) -> str:
    """Format an interval over images, with its label unless that is 95 %."""
    if interval is None:
        return " (one image: no interval)"
    low, high = interval
    label = interval_label(images)
    named = "" if label == "95 %" else f" ({label})"
    return f" [{number(low, metric)}, {number(high, metric)}]{named}"


def span(group: SeedGroup, metric: str) -> str:
    """Format a score with its interval over images, and over victims where there are enough.

    An interval is labelled unless it is the usual one, 95 % over images.
    """
    score, images = group.score(metric), group.images
    text = f"{number(score, metric)}{bracket(group.recorded_interval(metric), images, metric)}"
    over_victims = group.victim_interval(metric)
    if over_victims is None:
        return text
    low, high = over_victims
    label = victim_label(len(group.victims))
    return f"{text}, [{number(low, metric)}, {number(high, metric)}] ({label})"


def describe_defense(defense: str, strength: float, site: str) -> str:
    """Return a defense in words.

    >>> describe_defense("dropout", 0.6, "features"), describe_defense("none", 0.0, "input")
    ('dropout 0.6 on features', 'no defense')
    """
    return f"{defense} {strength:g} on {site}" if strength else "no defense"


def describe_split(dataset: str, split: str, transmissions: int = 1, note: str = "") -> str:
    """Return a data set, a split point and the number of transmissions in words.

    >>> describe_split("mnist", "relu2", 16, "targets 6")
    'mnist relu2, sent 16 times (targets 6)'
    >>> describe_split("mnist", "", 16)
    'mnist, sent 16 times'
    """
    sent = f", sent {transmissions} times" if transmissions > 1 else ""
    where = f"{dataset} {split}".rstrip()
    return f"{where}{sent}{f' ({note})' if note else ''}"


def describe_aux(record: Record) -> str:
    """Return which auxiliary images the adversary has; empty for the usual ones."""
    aux = record.config["dataset"].get("aux", "disjoint")
    return "" if aux == "disjoint" else f", auxiliary images: {aux}"


def describe_setting(record: Record) -> str:
    """Return the setting of a record in words: all but its attack and seed."""
    defense = describe_defense(record.defense, record.strength, record.site)
    sent = f", sent {record.transmissions} times" if record.transmissions > 1 else ""
    split = describe_split(record.dataset, record.split)
    return f"{split}, {defense}{sent}{describe_aux(record)}"


def describe_access(access: Iterable[str]) -> str:
    """Return an adversary's rights in words.

    >>> describe_access(["EDGE_WEIGHTS", "DEFENSE"]), describe_access([])
    ('edge_weights, defense', 'none')
    """
    return ", ".join(access).lower() or "none"


def attack_name(record: Record) -> str:
    """Return the name of an attack, and of the one within it."""
    words = " ".join(record.overrides).replace("=", " ").split()
    inner = [words[at + 1] for at, word in enumerate(words) if word.startswith("attack@")]
    return " with ".join([record.attack, *inner])


def file_stem(*parts: str) -> str:
    """Return a file's name that LaTeX can include; long parts are cut and end in their hash.

    >>> file_stem("tradeoff", "mnist relu2", "", "psnr_db")
    'tradeoff-mnist-relu2-psnr-db'
    """
    return _cut("-".join(filter(None, (_cut(part, MAX_PART) for part in parts))), MAX_STEM)


def _cut(text: str, most: int) -> str:
    """Return a text in lower-case letters, digits and hyphens, at most so many."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    distinct = content_hash({"text": text})[:6]
    return slug if len(slug) <= most else f"{slug[: most - 7].strip('-')}-{distinct}"
