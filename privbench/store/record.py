"""The record of a cell: its fields, written, read and checked (no torch)."""

import dataclasses
import io
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save

from privbench.evaluation.statistics import Interval
from privbench.store.recipes import SCHEMA, victim_replaced

LOG = logging.getLogger(__name__)
Images = NDArray[np.uint8]
COLUMNS = 16


@dataclass(frozen=True)
class Record:
    """One attack on one defended deployment.

    Attributes:
        schema: Version of these names and of the numbers behind them.
        key: Hash of everything that the numbers depend on.
        config: The cell's whole configuration.
        sources: Identities of the code that the numbers come from, by place in the configuration
            (``attack``: ``rmle-1``), and fingerprints of the data (``data.train``).
        overrides: Overrides of the command line that make it.
        dataset: Name of the data.
        victim: Name of the classifier.
        victim_sha256: Of the file with its weights, ``store/victims/<key>.safetensors``: records
            compare where it is the same.
        split: Layer behind which it is cut.
        attack: Name of the attack.
        access: The rights it was granted.
        adaptive: True where it saw the defense, by DEFENSE or by queries through it.
        defense: Name of the defense.
        site: Where it is applied, ``features`` or ``input``.
        strength: Grows with protection; 0 is no defense.
        transmissions: Number of times each target was sent, K.
        seed: Of every draw.
        targets: Number of attacked images.
        accuracy_undefended: Share of the test set classified correctly without the defense.
        accuracy: The same with it. Rule: the cloud averages the logits of the K transmissions of an
            image, and answers with the largest mean.
        accuracy_single: The same of a single transmission, whatever K; equal where K is 1.
        accuracy_ci95: Wilson's interval.
        psnr_db: Mean over images of each one's PSNR, at most 100 dB each.
        psnr_db_ci95: ``intervals.mean_interval`` over images: BCa from 20 of them on, Student's t
            under 20; null for one image.
        ssim: Mean structural similarity, 7x7 uniform window.
        ssim_ci95: The same of ``ssim``.
        ssim_gaussian: Mean structural similarity, 11x11 Gaussian window.
        identification: Share of targets whose true image is the nearest one to the reconstruction
            among the whole test set, as it is or over shifts and sign (``metrics.identified``);
            ties share a hit.
        identification_ci95: Wilson's interval.
        identification_class: The same among the test images of its class.
        chance: Expected result of guessing for either.
        semantic_accuracy: Share of targets whose label an independent classifier reads off it.
        semantic_accuracy_ci95: Wilson's interval.
        judge_accuracy: That classifier's accuracy on the clean test set.
        above: Share of images above the paper's thresholds, PSNR > 10 dB and SSIM > 0.3, for the
            ``attack`` and for each blind answer.
        floor: Blind baselines: ``psnr_db``, ``ssim``, ``identification`` and
            ``semantic_accuracy`` of each blind answer: ``black``, ``grey``, ``mean``,
            ``class_mean``, ``class_ssim`` (the image of the
            predicted class with the highest mean SSIM to the auxiliary ones) and ``logits`` (the
            mean of the 10 auxiliary images nearest by the cloud's logits). ``best`` is the best one
            by metric of those that use nothing of a target but its predicted label: of all but
            ``logits``.
        lift: Gain: score less that of the ``best`` blind answer, by metric.
        per_image: Lists ``index``, ``psnr_db``, ``ssim``, ``identification``, ``failed``... and
            ``floor_psnr_db`` and ``floor_ssim``, of the answer that is ``best`` by that metric.
        failed: Reconstructions that were not finite, scored as the worst constant answer.
        converged: Share of images whose steps sufficed; null where there are none. Such an image
            moved from its start, the second half of the steps brought at most a tenth of its
            objective's fall (or of the objective) and under half of its way, and a run of twice the
            steps, tried on a few images, ends less than 5 % lower and less than 15 % of the way
            apart: the share that it confirms is an upper limit. It does not say that the minimum
            is the best one. Notes ``never_moved`` (share) and ``longer_run`` belong to it.
        notes: The attack's own facts.
        queries: Answers of the edge that the attack asked for.
        seconds: ``victim``, ``fit``, ``reconstruct``, ``score``, ``total``.
        device: Type of the device.
        threads: Of the CPU.
        versions: Of the libraries that compute.
        finished: Time in UTC.
    """

    schema: int
    key: str
    config: Mapping[str, Any]
    sources: Mapping[str, str]
    overrides: list[str]
    dataset: str
    victim: str
    victim_sha256: str
    split: str
    attack: str
    access: list[str]
    adaptive: bool
    defense: str
    site: str
    strength: float
    transmissions: int
    seed: int
    targets: int
    accuracy_undefended: float
    accuracy: float
    accuracy_single: float
    accuracy_ci95: Interval
    psnr_db: float
    psnr_db_ci95: Interval | None
    ssim: float
    ssim_ci95: Interval | None
    ssim_gaussian: float
    identification: float
    identification_ci95: Interval
    identification_class: float
    chance: Mapping[str, float]
    semantic_accuracy: float
    semantic_accuracy_ci95: Interval
    judge_accuracy: float
    above: Mapping[str, Mapping[str, float]]
    floor: Mapping[str, Mapping[str, float]]
    lift: Mapping[str, float]
    per_image: Mapping[str, list[Any]]
    failed: int
    converged: float | None
    notes: Mapping[str, Any]
    queries: int
    seconds: Mapping[str, float]
    device: str
    threads: int
    versions: Mapping[str, str]
    finished: str

    def validate(self) -> None:
        """Refuse a record that contradicts itself.

        Raises:
            ValueError: naming the field and its value.
        """
        shares = (
            "accuracy_undefended", "accuracy", "accuracy_single", "identification",
            "semantic_accuracy", "judge_accuracy",
        )  # fmt: skip
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} of a record is not in [0, 1]")
        for name in ("psnr_db", "ssim"):
            score = getattr(self, name)
            low, high = getattr(self, f"{name}_ci95") or (score, score)
            if not (math.isfinite(score) and low - 1e-6 <= score <= high + 1e-6):
                raise ValueError(f"{name}={score} of a record is not in its interval {low}..{high}")
            if abs(float(np.mean(self.per_image[name])) - score) > 1e-6:
                raise ValueError(f"{name}={score} of a record is not the mean of its images")
        for name, values in self.per_image.items():
            if len(values) != self.targets:
                raise ValueError(
                    f"per_image.{name} of a record has {len(values)} of {self.targets}"
                )

    def to_json(self) -> bytes:
        """Return the record as a file holds it; NaN and infinities are refused."""
        fields = dataclasses.asdict(self)
        return json.dumps(fields, indent=1, allow_nan=False).encode() + b"\n"


def read(path: Path) -> Record:
    """Read the record in a file, or in a folder's ``record.json``.

    Raises:
        ValueError: naming the file, where it is not a whole record of this schema.
        OSError: where it cannot be read.
    """
    path = path / "record.json" if path.is_dir() else path
    try:
        return parse(json.loads(path.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{path} is not a valid record: {error}") from error


def parse(fields: Any) -> Record:
    """Return the record of fields as JSON has them.

    Raises:
        ValueError: where they are not a whole record of this schema.
    """
    try:
        if fields.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {fields.get('schema')}, this program's {SCHEMA}")
        ends = {name: fields[name] for name in fields if name.endswith("_ci95")}
        intervals = {n: tuple(pair) if pair is not None else None for n, pair in ends.items()}
        record = Record(**{**fields, **intervals})
        record.validate()
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(str(error)) from error
    return record


def same_numbers(one: Record, other: Record) -> bool:
    """Return whether two records have the same scores, accuracies and victim."""
    names = ("victim_sha256", "accuracy", "accuracy_single", "accuracy_undefended", "per_image")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def valid_record(path: Path, store: Path) -> Record | None:
    """Return the record in a file, if it is there and whole, and of the store's victim.

    Args:
        path: Of the file.
        store: The store that holds it.
    """
    try:
        record = read(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        LOG.warning("%s: the cell is run again", error)
        return None
    replaced = victim_replaced(record.config, record.sources, record.victim_sha256, store)
    if replaced:
        LOG.warning("%s: %s: the cell is run again", path, replaced)
        return None
    return record


def image_sheet(originals: Images, recovered: Images) -> bytes:
    """Return a PNG of the first images, originals above and reconstructions below.

    Args:
        originals: ``(N, C, H, W)``.
        recovered: The same shape.
    """
    rows = [np.concatenate(list(images[:COLUMNS]), axis=2) for images in (originals, recovered)]
    line = np.full((*rows[0].shape[:1], 1, rows[0].shape[2]), 128, np.uint8)
    sheet = np.concatenate([rows[0], line, rows[1]], axis=1).transpose(1, 2, 0)
    image = Image.fromarray(sheet.squeeze(2) if sheet.shape[2] == 1 else sheet)
    zoom = max(1, 64 // originals.shape[-1])
    buffer = io.BytesIO()
    image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST).save(
        buffer, format="PNG"
    )
    return buffer.getvalue()


def images_file(originals: Images, recovered: Images) -> bytes:
    """Return safetensors of ``targets`` and ``reconstructions``, ``(N, C, H, W)``, 8-bit."""
    return save({"targets": originals, "reconstructions": recovered})
