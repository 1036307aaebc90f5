"""One sweep point told as a story: a deployment is built, attacked, scored and recorded."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from privbench import __version__
from privbench.attacks.base import Attack
from privbench.attacks.blind import CONSTANT, LABEL_ONLY
from privbench.evaluation import metrics
from privbench.evaluation.statistics import mean_interval, wilson
from privbench.experiment.config import CellConfig, build, run_folder
from privbench.experiment.isolation import Isolated, require_picklable
from privbench.experiment.setup import Stage
from privbench.runtime.errors import UserError
from privbench.runtime.files import write_atomically
from privbench.runtime.hashing import content_hash
from privbench.runtime.random import isolated_rng, secret_seed
from privbench.store import record as results
from privbench.store.recipes import SCHEMA
from privbench.store.record import Record
from privbench.threat.view import ADAPTIVE, jsonable
from privbench.tracking.base import Run

LOG = logging.getLogger(__name__)
SCORES = ("psnr_db", "ssim", "identification", "semantic_accuracy")
"""What a blind answer is told of, and what an attack is told to add to it."""
LIBRARIES = ("torch", "pytorch-lightning", "torchmetrics", "numpy")


@dataclass(frozen=True)
class CellResult:
    """What came of a cell.

    Attributes:
        record: Of this run or of an earlier one.
        cached: Whether it is an earlier one's.
        tracked: Whether a tracker was told.
    """

    record: Record
    cached: bool
    tracked: bool


def run(cfg: DictConfig) -> Record:
    """Attack one defended deployment and record what came of it, unless a record is there.

    Raises:
        Refused: for bad input, before anything is trained or written.
    """
    return run_or_load(cfg).record


def run_or_load(cfg: DictConfig, *, told: bool = False) -> CellResult:
    """``run``, and how its record came about.

    Args:
        cfg: Of a cell.
        told: Whether the tracker knows of its record already.
    """
    clock = Clock()
    with _remove_empty_dir(run_folder()):
        with _as_user_errors():
            cell = build(cfg)
            if cell.isolate:
                require_picklable(cell.attack, cell.defense)
            stage = Stage.of(cell)
        with stage.store.claim("records", stage.key):
            found = None if cell.force else stage.found()
            record, tracked = (found, told) if found else _performed(stage, clock)
        if found and not told:
            tracked = log_cached(found, stage)
        if not cell.swept:
            write_atomically(cell.folder / "record.json", record.to_json())
            print(results.table(record, _places(stage), cached=bool(found)), flush=True)  # noqa: T201 - what a run is for
        return CellResult(record, bool(found), tracked)


def log_cached(record: Record, stage: Stage) -> bool:
    """Tell the tracker of a record that an earlier run left, and say whether it heard."""
    with stage.cell.tracker.run(**_label(stage)) as tracked:
        picture = stage.folder.with_name(record.key) / "reconstructions.png"
        tracked.finish({**_summary(record), "cached": True}, {"reconstructions": picture})
    return tracked.delivered


def _performed(stage: Stage, clock: "Clock") -> tuple[Record, bool]:
    """The story itself: the record, and whether the tracker heard of it."""
    cell = stage.cell
    with cell.tracker.run(**_label(stage)) as tracked, _isolated(cell) as attack:
        victim_seconds = stage.prepare_victim(tracked)
        truth = stage.truth()
        deployment = stage.deploy(cell.defense)
        logger = AttackLogger(stage.x, tracked)
        view = stage.view(deployment, cell.attack.access, logger)
        seconds = {"victim": victim_seconds}
        with (
            clock.timing(seconds, "fit"),
            isolated_rng(secret_seed(cell.seed, stage.secret, "fit")),
        ):
            reconstruct = attack.fit(view)
        v = stage.send(deployment)
        if not cell.swept:  # a sweep has a line a cell
            LOG.info("%s reconstructs %d images", cell.names["attack"], len(v))
        own = secret_seed(cell.seed, stage.secret, "reconstruct")
        with clock.timing(seconds, "reconstruct"):
            x_hat = _images(_reconstruct_in_batches(reconstruct, v, logger, own), stage.x)
        record = _record(stage, truth, v, x_hat, logger, seconds, clock)
        _write(record, stage, x_hat)
        tracked.finish(
            {**_summary(record), "cached": False},
            {"reconstructions": _places(stage)["picture"]},
        )
    return record, tracked.delivered


def _isolated(cell: CellConfig) -> AbstractContextManager[Attack]:
    """The attack, in a process of its own where that is wanted."""
    return Isolated(cell.attack) if cell.isolate else nullcontext(cell.attack)


def _reconstruct_in_batches(
    reconstruct: Callable[[Tensor], Tensor], v: Tensor, logger: "AttackLogger", seed: int
) -> Tensor:
    """Reconstructions of all targets, in smaller and smaller batches where memory ends.

    An image's reconstruction does not depend on those beside it, so the numbers are the same.
    """
    size = len(v)
    while True:
        told: list[tuple[int, Any]] = []
        parts = []
        try:
            for part in v.split(size):
                with isolated_rng(seed):
                    parts.append(reconstruct(part))
                told.append((len(part), logger.facts.get("converged")))
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise
            size = -(-size // 2)
            LOG.warning("out of memory (%s): again, %d images at a time", _first(error), size)
        else:
            if len(parts) == 1:
                return parts[0]
            if all(isinstance(share, int | float) for _, share in told):
                logger.note(converged=sum(n * share for n, share in told) / len(v))
            logger.note(batch=size)
            return torch.cat(parts)
        # only here is the failed attempt's memory free: its frames went with the error
        torch.cuda.empty_cache()


def _first(error: BaseException) -> str:
    return str(error).partition(". ")[0]


@contextmanager
def _as_user_errors() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise UserError(" ".join(str(error).split())) from error


@contextmanager
def _remove_empty_dir(folder: Path) -> Iterator[None]:
    """Hydra makes a run's folder beforehand: without a record in it, it goes."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


class Clock:
    """Counts seconds, the GPU's unfinished work included."""

    def __init__(self) -> None:
        self.began = self.now()

    @staticmethod
    def now() -> float:
        """Seconds, once everything that was begun is done."""
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def timing(self, seconds: dict[str, float], name: str) -> Iterator[None]:
        """Add what a block took to ``seconds``."""
        began = self.now()
        yield
        seconds[name] = self.now() - began


@dataclass
class AttackLogger:
    """Scores what an attack shows of its progress, streams it, and answers nothing.

    Attributes:
        truth: The targets, which an attack never sees.
        tracked: Where the stream goes.
        facts: What the attack told for the record.
    """

    truth: Tensor
    tracked: Run
    facts: dict[str, Any] = field(default_factory=dict)

    def step(self, n: int, x_hat: Tensor | None = None, **scalars: float) -> None:
        """Stream progress after step ``n``."""
        if x_hat is not None and x_hat.shape == self.truth.shape:
            shown = x_hat.detach().nan_to_num(0).clamp(0, 1)
            scalars["psnr_db"] = float(metrics.psnr_db(shown, self.truth).mean())
            scalars["ssim"] = float(metrics.ssim(shown, self.truth).mean())
        self.tracked.log("attack", n, **scalars)

    def note(self, **facts: Any) -> None:
        """Keep facts for the record, in a form that it can hold."""
        self.facts.update({name: jsonable(fact) for name, fact in facts.items()})


def _images(x_hat: Tensor, x: Tensor) -> Tensor:
    """What an attack returned, held to its contract: nobody knows what an attack returns.

    Raises:
        TypeError: where it is no image for each target.
    """
    if not isinstance(x_hat, Tensor) or x_hat.shape != x.shape:
        got = tuple(x_hat.shape) if isinstance(x_hat, Tensor) else type(x_hat).__name__
        raise TypeError(f"the attack returned {got} where images {tuple(x.shape)} are due")
    x_hat = x_hat.detach().to(x)
    # clamped, an infinity would pass for a white pixel
    return torch.where(x_hat.isfinite(), x_hat.clamp(0, 1), torch.nan)


def _record(
    stage: Stage,
    truth: metrics.Reference,
    v: Tensor,
    x_hat: Tensor,
    logger: AttackLogger,
    seconds: dict[str, float],
    clock: Clock,
) -> Record:
    cell, facts = stage.cell, dict(logger.facts)
    blind = stage.blind(v)
    constants = [blind[answer] for answer in CONSTANT]
    with clock.timing(seconds, "score"):
        scores = metrics.score(x_hat, truth, constants)
    blind_scores = {n: metrics.score(answer, truth, constants) for n, answer in blind.items()}
    floor, best = _floor(blind_scores)
    means, count = scores.means(), len(stage.indices)
    labels = truth.labels.cpu()
    sizes = labels.bincount()[labels[torch.tensor(stage.indices)]]
    correct = stage.usability(defended=True, transmissions=cell.transmissions)
    accuracy = float(correct.mean())
    single = stage.usability(defended=True) if cell.transmissions > 1 else correct
    undefended = accuracy if cell.defense.strength == 0 else stage.usability(defended=False).mean()
    access = cell.attack.access
    seconds["total"] = clock.now() - clock.began
    return Record(
        schema=SCHEMA,
        key=stage.key,
        config=cell.config,
        sources=stage.sources,
        overrides=cell.overrides,
        dataset=cell.names["dataset"],
        victim=cell.names["victim"],
        victim_sha256=stage.victim_sha256,
        split=stage.split,
        attack=cell.names["attack"],
        access=access.names,
        adaptive=bool(access & ADAPTIVE),
        defense=cell.names["defense"],
        site=cell.defense.site,
        strength=cell.defense.strength,
        transmissions=cell.transmissions,
        seed=cell.seed,
        targets=len(stage.indices),
        accuracy_undefended=float(undefended),
        accuracy=accuracy,
        accuracy_single=float(single.mean()),
        accuracy_ci95=wilson(accuracy, len(correct)),
        psnr_db=means["psnr_db"],
        psnr_db_ci95=mean_interval(scores.psnr_db),
        ssim=means["ssim"],
        ssim_ci95=mean_interval(scores.ssim),
        ssim_gaussian=float(np.mean(scores.ssim_gaussian)),
        identification=means["identification"],
        identification_ci95=wilson(means["identification"], count),
        identification_class=means["identification_class"],
        chance={
            "identification": 1 / len(truth.labels),
            "identification_class": float((1 / sizes).mean()),
        },
        semantic_accuracy=means["semantic_accuracy"],
        semantic_accuracy_ci95=wilson(means["semantic_accuracy"], count),
        judge_accuracy=truth.evaluator_accuracy,
        above={
            "attack": scores.share_above(),
            **{n: s.share_above() for n, s in blind_scores.items()},
        },
        floor=floor,
        lift={metric: means[metric] - floor["best"][metric] for metric in SCORES},
        per_image={"index": stage.indices, **asdict(scores), **best},
        failed=sum(scores.failed),
        converged=facts.pop("converged", None),
        queries=facts.pop("queries", 0),
        notes={**facts, **stage.data.notes},
        seconds=seconds,
        device=stage.device.type,
        threads=stage.threads,
        versions={"privbench": __version__, **{name: version(name) for name in LIBRARIES}},
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _floor(
    scores: Mapping[str, metrics.Scores],
) -> tuple[dict[str, dict[str, float]], dict[str, list[float]]]:
    """What each blind answer scores, and the best of those that use the predicted label alone.

    The best one is chosen for each score by its mean over the images.

    Returns:
        The means by answer and score, with the answer ``best``; and ``floor_psnr_db`` and
        ``floor_ssim``, the scores of the best answer for each image.
    """
    means = {answer: scored.means() for answer, scored in scores.items()}
    floor = {answer: {m: found[m] for m in SCORES} for answer, found in means.items()}
    leading = {m: max(LABEL_ONLY, key=lambda answer: floor[answer][m]) for m in SCORES}
    floor["best"] = {m: floor[leading[m]][m] for m in SCORES}
    best = {f"floor_{m}": getattr(scores[leading[m]], m) for m in ("psnr_db", "ssim")}
    return floor, best


def _places(stage: Stage) -> dict[str, Path]:
    """Where a user finds what came of a cell."""
    folder = stage.folder
    return {"picture": folder / "reconstructions.png", "record": folder / "record.json"}


def _write(record: Record, stage: Stage, x_hat: Tensor) -> None:
    """The record and its pictures; the record last, so that what is there is whole."""
    record.validate()
    text = record.to_json()
    places = _places(stage)
    stage.folder.mkdir(parents=True, exist_ok=True)
    originals, recovered = (
        (images.nan_to_num(0).clamp(0, 1) * 255).round().byte().cpu().numpy()
        for images in (stage.x, x_hat)
    )
    images = results.images_file(originals, recovered)
    write_atomically(stage.folder / "images.safetensors", images)
    write_atomically(places["picture"], results.picture(originals, recovered))
    write_atomically(places["record"], text)


def _label(stage: Stage) -> dict[str, Any]:
    """How trackers name, group and tag the run."""
    cell, names = stage.cell, stage.cell.names
    strength = f"{names['defense']} {cell.defense.strength:g} {cell.defense.site}"
    alone = f"{names['dataset']} {stage.split} {strength} {names['attack']} s{cell.seed}"
    sweep = cell.folder.name
    return {
        "name": cell.name if cell.swept else alone,
        "group": sweep if cell.swept else None,
        "run_id": content_hash({"sweep": sweep, "key": stage.key}) if cell.swept else None,
        "tags": [names[group] for group in ("dataset", "victim", "attack", "defense")]
        + [stage.split],
        "config": cell.config,
    }


def _summary(record: Record) -> Mapping[str, Any]:
    """The record's scalars, as a dashboard sorts by them."""
    plain = {k: v for k, v in asdict(record).items() if isinstance(v, str | int | float)}
    ends = {
        f"{metric}_{end}": value
        for metric in (*SCORES, "accuracy")
        if (interval := getattr(record, f"{metric}_ci95")) is not None  # one image has none
        for end, value in zip(("low", "high"), interval, strict=True)
    }
    floor = {f"floor_{metric}": value for metric, value in record.floor["best"].items()}
    floor |= {f"floor_logits_{metric}": value for metric, value in record.floor["logits"].items()}
    lift = {f"lift_{metric}": value for metric, value in record.lift.items()}
    seconds = {f"{name}_seconds": value for name, value in record.seconds.items()}
    return {**plain, **ends, **floor, **lift, **seconds}
