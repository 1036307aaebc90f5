"""The plan of a cell: its data, targets, split and key, known before any model has weights."""

import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch

from privbench.data.image_data import ImageData, Source
from privbench.defenses.base import Perturbation
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.evaluation.metrics.structural import SSIM
from privbench.experiment.config import CellConfig
from privbench.experiment.services import Seeds
from privbench.runtime.code_identity import identified
from privbench.runtime.device import DeviceConfig
from privbench.runtime.errors import RefusedAttackError, UnsuitableAttackError
from privbench.runtime.hashing import content_hash
from privbench.store import recipes
from privbench.store.artifacts import Store
from privbench.threat import Access, AdversaryView, grant
from privbench.threat.view import AttackLogger, FitOrLoad, NullLogger
from privbench.victims.split_model import SplitModel

LOG = logging.getLogger(__name__)
MOST_TRAFFIC = 5000
"""Largest number of others' inputs whose features an adversary with TRAFFIC has."""


@dataclass(frozen=True, eq=False)
class CellPlan:
    """A cell whose parts suit each other.

    Attributes:
        cell: Its configuration.
        data: In memory.
        sources: Identities of the code, and fingerprints of the data, that the numbers come from.
        indices: Of the targets within the test images.
        split: Name of the layer behind which the victim is cut.
    """

    cell: CellConfig
    data: ImageData
    sources: Mapping[str, str]
    indices: list[int]
    split: str

    @property
    def seeds(self) -> Seeds:
        """Random streams of the cell."""
        return Seeds(self.cell.seed, self.data.seed_text or self.data.test.fingerprint)

    @cached_property
    def key(self) -> str:
        """Hash of everything that the cell's numbers depend on, and of nothing else."""
        return recipes.cell_key(
            self.cell.config,
            self.sources,
            split=self.split,
            targets=self.indices,
            strength=self.cell.defense.strength,
        )

    @property
    def victim_recipe(self) -> dict[str, Any]:
        """Everything that the victim's training depends on."""
        return recipes.victim_recipe(self.cell.config, self.sources)

    @property
    def defense_recipe(self) -> Any:
        """Everything that the defense's effect depends on; null at strength 0."""
        return recipes.defense_recipe(self.cell.config, self.sources, self.cell.defense.strength)

    @property
    def deployment_key(self) -> str:
        """Hash of what the cell's deployment is trained from; empty where nothing is trained."""
        if self.defense_recipe is None or isinstance(self.cell.defense, Perturbation):
            return ""
        parts = {"victim": self.victim_recipe, "split": self.split, "defense": self.defense_recipe}
        return content_hash({**parts, "seed": self.seeds.of("deployment")})


def store_of(cell: CellConfig) -> Store:
    """Return the store in a cell's output directory."""
    return Store(cell.outputs.resolve() / "store")


def plan(cell: CellConfig) -> CellPlan:
    """Read the data and refuse parts that do not suit each other; no model gets weights.

    Raises:
        ValueError: naming the value and the choices.
        RefusedAttackError: one of them, where the attack refuses the cell.
        OSError: where the output directory cannot be written.
    """
    planned = unchecked_plan(cell)
    require_suitable_metrics(planned)
    require_suitable_attack(planned)
    return planned


def unchecked_plan(cell: CellConfig) -> CellPlan:
    """Return the plan of a cell whose attack and metrics may not suit it.

    Raises:
        ValueError: naming the value and the choices.
        OSError: where the output directory cannot be written.
    """
    _require_writable(cell)
    cell.tracker.check()
    data = _load(cell.dataset, store_of(cell), cell.device_config.show_progress)
    parts = {"train": data.train, "aux": data.aux, "test": data.test}
    fingerprints = {name: part.fingerprint for name, part in parts.items()}
    sources = recipes.sources_of(cell.config, fingerprints)
    indices = data.select_targets(cell.targets, cell.target_indices, cell.seed, cell.include)
    split = _outline(cell, data, sources).resolve(cell.split)
    return CellPlan(cell, data, sources, indices, split)


def require_suitable_metrics(plan: CellPlan) -> None:
    """Refuse metrics that the cell names, and SSIM, where its images do not have them.

    Raises:
        ValueError: naming the metric and the reason.
    """
    for metric in (SSIM, *plan.cell.metrics):
        if reason := metric.requires(plan.data.shape):
            raise ValueError(f"metrics=[{metric.name}] {reason}")


def require_device(config: DeviceConfig) -> None:
    """Refuse a device that this machine lacks, without any setting of this process.

    Raises:
        ValueError: naming the choices.
    """
    if config.accelerator == "gpu" and not torch.cuda.is_available():
        raise ValueError("device=gpu: no CUDA device is available: choose from auto, cpu")


def view_of(
    plan: CellPlan,
    deployment: Deployment,
    access: Access,
    logger: AttackLogger,
    device: torch.device,
    fit_or_load: FitOrLoad | None = None,
    most_traffic: int = MOST_TRAFFIC,
) -> AdversaryView:
    """Return an adversary's view of a deployment, by default without a store for its artifacts."""
    aux, cell = plan.data.aux, plan.cell
    # only an adversary that uses the images has them, as floats of four times the memory
    pixels = aux.pixels if Access.AUX_IMAGES in access else aux.pixels[:1]
    if Access.TRAFFIC in access:
        others = plan.data.test.pixels[traffic_indices(plan)[:most_traffic]].to(device)
    else:
        others = None
    kept: dict[str, Any] = {} if fit_or_load is None else {"fit_or_load": fit_or_load}
    return grant(
        deployment,
        pixels.to(device),
        aux.labels.to(device),
        access,
        split=plan.split,
        seed=plan.seeds.seed,
        secret=plan.seeds.secret,
        device_config=cell.device_config,
        logger=logger,
        transmissions=cell.transmissions,
        traffic=others,
        **kept,
    )


def traffic_indices(plan: CellPlan) -> list[int]:
    """Return the test images that others send, in random order: none of them is a target."""
    others = sorted(set(range(len(plan.data.test))) - set(plan.indices))
    order = torch.Generator().manual_seed(plan.seeds.of("traffic"))
    return [others[at] for at in torch.randperm(len(others), generator=order).tolist()]


@lru_cache(maxsize=4)
def _load(source: Source, store: Store, show_progress: bool) -> ImageData:
    """Read a data set; a few stay in memory from one cell of a sweep to the next."""
    return source.load(store, show_progress=show_progress)


_OUTLINES: dict[str, SplitModel] = {}
"""Layers of victims without weights, by ``_outline_key``."""
_REFUSALS: dict[str, RefusedAttackError | None] = {}
"""Errors of attacks that refuse cells, by everything that the check depends on."""


def _outline_key(cell: CellConfig, data: ImageData, sources: Mapping[str, str]) -> str:
    victim = identified(cell.config["victim"], sources, "victim")
    return content_hash({"victim": victim, "shape": data.shape, "classes": data.classes})


def _outline(cell: CellConfig, data: ImageData, sources: Mapping[str, str]) -> SplitModel:
    """Return a victim's layers without weights, made once for all cells that share them.

    Raises:
        ValueError: for images that are too small.
    """
    key = _outline_key(cell, data, sources)
    if key not in _OUTLINES:
        outline = None
        try:
            with torch.device("meta"):
                outline = cell.victim.outline(data.shape, len(data.classes)).eval()
        except Exception as error:  # a constructor that computes with its weights needs them
            LOG.debug("built with weights: %s", error)
        _OUTLINES[key] = _untrained(cell, data) if outline is None else outline
    return _OUTLINES[key]


def _untrained(cell: CellConfig, data: ImageData) -> SplitModel:
    return cell.victim.build(data.shape, len(data.classes), cell.seed).eval()


def require_suitable_attack(plan: CellPlan) -> None:
    """Let the attack refuse a cell, once for all cells that are alike to it.

    Raises:
        RefusedAttackError: naming the value and the choices.
        UnsuitableAttackError: one of them, where the defense does not admit the attack.
    """
    cell = plan.cell
    check = getattr(cell.attack, "check", None)
    if check is None:
        return
    key = content_hash(
        {
            "outline": _outline_key(cell, plan.data, plan.sources),
            "split": plan.split,
            "aux": plan.data.aux.fingerprint,
            "defense": {k: v for k, v in plan.sources.items() if k.startswith("defense")},
            "site": cell.defense.site,
            "strength": cell.defense.strength,
            "attack": identified(cell.config["attack"], plan.sources, "attack"),
            "transmissions": cell.transmissions,
            "others": len(plan.data.test) - len(plan.indices) > 1,
        }
    )
    if key not in _REFUSALS:
        _REFUSALS[key] = _refusal(plan, check)
    if refusal := _REFUSALS[key]:
        raise type(refusal)(str(refusal))


def _refusal(plan: CellPlan, check: Callable[[AdversaryView], None]) -> RefusedAttackError | None:
    """Return the error of an attack that refuses a cell; null where it does not."""

    def checked(model: SplitModel, device: torch.device) -> None:
        victim = SplitVictim(*model.split(plan.split), plan.data.shape)
        deployment = plan.cell.defense.build(victim)
        access = plan.cell.attack.access
        check(view_of(plan, deployment, access, NullLogger(), device, most_traffic=2))

    outline, meta = _outline(plan.cell, plan.data, plan.sources), torch.device("meta")
    if all(weight.is_meta for weight in outline.parameters()):
        try:
            with meta:
                checked(outline, meta)
        except Exception as error:  # it may need values: only real tensors decide then
            LOG.debug("checked again with weights: %s", error)
        else:
            return None
    try:
        checked(_untrained(plan.cell, plan.data), torch.device("cpu"))
    except UnsuitableAttackError as error:
        return UnsuitableAttackError(str(error))  # without a traceback, which holds the model
    except ValueError as error:
        return RefusedAttackError(str(error))
    return None


def _require_writable(cell: CellConfig) -> None:
    """Refuse an output directory before hours are spent on results that it cannot take."""
    try:
        folder = (cell.outputs / "store" / "records").resolve()
        # what is refused for another reason leaves no folder behind
        there = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"privbench")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ValueError(
            f"output_dir={cell.outputs} cannot be written ({reason}): type output_dir=FOLDER"
        ) from error
