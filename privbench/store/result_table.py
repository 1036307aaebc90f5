"""The table that a single run prints at its end (no torch)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from privbench.evaluation.metrics import known_metrics
from privbench.evaluation.metrics.base import Metric
from privbench.evaluation.statistics import Interval, interval_label
from privbench.store.record import RELIABLE, Record

AGES = (("day", 86_400), ("hour", 3_600), ("minute", 60))
WILSON = "95 %"
"""Label of an interval of a share, good at any number of images."""


def ago(finished: str, now: datetime | None = None) -> str:
    """Return how long ago something was finished.

    Args:
        finished: Time, as ``Record.finished`` has it.
        now: Present time; null for the clock's.

    >>> ago("2026-11-20T12:00:00+00:00", datetime.fromisoformat("2026-11-23T14:00:00+00:00"))
    '3 days ago'
    """
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(finished)).total_seconds()
    for name, length in AGES:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {name}{'' if count == 1 else 's'} ago"
    return "less than a minute ago"


def in_a_line(record: Record, *, short: bool = False) -> str:
    """Return accuracy and the scores that curves are drawn of, for the progress of a sweep.

    Args:
        record: Of the cell.
        short: Return the last of the scores alone.
    """
    shown = [m for m in known_metrics() if "curves" in m.show and record.has(m.name)]
    scores = [metric.with_unit(record.score(metric.name)) for metric in shown[-1 if short else 0 :]]
    return ", ".join([f"accuracy {record.accuracy:.4f}", *scores])


def table(record: Record, paths: Mapping[str, Path], *, cached: bool = False) -> str:
    """Return the last lines of a run: target and attack, accuracy, scores, warnings, files.

    Args:
        record: Of the run.
        paths: Files that it wrote, by name.
        cached: Whether an earlier run wrote them.
    """
    rows = [*_setting(record), *_accuracy(record), *_scores(record), *_prior(record)]
    rows += _warnings(record)
    if cached:
        age = ago(record.finished)
        rows.append(("cached", f"finished {record.finished}, {age}; force=true runs it again"))
    here = Path.cwd()
    for name, path in paths.items():
        rows.append((name, str(path.relative_to(here) if path.is_relative_to(here) else path)))
    width = max(len(name) for name, _ in rows) + 1
    return "\n".join(f"  {name:<{width}}{text}" for name, text in rows)


Rows = list[tuple[str, str]]


def _setting(record: Record) -> Rows:
    defense = f"{record.defense} {record.strength:g} on {record.site}"
    if record.strength == 0:
        defense = "no defense"
    if record.transmissions > 1:
        defense += f", sent {record.transmissions} times"
    rights = ", ".join(record.access).lower() or "none"
    target = f"{record.dataset}, {record.victim} cut at {record.split}, {defense}"
    attack = f"{record.attack} (access: {rights}), {record.targets} targets, seed {record.seed}"
    return [("target", target), ("attack", attack)]


def _accuracy(record: Record) -> Rows:
    interval = _interval(record.accuracy_ci95, lambda end: f"{end:.4f}", WILSON)
    undefended = f"undefended {record.accuracy_undefended:.4f}"
    return [("accuracy", f"{record.accuracy:.4f} {interval}, {_single(record)}{undefended}")]


def _scores(record: Record) -> Rows:
    """Return a row for each metric that is shown, and those of the deployment."""
    shown = [m for m in known_metrics() if "run" in m.show and record.has(m.name)]
    values = [(m.label, _value(record, m)) for m in shown if m.interval == "bca"]
    shares = [(m.label, _share(record, m)) for m in shown if m.interval == "wilson"]
    return [*values, *_from_logits(record), *shares, *_deployment(record, shown)]


def _value(record: Record, metric: Metric) -> str:
    score, unit = record.scores[metric.name], f" {metric.unit}" if metric.unit else ""
    label = interval_label(record.targets)
    text = f"{metric.number(score.mean)}{unit} {_interval(score.ci95, metric.number, label)}"
    if score.baseline is None:
        return text
    return f"{text} (blind baseline {metric.number(score.baseline)}{unit})"


def _share(record: Record, metric: Metric) -> str:
    score, chance = record.scores[metric.name], record.chance.get(metric.name)
    blind = [] if score.baseline is None else [f"blind baseline {_percent(score.baseline)}"]
    compared = [*blind, *([] if chance is None else [f"chance {100 * chance:.2f} %"])]
    return _percent(score.mean) + (f" ({', '.join(compared)})" if compared else "")


def _from_logits(record: Record) -> Rows:
    """Return the scores of the blind answer that uses the logits, by the metrics of curves."""
    logits = record.floor["logits"]
    shown = [m for m in known_metrics() if "curves" in m.show and m.name in logits]
    return [("from the logits", ", ".join(m.with_unit(logits[m.name]) for m in shown))]


def _deployment(record: Record, shown: Sequence[Metric]) -> Rows:
    """Return a row of numbers, and one for each sentence about a bound."""
    plain = [m for m in shown if m.interval is None and m.name not in record.notes]
    numbers = [m.with_unit(record.score(m.name)) for m in plain]
    rows = [("deployment", ", ".join(numbers))] if numbers else []
    return [*rows, *(("bound", line) for line in record.remarks)]


def _prior(record: Record) -> Rows:
    """Return what an attack's prior alone allows, where the attack has measured it."""
    ceiling = record.notes.get("prior_ceiling_db")
    if ceiling is None:
        return []
    return [("ceiling", f"{ceiling:.2f} dB, where its prior is given images in place of features")]


def _warnings(record: Record) -> Rows:
    warnings = [f"{record.failed} of {record.targets} not finite"] if record.failed else []
    if record.victim_warning:
        warnings.append(record.victim_warning)
    if record.converged is not None and record.converged < RELIABLE:
        warnings.append(f"only {record.converged:.0%} of the images converged: raise attack.steps")
    return [("warning", "; ".join(warnings))] if warnings else []


def _interval(ends: Interval | None, number: Callable[[float], str], label: str) -> str:
    if ends is None:
        return "(one image: no interval)"
    span = f"[{number(ends[0])}, {number(ends[1])}]"
    return f"{label} {span}" if label == WILSON else f"{span} ({label})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _single(record: Record) -> str:
    """Return the accuracy of one transmission, where the accuracy is of several."""
    if record.transmissions == 1:
        return ""
    return (
        f"by the mean logits of {record.transmissions} transmissions "
        f"({record.accuracy_single:.4f} by one), "
    )
