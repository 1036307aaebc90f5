"""The record of a cell: its fields, written, read and checked (no torch)."""

import dataclasses
import io
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save

from privbench.evaluation.metrics import register, remarks
from privbench.evaluation.statistics import Interval
from privbench.store.layout import require_whole, upgraded
from privbench.store.recipes import metrics_of, victim_replaced

LOG = logging.getLogger(__name__)
Images = NDArray[np.uint8]
COLUMNS = 16
BASELINES = ("ridge",)
"""Attacks that see defended features, and that a defense may withstand for all that."""
RELIABLE = 0.95
"""Least share of converged images of scores that count as converged."""


@dataclass(frozen=True)
class Score:
    """A score by one metric.

    Attributes:
        mean: Over the images; of a deployment the number itself.
        ci95: Interval of the mean over images: BCa from 20 of them on, Student's t under 20, or
            Wilson's of a share. Null for one image, for a number of a deployment, and where an
            earlier version computed none.
        baseline: Mean score of the best blind answer; null for a number of a deployment.
        per_image: A value per image; null for a number of a deployment.
    """

    mean: float
    ci95: Interval | None = None
    baseline: float | None = None
    per_image: list[float] | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Score":
        """Return the score of fields as JSON has them."""
        ends = fields.get("ci95")
        return cls(**{**fields, "ci95": tuple(ends) if ends is not None else None})


@dataclass(frozen=True)
class Record:
    """One attack on one defended deployment.

    Attributes:
        schema: Version of these names and of the numbers behind them.
        key: Hash of everything that the numbers depend on.
        config: The cell's whole configuration.
        sources: Identities of the code that the numbers come from, by place in the configuration
            (``attack``: ``rmle-1``; ``harness``: ``schema-3``), and fingerprints of the data
            (``data.train``).
        overrides: Overrides of the command line that make it.
        flags: Words of the command line that name folders of configuration, which its command
            needs, too; empty in records that were written before there were any.
        pythonpath: PYTHONPATH where classes of it were found through it; else empty, as in earlier
            records.
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
        scores: By metric (``evaluation.metrics``): scores of the reconstructions, and numbers of
            the deployment. A record may lack any of them.
        metrics: Descriptions of the metrics in ``scores`` that privbench does not have.
        chance: Expected result of guessing for either.
        judge_accuracy: Accuracy on the clean test set of the classifier of ``semantic_accuracy``.
        above: Share of images above the paper's thresholds, PSNR > 10 dB and SSIM > 0.3, for the
            ``attack`` and for each blind answer.
        floor: Blind baselines: mean scores of each blind answer: ``black``, ``grey``, ``mean``,
            ``class_mean``, ``class_ssim`` (the image of the
            predicted class with the highest mean SSIM to the auxiliary ones) and ``logits`` (the
            mean of the 10 auxiliary images nearest by the cloud's logits). ``best`` is the best one
            by metric of those that use nothing of a target but its predicted label: of all but
            ``logits``.
        lift: Gain: score less that of the ``best`` blind answer, by metric.
        per_image: Lists ``index`` and ``failed``, and ``floor_psnr_db`` and ``floor_ssim``, scores
            of the answer that is ``best`` by that metric.
        failed: Reconstructions that were not finite, scored as the worst constant answer.
        converged: Share of images whose steps sufficed; null where there are none. Such an image
            moved from its start, the second half of the steps brought at most a tenth of its
            objective's fall (or of the objective) and under half of its way, and a run of twice the
            steps, tried on a few images, ends less than 5 % lower and less than 15 % of the way
            apart: the share that it confirms is an upper limit. It does not say that the minimum
            is the best one. Notes ``never_moved`` (share) and ``longer_run`` belong to it.
        notes: The attack's own facts; by name those of metrics of the deployment that have any.
        queries: Answers of the edge that the attack asked for.
        seconds: ``victim``, ``fit``, ``reconstruct``, ``score``, ``total``, and ``stored``, of the
            attack's trainings that the store had, which are not in ``fit`` and ``total``.
        device: Type of the device.
        threads: Of the CPU.
        versions: Of the libraries that compute.
        finished: Time in UTC.
        split_index: Position of ``split`` among the victim's split points, from 0; null in records
            that were written before there was a count.
        split_count: Number of split points.
        victim_warning: Where the victim is no better than the most frequent class; empty elsewhere.
        battery: ``name`` and ``version`` of the battery of attacks that it was computed in; null
            outside of one. It says where the record comes from: a battery also counts records of
            the same configuration that were computed elsewhere.
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
    scores: Mapping[str, Score]
    metrics: Mapping[str, Mapping[str, Any]]
    chance: Mapping[str, float]
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
    split_index: int | None = None
    split_count: int | None = None
    victim_warning: str = ""
    battery: Mapping[str, Any] | None = None
    flags: list[str] = field(default_factory=list)
    pythonpath: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Record":
        """Return the record of fields as JSON has them, in any layout that is read."""
        fields = upgraded(fields)
        register(fields["metrics"])
        scores = {name: Score.of(score) for name, score in fields["scores"].items()}
        accuracy = tuple(fields["accuracy_ci95"])
        return cls(**{**fields, "scores": scores, "accuracy_ci95": accuracy})

    def score(self, metric: str) -> float:
        """Return the mean score by a metric that the record has."""
        return self.scores[metric].mean

    def baseline(self, metric: str) -> float:
        """Return the mean score of the best blind answer; NaN where none was scored."""
        found = self.floor["best"].get(metric, self.scores[metric].baseline)
        return math.nan if found is None else found

    def has(self, metric: str) -> bool:
        """Return whether the record has a score by a metric."""
        return metric in self.scores

    @property
    def remarks(self) -> list[str]:
        """Sentences about bounds on the attack."""
        psnr = self.scores.get("psnr_db")
        return list(remarks(self.notes, (psnr and psnr.per_image) or []))

    @property
    def knows_defense(self) -> bool:
        """True where the attack adapts to the defense, and is more than a linear baseline."""
        return self.adaptive and self.attack not in BASELINES

    @property
    def columns(self) -> dict[str, list[Any]]:
        """All lists with a value per image, by name: those of scores and of ``per_image``."""
        scored = {name: one.per_image for name, one in self.scores.items()}
        return {**{k: v for k, v in scored.items() if v is not None}, **self.per_image}

    def validate(self) -> None:
        """Refuse a record that contradicts itself.

        Raises:
            ValueError: naming the field and its value.
        """
        scores = {name: vars(score) for name, score in self.scores.items()}
        require_whole({**vars(self), "scores": scores})

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
        record = Record.of(fields)
        record.validate()
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(str(error)) from error
    return record


def same_numbers(one: Record, other: Record) -> bool:
    """Return whether two records have the same victim, accuracies and scores.

    Only scores that both have are compared.
    """
    names = ("victim_sha256", "accuracy", "accuracy_single", "accuracy_undefended")
    if any(getattr(one, name) != getattr(other, name) for name in names):
        return False
    if one.per_image["index"] != other.per_image["index"]:
        return False
    shared = one.scores.keys() & other.scores.keys()
    return all(one.scores[m].per_image == other.scores[m].per_image for m in shared)


def valid_record(path: Path, store: Path, config: Mapping[str, Any]) -> Record | None:
    """Return the record in a file, if it is there and whole, and has what a cell asks for.

    That is a record of the store's victim, with the metrics that the cell names.

    Args:
        path: Of the file.
        store: The store that holds it.
        config: The cell's configuration.
    """
    try:
        record = read(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        LOG.warning("%s: the cell is run again", error)
        return None
    replaced = victim_replaced(record.config, record.sources, record.victim_sha256, store)
    wanted = metrics_of(config).items()
    lacking = [place for place, code in wanted if record.sources.get(place) != code]
    if replaced or lacking:
        reason = replaced or f"it lacks {', '.join(lacking)}"
        LOG.warning("%s: %s: the cell is run again", path, reason)
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
