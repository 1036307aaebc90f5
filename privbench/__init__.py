"""A benchmark of model-inversion attacks on split inference and of defenses against them.

``privbench.attack``, ``privbench.evaluate`` and ``privbench.load_records`` are the Python
interface; they are imported at their first use, so that ``--help`` answers at once.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"
__path__.append(str(Path(__file__).parent / "runtime" / "renamed_commands"))

_INTERFACE = {
    "attack": "privbench.experiment.interface.attack",
    "evaluate": "privbench.experiment.interface.evaluate",
    "load_records": "privbench.store.record_frame",
}
"""Modules of the Python interface, by function."""


def __getattr__(name: str) -> Any:
    """Import a function of the Python interface."""
    if name not in _INTERFACE:
        raise AttributeError(f"module 'privbench' has no attribute {name!r}")
    return getattr(import_module(_INTERFACE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_INTERFACE])
