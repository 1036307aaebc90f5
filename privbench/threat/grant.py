"""Granting: the view of a deployment that declared rights allow."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from privbench.defenses.deployment import Deployment, fast_batch_size
from privbench.runtime.device import DeviceConfig
from privbench.runtime.hashing import derive_seed
from privbench.runtime.pixels import in_unit_range
from privbench.runtime.random import RandomStreams, secret_seed
from privbench.threat.access import RIGHTS, Access
from privbench.threat.view import (
    AdversaryView,
    AttackLogger,
    Facts,
    FitOrLoad,
    QueryCounter,
    WriteOnlyLogger,
    frozen,
)


def train_always(recipe: Facts, module: nn.Module, train: Callable[[], Facts]) -> Facts:
    """Train a network each time: the ``FitOrLoad`` of a view without a store."""
    return train()


def grant(
    deployment: Deployment,
    images: Tensor,
    labels: Tensor,
    access: Access,
    *,
    split: str,
    seed: int,
    secret: str,
    device_config: DeviceConfig,
    logger: AttackLogger,
    transmissions: int = 1,
    traffic: Tensor | None = None,
    fit_or_load: FitOrLoad = train_always,
) -> AdversaryView:
    """Return the view of a deployment that ``access`` allows.

    Args:
        deployment: The attacked system.
        images: Auxiliary images ``(M, C, H, W)``, 8-bit or in [0, 1], on the deployment's device;
            the view gets a copy in [0, 1].
        labels: Labels of the auxiliary images ``(M,)``.
        access: The attack's declared rights.
        split: Name of the layer behind which the network is cut.
        seed: The cell's seed.
        secret: Text that the harness holds and no view does, mixed into every seed.
        device_config: Device on which the adversary trains its networks.
        logger: Receives the attack's progress.
        transmissions: How often each target will be sent, K.
        traffic: Images ``(T, C, H, W)``, 8-bit or in [0, 1], that others send, none of them a
            target; null for none.
        fit_or_load: Trains a network, or loads it where it was trained before.

    Returns:
        A view that holds what is granted and nothing else.
    """
    with torch.no_grad():  # of what is transmitted, whose shape may not be the edge's
        features = deployment.send(in_unit_range(images[:1]), RandomStreams(0, "shape", [0]))
    # from neither the cell's seed nor its own an adversary can derive the defense's draws
    own_seed, defense_seed = (secret_seed(seed, secret, user) for user in ("adversary", "defense"))
    counter, write_only = QueryCounter(), WriteOnlyLogger(logger)
    makers: dict[str, Callable[[], Any]] = {
        "edge": partial(frozen, deployment.edge),
        "fresh_edge": lambda: FreshEdge.of(deployment, own_seed),
        "query": lambda: _queries(deployment, defense_seed, write_only, counter),
        "clean_query": lambda: _clean_queries(
            frozen(deployment.undefended_edge), write_only, counter
        ),
        "images": lambda: _own(images),
        "labels": labels.clone,
        "defense": lambda: copy.deepcopy(deployment.channel),
        "traffic": lambda: _traffic(
            deployment, defense_seed, images[:0] if traffic is None else traffic, features
        ),
        "retrained": lambda: deployment.edge is not deployment.undefended_edge,
    }
    granted = {name: make() for name, make in makers.items() if RIGHTS[name] in access}
    return AdversaryView(
        access,
        own_seed,
        fit_or_load,
        counter,
        cloud=frozen(deployment.cloud),
        image_shape=tuple(images.shape[1:]),
        feature_shape=tuple(features.shape[1:]),
        split=split,
        transmissions=transmissions,
        device_config=device_config,
        device=images.device,
        logger=write_only,
        **granted,
    )


def _own(images: Tensor) -> Tensor:
    """Return images in [0, 1] that an attack may overwrite; 8-bit ones are converted anyway."""
    converted = in_unit_range(images)
    return images.clone() if converted is images else converted


@dataclass(frozen=True)
class FreshEdge:
    """Builder of copies of the edge's layers that hold nothing of its weights, in any process.

    Attributes:
        rebuild: Builds the edge by the network's constructor from a seed.
        seed: The adversary's seed.
        is_extended: Whether the defense has added layers to the victim's.
    """

    rebuild: Callable[[int], nn.Sequential]
    seed: int
    is_extended: bool = False

    @classmethod
    def of(cls, deployment: Deployment, seed: int) -> "FreshEdge":
        """Return the builder of the deployed edge, else of the victim's that it was trained from.

        Raises:
            ValueError: for an edge without a constructor.
        """
        edges = (deployment.edge, deployment.undefended_edge)
        rebuild = next((edge.rebuild for edge in edges if hasattr(edge, "rebuild")), None)
        if rebuild is None:
            raise ValueError("the edge's layers cannot be built anew: cut a SplitModel by split()")
        own = getattr(deployment.undefended_edge, "rebuild", rebuild)
        is_extended = type(rebuild) is not type(own)  # another builder adds the layers
        return cls(cast("Callable[[int], nn.Sequential]", rebuild), seed, is_extended)

    def __call__(self) -> nn.Sequential:
        """Return the layers, newly initialised, the same every time."""
        return self.rebuild(derive_seed(self.seed, "fresh edge"))


def _queries(
    deployment: Deployment, seed: int, logger: WriteOnlyLogger, counter: QueryCounter
) -> Callable[[Tensor], Tensor]:
    """Return the defended edge as a black box that counts its queries."""

    def query(x: Tensor) -> Tensor:
        """Images ``(N, C, H, W)`` to features ``(N, *feature_shape)``, each with a fresh draw."""
        first = counter.count(len(x), logger)
        features = [
            deployment.transmit(part, RandomStreams(seed, "queries", range(at, at + len(part))))[
                :, 0
            ]
            for at, part in _batches(x, first)
        ]
        return torch.cat(features)

    return query


def _clean_queries(
    edge: nn.Sequential, logger: WriteOnlyLogger, counter: QueryCounter
) -> Callable[[Tensor], Tensor]:
    """Return the edge before the defense was switched on as a black box that counts its queries."""

    def clean_query(x: Tensor) -> Tensor:
        """Images ``(N, C, H, W)`` to features ``(N, *feature_shape)``."""
        counter.count(len(x), logger)
        with torch.no_grad():
            return torch.cat([edge(part) for _, part in _batches(x, 0)])

    return clean_query


def _traffic(deployment: Deployment, seed: int, x: Tensor, features: Tensor) -> Tensor:
    """Return the features of images that others send, each once; of no image none."""
    received = [
        deployment.transmit(
            in_unit_range(part), RandomStreams(seed, "traffic", range(at, at + len(part)))
        )[:, 0]
        for at, part in (_batches(x, 0) if len(x) else [])
    ]
    return torch.cat(received) if received else features[:0]


def _batches(x: Tensor, first: int) -> list[tuple[int, Tensor]]:
    """Split images into batches, each with the number of its first image."""
    size = fast_batch_size(x)
    return [(first + at, x[at : at + size]) for at in range(0, max(len(x), 1), size)]
