"""The adversary of a cell: its view, the artifacts it trains, and its reconstructions."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from privbench.attacks.base import Attack
from privbench.attacks.blind import FROM_IMAGES
from privbench.attacks.components.amortised import ALL_STRENGTHS
from privbench.attacks.components.denoiser import FROM_AUX_IMAGES
from privbench.experiment.config import CellConfig
from privbench.experiment.deploy import Deployed
from privbench.experiment.isolation import Isolated
from privbench.experiment.plan import CellPlan, view_of
from privbench.experiment.services import AttackLogger, Clock, EpochLogger, Services
from privbench.runtime.errors import UserError
from privbench.runtime.hashing import content_hash
from privbench.runtime.random import isolated_rng
from privbench.store import recipes
from privbench.threat import Access, AdversaryView
from privbench.threat import view as threat
from privbench.threat.access import ADAPTIVE
from privbench.threat.view import Facts

LOG = logging.getLogger(__name__)
SHARES = ("converged", "never_moved")
CONVERGENCE = (*SHARES, "longer_run")
"""Facts on the images of a batch, not on the attack."""
ADVERSARIES = "adversaries"
"""Directory of the store."""
NOTED = "noted"
"""The attack's own facts, among those of an artifact."""


def attack_process(cell: CellConfig) -> AbstractContextManager[Attack]:
    """Return the attack, in a process of its own where the cell asks for that."""
    return Isolated(cell.attack) if cell.isolate else nullcontext(cell.attack)


def adversary_view(
    plan: CellPlan,
    services: Services,
    deployed: Deployed,
    access: Access,
    logger: threat.AttackLogger,
    trainings: dict[str, Facts] | None = None,
) -> AdversaryView:
    """Return the view of a deployment under given rights, its artifacts kept in the store.

    Args:
        plan: Of the cell.
        services: Of the cell.
        deployed: That is attacked.
        access: Rights of the attack.
        logger: Of the attack.
        trainings: Gets steps and seconds of everything that is trained or loaded, by its recipe.
    """

    def fit_or_load(recipe: Facts, module: nn.Module, train: Callable[[], Facts]) -> Facts:
        whole = {**_recipe(plan, deployed, recipe), **recipes.harness()}
        if "baseline" in recipe["recipe"]:
            return services.fit_or_load("baselines", whole, module, train).facts
        facts, training = _fit_adversary(services, logger, whole, module, train)
        if trainings is not None:
            trainings.setdefault(content_hash(whole), training)
        return facts

    deployment = deployed.deployment
    return view_of(plan, deployment, access, logger, services.device, fit_or_load)


def _fit_adversary(
    services: Services,
    logger: threat.AttackLogger,
    recipe: Facts,
    module: nn.Module,
    train: Callable[[], Facts],
) -> tuple[Facts, Facts]:
    """Train an adversary's network or load it, its history logged either way.

    Returns:
        Its facts, and what the training took: ``steps`` and ``seconds``, null where an earlier
        version did not keep them, and whether it was ``stored``.
    """
    trained = []

    def reporting(report: EpochLogger) -> Facts:
        trained.append(True)
        shown = logger.training(report) if isinstance(logger, AttackLogger) else nullcontext()
        with shown:
            return {NOTED: train()}

    kept = services.fit_and_track(ADVERSARIES, "adversary", recipe, module, reporting).facts
    noted: Facts = kept.get(NOTED, kept)  # earlier versions kept no history
    taken = {"steps": noted.get("steps"), "seconds": kept.get("seconds"), "stored": not trained}
    return noted, taken


def _recipe(plan: CellPlan, deployed: Deployed, recipe: Facts) -> dict[str, Any]:
    """Return everything that an adversary's artifact depends on."""
    aux = plan.data.aux.fingerprint
    if recipe["recipe"] == FROM_IMAGES:  # the same for every victim, split and seed
        return {"aux": aux, "recipe": FROM_IMAGES}
    own = {"aux": aux, "seed": plan.seeds.of("adversary"), **recipes.threads(plan.cell.config)}
    if recipe["recipe"].get("of") == FROM_AUX_IMAGES:  # the same for every victim and split
        return {**own, **recipe}
    if recipe["recipe"].get("of") == ALL_STRENGTHS:  # it names edge and defense itself
        return {"victim": deployed.victim.identity, "split": plan.split, **own, **recipe}
    adaptive = set(ADAPTIVE.names) & set(recipe["access"])
    return {
        "victim": deployed.identity,
        "split": plan.split,
        # an adversary that sees neither the defense nor its answers learns the same under each
        "defense": plan.defense_recipe if adaptive else None,
        **own,
        **recipe,
    }


def reconstruct_targets(
    plan: CellPlan,
    services: Services,
    deployed: Deployed,
    attack: Attack,
    logger: AttackLogger,
    clock: Clock,
) -> tuple[Tensor, Tensor]:
    """Fit an attack to its view of a deployment, send the targets, and reconstruct them.

    Args:
        plan: Of the cell.
        services: Of the cell.
        deployed: That is attacked.
        attack: Gets a view and the received features, and nothing else.
        logger: Holds the targets, and the attack's facts.
        clock: Gets the seconds of ``fit`` and ``reconstruct``, and of trainings that the store had.

    Returns:
        Received features ``(N, K, *feature_shape)``, and reconstructions ``(N, C, H, W)`` in
        [0, 1], NaN where they are not finite.
    """
    cell, x = plan.cell, logger.truth
    trainings: dict[str, Facts] = {}
    view = adversary_view(plan, services, deployed, attack.access, logger, trainings)
    with clock.timing("fit"), isolated_rng(plan.seeds.of("fit")):
        reconstruct = attack.fit(view)
    if trainings:
        taken = list(trainings.values())
        # the same facts for a record whose networks were trained by another cell
        logger.note(trainings=[{n: one[n] for n in ("steps", "seconds")} for one in taken])
        clock.seconds["stored"] = sum(one["seconds"] or 0.0 for one in taken if one["stored"])
    streams = plan.seeds.streams("transmission", plan.indices)
    v = deployed.deployment.transmit(x, streams, cell.transmissions)
    if not cell.spec.in_sweep:  # a sweep has a line a cell
        LOG.info("%s reconstructs %d images", cell.choices["attack"], len(v))
    with clock.timing("reconstruct"):
        seed = plan.seeds.of("reconstruct")
        return v, checked_images(reconstruct_in_batches(reconstruct, v, logger, seed), x)


def reconstruct_in_batches(
    reconstruct: Callable[[Tensor], Tensor], v: Tensor, logger: AttackLogger, seed: int
) -> Tensor:
    """Reconstruct all targets, in smaller and smaller batches where memory does not suffice.

    An image's reconstruction does not depend on the rest of its batch, so the numbers are the same.

    Args:
        reconstruct: The fitted attack.
        v: Received features ``(N, K, *feature_shape)``.
        logger: Holds the attack's facts; those of batches are merged.
        seed: Of torch's global generator at the start of each batch.
    """
    size, before = len(v), dict(logger.facts)
    while True:
        parts: list[Tensor] = []
        facts: list[tuple[int, Facts]] = []
        try:
            for part in v.split(size):
                _restore(logger, before)
                with isolated_rng(seed):
                    parts.append(reconstruct(part))
                facts.append((len(part), dict(logger.facts)))
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise
            size = -(-size // 2)
            line = str(error).partition(". ")[0]
            LOG.warning("out of memory (%s): again, %d images at a time", line, size)
        else:
            if len(parts) == 1:
                return parts[0]
            logger.facts.update(_merged(facts), batch=size)
            return torch.cat(parts)
        # only here is the failed attempt's memory free: its frames went with the error
        torch.cuda.empty_cache()


def _restore(logger: AttackLogger, before: Facts) -> None:
    """Forget the convergence of another batch, which this one need not note anew."""
    for name in CONVERGENCE:
        logger.facts.pop(name, None)
        if name in before:
            logger.facts[name] = before[name]


def _merged(facts: list[tuple[int, Facts]]) -> dict[str, Any]:
    """Return the convergence of all images from that of each batch.

    Args:
        facts: Number of images and facts of each batch.
    """
    merged: dict[str, Any] = {}
    for name in SHARES:
        if all(isinstance(part.get(name), int | float) for _, part in facts):
            weighted = sum(count * part[name] for count, part in facts)
            merged[name] = weighted / sum(count for count, _ in facts)
    longer = [part["longer_run"] for _, part in facts if isinstance(part.get("longer_run"), dict)]
    if longer:
        totals = {name: sum(run[name] for run in longer) for name in ("images", "confirmed")}
        merged["longer_run"] = {**longer[0], **totals}
    return merged


def checked_images(x_hat: Any, x: Tensor) -> Tensor:
    """Return reconstructions clamped to [0, 1], as an attack of a user may return anything.

    Args:
        x_hat: Returned by the attack.
        x: The targets ``(N, C, H, W)``.

    Raises:
        TypeError: unless there is an image for each target.
        UserError: where no image is finite.
    """
    if not isinstance(x_hat, Tensor) or x_hat.shape != x.shape:
        got = f"shape {tuple(x_hat.shape)}" if isinstance(x_hat, Tensor) else type(x_hat).__name__
        raise TypeError(f"the attack returned {got}, expected {tuple(x.shape)}")
    x_hat = x_hat.detach().to(x)
    finite = x_hat.isfinite()
    if not finite.flatten(1).all(1).any():
        raise UserError(f"the attack returned NaN or infinity in each of its {len(x)} images")
    # clamped, an infinity would pass for a white pixel
    return torch.where(finite, x_hat.clamp(0, 1), torch.nan)
