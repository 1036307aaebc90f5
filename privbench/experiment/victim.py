"""The victim of a cell: trained or loaded, and deployed behind a defense."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from privbench.defenses.deployment import SplitVictim
from privbench.experiment.plan import CellPlan
from privbench.experiment.services import EpochLogger, Services
from privbench.store import recipes
from privbench.threat.view import Facts
from privbench.victims.split_model import SplitModel

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrainedVictim:
    """A classifier with trained weights, on the device.

    Attributes:
        model: In evaluation mode.
        sha256: Of its weight file in the store.
        code: Identities of the code that built and trained it.
        seconds: That its training took, here or in an earlier run.
        image_shape: ``(C, H, W)``.
    """

    model: SplitModel
    sha256: str
    code: Mapping[str, str]
    seconds: float
    image_shape: tuple[int, int, int]

    @property
    def identity(self) -> dict[str, Any]:
        """The victim as keys of derived artifacts name it."""
        return {"sha256": self.sha256, "code": self.code}

    def at(self, split: str) -> SplitVictim:
        """Cut the victim behind a layer."""
        return SplitVictim(*self.model.split(split), self.image_shape)


def fit_victim(plan: CellPlan, services: Services) -> TrainedVictim:
    """Train the victim or load it, and log the history of its training either way."""
    cell, data, names = plan.cell, plan.data, plan.cell.choices
    model = cell.victim.build(data.shape, len(data.classes), cell.seed).eval().to(services.device)

    unfinished = services.store.unfinished(recipes.VICTIMS, plan.victim_recipe)

    def train(report: EpochLogger) -> Facts:
        named = {name: names[name] for name in ("victim", "dataset")}
        if cell.victim.epochs == 0:  # its weights are given
            return {**named, "epochs": 0}
        LOG.info("training %s on %s, once: the store keeps it", names["victim"], names["dataset"])
        facts = cell.victim.train(
            model,
            data.train.pixels,
            data.train.labels,
            seed=cell.seed,
            device_config=cell.device_config,
            report=report,
            unfinished=unfinished,
        )
        return {**named, **facts}

    artifact = services.fit_and_track(recipes.VICTIMS, "victim", plan.victim_recipe, model, train)
    unfinished.unlink(missing_ok=True)
    services.freeze(model)
    code = {name: known for name, known in plan.sources.items() if name.startswith("victim")}
    return TrainedVictim(model, artifact.sha256, code, float(artifact.facts["seconds"]), data.shape)
