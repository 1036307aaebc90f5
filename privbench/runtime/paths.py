"""Where the program's own files lie, and what its yaml files may ask of it."""

import sys
from pathlib import Path

from omegaconf import OmegaConf

PACKAGE = Path(__file__).parent.parent
# a wheel carries conf/ and sweeps/ inside the package, a checkout has them beside it
ROOT = PACKAGE if (PACKAGE / "conf" / "config.yaml").exists() else PACKAGE.parent
ARGV: list[str] = []
"""The command line as it was typed, for what is said of it."""


def register_hydra_plugins() -> None:
    """What Hydra asks of the program: its sweeper, where it lies, and whether a folder is one."""
    if (
        plugins := str(PACKAGE / "sweep" / "plugins")
    ) not in sys.path:  # Hydra looks for nothing elsewhere
        sys.path.append(plugins)
    OmegaConf.register_new_resolver("privbench_root", lambda: str(ROOT), replace=True)
    OmegaConf.register_new_resolver("privbench_folder", _folder, replace=True)


def _folder(name: object) -> str:
    """Refused before Hydra makes it."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"output_dir={name} is no folder: type output_dir=FOLDER")
    return name
