"""The plan of a cell whose victim and images a caller holds in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, cast

from torch import Tensor

from privbench.data.image_data import ImageData, Subset, subset_of
from privbench.experiment.config import CellConfig
from privbench.experiment.interface.images import (
    GivenImages,
    Labelled,
    checked_pixels,
    class_names,
    given_data,
    has_labels,
    labelled,
)
from privbench.experiment.interface.network import GivenNetwork
from privbench.experiment.plan import CellPlan, plan, store_of
from privbench.runtime.code_identity import settings_of
from privbench.threat import Access
from privbench.victims.split_model import SplitModel

PARTS = ("attack", "defense")


@dataclass(frozen=True, eq=False)
class Given:
    """What a caller holds in memory.

    Attributes:
        network: The victim.
        images: The targets ``(N, C, H, W)``.
        aux: Images of the adversary, or the name of the cell's data set, which has them.
        train: The victim's training images.
    """

    network: GivenNetwork
    images: Tensor
    aux: str | Labelled | None
    train: Labelled | None


def with_values(cell: CellConfig, values: Mapping[str, Any]) -> CellConfig:
    """Return a cell with other values, in its configuration too.

    Args:
        cell: As composed.
        values: Options of the cell; an attack or a defense is an object.

    Raises:
        ValueError: for an object that no key can describe.
    """
    plain = {n: _described(n, value) if n in PARTS else value for n, value in values.items()}
    names = {n: type(value).__name__ for n, value in values.items() if n in PARTS}
    return _respecified(replace(cell, **values), plain, names)


def _respecified(
    cell: CellConfig, config: Mapping[str, Any], names: Mapping[str, str]
) -> CellConfig:
    """Return a cell whose specification has other values and names of choices."""
    spec = cell.spec
    merged = replace(spec, config={**spec.config, **config}, choices={**spec.choices, **names})
    return replace(cell, spec=merged)


def _described(group: str, part: Any) -> dict[str, Any]:
    """Describe an attack or a defense as its yaml would."""
    if not is_dataclass(part) or isinstance(part, type):
        kind = type(part).__name__
        raise ValueError(f"{group} must be a name of conf/{group} or a dataclass, got {kind}")
    return {"_target_": f"{type(part).__module__}.{type(part).__qualname__}", **settings_of(part)}


def given_plan(cell: CellConfig, given: Given) -> CellPlan:
    """Put network and images in the places of victim and data set, and plan the cell.

    Raises:
        ValueError: in one line, naming the argument.
    """
    device, network = cell.device_config.device, given.network
    pixels = checked_pixels("images", given.images)
    logits = network.logits(pixels, device)
    classes, shape = logits.shape[1], cast("tuple[int, int, int]", tuple(pixels.shape[1:]))
    _require_granted(cell, given)
    loaded = _loaded(cell, given, classes)

    def subset(name: str, images: Labelled | None, default: Subset | None) -> Subset | None:
        if images is None:
            return default
        return labelled(name, images, network, classes, device, like=pixels)

    owned = None if isinstance(given.aux, str) else given.aux
    node = network.described(shape, classes)
    data = given_data(
        subset_of(class_names(classes), pixels, logits.argmax(1)),
        subset("aux", owned, loaded.aux if loaded else None),
        subset("train", given.train, loaded.train if loaded else None),
        classes,
        seed_text=node["network"],
    )
    return plan(_in_place(cell, given, data, node))


def _loaded(cell: CellConfig, given: Given, classes: int) -> ImageData | None:
    """Return the data set that ``aux`` names, if it names one."""
    if not isinstance(given.aux, str):
        return None
    loaded = cell.dataset.load(store_of(cell), show_progress=cell.device_config.show_progress)
    if len(loaded.classes) != classes:
        raise ValueError(
            f"aux={given.aux} has {len(loaded.classes)} classes, the model returns {classes} logits"
        )
    return loaded


def _in_place(
    cell: CellConfig, given: Given, data: ImageData, node: Mapping[str, Any]
) -> CellConfig:
    """Return the cell with the given network and images."""
    network = given.network
    source = GivenImages(given.aux if isinstance(given.aux, str) else "given images", data)
    indices = list(range(len(data.test)))
    changed = replace(cell, victim=cast("Any", network), dataset=source, target_indices=indices)
    config = {
        "victim": node,
        "dataset": source.described(),
        "targets": len(indices),
        "target_indices": indices,
    }
    return _respecified(changed, config, {"victim": network.name, "dataset": source.name})


def _require_granted(cell: CellConfig, given: Given) -> None:
    """Refuse an attack that needs more than the caller gives.

    Raises:
        ValueError: naming the argument.
    """
    access, name = cell.attack.access, cell.choices["attack"]
    if Access.AUX_IMAGES in access and given.aux is None:
        raise ValueError(
            f"attack={name} learns from aux images: pass aux=images, aux=(images, labels) or the "
            "name of a data set"
        )
    if Access.AUX_LABELS in access and not (isinstance(given.aux, str) or has_labels(given.aux)):
        raise ValueError(f"attack={name} needs labels of the aux images: pass aux=(images, labels)")
    anew = given.network.anew or isinstance(given.network.network, SplitModel)
    if Access.EDGE_STRUCTURE in access and not anew:
        raise ValueError(
            f"attack={name} builds the edge anew: pass build=FUNCTION, which returns the model "
            "with random weights"
        )
