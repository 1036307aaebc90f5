"""Records as a table: a row for each record, or for each attacked image (no torch)."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privbench.evaluation.metrics import known_metrics
from privbench.runtime.commands import command_of
from privbench.runtime.files import write_atomically
from privbench.runtime.hashing import content_hash
from privbench.runtime.options import CELL_OPTIONS, flat_options
from privbench.store.group_keys import group_key, images_of, setting_key
from privbench.store.recipes import threads
from privbench.store.record import Record, read
from privbench.store.record_files import record_paths, store_in
from privbench.store.sweep_log import NAME as CELLS
from privbench.store.sweep_log import SweepLog

if TYPE_CHECKING:
    import pandas as pd

LOG = logging.getLogger(__name__)
SETTING = (
    "key", "dataset", "victim", "split", "defense", "site", "strength", "attack", "transmissions",
    "seed",
)  # fmt: skip
"""Columns of both tables: what was attacked, and by whom."""
FORMATS = ("csv", "parquet")
"""Formats of a table's file."""
BASELINE = "floor_"
"""Prefix of the lists of a record that hold a blind baseline by image."""


def load_records(path: str | Path, *, images: bool = False) -> "pd.DataFrame":
    """Load the records of an outputs folder, a store or a sweep.

    Of records of one cell, which differ in the version of the code, the newest counts. A record
    that cannot be read is left out with a warning.

    Args:
        path: ``outputs``, ``outputs/store`` or ``outputs/sweeps/NAME``.
        images: Return a row for each attacked image, in place of one for each record.

    Returns:
        A row for each record: setting, attack, ``accuracy``, and each score by the name of its
        metric with the ends of its interval (``ssim_low``, ``ssim_high``) and its blind baseline
        (``ssim_baseline``); ``attack_options`` and ``defense_options`` name all options of both,
        and rows of the same ``setting`` differ in attack and seed alone; ``command`` computes it
        again, ``sweep_command`` is that of its sweep.
        A row for each image has its scores and ``index`` within the test images.

    Raises:
        ValueError: where the folder holds no record that can be read.
    """
    folder = Path(path).expanduser()
    records, unreadable = read_records(folder)
    for line in unreadable:
        LOG.warning("left out: %s", line)
    return table_of(folder, records, images=images)


def table_of(folder: Path, records: Iterable[Record], *, images: bool) -> "pd.DataFrame":
    """Return the table of records that a folder holds, as ``load_records`` does."""
    kept = newest(records)
    return image_table(kept) if images else table(kept, sweep_commands(folder))


def format_of(file: Path, form: str | None) -> str:
    """Return the format of a table's file.

    Args:
        file: To be written.
        form: ``csv`` or ``parquet``; null for what the file's name ends in.

    Raises:
        ValueError: where its name ends in neither, and where its folder does not exist.
    """
    if not file.parent.is_dir():
        raise ValueError(f"folder {file.parent} does not exist")
    found = form or file.suffix.lower().removeprefix(".")
    if found not in FORMATS:
        raise ValueError(f"{file} ends neither in .csv nor in .parquet: add --format csv")
    return found


def write_table(rows: "pd.DataFrame", file: Path, form: str) -> None:
    """Write a table, whole or not at all.

    Args:
        rows: The table.
        file: Is written, or replaced.
        form: ``csv`` or ``parquet``.

    Raises:
        ValueError: where ``parquet`` lacks its package.
        OSError: where the file cannot be written.
    """
    if form == "csv":
        write_atomically(file, rows.to_csv(index=False).encode())
    elif find_spec("pyarrow") is None:
        raise ValueError(
            "parquet needs pyarrow: pip install 'privbench[parquet]', or choose --format csv"
        )
    else:
        write_atomically(file, rows.to_parquet(index=False))


def read_records(folder: Path) -> tuple[list[Record], list[str]]:
    """Return the records of a folder, and a line for each that cannot be read.

    Raises:
        ValueError: where none can be read.
    """
    records, unreadable = [], []
    for path in record_paths(folder):
        try:
            records.append(read(path))
        except (OSError, ValueError) as error:
            unreadable.append(str(error))
    if not records:
        found = f" ({unreadable[0]})" if unreadable else ""
        raise ValueError(f"{folder} holds no record that can be read{found}")
    return records, unreadable


def newest(records: Iterable[Record]) -> list[Record]:
    """Return the newest record of each cell, in the order of setting, attack and strength."""
    found = {cell_of(one): one for one in sorted(records, key=lambda one: one.finished)}
    return sorted(found.values(), key=_order)


def cell_of(record: Record) -> str:
    """Return a hash of the options that the numbers of a record's cell depend on."""
    options = {name: record.config.get(name) for name in CELL_OPTIONS}
    return content_hash(
        {
            **options,
            "dataset": images_of(record.config, record.sources),
            "split": record.split,
            "seed": record.seed,
            **threads(record.config),  # another number trains another victim
        }
    )


def _order(one: Record) -> tuple[Any, ...]:
    setting = one.dataset, one.victim, one.split, one.defense, one.site
    return (*setting, one.attack, one.strength, one.transmissions, one.seed, one.key)


def sweep_commands(folder: Path) -> dict[str, str]:
    """Return the command of the sweep that made a record, by key, of a folder's sweeps."""
    if (folder / CELLS).is_file():
        return SweepLog(folder).producing_commands()
    logs = sorted((store_in(folder).parent / "sweeps").glob(f"*/{CELLS}"))
    return {
        key: made for log in logs for key, made in SweepLog(log.parent).producing_commands().items()
    }


def rerun_command(record: Record) -> str:
    """Return the command that runs the cell of a record."""
    return command_of(record.overrides, record.flags, record.pythonpath)


def table(records: Sequence[Record], commands: Mapping[str, str]) -> "pd.DataFrame":
    """Return a row for each record; columns that none of them has are left out.

    Args:
        records: In the order of the rows.
        commands: Of the sweeps that made them, by key.
    """
    import pandas as pd

    rows = [{**_row(one), "sweep_command": commands.get(one.key)} for one in records]
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def _row(one: Record) -> dict[str, Any]:
    return {
        **_setting(one),
        "access": ",".join(one.access).lower(),
        "adaptive": one.adaptive,
        "targets": one.targets,
        **_with_ends("accuracy", one.accuracy, one.accuracy_ci95),
        "accuracy_undefended": one.accuracy_undefended,
        "accuracy_single": one.accuracy_single,
        **_scores(one),
        **{f"{name}_chance": value for name, value in one.chance.items()},
        "converged": one.converged,
        "failed": one.failed,
        "queries": one.queries,
        **{f"{name}_seconds": value for name, value in one.seconds.items()},
        "split_index": one.split_index,
        "split_count": one.split_count,
        "device": one.device,
        "finished": one.finished,
        "victim_sha256": one.victim_sha256,
        "victim_warning": one.victim_warning or None,
        "command": rerun_command(one),
    }


def _setting(one: Record) -> dict[str, Any]:
    """Return the columns of both tables on what was attacked, and by whom."""
    return {
        **{name: getattr(one, name) for name in SETTING},
        "attack_options": options_text(one.config["attack"]),
        "defense_options": options_text(one.config["defense"]),
        "setting": setting_key(group_key(one))[:8],
    }


def options_text(part: Mapping[str, Any]) -> str:
    """Return the options of an attack or a defense, and of those within it, in one line.

    >>> inner = {"_target_": "privbench.attacks.rmle.RMLE", "lr": 0.1}
    >>> options_text({"_target_": "x.Shadow", "steps": 5, "inverter": inner})
    'inverter=RMLE inverter.lr=0.1 steps=5'
    """
    values = flat_options(part)
    values.pop("_target_", None)
    named = {
        name.removesuffix("._target_"): value.rpartition(".")[2]
        if name.endswith("._target_")
        else value
        for name, value in values.items()
    }
    return " ".join(f"{name}={named[name]}" for name in sorted(named))


def _scores(one: Record) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric in _metrics(one):
        score = one.scores[metric]
        found |= _with_ends(metric, score.mean, score.ci95)
        found[f"{metric}_baseline"] = one.floor["best"].get(metric, score.baseline)
    return found


def _metrics(one: Record) -> list[str]:
    return [metric.name for metric in known_metrics() if one.has(metric.name)]


def _with_ends(name: str, mean: float, ends: tuple[float, float] | None) -> dict[str, Any]:
    low, high = ends or (None, None)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def image_table(records: Sequence[Record]) -> "pd.DataFrame":
    """Return a row for each record and attacked image, with its scores and blind baselines."""
    import pandas as pd

    return pd.concat([_image_rows(one) for one in records], ignore_index=True)


def _image_rows(one: Record) -> "pd.DataFrame":
    import pandas as pd

    lists = one.columns
    scored = {name: lists[name] for name in _metrics(one) if name in lists}
    baselines = {
        f"{name.removeprefix(BASELINE)}_baseline": values
        for name, values in lists.items()
        if name.startswith(BASELINE)
    }
    setting = _setting(one)
    failed = {"failed": lists["failed"]} if "failed" in lists else {}
    return pd.DataFrame({**setting, "index": lists["index"], **scored, **baselines, **failed})
