"""Former place of ``privbench.defenses.deployment``."""

from typing import NoReturn


def __getattr__(name: str) -> NoReturn:
    """Say where it is now, which attacks and defenses outside the package may not know."""
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(f"privbench.deployment is now privbench.defenses.deployment: {name}")
