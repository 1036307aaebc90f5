"""Rows of ``sweeps/defenses/records.csv``: one a record, read and written without torch."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from privbench.runtime.files import write_atomically
from privbench.runtime.hashing import content_hash
from privbench.store.record import Record
from privbench.store.record_frame import newest, rerun_command

METRICS = ("psnr_db", "ssim", "identification")
"""Scores of the table; SSIM ranks the attacks."""
AMORTISED = "inverse_adaptive (one for all strengths)"
"""Name of the inverse network that is trained for all strengths of a defense."""


@dataclass(frozen=True)
class Score:
    """A score of a row.

    Attributes:
        mean: Over images.
        low: Lower end of its interval.
        high: Upper end.
        baseline: That of the blind baseline.
    """

    mean: float
    low: float
    high: float
    baseline: float


@dataclass(frozen=True)
class Row:
    """A record in short; columns of the file are the fields, in this order.

    Attributes:
        dataset: Name of the data set.
        victim: Name of the victim.
        split: Layer behind which it is cut.
        defense: Name of the defense, with its channel.
        site: Where it acts.
        strength: Its strength; 0 for none.
        attack: Name of the attack.
        seed: Seed of the cell.
        targets: Number of attacked images.
        transmissions: How often each is sent.
        adaptive: Whether the attack has seen what the defense does.
        accuracy: Share of the test images.
        accuracy_low: Lower end of its interval.
        accuracy_high: Upper end.
        accuracy_undefended: That of the victim without the defense.
        psnr_db: Mean PSNR in dB.
        psnr_db_low: Lower end of its interval.
        psnr_db_high: Upper end.
        psnr_db_baseline: That of the blind baseline.
        ssim: Mean SSIM.
        ssim_low: Lower end.
        ssim_high: Upper end.
        ssim_baseline: That of the blind baseline.
        identification: Share of the targets that are identified.
        identification_low: Lower end.
        identification_high: Upper end.
        identification_baseline: That of the blind baseline.
        payload_bits: Bits of one transmission of one image.
        class_radius: Share of the features' variance that lies within classes in the training;
            NaN where the defense does not note it.
        seconds: Time of the cell.
        victim_sha256: Beginning of the hash of the victim's weights.
        finished: Time at which it ended.
        key: Of the record.
        defense_code: Hash of the defense's options and of its code's version; empty in rows of
            before 2026-11-30.
        attack_code: The same of the attack's.
        battery: Name and version of the battery that it was computed in; empty outside of one.
        command: Computes it again.
    """

    dataset: str
    victim: str
    split: str
    defense: str
    site: str
    strength: float
    attack: str
    seed: int
    targets: int
    transmissions: int
    adaptive: bool
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    accuracy_undefended: float
    psnr_db: float
    psnr_db_low: float
    psnr_db_high: float
    psnr_db_baseline: float
    ssim: float
    ssim_low: float
    ssim_high: float
    ssim_baseline: float
    identification: float
    identification_low: float
    identification_high: float
    identification_baseline: float
    payload_bits: float
    class_radius: float
    seconds: float
    victim_sha256: str
    finished: str
    key: str
    defense_code: str
    attack_code: str
    battery: str
    command: str

    @classmethod
    def of(cls, record: Record) -> "Row":
        """Return the row of a record, its numbers with the digits that the file keeps."""
        values: dict[str, Any] = {name: getattr(record, name) for name in TAKEN}
        values |= _with_ends("accuracy", record.accuracy, record.accuracy_ci95)
        for name in METRICS:
            score = record.scores[name]
            values |= _with_ends(name, score.mean, score.ci95)
            values[f"{name}_baseline"] = record.baseline(name)
        row = cls(
            **values,
            attack=_attack(record),
            payload_bits=record.score("payload_bits") if record.has("payload_bits") else math.nan,
            class_radius=(record.notes.get("defense") or {}).get("radius_share", math.nan),
            seconds=record.seconds["total"],
            victim_sha256=record.victim_sha256[:12],
            defense_code=_code(record, "defense"),
            attack_code=_code(record, "attack"),
            battery="{name} {version}".format(**record.battery) if record.battery else "",
            command=rerun_command(record),
        )
        numbers = {name: v for name, v in asdict(row).items() if isinstance(v, float)}
        kept: dict[str, Any] = {name: float(_short(v)) for name, v in numbers.items()}
        return replace(row, **kept)

    @classmethod
    def parse(cls, cells: Mapping[str, str]) -> "Row":
        """Return the row of a file's cells.

        Raises:
            ValueError: for a cell that is missing or not of its type.
        """
        kinds: Mapping[Any, Any] = {bool: "True".__eq__, float: float, int: int, str: str}
        try:
            return cls(**{f.name: kinds[f.type](cells[f.name]) for f in fields(cls)})
        except (KeyError, ValueError) as error:
            raise ValueError(f"not a row of records: {error}") from error

    @property
    def lost(self) -> float:
        """Accuracy that the defense costs, in points of 100."""
        return 100 * (self.accuracy_undefended - self.accuracy)

    @property
    def setting(self) -> tuple[str, str, str, int]:
        """What defenses are compared within."""
        return self.dataset, self.victim, self.split, self.targets

    @property
    def cell(self) -> tuple[object, ...]:
        """What tells a row from the others; of two rows of one cell the newer counts."""
        defended = (self.defense, self.site, self.strength) if self.strength else ()
        met = (self.attack, self.seed, self.transmissions)
        return *self.setting, *defended, *met, self.victim_sha256

    def score(self, metric: str) -> Score:
        """Return a score with its interval and blind baseline."""
        ends = (getattr(self, f"{metric}{end}") for end in ("", "_low", "_high", "_baseline"))
        return Score(*ends)


TAKEN = (
    "dataset", "victim", "split", "defense", "site", "strength", "seed", "targets",
    "transmissions", "adaptive", "accuracy_undefended", "finished", "key",
)  # fmt: skip


def _with_ends(name: str, mean: float, ends: tuple[float, float] | None) -> dict[str, float]:
    low, high = ends or (math.nan, math.nan)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def _code(record: Record, group: str) -> str:
    """Return a hash of what a defense or an attack computes with."""
    sources = {name: code for name, code in record.sources.items() if name.startswith(group)}
    return content_hash({"options": record.config[group], "sources": sources})[:8]


def _attack(record: Record) -> str:
    return AMORTISED if record.config["attack"].get("amortised") else record.attack


def rows_of(records: Iterable[Record]) -> list[Row]:
    """Return a row for each cell of records, but for blind answers, which are in every row."""
    return [Row.of(one) for one in newest(records) if one.attack != "blind"]


def merged(rows: Iterable[Row]) -> list[Row]:
    """Return the newest row of each cell, ordered by setting, defense, strength and attack."""
    found = {row.cell: row for row in sorted(rows, key=lambda row: row.finished)}
    return sorted(
        found.values(),
        key=lambda row: (row.setting, row.strength > 0, row.defense, row.site, row.strength,
                         row.attack, row.seed, row.transmissions),
    )  # fmt: skip


def read(path: Path) -> list[Row]:
    """Return the rows of a file; none where there is no file.

    Raises:
        ValueError: for a line that is not a row.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [Row.parse(cells) for cells in csv.DictReader(file)]


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write rows atomically, floats with six significant digits and integers in full."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _short(value) for name, value in asdict(row).items()})
    write_atomically(path, text.getvalue().encode())


def _short(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value.is_integer() else f"{value:.6g}"
