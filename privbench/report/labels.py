"""Settings, scores and intervals in words: the one wording of every table, page and picture."""

from collections.abc import Iterable

from privbench.evaluation.statistics import Interval, interval_label, victim_label
from privbench.report.frame import SeedGroup
from privbench.store.record import Record

METRICS = ("ssim", "psnr_db")
"""Scores of a reconstruction that curves and tables show."""
NAMES = {"ssim": "SSIM", "psnr_db": "PSNR [dB]"}
DIGITS = {"psnr_db": 2}
"""Decimal places by metric; three for every other one."""
LEGEND = (
    "A score is the mean over distinct images of each image's mean over seeds; an accuracy is the "
    "mean over seeds. Brackets are intervals of the score over images, of these victims: 95 % "
    "(BCa) from 20 images on; under 20 Student's t, named with the number of images. From three "
    "seeds on a second bracket is Student's t over the victims, one a seed; it is an interval "
    "about victims from five of them on. Scores are compared on the victims that both sides have."
)
"""Definition of the scores and brackets of a report."""


def number(value: float | None, metric: str) -> str:
    """Format a score with the digits of its metric; empty for a missing one.

    >>> number(17.4821, "psnr_db"), number(0.77412, "ssim")
    ('17.48', '0.774')
    """
    return "" if value is None else f"{value:.{DIGITS.get(metric, 3)}f}"


def signed(value: float, metric: str) -> str:
    """Format a difference of scores with its sign.

    >>> signed(0.5, "psnr_db"), signed(-0.02, "ssim")
    ('+0.50', '-0.020')
    """
    return f"{value:+.{DIGITS.get(metric, 3)}f}"


def with_unit(value: float, metric: str) -> str:
    """Format a score with its name or unit.

    >>> with_unit(17.4821, "psnr_db"), with_unit(0.77412, "ssim"), with_unit(1.0, "identification")
    ('17.48 dB', 'SSIM 0.774', '100% identified')
    """
    if metric == "identification":
        return f"{value:.0%} identified"
    text = number(value, metric)
    return f"{text} dB" if metric == "psnr_db" else f"{metric_label(metric)} {text}"


def metric_label(metric: str) -> str:
    """Return the name of a metric without its unit: ``SSIM`` or ``PSNR``."""
    return NAMES[metric].split()[0]


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
    text = f"{number(score, metric)}{bracket(group.interval(metric), images, metric)}"
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
    """
    sent = f", sent {transmissions} times" if transmissions > 1 else ""
    return f"{dataset} {split}{sent}{f' ({note})' if note else ''}"


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
