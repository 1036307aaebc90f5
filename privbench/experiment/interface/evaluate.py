"""Scores of a result of the Python interface, as a table."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from privbench.attacks.blind import ANSWERS
from privbench.evaluation import metrics, scoring, utility
from privbench.evaluation.metrics.recognised import SEMANTIC_ACCURACY
from privbench.evaluation.reference import Reference
from privbench.evaluation.statistics import wilson
from privbench.experiment.baselines import baseline_reconstructions, score_baselines
from privbench.experiment.deploy import Deployed, undefended
from privbench.experiment.evaluate import (
    baseline_scores,
    chance,
    deployment_scores,
    with_intervals,
)
from privbench.experiment.interface.attack import AttackedCell, Result, numeric_modes_restored
from privbench.experiment.interface.images import checked_labels, checked_pixels
from privbench.runtime.errors import as_user_errors
from privbench.runtime.pixels import in_unit_range
from privbench.store.record import Score

WITHOUT_AUX = ("black", "grey")
"""Blind answers that need no image; they score a reconstruction that is not finite."""
COLUMNS = ["score", "low", "high", "baseline", "beaten", "chance"]


def evaluate(
    result: Result,
    *,
    labels: Any = None,
    gallery: Any = None,
    metrics: Sequence[str] = (),
    images: bool = False,
) -> pd.DataFrame:
    """Score reconstructions against their targets, and the deployment that was attacked.

    Args:
        result: Of ``attack``.
        labels: True labels of the targets ``(N,)``, for ``accuracy``.
        gallery: Images ``(M, C, H, W)`` among which, besides the targets, a target is to be
            identified.
        metrics: In addition to those of every cell: ``lpips``, or your own by its import path.
        images: Return a row for each target, of its scores alone.

    Returns:
        A row for each metric: ``score``, the ends ``low`` and ``high`` of its 95 % interval over
        images, the blind ``baseline`` where there are aux images, ``beaten`` where the whole
        interval lies beyond it, and the ``chance`` to identify.

    Raises:
        UserError: in one line, for labels, images or metrics that do not fit.
    """
    with numeric_modes_restored():
        cell = result.cell
        with as_user_errors():
            reference = _reference(result, labels, gallery)
            named = _named(cell, metrics)
        cell.plan.cell.device_config.configure()
        wanted = _wanted(named)
        scores, best = _scored(result, reference, wanted)
        if images:
            return pd.DataFrame(scores.per_image).rename_axis("image")
        rows = with_intervals(scores, best)
        if labels is not None:
            rows |= _accuracies(cell, reference)
        rows |= deployment_scores(
            cell.plan, cell.services, cell.deployed, reference.x, [*cell.plan.cell.metrics, *named]
        )[0]
        lower = {one.name for one in wanted if not one.higher_leaks}
        return _table(rows, lower, chance(reference, list(reference.target_indices)))


def _table(
    rows: Mapping[str, Score], lower: Set[str], chances: Mapping[str, float]
) -> pd.DataFrame:
    """Return a row a metric; of those in ``lower`` a low value means that more is recovered."""
    lines = {
        name: [
            score.mean,
            *(score.ci95 or (None, None)),
            score.baseline,
            _beats_baseline(score, lower=name in lower),
            chances.get(name),
        ]
        for name, score in rows.items()
    }
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=COLUMNS)
    kinds = {name: "boolean" if name == "beaten" else "float" for name in COLUMNS}
    return frame.astype(kinds).rename_axis("metric").dropna(axis="columns", how="all")


def _beats_baseline(score: Score, *, lower: bool) -> bool | None:
    """Return whether the interval lies beyond the blind baseline; null without either."""
    if score.ci95 is None or score.baseline is None:
        return None
    low, high = score.ci95
    return high < score.baseline if lower else low > score.baseline


def _named(cell: AttackedCell, named: Sequence[str]) -> list[metrics.Metric]:
    """Return the metrics of these names.

    Raises:
        ValueError: for one that is unknown, or that the images do not have.
    """
    found = metrics.resolve(named)
    for one in found:
        if reason := one.requires(cell.plan.data.shape):
            raise ValueError(f"metrics=[{one.name}] {reason}")
    return found


def _wanted(named: Sequence[metrics.Metric]) -> list[metrics.Metric]:
    """Return the metrics of reconstructions that need no classifier, and those that are named."""
    built_in = [one for one in metrics.RECONSTRUCTION_METRICS if one is not SEMANTIC_ACCURACY]
    return [*built_in, *(one for one in named if one.interval is not None)]


def _reference(result: Result, labels: Any, gallery: Any) -> Reference:
    """Return targets and candidates on the device; labels default to the model's answers."""
    plan, device = result.cell.plan, result.cell.services.device
    count, classes = len(result.targets), len(plan.data.classes)
    known = plan.data.test.labels
    if labels is not None:
        known = checked_labels("labels", labels, count, classes)
    candidates = result.targets
    if gallery is not None:
        more = in_unit_range(checked_pixels("gallery", gallery))
        candidates = torch.cat([candidates, more])
        known = torch.cat([known, torch.full((len(more),), classes)])
    return Reference(
        result.targets.to(device),
        range(count),
        candidates.to(device),
        known.to(device),
        evaluator=lambda x: x,
    )


def _scored(
    result: Result, reference: Reference, wanted: Sequence[metrics.Metric]
) -> tuple[scoring.Scores, Mapping[str, float]]:
    """Return the scores, and the mean of the best blind answer by metric."""
    cell, device = result.cell, result.cell.services.device
    answers = ANSWERS if cell.has_aux else WITHOUT_AUX
    v, x_hat = result.features.to(device), result.reconstructions.to(device)
    blind = baseline_reconstructions(cell.plan, cell.services, cell.deployed, v, answers)
    constants = [blind[name] for name in WITHOUT_AUX]
    scores = scoring.score(x_hat, reference, constants, wanted)
    if not cell.has_aux:
        return scores, {}
    scored = score_baselines(blind, reference, wanted)
    return scores, baseline_scores(scored, list(scores.per_image))[0]["best"]


def _accuracies(cell: AttackedCell, reference: Reference) -> dict[str, Score]:
    """Return the accuracy on the targets, with the defense and without."""
    bare = undefended(cell.plan, cell.deployed.victim)
    return {
        "accuracy": _accuracy(cell, cell.deployed, reference),
        "accuracy_undefended": _accuracy(cell, bare, reference),
    }


def _accuracy(cell: AttackedCell, deployed: Deployed, reference: Reference) -> Score:
    plan, labels = cell.plan, reference.labels[: len(reference.x)].cpu()
    random = deployed.deployment.channel.strength > 0
    shares: Tensor = utility.deployment_accuracy(
        deployed.deployment,
        reference.x.cpu(),
        labels,
        seed=plan.seeds.of("defense"),
        device=cell.services.device,
        groups=plan.cell.accuracy_draws if random else 1,
        transmissions=plan.cell.transmissions if random else 1,
    )
    mean = float(shares.mean())
    return Score(mean, wilson(mean, len(shares)))
