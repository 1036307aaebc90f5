"""Deployments that several cells of a sweep share, which are trained before them."""

from collections.abc import Mapping, Sequence

from privbench.sweep.progress import PlannedCell


def shared_deployments(cells: Sequence[PlannedCell]) -> Mapping[str, tuple[PlannedCell, str]]:
    """Return, by the key of each deployment that two or more cells share, one of them and a name.

    The name is what the names of all of them have in common.
    """
    groups: dict[str, list[PlannedCell]] = {}
    for cell in cells:
        if cell.deployment:
            groups.setdefault(cell.deployment, []).append(cell)
    return {key: (group[0], _name(group)) for key, group in groups.items() if len(group) > 1}


def _name(group: Sequence[PlannedCell]) -> str:
    words = group[0].name.split()
    common = [word for word in words if all(word in cell.name.split() for cell in group)]
    return " ".join(common) or f"of {len(group)} cells"
