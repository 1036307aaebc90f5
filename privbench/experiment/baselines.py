"""The blind baselines of a cell: what is answered without the features, and how that scores."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from torch import Tensor

from privbench.attacks.blind import ANSWERS, CONSTANT, Blind
from privbench.evaluation import scoring
from privbench.evaluation.metrics.base import Metric
from privbench.evaluation.reference import Reference
from privbench.experiment.adversary import adversary_view
from privbench.experiment.deploy import Deployed
from privbench.experiment.plan import CellPlan
from privbench.experiment.services import Services
from privbench.threat.view import NullLogger

_SCORES: OrderedDict[tuple[str, str, tuple[Metric, ...]], scoring.Scores] = OrderedDict()
"""Scores of blind reconstructions by image, targets and metrics; cells of a sweep share them."""
REMEMBERED = 64
"""Number of scores that a process keeps."""


def baseline_reconstructions(
    plan: CellPlan,
    services: Services,
    deployed: Deployed,
    v: Tensor,
    answers: Sequence[Any] = ANSWERS,
) -> dict[str, Tensor]:
    """Return the blind answers to received features, ``(N, C, H, W)`` by name."""
    bare = deployed.without_channel()
    images: dict[str, Tensor] = {}
    for blind in map(Blind, answers):
        view = adversary_view(plan, services, bare, blind.access, NullLogger())
        images[blind.answer] = blind.fit(view)(v)
    return images


def constant_images(baselines: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the blind answers that are the same for every target."""
    return [baselines[answer] for answer in CONSTANT]


def score_baselines(
    baselines: Mapping[str, Tensor],
    reference: Reference,
    metrics: Sequence[Metric],
) -> dict[str, scoring.Scores]:
    """Score blind answers; those that an earlier cell of this process scored are remembered.

    Args:
        baselines: Blind answers ``(N, C, H, W)`` by name, all of them finite.
        reference: Without a fingerprint nothing is remembered.
        metrics: Of reconstructions.
    """
    if not reference.fingerprint:
        return {n: scoring.score(x, reference, (), metrics) for n, x in baselines.items()}
    return {n: _remembered(x, reference, tuple(metrics)) for n, x in baselines.items()}


def _remembered(x_hat: Tensor, reference: Reference, metrics: tuple[Metric, ...]) -> scoring.Scores:
    image = sha256(x_hat.cpu().contiguous().numpy().tobytes()).hexdigest()
    key = (image, reference.fingerprint, metrics)
    found = _SCORES.pop(key, None)
    _SCORES[key] = scoring.score(x_hat, reference, (), metrics) if found is None else found
    if len(_SCORES) > REMEMBERED:
        _SCORES.popitem(last=False)
    return _SCORES[key]
