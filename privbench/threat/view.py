"""The threat model: what an adversary may touch, by declared right.

White-box is EDGE_WEIGHTS; black-box EDGE_QUERIES | AUX_IMAGES; query-free AUX_IMAGES | AUX_LABELS
(He et al. section II-B). Every adversary owns the cloud half: it *is* the cloud.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Flag, auto
from functools import partial
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from privbench.defenses.base import Defense
from privbench.deployment import Deployment, max_batch_size
from privbench.runtime.device import DeviceConfig
from privbench.runtime.hashing import derive_seed
from privbench.runtime.random import (
    RandomStreams,
    generator_without_seed,
    secret_seed,
    torch_seed_hidden,
)


class Access(Flag):
    """The rights an adversary can declare; a view holds what they name and nothing else."""

    NONE = 0
    EDGE_WEIGHTS = auto()
    """The edge's layers and weights."""
    EDGE_STRUCTURE = auto()
    """The edge's layers, newly initialised."""
    EDGE_QUERIES = auto()
    """Answers of the edge as deployed, defense included, to images of the adversary's choice."""
    CLEAN_QUERIES = auto()
    """Answers of the edge recorded before the defense was switched on."""
    AUX_IMAGES = auto()
    """Images of the same kind, none of them a target."""
    AUX_LABELS = auto()
    """Their labels."""
    DEFENSE = auto()
    """Which defense runs, where and how strong; never a draw (Kerckhoffs)."""

    @property
    def names(self) -> list[str]:
        """The rights by name, as a record lists them."""
        return [right.name for right in Access if right in self and right.name]


ADAPTIVE = Access.DEFENSE | Access.EDGE_QUERIES
"""An adversary with one of these has seen what the defense does."""


class AccessDeniedError(RuntimeError):
    """An attack reached for what its declared rights do not grant."""


class AttackLogger(Protocol):
    """Where an attack's progress leaves it: write-only, nothing ever comes back."""

    def step(self, n: int, x_hat: Tensor | None = None, **scalars: float) -> None:
        """Progress after step ``n``; the harness scores ``x_hat`` ``(N, C, H, W)``."""

    def note(self, **facts: Any) -> None:
        """Facts for the record, e.g. ``converged=0.97``."""


class NullLogger:
    """A journal that keeps nothing."""

    def step(self, n: int, x_hat: Tensor | None = None, **scalars: float) -> None:
        """Nothing."""

    def note(self, **facts: Any) -> None:
        """Nothing."""


def jsonable(fact: Any) -> Any:
    """A fact as json holds it: an attack's odd note must not cost the record."""
    if isinstance(fact, Tensor | np.ndarray | np.generic):
        fact = fact.tolist()
    try:
        return json.loads(json.dumps(fact, allow_nan=False))
    except (TypeError, ValueError):
        return str(fact)


Facts = Mapping[str, Any]


class Keep(Protocol):
    """Backs ``AdversaryView.keep``."""

    def __call__(self, recipe: Facts, module: nn.Module, train: Callable[[], Facts]) -> Facts:
        """Train the module in place, or load what an earlier training made of it; its facts."""


def _train_always(recipe: Facts, module: nn.Module, train: Callable[[], Facts]) -> Facts:
    return train()


class _WriteOnlyLogger:
    """A journal with no way back: the harness's holds the truth, and hides behind closures."""

    __slots__ = ("note", "step")

    def __init__(self, logger: AttackLogger) -> None:
        def step(n: int, x_hat: Tensor | None = None, **scalars: float) -> None:
            logger.step(n, x_hat, **scalars)

        def note(**facts: Any) -> None:
            logger.note(**facts)

        self.step, self.note = step, note


@dataclass
class QueryCounter:
    """How many answers of the edge an adversary has had."""

    queries: int = 0

    def count(self, count: int, logger: _WriteOnlyLogger) -> int:
        """Count further answers; the number of the first one."""
        first = self.queries
        self.queries += count
        logger.note(queries=self.queries)
        return first


class AdversaryView:
    """The adversary's only window. What is not granted is absent, not hidden.

    Attributes:
        cloud: The cloud half, frozen; a copy, so that nobody can bend the deployment's.
        image_shape: ``(C, H, W)``.
        feature_shape: Shape of one image's features.
        split: Name of the layer behind which the network is cut: the cloud knows where it starts.
        transmissions: How often each target is sent, K: the cloud counts what it receives.
        device_config: Where networks are trained.
        device: Where tensors are.
        logger: Where progress goes.
        edge: EDGE_WEIGHTS. The edge without its defense, frozen; a copy.
        fresh_edge: EDGE_STRUCTURE. Called, gives the edge's layers newly initialised.
        query: EDGE_QUERIES. Images ``(N, C, H, W)`` to defended features, no gradient, counted.
        clean_query: CLEAN_QUERIES. The same without the defense, counted too.
        images: AUX_IMAGES. ``(M, C, H, W)`` in [0, 1].
        labels: AUX_LABELS. ``(M,)``.
        defense: DEFENSE. Its kind, site and strength.
    """

    cloud: nn.Sequential
    image_shape: tuple[int, int, int]
    feature_shape: tuple[int, ...]
    split: str
    transmissions: int
    device_config: DeviceConfig
    device: torch.device
    logger: AttackLogger
    edge: nn.Sequential
    fresh_edge: Callable[[], nn.Sequential]
    query: Callable[[Tensor], Tensor]
    clean_query: Callable[[Tensor], Tensor]
    images: Tensor
    labels: Tensor
    defense: Defense

    def __init__(
        self, access: Access, seed: int, keep: Keep, tally: QueryCounter, **granted: Any
    ) -> None:
        self.access, self._seed, self._keep, self._tally = access, seed, keep, tally
        self.__dict__.update(granted)

    def __getattr__(self, name: str) -> NoReturn:
        """Only reached for what is absent."""
        right = RIGHTS.get(name)
        if right is None:
            raise AttributeError(f"a view has no {name!r}")
        held = ", ".join(self.access.names) or "none"
        raise AccessDeniedError(f"view.{name} needs the right {right.name}; declared: {held}")

    def generator(self, purpose: str) -> torch.Generator:
        """A CPU generator of the adversary's own, the same for the same seed and purpose.

        Its ``initial_seed()`` is one constant for all: it says nothing of any seed.
        """
        return generator_without_seed(derive_seed(self._seed, purpose))

    def streams(self, purpose: str, indices: Sequence[int]) -> RandomStreams:
        """Streams of the adversary's own, one an image, to draw a defense that it knows.

        They are the same for the same seed and purpose, and never those of the deployed defense.
        """
        return RandomStreams(derive_seed(self._seed, "streams"), purpose, indices)

    @contextmanager
    def torch_seed(self, purpose: str) -> Iterator[None]:
        """Within, torch's global generator is such a one: layers draw their weights from it.

        ``torch.initial_seed()`` within says as little as that of ``generator``.
        """
        with torch_seed_hidden(derive_seed(self._seed, purpose)):
            yield

    def keep(self, recipe: Facts, module: nn.Module, train: Callable[[], Facts]) -> None:
        """Train a network of the adversary's once for this recipe and view, then load it.

        Args:
            recipe: What the training depends on besides the view, as json can hold it.
            module: Untrained; trained or loaded in place.
            train: Trains it, and returns facts for the record, which a later hit replays.
        """
        depends = {"recipe": recipe, "access": self.access.names, "asked": self._tally.queries}
        if "edge" in vars(self):  # also a stand-in's, which no other part of the key knows
            depends["edge"] = _fingerprint(self.edge)
        facts = dict(
            self._keep(depends, module, lambda: {**train(), "queries": self._tally.queries})
        )
        # a loaded network has cost what its training cost, and later queries draw afresh
        self._tally.queries = facts["queries"]
        self.logger.note(**facts)

    def with_edge(self, edge: nn.Sequential) -> "AdversaryView":
        """A white-box view of a stand-in that the adversary built itself."""
        return self._like(self.access | Access.EDGE_WEIGHTS, edge=frozen(edge))

    def only(self, access: Access) -> "AdversaryView":
        """What a part of an attack sees under rights of its own, none beyond this view's."""
        return self._like(self.access & access)

    def muted(self) -> "AdversaryView":
        """The same view with a journal that keeps nothing, for trials on one's own images."""
        return self._like(self.access, logger=NullLogger())

    def _like(self, access: Access, **changes: Any) -> "AdversaryView":
        granted = {
            name: value
            for name, value in vars(self).items()
            if name in ALWAYS or (name in RIGHTS and RIGHTS[name] in access)
        }
        return AdversaryView(access, self._seed, self._keep, self._tally, **{**granted, **changes})


def backing(view: AdversaryView) -> tuple[int, Keep, QueryCounter]:
    """Return the adversary's seed, store and count, for a copy of its view in another process."""
    return view._seed, view._keep, view._tally


RIGHTS: Mapping[str, Access] = {
    "edge": Access.EDGE_WEIGHTS,
    "fresh_edge": Access.EDGE_STRUCTURE,
    "query": Access.EDGE_QUERIES,
    "clean_query": Access.CLEAN_QUERIES,
    "images": Access.AUX_IMAGES,
    "labels": Access.AUX_LABELS,
    "defense": Access.DEFENSE,
}
ALWAYS = {
    "cloud", "image_shape", "feature_shape", "split", "transmissions", "device_config", "device",
    "logger",
}  # fmt: skip


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
    keep: Keep = _train_always,
) -> AdversaryView:
    """The view of a deployment that ``access`` allows.

    Args:
        deployment: The attacked system.
        images: Auxiliary images ``(M, C, H, W)`` in [0, 1], on the deployment's device.
        labels: Their labels ``(M,)``.
        access: The attack's declared rights.
        split: Name of the layer behind which the network is cut.
        seed: The cell's seed.
        secret: What the harness holds and no view does, mixed into every seed; ``Stage.secret``.
        device_config: Where the adversary trains its networks.
        logger: Where the attack's progress goes.
        transmissions: How often each target will be sent.
        keep: Trains once and loads ever after.

    Returns:
        A view that holds what is granted and nothing else.
    """
    with torch.no_grad():
        features = deployment.edge(images[:1])
    # from neither the cell's seed nor its own an adversary can derive the defense's draws
    own_seed, defense_seed = (secret_seed(seed, secret, user) for user in ("adversary", "defense"))
    tally, write_only = QueryCounter(), _WriteOnlyLogger(logger)
    makers: dict[str, Callable[[], Any]] = {
        "edge": partial(frozen, deployment.edge),
        "fresh_edge": lambda: FreshEdge.like(deployment.edge, own_seed),
        "query": lambda: _queries(deployment, defense_seed, write_only, tally),
        "clean_query": lambda: _clean_queries(frozen(deployment.edge), write_only, tally),
        "images": images.clone,
        "labels": labels.clone,
        "defense": lambda: deployment.defense,
    }
    granted = {name: make() for name, make in makers.items() if RIGHTS[name] in access}
    return AdversaryView(
        access,
        own_seed,
        keep,
        tally,
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


def frozen(module: nn.Sequential) -> nn.Sequential:
    """A copy in evaluation mode whose weights take no gradient."""
    return copy.deepcopy(module).eval().requires_grad_(False)


@dataclass(frozen=True)
class FreshEdge:
    """Builds copies of the edge's layers that hold nothing of its weights, in any process.

    Attributes:
        blank: The layers, every weight 0.
        seed: The adversary's own.
    """

    blank: nn.Sequential
    seed: int

    @classmethod
    def like(cls, edge: nn.Sequential, seed: int) -> "FreshEdge":
        """For the layers of an edge."""
        blank = copy.deepcopy(edge)
        # what a checkpoint holds is learnt; constants such as the normalisation's are structure
        for learnt in blank.state_dict().values():
            learnt.zero_()
        return cls(blank, seed)

    def __call__(self) -> nn.Sequential:
        """The layers, newly initialised, the same every time."""
        built = copy.deepcopy(self.blank).requires_grad_(True).train()
        with torch_seed_hidden(derive_seed(self.seed, "fresh edge")):
            for layer in built.modules():
                if reset := getattr(layer, "reset_parameters", None):
                    reset()
        return built


def _queries(
    deployment: Deployment, seed: int, logger: _WriteOnlyLogger, tally: QueryCounter
) -> Callable[[Tensor], Tensor]:
    """The defended channel as a black box that counts what it is asked."""

    def query(x: Tensor) -> Tensor:
        """Answers to images ``(N, C, H, W)``: ``(N, *feature_shape)``, each with a fresh draw."""
        first = tally.count(len(x), logger)
        answers = [
            deployment.transmit(part, RandomStreams(seed, "queries", range(at, at + len(part))))[
                :, 0
            ]
            for at, part in _parts(x, first)
        ]
        return torch.cat(answers)

    return query


def _clean_queries(
    edge: nn.Sequential, logger: _WriteOnlyLogger, tally: QueryCounter
) -> Callable[[Tensor], Tensor]:
    """The channel before the defense was switched on."""

    def clean_query(x: Tensor) -> Tensor:
        """Answers to images ``(N, C, H, W)``: ``(N, *feature_shape)``."""
        tally.count(len(x), logger)
        with torch.no_grad():
            return torch.cat([edge(part) for _, part in _parts(x, 0)])

    return clean_query


def _parts(x: Tensor, first: int) -> list[tuple[int, Tensor]]:
    """Images in parts that fit the memory, each with the number of its first one."""
    size = max_batch_size(x)
    return [(first + at, x[at : at + size]) for at in range(0, max(len(x), 1), size)]


def _fingerprint(module: nn.Module) -> str:
    """Hash of a module's layers, weights and constants.

    Constants that no checkpoint holds, such as a normalisation's, are part of it; names of the
    package's own classes are not, for they may change while the numbers stay.
    """
    digest = hashlib.sha256()
    for name, layer in module.named_modules():
        own = type(layer).__module__.startswith("privbench.")
        digest.update(f"{name} {'' if own else type(layer)} {layer.extra_repr()}\n".encode())
    for name, tensor in sorted([*module.named_parameters(), *module.named_buffers()]):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:20]
