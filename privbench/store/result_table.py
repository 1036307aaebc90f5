"""The table that a single run prints at its end (no torch)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from privbench.evaluation.statistics import Interval, interval_label
from privbench.store.record import Record

AGES = (("day", 86_400), ("hour", 3_600), ("minute", 60))
WILSON = "95 %"
"""Label of an interval of a share, good at any number of images."""
RELIABLE = 0.95
"""Share of converged images below which a line warns."""


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


def table(record: Record, paths: Mapping[str, Path], *, cached: bool = False) -> str:
    """Return the last lines of a run: target and attack, accuracy, scores, warnings, files.

    Args:
        record: Of the run.
        paths: Files that it wrote, by name.
        cached: Whether an earlier run wrote them.
    """
    rows = [*_setting(record), *_scores(record), *_recognition(record), *_warnings(record)]
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


def _scores(record: Record) -> Rows:
    label = interval_label(record.targets)
    psnr, ssim = (_interval(record.psnr_db_ci95, 2, label), _interval(record.ssim_ci95, 3, label))
    best, logits = record.floor["best"], record.floor["logits"]
    return [
        (
            "accuracy",
            f"{record.accuracy:.4f} {_interval(record.accuracy_ci95, 4, WILSON)}, "
            f"{_single(record)}undefended {record.accuracy_undefended:.4f}",
        ),
        ("PSNR", f"{record.psnr_db:.2f} dB {psnr} (blind baseline {best['psnr_db']:.2f} dB)"),
        ("SSIM", f"{record.ssim:.3f} {ssim} (blind baseline {best['ssim']:.3f})"),
        ("from the logits", f"{logits['psnr_db']:.2f} dB, SSIM {logits['ssim']:.3f}"),
    ]


def _recognition(record: Record) -> Rows:
    chance, baseline = record.chance["identification"], record.floor["best"]["semantic_accuracy"]
    return [
        ("identified", f"{_percent(record.identification)} (chance {100 * chance:.2f} %)"),
        (
            "label recovered",
            f"{_percent(record.semantic_accuracy)} (blind baseline {_percent(baseline)})",
        ),
    ]


def _warnings(record: Record) -> Rows:
    warnings = [f"{record.failed} of {record.targets} not finite"] if record.failed else []
    if record.converged is not None and record.converged < RELIABLE:
        warnings.append(f"only {record.converged:.0%} of the images converged: raise attack.steps")
    return [("warning", "; ".join(warnings))] if warnings else []


def _interval(ends: Interval | None, digits: int, label: str) -> str:
    if ends is None:
        return "(one image: no interval)"
    return f"{label} [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"


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
