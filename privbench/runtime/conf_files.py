"""Reading options of config groups without Hydra: a yaml file and what its defaults list names."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from privbench.runtime.paths import ROOT


def load_option(group: str, name: str, conf: Path = ROOT / "conf") -> dict[str, Any]:
    """Return an option as plain containers, with its defaults list followed.

    Args:
        group: Folder of ``conf``, such as ``attack``.
        name: File in that folder, without its ending.
        conf: Folder of the config groups.

    Returns:
        The composed node. Only the forms that the groups use are understood: ``NAME`` of the same
        group, ``_self_`` (always last) and ``/GROUP@PLACE: NAME``.
    """
    node: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(conf / group / f"{name}.yaml"))  # type: ignore[assignment]
    composed: dict[str, Any] = {}
    for entry in node.pop("defaults", []):
        if isinstance(entry, dict):
            ((place, option),) = entry.items()
            if not place.startswith("override"):  # that changes another group
                other, _, key = place.removeprefix("/").partition("@")
                composed[key] = load_option(other, option, conf)
        elif entry != "_self_":
            composed |= load_option(group, entry, conf)
    return composed | node
