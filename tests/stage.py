"""The parts of a cell by name, for tests of one part."""

from functools import cached_property

import torch
from torch import Tensor

from privbench.defenses.deployment import Deployment
from privbench.defenses.none import NoDefense
from privbench.evaluation.reference import Reference
from privbench.experiment import accuracy, adversary, baselines, evaluate
from privbench.experiment.config import CellConfig
from privbench.experiment.deploy import Deployed
from privbench.experiment.plan import plan, store_of
from privbench.experiment.services import Services
from privbench.experiment.victim import TrainedVictim, fit_victim
from privbench.tracking.base import NullRun
from privbench.victims.split_model import SplitModel


class Stage:
    """A cell's plan, services and victim; the victim is trained where it is first used."""

    def __init__(self, cell: CellConfig) -> None:
        threads = cell.device_config.configure()
        self.cell, self.plan = cell, plan(cell)
        device = cell.device_config.device
        self.services = Services(
            store_of(cell), device, cell.device_config, threads, self.plan.seeds, NullRun()
        )
        self.store, self.data, self.key = self.services.store, self.plan.data, self.plan.key
        self.victim_recipe = self.plan.victim_recipe

    @classmethod
    def of(cls, cell: CellConfig) -> "Stage":
        return cls(cell)

    @cached_property
    def x(self) -> Tensor:
        return self.data.test.images[self.plan.indices].to(self.services.device)

    @cached_property
    def victim(self) -> TrainedVictim:
        """An untrained one, until ``prepare_victim``."""
        shape, classes = self.data.shape, len(self.data.classes)
        model = self.cell.victim.build(shape, classes, self.cell.seed).eval()
        return TrainedVictim(model, "untrained", {}, 0.0, shape)

    @property
    def model(self) -> SplitModel:
        return self.victim.model

    def prepare_victim(self) -> None:
        self.victim = fit_victim(self.plan, self.services)

    def truth(self) -> Reference:
        return evaluate.fit_reference(self.plan, self.services, self.x)

    def deploy(self, defense) -> Deployment:
        return defense.build(self.victim.at(self.plan.split))

    def deployed(self, deployment: Deployment) -> Deployed:
        return Deployed(deployment, self.victim, {})

    def view(self, deployment, access, logger):
        return adversary.adversary_view(
            self.plan, self.services, self.deployed(deployment), access, logger
        )

    def send(self, deployment: Deployment) -> Tensor:
        streams = self.plan.seeds.streams("transmission", self.plan.indices)
        return deployment.transmit(self.x, streams, self.cell.transmissions)

    def usability(self, *, defended: bool, transmissions: int = 1) -> torch.Tensor:
        defense = self.cell.defense if defended else NoDefense()
        deployed = self.deployed(self.deploy(defense))
        return accuracy.per_image_accuracy(self.plan, self.services, deployed, transmissions)

    def blind(self, v: Tensor) -> dict[str, Tensor]:
        deployed = self.deployed(self.deploy(NoDefense()))
        return baselines.baseline_reconstructions(self.plan, self.services, deployed, v)

    @property
    def defense_seed(self) -> int:
        return self.plan.seeds.of("defense")
