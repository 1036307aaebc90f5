"""Former place of ``privbench.defenses.deployment``."""

from typing import NoReturn


def __getattr__(name: str) -> NoReturn:
    """Say where a class is now, to attacks and defenses outside the package."""
    if name in ("Channel", "Deployment"):
        raise ImportError(f"privbench.deployment is now privbench.defenses.deployment: {name}")
    raise AttributeError(f"module 'privbench.deployment' has no attribute {name!r}")
