"""Cells from Hydra's configurations: below this module there is no Hydra but ``instantiate``."""

import copy
import itertools
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from privbench.experiment.spec import CellSpec
from privbench.runtime.options import without_later_options


class Composer:
    """Composes cells; those that differ in values alone are composed once and copied.

    Args:
        loader: Hydra's.
        master: The sweep's own configuration.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self.parser = OverridesParser.create(config_loader=loader)
        self.composed: dict[tuple[str, ...], bytes] = {}
        self.specs: dict[tuple[str, ...], _FirstOfKind] = {}
        self.groups: dict[str, bool] = {}
        self.lacking: dict[tuple[str, ...], set[str]] = {}

    def is_group(self, name: str) -> bool:
        """Return whether an option is a config group; Hydra takes 10 ms for each answer."""
        group = name.partition("@")[0]
        if group not in self.groups:
            self.groups[group] = bool(self.loader.get_group_options(group))
        return self.groups[group]

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """Return the configuration of a cell.

        Raises:
            HydraException: where it does not compose.
        """
        kind, values = self._kind(overrides)
        if kind not in self.composed:
            first = self._load(overrides)
            self.composed[kind] = pickle.dumps(first)
            return first
        composed: DictConfig = pickle.loads(self.composed[kind])
        for override in values:
            OmegaConf.update(composed, override.key_or_group, override.value(), merge=True)
        with read_write(composed.hydra):
            composed.hydra.overrides.task = list(overrides)
        return composed

    def spec(self, overrides: Sequence[str], outputs: str, folder: str, name: str) -> CellSpec:
        """Return the specification of a cell.

        Args:
            overrides: That make it.
            outputs: Directory of records, store and W&B's files.
            folder: Of its sweep.
            name: Overrides that distinguish it from the other cells of its sweep.

        Raises:
            HydraException: where it does not compose.
            ValueError: for a value that is missing or cannot be resolved, or an option of sweeps.
        """
        kind, given = self._kind(overrides)
        values = {override.key_or_group: override.value() for override in given}
        values.pop("output_dir", None)  # of the whole sweep, and absolute: wherever a worker runs
        if kind in self.specs and self.specs[kind].may_set(values):
            config = self.specs[kind].config_with(values)
            return replace(self.specs[kind].spec, config=config, overrides=[*overrides], name=name)
        composed = self(overrides)
        composed.output_dir = outputs
        references = [text for text in _texts(_without_hydra(composed)) if "${" in text]
        spec = CellSpec.of(composed, composed.hydra, folder, name)
        self.specs[kind] = _FirstOfKind(spec, references)
        return spec

    def _kind(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], list[Override]]:
        """Return what a cell shares with those that differ in values alone, and its values."""
        parsed = self.parser.parse_overrides(list(overrides))
        values = [override for override in parsed if self._is_plain_value(override)]
        kind = tuple(
            override.key_or_group if override in values else str(override.input_line)
            for override in parsed
        )
        return kind, values

    def _load(self, overrides: Sequence[str]) -> DictConfig:
        """Compose a cell anew.

        As Hydra's ``load_sweep_config``, which from 1.4 on refuses cells without the sweeper of the
        sweep's file; they run without a sweeper.
        """
        hydra = self.master.hydra
        given = [*hydra.overrides.hydra, *overrides]
        config = self.loader.load_configuration(hydra.job.config_name, given, RunMode.RUN)
        OmegaConf.copy_cache(from_config=self.master, to_config=config)  # one time for all cells
        return config

    def sweeper_of(self, file: str) -> dict[str, Any]:
        """Return the options of Hydra's sweeper that a file of ``sweeps/`` sets.

        Raises:
            HydraException: where there is no such file.
        """
        hydra = self.master.hydra
        given = [*hydra.overrides.hydra, f"sweeps={file}"]
        config = self.loader.load_configuration(hydra.job.config_name, given, RunMode.MULTIRUN)
        plain: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
        return dict(plain)

    def _is_plain_value(self, override: Override) -> bool:
        changes_keys = override.is_add() or override.is_force_add() or override.is_delete()
        return not changes_keys and not self.is_group(override.key_or_group)

    def without_foreign_options(self, cells: Iterable[Sequence[str]]) -> list[list[str]]:
        """Leave options out of cells that lack them, where other cells of the sweep have them.

        ``attack=rmle,blind attack.steps=5`` gives steps to ``rmle`` alone. An option that no cell
        has stays, so that composing the cell names it.

        Returns:
            The cells, none twice.
        """
        cells = [list(cell) for cell in cells]
        lacking = [self._unknown_options(cell) for cell in cells]
        known = {
            _option(override)
            for cell, unknown in zip(cells, lacking, strict=True)
            for override in cell
            if _option(override) not in unknown
        }
        kept = [
            tuple(o for o in cell if _option(o) not in unknown or _option(o) not in known)
            for cell, unknown in zip(cells, lacking, strict=True)
        ]
        return [list(cell) for cell in dict.fromkeys(kept)]

    def _unknown_options(self, cell: Sequence[str]) -> set[str]:
        """Return the options of a cell that its configuration does not have."""
        kind = tuple(o if self.is_group(_option(o).lstrip("+~")) else _option(o) for o in cell)
        if kind not in self.lacking:
            unknown: set[str] = set()
            while option := self._unknown_option([o for o in cell if _option(o) not in unknown]):
                unknown.add(option)
            self.lacking[kind] = unknown
        return self.lacking[kind]

    def _unknown_option(self, overrides: list[str]) -> str:
        """Return the first option that a configuration does not have; empty where it has all."""
        try:
            self(overrides)
        except HydraException as error:
            option = str(getattr(error.__cause__, "full_key", ""))
            return option if option in map(_option, overrides) else ""
        return ""


@dataclass(frozen=True)
class _FirstOfKind:
    """A composed cell, from which those that differ in values alone are made in no time.

    Attributes:
        spec: Its specification.
        references: Texts of its configuration that refer to other options.
    """

    spec: CellSpec
    references: list[str]

    def may_set(self, values: Mapping[str, Any]) -> bool:
        """Return whether setting options leaves the others as they are.

        Another option may refer to one of them; a mapping would be merged, a reference resolved.
        """
        if any("${." in text for text in self.references):
            return False
        return not any(
            isinstance(value, dict)
            or any("${" in text for text in _texts(value))
            or any(_mentions(text, name) for text in self.references)
            for name, value in values.items()
        )

    def config_with(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return its configuration with other values of options."""
        config: Any = copy.deepcopy(self.spec.config)
        for name, value in values.items():
            *path, last = name.split(".")
            node = config
            for part in path:
                node = node[part]
            node[last] = value
        changed: dict[str, Any] = without_later_options(config)
        return changed


def _mentions(text: str, name: str) -> bool:
    """Return whether a reference may be to an option or to what holds it, even within another.

    >>> _mentions("${several:${oc.select:transmissions,1}}", "transmissions")
    True
    >>> _mentions("${attack.lr}", "attack.lr"), _mentions("${attack.lr}", "attack.steps")
    (True, False)
    """
    holders = itertools.accumulate(name.split(".")[:-1], "{}.{}".format)
    words = [rf"{re.escape(name)}(?!\w)", *(rf"{re.escape(one)}(?![\w.])" for one in holders)]
    return any(re.search(rf"(?<![\w.]){word}", text) for word in words)


def _without_hydra(composed: DictConfig) -> Any:
    kept = OmegaConf.masked_copy(composed, [str(name) for name in composed if name != "hydra"])
    return OmegaConf.to_container(kept, resolve=False)


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping | list):
        for value in node.values() if isinstance(node, Mapping) else node:
            yield from _texts(value)


def _option(override: str) -> str:
    return override.partition("=")[0]
