"""The deployment of a cell: the victim behind its defense, trained or loaded where that trains."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from privbench.defenses.deployment import Deployment
from privbench.defenses.none import NoDefense
from privbench.experiment.plan import CellPlan
from privbench.experiment.services import EpochLogger, Services
from privbench.experiment.victim import TrainedVictim
from privbench.runtime.device import DeviceConfig
from privbench.store import recipes
from privbench.threat.view import Facts

LOG = logging.getLogger(__name__)
DEPLOYMENTS = "deployments"
"""Directory of the store."""


@dataclass(frozen=True, eq=False)
class Deployed:
    """A deployment with what identifies it in keys.

    Attributes:
        deployment: Edge, channel and cloud.
        victim: The classifier that it was made of.
        fitted: SHA-256 of each part that the defense trained or measured, by name; empty where it
            did neither.
        facts: Of the defense, for the record: its own, and its losses at the end of a training.
    """

    deployment: Deployment
    victim: TrainedVictim
    fitted: Mapping[str, str]
    facts: Facts = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """The weights behind it, as keys of derived artifacts name them."""
        return {**self.victim.identity, **({"fitted": self.fitted} if self.fitted else {})}

    def without_channel(self) -> "Deployed":
        """Return the same edge and cloud, both as the defense trained them, without the channel."""
        bare = Deployment(self.deployment.edge, NoDefense(), self.deployment.cloud)
        return Deployed(bare, self.victim, self.fitted)


@dataclass(frozen=True, eq=False)
class DefenseServices:
    """Services of a defense's ``fit``, whose artifacts are keyed on all that they depend on.

    Attributes:
        plan: Of the cell.
        services: Of the cell.
        victim: The classifier.
        fitted: SHA-256 of each part that was trained or loaded, by name.
        facts: Losses of the last epoch of a training.
    """

    plan: CellPlan
    services: Services
    victim: TrainedVictim
    fitted: dict[str, str] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Device of the victim."""
        return self.services.device

    @property
    def device_config(self) -> DeviceConfig:
        """Device and precision of trainings."""
        return self.services.device_config

    @property
    def seed(self) -> int:
        """Seed of the defender's trainings."""
        return self.plan.seeds.of("deployment")

    def fit_or_load(
        self, part: str, module: nn.Module, train: Callable[..., Mapping[str, Any]]
    ) -> None:
        """Train a part of the deployment once, with its history logged either way; load it else."""
        names = self.plan.cell.choices

        def make(report: EpochLogger) -> Facts:
            LOG.info(
                "fitting %s at strength %g to %s, once: the store keeps it",
                names["defense"],
                self.plan.cell.defense.strength,
                names["victim"],
            )
            return dict(train(report))

        recipe = {
            "victim": self.victim.identity,
            "split": self.plan.split,
            "defense": self.plan.defense_recipe,
            "images": self.plan.data.train.fingerprint,
            "seed": self.seed,
            "part": part,
            **recipes.threads(self.plan.cell.config),
        }
        artifact = self.services.fit_and_track(DEPLOYMENTS, "deployment", recipe, module, make)
        self.fitted[part] = artifact.sha256
        for losses in artifact.facts["history"][-1:]:
            self.facts.update(losses)


def fit_deployment(plan: CellPlan, services: Services, victim: TrainedVictim) -> Deployed:
    """Deploy the victim behind the cell's defense, which trains what it trains, or loads it."""
    given = DefenseServices(plan, services, victim)
    defense = plan.cell.defense
    deployment = defense.fit(victim.at(plan.split), plan.data.train, given)
    own = defense.facts(deployment, plan.cell.transmissions) if defense.strength else {}
    return Deployed(deployment, victim, given.fitted, {**given.facts, **own})


def undefended(plan: CellPlan, victim: TrainedVictim) -> Deployed:
    """Deploy the victim as it is."""
    return Deployed(victim.at(plan.split).deploy(NoDefense()), victim, {})
