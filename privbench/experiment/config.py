"""From yaml to objects: the one place that instantiates."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from privbench.attacks.base import Attack
from privbench.data.image_data import Source
from privbench.defenses.base import Defense
from privbench.runtime import checks, validation
from privbench.runtime.device import DeviceConfig
from privbench.tracking.base import Tracker
from privbench.victims.training import VictimConfig


@dataclass(frozen=True)
class CellConfig:
    """One point of the benchmark, every value within its range; nothing is read or computed yet.

    Attributes:
        source: Reads the data.
        victim: Builds and trains the classifier.
        split: Layer or alias.
        defense: Perturbs.
        attack: Reconstructs.
        device_config: Where.
        tracker: Watches.
        targets: How many images are attacked.
        target_indices: Which ones, instead.
        include: Which ones are among them.
        transmissions: How often each is sent.
        accuracy_draws: Draws of the defense over the test set.
        seed: Of every draw.
        outputs: Folder of records, store and W&B's files.
        names: Chosen option of each config group.
        overrides: What was typed.
        folder: Hydra's, of this run or sweep.
        swept: Whether it is one cell of several.
        name: What tells it from the others of its sweep.
        force: Whether it is run although its record is there.
        isolate: Whether the attack runs in a process that holds its view and nothing else.
        config: Everything, as plain containers.
    """

    source: Source
    victim: VictimConfig
    split: str
    defense: Defense
    attack: Attack
    device_config: DeviceConfig
    tracker: Tracker
    targets: int
    target_indices: list[int] | None
    include: list[int]
    transmissions: int
    accuracy_draws: int
    seed: int
    outputs: Path
    names: Mapping[str, str]
    overrides: list[str]
    folder: Path
    swept: bool
    name: str
    force: bool
    isolate: bool
    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        checks.whole("targets", self.targets, 1)
        checks.whole("transmissions", self.transmissions, 1)
        checks.whole("accuracy_draws", self.accuracy_draws, 1)
        checks.whole("seed", self.seed, 0, 2**32 - 1)
        checks.flag("force", self.force)
        checks.flag("isolate", self.isolate)


GROUPS = ("dataset", "victim", "defense", "attack", "device", "tracker")
OPTIONS = {
    *GROUPS, "split", "targets", "target_indices", "include", "transmissions", "accuracy_draws",
    "seed", "output_dir", "workers", "force", "isolate", "sweep",
}  # fmt: skip


def run_folder() -> Path:
    """The folder that Hydra made for this run, or for the sweep that it belongs to."""
    return Path(HydraConfig.get().runtime.output_dir)


def build(cfg: DictConfig) -> CellConfig:
    """The cell that a composed configuration describes.

    Raises:
        ValueError: for a value that is out of range, in one line.
    """
    try:
        config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise ValueError(" ".join(str(error).split())) from error
    if unknown := set(config) - OPTIONS:
        raise ValueError(f"{', '.join(sorted(unknown))} is no option: see --help")
    for name in ("fail_fast", "report"):
        checks.flag(f"sweep.{name}", config["sweep"][name])
    hydra = HydraConfig.get()
    for name in ("target_indices", "include"):
        if config[name] is not None and not isinstance(config[name], list):
            raise ValueError(f"{name}={config[name]} is no list: type {name}=[3,2,1]")
    cell = CellConfig(
        source=_make(config, "dataset"),
        victim=_make(config, "victim"),
        defense=_make(config, "defense"),
        attack=_make(config, "attack"),
        device_config=_make(config, "device"),
        tracker=_make(config, "tracker"),
        split=str(config["split"]),
        targets=config["targets"],
        target_indices=config["target_indices"],
        include=config["include"] or [],
        transmissions=config["transmissions"],
        accuracy_draws=config["accuracy_draws"],
        seed=config["seed"],
        outputs=Path(config["output_dir"]),
        names={group: str(name) for group, name in hydra.runtime.choices.items()},
        overrides=list(hydra.overrides.task),
        folder=run_folder(),
        swept=hydra.mode == RunMode.MULTIRUN,
        name=str(hydra.job.name),
        force=config["force"],
        isolate=config["isolate"],
        config=config,
    )
    try:
        json.dumps(config, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise ValueError(f"a record cannot hold this configuration: {error}") from error
    return cell


def _make(config: Mapping[str, Any], group: str) -> Any:
    node = config.get(group)
    if not isinstance(node, dict) or "_target_" not in node:
        raise ValueError(f"{group}={node} is no option of conf/{group}: type {group}=NAME")
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError):
            # a part within a part names its fields as if it stood alone
            within = re.search(r"full_key: (\S+)", str(error))
            place = f"{group}.{within.group(1)}." if within else f"{group}."
            line = validation.describe(cause, group).replace(f"{group}.", place, 1)
            raise ValueError(line) from error  # noqa: TRY004 - as all bad input
        reason = f"{type(cause).__name__}: {cause}" if cause else str(error)
        raise ValueError(f"{group} cannot be built: {' '.join(reason.split())}") from error
