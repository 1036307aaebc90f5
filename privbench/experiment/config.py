"""Objects from a specification: the only module that instantiates."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from pydantic import SkipValidation, ValidationError
from pydantic.dataclasses import dataclass

from privbench.attacks.base import Attack
from privbench.data.image_data import Source
from privbench.defenses.base import Defense
from privbench.evaluation import metrics
from privbench.experiment.spec import CellSpec
from privbench.runtime import validation
from privbench.runtime.device import DeviceConfig
from privbench.runtime.options import CELL_OPTIONS, KNOWN_OPTIONS, as_typed
from privbench.runtime.validation import VALIDATED, NonNegativeInt, PositiveInt, Seed
from privbench.tracking.base import Tracker
from privbench.victims.training import VictimConfig

T = TypeVar("T")
LISTS = {"target_indices": "[3,2,1]", "include": "[3,2,1]", "metrics": "[lpips]"}
"""Options that are lists, each with an example."""


@dataclass(frozen=True, config=VALIDATED)
class SweepConfig:
    """Options of a sweep; a cell checks them, so that a sweep refuses them like its cells' own.

    Attributes:
        fail_fast: Stop at the first cell that fails.
        report: Write the report at the end.
    """

    fail_fast: bool
    report: bool


@dataclass(frozen=True, config=VALIDATED)
class CellConfig:
    """One cell of the benchmark, every value within its range; nothing is read or computed yet.

    Attributes:
        spec: The specification that it was built from.
        dataset: Reads the data.
        victim: Builds and trains the classifier.
        split: Layer or alias.
        defense: Perturbs what is transmitted.
        attack: Reconstructs.
        device_config: Device and threads.
        tracker: Experiment tracking.
        targets: Number of attacked images.
        target_indices: Their indices within the test images, instead of a number.
        include: Indices that are among the targets.
        transmissions: How often each target is sent.
        accuracy_draws: Draws of the defense over the test set.
        seed: Of every random draw.
        outputs: Directory of records, store and W&B's files.
        force: Run the cell although its record is there.
        isolate: Run the attack in a process that holds its view and nothing else.
        metrics: Measured in addition to those of every cell.
    """

    spec: SkipValidation[CellSpec]
    dataset: SkipValidation[Source]
    victim: SkipValidation[VictimConfig]
    split: str
    defense: SkipValidation[Defense]
    attack: SkipValidation[Attack]
    device_config: SkipValidation[DeviceConfig]
    tracker: SkipValidation[Tracker]
    targets: PositiveInt
    target_indices: list[NonNegativeInt] | None
    include: list[NonNegativeInt]
    transmissions: PositiveInt
    accuracy_draws: PositiveInt
    seed: Seed
    outputs: Path
    force: bool
    isolate: bool
    metrics: SkipValidation[list[metrics.Metric]]

    @property
    def config(self) -> Mapping[str, Any]:
        """The whole configuration as plain containers."""
        return self.spec.config

    @property
    def choices(self) -> Mapping[str, str]:
        """Chosen option of each config group."""
        return self.spec.choices


MakePart = Callable[[Mapping[str, Any], str], Any]
"""Returns the object that a configuration's group describes."""


def build(spec: CellSpec, make: MakePart | None = None) -> CellConfig:
    """Return the cell of a specification.

    Args:
        spec: Its specification.
        make: ``make_part``, or one that remembers the parts that it made.

    Raises:
        ValueError: in one line, for a value that is out of range or an unknown option.
    """
    config, make = spec.config, make or make_part
    _require_known(config)
    _validated(SweepConfig, config["sweep"], "sweep")
    values = {
        "spec": spec,
        "dataset": make(config, "dataset"),
        "victim": make(config, "victim"),
        "defense": make(config, "defense"),
        "attack": make(config, "attack"),
        "device_config": make(config, "device"),
        "tracker": make(config, "tracker"),
        "split": str(config["split"]),
        "targets": config["targets"],
        "target_indices": config["target_indices"],
        "include": config["include"] or [],
        "transmissions": config["transmissions"],
        "accuracy_draws": config["accuracy_draws"],
        "seed": config["seed"],
        "outputs": Path(config["output_dir"]),
        "force": config["force"],
        "isolate": config["isolate"],
        "metrics": metrics.resolve(config.get("metrics") or []),
    }
    cell = _validated(CellConfig, values)
    try:
        json.dumps(config, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise ValueError(f"a record cannot hold this configuration: {error}") from error
    return cell


def _require_known(config: Mapping[str, Any]) -> None:
    if unknown := set(config) - KNOWN_OPTIONS:
        raise ValueError(f"unknown option {', '.join(sorted(unknown))}: see --help")
    if absent := [name for name in CELL_OPTIONS if name not in config]:
        raise ValueError(
            f"{absent[0]} is missing: leave out ~{absent[0]}, and type a value instead"
        )
    if not isinstance(config["sweep"], Mapping):
        raise ValueError(  # noqa: TRY004 - as all bad input
            f"sweep={as_typed(config['sweep'])} is not an option: choose "
            "sweep.fail_fast, sweep.report, or sweeps=NAME for a file of sweeps/"
        )
    for name, example in LISTS.items():
        if config.get(name) is not None and not isinstance(config[name], list):
            got = as_typed(config[name])
            raise ValueError(f"{name} must be a list such as {name}={example}, got {got}")


def _validated(kind: type[T], values: Mapping[str, Any], group: str = "") -> T:
    try:
        return kind(**values)
    except ValidationError as error:
        raise ValueError(validation.describe(error, group)) from error


class RememberedParts:
    """Makes each part once: cells that are planned share those that they describe alike."""

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {}

    def __call__(self, config: Mapping[str, Any], group: str) -> Any:
        """Return the part that a configuration's group describes.

        Raises:
            ValueError: as ``make_part``.
        """
        described = repr((group, config.get(group)))
        if described not in self.parts:
            self.parts[described] = make_part(config, group)
        return self.parts[described]


def make_part(config: Mapping[str, Any], group: str) -> Any:
    """Return the object that a group's options describe.

    Raises:
        ValueError: in one line, for a value that is out of range or an unknown option.
    """
    node = config.get(group)
    if not isinstance(node, dict) or "_target_" not in node:
        raise ValueError(f"{group}={node} is not an option of conf/{group}: type {group}=NAME")
    try:
        return instantiate(node, _convert_="all")
    except ValidationError as error:  # Hydra 1.4 lets it through
        raise ValueError(validation.describe(error, group)) from error
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError):
            # a nested part names its fields without the path to it
            within = re.search(r"full_key: (\S+)", str(error))
            place = f"{group}.{within.group(1)}." if within else f"{group}."
            line = validation.describe(cause, group).replace(f"{group}.", place, 1)
            raise ValueError(line) from error  # noqa: TRY004 - as all bad input
        reason = f"{type(cause).__name__}: {cause}" if cause else str(error)
        raise ValueError(f"{group} cannot be built: {' '.join(reason.split())}") from error
