"""Hydra's entry point to the sweeper: it searches for plugins in this namespace only."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from privbench.sweep.sweeper import Sweeper


class Grids(Sweeper):
    """``hydra/sweeper=grids``."""


@dataclass
class GridsConf:
    """Options of a sweep file."""

    _target_: str = "hydra_plugins.privbench.Grids"
    params: dict[str, Any] | None = None
    grids: list[dict[str, Any]] | None = None
    batteries: dict[str, Any] | None = None
    files: list[str] | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="grids", node=GridsConf, provider="privbench"
)
