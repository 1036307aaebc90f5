"""The evaluation of a cell: its reconstructions scored, its accuracy measured, its record built."""

import logging
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from torch import Tensor

from privbench import __version__
from privbench.attacks.blind import LABEL_ONLY
from privbench.evaluation import metrics, scoring, utility
from privbench.evaluation.metrics.base import Measured, Metric, checked
from privbench.evaluation.reference import Reference
from privbench.evaluation.statistics import Interval, mean_interval, wilson
from privbench.experiment.accuracy import accuracy_fields
from privbench.experiment.baselines import (
    baseline_reconstructions,
    constant_images,
    score_baselines,
)
from privbench.experiment.deploy import Deployed
from privbench.experiment.evaluation_classifier import EVALUATION_CLASSIFIER, averaged
from privbench.experiment.evaluation_classifier import SEED as EVALUATION_SEED
from privbench.experiment.plan import CellPlan
from privbench.experiment.services import AttackLogger, Clock, EpochLogger, Services
from privbench.runtime.code_identity import identity
from privbench.runtime.hashing import content_hash
from privbench.runtime.paths import python_path_of
from privbench.store.artifacts import Artifact
from privbench.store.recipes import RECORD_SCHEMA, harness
from privbench.store.record import Record, Score
from privbench.threat.access import ADAPTIVE
from privbench.threat.view import Facts, jsonable

LOG = logging.getLogger(__name__)
BY_IMAGE = ("psnr_db", "ssim")
"""Metrics whose blind baseline a record holds image by image."""
CLASSIFIERS = "judges"
"""Directory of the store."""
LIBRARIES = ("torch", "pytorch-lightning", "torchmetrics", "numpy")


def fit_reference(plan: CellPlan, services: Services, x: Tensor) -> Reference:
    """Return the reference of all scores; its classifier is trained once for each data set.

    Args:
        plan: Of the cell.
        services: Of the cell.
        x: The targets ``(N, C, H, W)``, on the device.
    """
    train, test, device = plan.data.train, plan.data.test, services.device
    model = EVALUATION_CLASSIFIER.build(plan.data.shape, len(plan.data.classes), EVALUATION_SEED)

    def fit(report: EpochLogger) -> Facts:
        name = plan.cell.choices["dataset"]
        LOG.info("training the evaluation classifier on %s, once: the store keeps it", name)
        EVALUATION_CLASSIFIER.train(
            model,
            train.pixels,
            train.labels,
            seed=EVALUATION_SEED,
            device_config=plan.cell.device_config,
            report=report,
        )
        model.to(device)
        correct = utility.per_image_accuracy(
            lambda images, rows: model(images.to(device)).cpu()[:, None], test.pixels, test.labels
        )
        return {"accuracy": float(correct.mean())}

    recipe = classifier_recipe(plan)
    artifact = services.fit_and_track(CLASSIFIERS, "evaluation_classifier", recipe, model, fit)
    services.freeze(model)
    return Reference(
        x,
        plan.indices,
        test.pixels.to(device),
        test.labels.to(device),
        model,
        float(artifact.facts["accuracy"]),
        content_hash({**recipe, "classifier": artifact.sha256, "targets": plan.indices}),
    )


def classifier_recipe(plan: CellPlan) -> dict[str, Any]:
    """Return everything that the evaluation classifier's training depends on."""
    return {
        "judge": plan.sources["evaluation.classifier"],
        "images": plan.data.train.fingerprint,
        "test": plan.data.test.fingerprint,
        **({"averaged": factor} if (factor := averaged(plan.data.shape)) > 1 else {}),
    }


def evaluate(
    plan: CellPlan,
    services: Services,
    deployed: Deployed,
    reference: Reference,
    v: Tensor,
    x_hat: Tensor,
    logger: AttackLogger,
    clock: Clock,
) -> Record:
    """Score reconstructions against the targets and the blind baselines.

    Args:
        plan: Of the cell.
        services: Of the cell.
        deployed: That was attacked.
        reference: Targets and evaluation classifier.
        v: Received features ``(N, K, *feature_shape)``.
        x_hat: Reconstructions ``(N, C, H, W)``.
        logger: Holds the attack's notes.
        clock: Holds the seconds of the cell's phases.
    """
    baselines = baseline_reconstructions(plan, services, deployed, v)
    named = plan.cell.metrics
    wanted = [*metrics.RECONSTRUCTION_METRICS, *(m for m in named if m.interval is not None)]
    with clock.timing("score"):
        scores = scoring.score(x_hat, reference, constant_images(baselines), wanted)
    blind = score_baselines(baselines, reference, wanted)
    scored = _score_fields(scores, blind, reference, plan.indices)
    numbers, measured = deployment_scores(plan, services, deployed, reference.x, named)
    scored["scores"] |= numbers
    accuracies = accuracy_fields(plan, services, deployed)
    facts = dict(logger.facts)
    clock.seconds["total"] = clock.total()
    return Record(
        **_setting_fields(plan, deployed.victim.sha256),
        split_index=deployed.victim.model.split_points.index(plan.split),
        split_count=len(deployed.victim.model.split_points),
        **scored,
        **accuracies,
        metrics={m.name: m.describe() for m in named if m.name not in metrics.BUILT_IN},
        converged=facts.pop("converged", None),
        queries=facts.pop("queries", 0),
        notes={**facts, **plan.data.notes, **_defense_note(deployed), **measured},
        seconds={"victim": deployed.victim.seconds, **clock.seconds},
        device=services.device.type,
        threads=services.threads,
        versions={"privbench": __version__, **{name: version(name) for name in LIBRARIES}},
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _defense_note(deployed: Deployed) -> Facts:
    """Return the facts of a defense that states any, in a form that a record can hold."""
    return {"defense": jsonable(deployed.facts)} if deployed.facts else {}


def deployment_scores(
    plan: CellPlan, services: Services, deployed: Deployed, x: Tensor, named: Sequence[Metric]
) -> tuple[dict[str, Score], dict[str, Facts]]:
    """Return the numbers of a cell's deployment, and facts of those that have any, by metric.

    One that fails is left out with a warning.

    Args:
        plan: Of the cell.
        services: Of the cell.
        deployed: That was attacked.
        x: The targets ``(N, C, H, W)``, on the device.
        named: Metrics in addition to those of every cell.
    """
    own = [metric for metric in named if metric.interval is None]
    found, facts = {}, {}
    for metric in (*metrics.DEPLOYMENT_METRICS, *own):
        try:
            measured = _deployment_number(metric, deployed, plan, services, x)
        except Exception as error:  # a metric, or a network, of a user may raise anything
            LOG.warning("no %s: %s", metric.name, " ".join(str(error).split()))
            continue
        if measured.value is not None:
            found[metric.name] = Score(measured.value)
        if measured.facts:
            facts[metric.name] = measured.facts
    return found, facts


def _deployment_number(
    metric: Metric, deployed: Deployed, plan: CellPlan, services: Services, x: Tensor
) -> Measured:
    """Compute a deployment's number, or read it from the store where it is costly."""
    tested = metric.over == "test"

    def compute() -> Measured:
        if not tested:
            return checked(metric.compute(deployed.deployment, x))
        images = plan.data.test.images.to(services.device)  # converts them all
        return checked(metric.compute(deployed.deployment, images, plan.cell.transmissions))

    def make() -> Artifact:
        made = compute()
        return Artifact({}, {"value": made.value, "facts": made.facts})

    if not metric.costly:
        return compute()
    recipe = {
        "metric": metric.name,
        "code": identity(metric.compute.__module__),
        "victim": deployed.identity,
        "split": plan.split,
        "defense": plan.defense_recipe,
        "seed": plan.seeds.of("defense"),
        "shape": plan.data.shape,
        **harness(),
    }
    recipe["images"] = plan.data.test.fingerprint
    if tested:
        recipe["transmissions"] = plan.cell.transmissions
    else:
        recipe["targets"] = list(plan.indices)
    kept = services.store.keep("deployment_metrics", recipe, make).facts
    return Measured(kept["value"], kept.get("facts", {}))


def _setting_fields(plan: CellPlan, victim_sha256: str) -> dict[str, Any]:
    """Return the record's fields that say what was attacked, and by whom."""
    cell, names, access = plan.cell, plan.cell.choices, plan.cell.attack.access
    return {
        "schema": RECORD_SCHEMA,
        "key": plan.key,
        "config": cell.config,
        "sources": plan.sources,
        "overrides": cell.spec.overrides,
        "flags": list(cell.spec.flags),
        "pythonpath": python_path_of(cell.spec.targets),
        "dataset": names["dataset"],
        "victim": names["victim"],
        "victim_sha256": victim_sha256,
        "split": plan.split,
        "attack": names["attack"],
        "access": access.names,
        "adaptive": bool(access & ADAPTIVE),
        "defense": defense_name(names),
        "site": cell.defense.site,
        "strength": cell.defense.strength,
        "transmissions": cell.transmissions,
        "seed": cell.seed,
        "targets": len(plan.indices),
        "battery": cell.spec.battery,
    }


def defense_name(choices: Mapping[str, str]) -> str:
    """Return the name of a defense, with that of a channel that it wraps.

    >>> defense_name({"defense": "noise_aware", "defense@defense.channel": "dropout"})
    'noise_aware(dropout)'
    >>> defense_name({"defense": "nopeek", "defense@defense.channel": "none"})
    'nopeek'
    """
    channel = choices.get("defense@defense.channel", "none")
    return choices["defense"] if channel == "none" else f"{choices['defense']}({channel})"


def _score_fields(
    scores: scoring.Scores,
    blind: Mapping[str, scoring.Scores],
    reference: Reference,
    indices: list[int],
) -> dict[str, Any]:
    """Return the record's fields on the reconstructions and on the blind baselines."""
    baseline, best = baseline_scores(blind, list(scores.per_image))
    means = scores.means()
    return {
        "scores": with_intervals(scores, baseline["best"]),
        "chance": chance(reference, indices),
        "judge_accuracy": reference.evaluator_accuracy,
        "above": {"attack": scores.share_above(), **{n: s.share_above() for n, s in blind.items()}},
        "floor": baseline,
        "lift": {name: means[name] - value for name, value in baseline["best"].items()},
        "per_image": {"index": indices, "failed": scores.failed, **best},
        "failed": sum(scores.failed),
    }


def with_intervals(scores: scoring.Scores, baseline: Mapping[str, float]) -> dict[str, Score]:
    """Return the mean of each metric with its interval and its baseline, where there is one."""
    means = scores.means()
    return {
        name: Score(means[name], _interval(name, values), baseline.get(name), values)
        for name, values in scores.per_image.items()
    }


def _interval(name: str, values: list[float]) -> Interval | None:
    """Return the interval of a metric's mean, of the kind that the metric states."""
    if metrics.metric(name).interval == "wilson":
        return wilson(math.fsum(values) / len(values), len(values))
    return mean_interval(values)


def chance(reference: Reference, indices: list[int]) -> dict[str, float]:
    """Return the identification that guessing gives, among all images and within the class."""
    labels = reference.labels.cpu()
    sizes = labels.bincount()[labels[indices]]
    return {
        "identification": 1 / len(labels),
        "identification_class": float((1 / sizes).mean()),
    }


def baseline_scores(
    scores: Mapping[str, scoring.Scores], names: Sequence[str]
) -> tuple[dict[str, dict[str, float]], dict[str, list[float]]]:
    """Score each blind answer, and the best of those that use the predicted label alone.

    The best one is chosen for each score by its mean over the images.

    Args:
        scores: Of the blind answers, by name.
        names: Metrics that the reconstructions have; one that failed on a blind answer is left out.

    Returns:
        The means by answer and score, with the answer ``best``; and ``floor_psnr_db`` and
        ``floor_ssim``, the scores of the best answer for each image.
    """
    means = {answer: scored.means() for answer, scored in scores.items()}
    shared = [name for name in names if all(name in found for found in means.values())]
    baseline = {answer: {m: found[m] for m in shared} for answer, found in means.items()}
    leading = {m: _leading(baseline, m) for m in shared}
    baseline["best"] = {m: baseline[leading[m]][m] for m in shared}
    best = {f"floor_{m}": scores[leading[m]].per_image[m] for m in BY_IMAGE}
    return baseline, best


def _leading(baseline: Mapping[str, Mapping[str, float]], name: str) -> str:
    """Return the answer that leaks most by a metric, of those that use the label alone."""
    leakage = metrics.metric(name).leakage
    return max(LABEL_ONLY, key=lambda answer: leakage(baseline[answer][name]))
