"""The specification of a cell: plain data that every process can read (no torch, no Hydra)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from privbench.runtime.options import without_later_options

_TYPED = ": type -m with commas in an option, or sweeps=NAME"
_OF_A_SWEEP = {
    "battery": " that has batteries: type sweeps=standard",
    "budget": _TYPED,
    "preview": _TYPED,
}
"""Options that a sweep has and no cell, with how to type such a sweep."""


@dataclass(frozen=True)
class CellSpec:
    """A cell as the command line or a sweep composed it.

    Attributes:
        config: The whole configuration as plain containers, interpolations resolved.
        choices: Chosen option of each config group.
        overrides: Overrides of the command line that make the cell.
        output_dir: Directory of the run, or of the sweep that the cell belongs to.
        name: Overrides that distinguish it from the other cells of its sweep.
        key: Of its record, as planned; empty before planning and in a single run.
        launch: Id of the sweep's launch; empty in a single run.
        battery: Name and version of the battery that it is part of; null outside of one.
        flags: Words of the command line that name folders of configuration.
    """

    config: Mapping[str, Any]
    choices: Mapping[str, str]
    overrides: list[str]
    output_dir: str
    name: str = ""
    key: str = ""
    launch: str = ""
    battery: Mapping[str, Any] | None = None
    flags: Sequence[str] = ()

    @property
    def in_sweep(self) -> bool:
        """Return true for a cell of a sweep, false for a single run."""
        return bool(self.launch)

    @property
    def targets(self) -> list[str]:
        """Classes that its configuration instantiates, by their dotted names."""
        return list(_targets(self.config))

    def to_json(self) -> str:
        """Return the specification in JSON.

        Raises:
            ValueError: for NaN or an infinity, which JSON does not have.
        """
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def of(cls, cfg: DictConfig, hydra: Any, output_dir: str, name: str = "") -> "CellSpec":
        """Return the specification of a composed configuration.

        Args:
            cfg: The configuration, with or without Hydra's own.
            hydra: Hydra's own.
            output_dir: Directory of the run or of the sweep.
            name: Overrides that distinguish the cell.

        Raises:
            ValueError: for a value that is missing or cannot be resolved, or an option of sweeps.
        """
        for option, needs in _OF_A_SWEEP.items():
            if typed := [word for word in hydra.overrides.task if word.startswith(f"{option}=")]:
                raise ValueError(f"{typed[0]} needs a sweep{needs}")
        with read_write(cfg), open_dict(cfg):
            cfg.pop("hydra", None)
            for option in _OF_A_SWEEP:  # a sweep's own, which is in no key
                cfg.pop(option, None)
        try:
            config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            raise ValueError(" ".join(str(error).split())) from error
        config = without_later_options(config)
        choices = {group: str(choice) for group, choice in hydra.runtime.choices.items()}
        return cls(config, choices, list(hydra.overrides.task), output_dir, name)

    @classmethod
    def from_json(cls, text: str) -> "CellSpec":
        """Return the specification that ``to_json`` wrote."""
        return cls(**json.loads(text))


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from _targets(value)
