"""Python interface: networks and images in memory, attacked as the command line attacks a cell."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from privbench.attacks.base import Attack
from privbench.defenses.base import Defense
from privbench.experiment.adversary import attack_process, reconstruct_targets
from privbench.experiment.config import build as build_cell
from privbench.experiment.deploy import Deployed, fit_deployment
from privbench.experiment.interface.cell import Given, given_plan, with_values
from privbench.experiment.interface.images import Labelled
from privbench.experiment.interface.network import GivenNetwork
from privbench.experiment.interface.options import composed
from privbench.experiment.isolation import require_picklable
from privbench.experiment.plan import CellPlan, store_of
from privbench.experiment.services import AttackLogger, Clock, Services
from privbench.experiment.victim import fit_victim
from privbench.runtime.errors import as_user_errors
from privbench.store.artifacts import Store, announcement
from privbench.tracking.base import NullRun


@dataclass(frozen=True, eq=False)
class AttackedCell:
    """The cell behind a result.

    Attributes:
        plan: Of the cell.
        services: Of the cell.
        deployed: That was attacked.
        has_aux: Whether the adversary owns images.
    """

    plan: CellPlan
    services: Services
    deployed: Deployed
    has_aux: bool


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Reconstructions of given images, to look at and for ``evaluate``.

    Attributes:
        reconstructions: ``(N, C, H, W)`` in [0, 1]; NaN where they are not finite.
        features: Received by the adversary, ``(N, K, *feature_shape)`` of K transmissions.
        targets: The given images ``(N, C, H, W)`` in [0, 1].
        split: Name of the split point, the last node of the edge.
        access: The rights that the attack was granted.
        seconds: ``fit`` and ``reconstruct``.
        notes: The attack's own facts, such as ``converged`` and ``queries``.
        config: The composed configuration.
        cell: Of ``evaluate``.
    """

    reconstructions: Tensor
    features: Tensor
    targets: Tensor
    split: str
    access: list[str]
    seconds: Mapping[str, float]
    notes: Mapping[str, Any]
    config: Mapping[str, Any]
    cell: AttackedCell

    def __repr__(self) -> str:
        names = self.cell.plan.cell.choices
        rights = ", ".join(self.access).lower() or "none"
        return (
            f"<{names['attack']} (access: {rights}) on {len(self.targets)} images, "
            f"{names['victim']} cut at {self.cell.plan.cell.split}, defense {names['defense']}, "
            f"{sum(self.seconds.values()):.1f} s>"
        )


def attack(
    model: nn.Module,
    split: str | int,
    images: Tensor,
    attack: str | Attack = "rmle",
    defense: str | Defense = "none",
    *,
    aux: str | Labelled | None = None,
    train: Labelled | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    build: Callable[[], nn.Module] | None = None,
    transmissions: int = 1,
    seed: int = 0,
    isolate: bool = False,
    device: str = "auto",
    output_dir: str | PathLike[str] = "outputs",
    **knobs: Any,
) -> Result:
    """Attack a network of yours behind a defense, as the command line attacks a victim.

    The adversary gets a view of what its rights allow, and never a target or its label. Networks
    that it trains are kept in the store and loaded by the next call, also for other targets. All
    random draws follow from ``seed`` and the model's weights.

    Args:
        model: Trained; maps images ``(N, C, H, W)`` to logits. Any that torch.fx traces.
        split: Split point: the dotted path of a module, ``early``, ``middle`` or ``late``.
        images: The targets ``(N, C, H, W)``, uint8 or in [0, 1].
        attack: Name as on the command line, or a dataclass with ``access`` and ``fit``.
        defense: Name as on the command line, or a defense.
        aux: Images of the adversary, ``(images, labels)``, or the name of a data set, whose aux
            images they are. Without labels the model's answers stand for them.
        train: The victim's training images, for a defense that trains; those of the data set that
            ``aux`` names by default.
        mean: Mean of each channel, subtracted in front of the model; null for none.
        std: Standard deviation of each channel.
        build: Builds the model with random weights, for an attack that knows its layers.
        transmissions: How often each image is sent, with fresh draws of the defense.
        seed: Of every random draw.
        isolate: Run the attack in a process that holds its view and nothing else.
        device: ``auto``, ``cpu`` or ``gpu``.
        output_dir: Folder of the store.
        **knobs: Options of attack and defense by name: ``steps=100``, ``sigma=0.3``. Any option of
            the configuration with ``__`` for its dots: ``attack__steps=100`` where both have one,
            ``dataset__aux_images=500``, ``attack__inverter="rmle"``.

    Raises:
        UserError: in one line, before anything is trained.
    """
    named = {"attack": attack, "defense": defense, "device": device, "dataset": aux}
    choices = {group: name for group, name in named.items() if isinstance(name, str)}
    parts = {n: part for n, part in (("attack", attack), ("defense", defense)) if n not in choices}
    values = {"split": str(split), "transmissions": transmissions, "seed": seed, "isolate": isolate}
    with numeric_modes_restored():
        with as_user_errors():
            network = GivenNetwork.of(model, build, mean, std)
            spec = composed(choices, values, knobs, fspath(output_dir))
            cell = with_values(build_cell(spec), parts)
            if cell.isolate:
                require_picklable(cell.attack, cell.defense)
            threads = cell.device_config.configure()
            planned = given_plan(cell, Given(network, images, aux, train))
        return _attacked(planned, threads, has_aux=aux is not None)


def _attacked(plan: CellPlan, threads: int, *, has_aux: bool) -> Result:
    cell, device, clock = plan.cell, plan.cell.device_config.device, Clock()
    _announce_once(store_of(cell).root)
    services = Services(store_of(cell), device, cell.device_config, threads, plan.seeds, NullRun())
    deployed = fit_deployment(plan, services, fit_victim(plan, services))
    logger = AttackLogger(plan.data.test.at(plan.indices).to(device), NullRun())
    with attack_process(cell) as process:
        v, x_hat = reconstruct_targets(plan, services, deployed, process, logger, clock)
    return Result(
        reconstructions=x_hat.cpu(),
        features=v.cpu(),
        targets=logger.truth.cpu(),
        split=plan.split,
        access=cell.attack.access.names,
        seconds=clock.seconds,
        notes=logger.facts,
        config=cell.config,
        cell=AttackedCell(plan, services, deployed, has_aux),
    )


@cache
def _announce_once(root: Path) -> None:
    """Say on stderr, once in a process, which store is used where a user may not expect it.

    A notebook shows no messages of the log, where the command line has this line.
    """
    if text := announcement(Store(root)):
        sys.stderr.write(f"privbench: {text}\n")


@contextmanager
def numeric_modes_restored() -> Iterator[None]:
    """Restore the caller's number of threads and numeric modes, which a cell sets."""
    flags = [
        (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.cuda.matmul, "allow_tf32"),
        (torch.backends.cudnn, "deterministic"),
    ]
    threads, before = torch.get_num_threads(), [getattr(place, name) for place, name in flags]
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for (place, name), value in zip(flags, before, strict=True):
            setattr(place, name, value)
