"""Where Hydra looks for sweepers: it takes none from elsewhere."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from privbench.sweep.sweeper import Sweeper


class Grids(Sweeper):
    """``hydra/sweeper=grids``."""


@dataclass
class GridsConf:
    """What a sweep file may say."""

    _target_: str = "hydra_plugins.privbench.Grids"
    params: dict[str, Any] | None = None
    grids: list[dict[str, Any]] | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="grids", node=GridsConf, provider="privbench"
)
