"""Paths of the program's files, and the resolvers that its yaml files use."""

import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from omegaconf import OmegaConf

from privbench.runtime.options import DIGITS, as_typed

PACKAGE = Path(__file__).parent.parent
# a wheel carries conf/ and sweeps/ inside the package, a checkout has them next to it
ROOT = PACKAGE if (PACKAGE / "conf" / "config.yaml").exists() else PACKAGE.parent
ARGV: list[str] = []
"""The command line as it was typed, for messages and logs."""


def register_hydra_plugins() -> None:
    """Let Hydra find the sweeper, and register the resolvers of ``conf/config.yaml``."""
    plugins = str(PACKAGE / "sweep" / "plugins")
    if plugins not in sys.path:  # Hydra looks for plugins nowhere else
        sys.path.append(plugins)
    OmegaConf.register_new_resolver("privbench_root", lambda: str(ROOT), replace=True)
    OmegaConf.register_new_resolver("privbench_folder", _require_directory_name, replace=True)
    OmegaConf.register_new_resolver("privbench_several", lambda count: count != 1, replace=True)
    OmegaConf.register_new_resolver("privbench_no_digits", lambda n: n not in DIGITS, replace=True)


def _require_directory_name(name: object) -> str:
    """Refuse an output directory before Hydra makes it."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"output_dir must be a directory name, got {as_typed(name)}")
    return name


def python_path_of(targets: Iterable[str]) -> str:
    """Return PYTHONPATH where classes were found through it, else an empty string.

    Args:
        targets: Dotted names of classes.
    """
    value = os.environ.get("PYTHONPATH", "")
    entries = {Path(entry).resolve() for entry in value.split(os.pathsep) if entry} - {ROOT}
    modules = {target.partition(".")[0] for target in targets} - {"privbench"}
    return value if any(_lies_in(module, entries) for module in modules) else ""


def _lies_in(module: str, folders: Iterable[Path]) -> bool:
    found = importlib.util.find_spec(module)
    origin = Path(found.origin).resolve() if found and found.origin else None
    return origin is not None and any(origin.is_relative_to(folder) for folder in folders)
