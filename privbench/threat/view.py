"""The adversary's view: all that an attack can reach, and the loggers that it writes to."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from privbench.runtime.device import DeviceConfig
from privbench.runtime.hashing import derive_seed
from privbench.runtime.random import RandomStreams, generator_without_seed, torch_seed_hidden
from privbench.threat.access import ALWAYS, RIGHTS, Access, AccessDeniedError


class AttackLogger(Protocol):
    """Receiver of an attack's progress; it returns nothing."""

    def step(self, n: int, x_hat: Tensor | None = None, **scalars: float) -> None:
        """Log progress after step ``n``; the harness scores ``x_hat`` ``(N, C, H, W)``."""

    def note(self, **facts: Any) -> None:
        """Log facts for the record, e.g. ``converged=0.97``."""


class NullLogger:
    """A logger that discards everything."""

    def step(self, n: int, x_hat: Tensor | None = None, **scalars: float) -> None:
        """Discard progress."""

    def note(self, **facts: Any) -> None:
        """Discard facts."""


class DeferredFacts:
    """Logger that forwards progress, and keeps facts until it is known whether they count.

    Args:
        logger: Receives the progress.
    """

    def __init__(self, logger: AttackLogger) -> None:
        self.step = logger.step
        self.kept: dict[str, Any] = {}

    def note(self, **facts: Any) -> None:
        """Keep facts."""
        self.kept |= facts


def jsonable(fact: Any) -> Any:
    """Convert a fact to what json holds; one that json cannot hold becomes its text."""
    if isinstance(fact, Tensor | np.ndarray | np.generic):
        fact = fact.tolist()
    try:
        return json.loads(json.dumps(fact, allow_nan=False))
    except (TypeError, ValueError):
        return str(fact)


Facts = Mapping[str, Any]


class FitOrLoad(Protocol):
    """The function behind ``AdversaryView.fit_or_load``."""

    def __call__(self, recipe: Facts, module: nn.Module, train: Callable[[], Facts]) -> Facts:
        """Train the module in place, or load the weights of an earlier training; return facts."""


class WriteOnlyLogger:
    """A logger without a way back: the harness's holds the true images, and closures hide it."""

    __slots__ = ("note", "step")

    def __init__(self, logger: AttackLogger) -> None:
        def step(n: int, x_hat: Tensor | None = None, **scalars: float) -> None:
            logger.step(n, x_hat, **scalars)

        def note(**facts: Any) -> None:
            logger.note(**facts)

        self.step, self.note = step, note


@dataclass
class QueryCounter:
    """Number of queries that an adversary has made.

    Attributes:
        queries: Images sent to the edge so far.
    """

    queries: int = 0

    def count(self, count: int, logger: WriteOnlyLogger) -> int:
        """Count further queries, and return the number of the first of them."""
        first = self.queries
        self.queries += count
        logger.note(queries=self.queries)
        return first


class AdversaryView:
    """The adversary's only access to a deployment; what is not granted is absent, not hidden.

    Attributes:
        cloud: The cloud half, frozen; a copy, so that an attack cannot change the deployment's.
        image_shape: ``(C, H, W)``.
        feature_shape: Shape of one image's features.
        split: Name of the layer behind which the network is cut, which the cloud knows.
        transmissions: How often each target is sent, K, which the cloud can count.
        device_config: Device on which networks are trained.
        device: Device of all tensors.
        logger: Receives the progress.
        edge: EDGE_WEIGHTS. The edge without its defense, frozen; a copy.
        fresh_edge: EDGE_STRUCTURE. Returns the edge's layers newly initialised.
        query: EDGE_QUERIES. Images ``(N, C, H, W)`` to defended features, no gradient, counted.
        clean_query: CLEAN_QUERIES. The same without the defense, counted too.
        images: AUX_IMAGES. ``(M, C, H, W)`` in [0, 1].
        labels: AUX_LABELS. ``(M,)``.
        defense: DEFENSE. The channel: its kind, site, strength and likelihood.
        traffic: TRAFFIC. Features ``(T, *feature_shape)`` of inputs that are no targets, sent once.
        retrained: DEFENSE. Whether the defense trained the edge, which then differs by strength.
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
    defense: Any
    traffic: Tensor
    retrained: bool

    def __init__(
        self,
        access: Access,
        seed: int,
        fit_or_load: FitOrLoad,
        counter: QueryCounter,
        **granted: Any,
    ) -> None:
        self.access, self._seed = access, seed
        self._fit_or_load, self._counter = fit_or_load, counter
        self.__dict__.update(granted)

    def __getattr__(self, name: str) -> NoReturn:
        """Raise AccessDeniedError for attributes that were not granted."""
        right = RIGHTS.get(name)
        if right is None:
            raise AttributeError(f"a view has no {name!r}")
        declared = ", ".join(self.access.names) or "none"
        raise AccessDeniedError(f"view.{name} needs the right {right.name}; declared: {declared}")

    def generator(self, purpose: str) -> torch.Generator:
        """Return a CPU generator, the same for the same adversary's seed and purpose.

        Its ``initial_seed()`` is the same constant for all, which reveals no seed.
        """
        return generator_without_seed(derive_seed(self._seed, purpose))

    def streams(self, purpose: str, indices: Sequence[int]) -> RandomStreams:
        """Return the adversary's random streams, to draw a defense that it knows.

        They are the same for the same seed and purpose, and never those of the deployed defense.

        Args:
            purpose: Names the streams.
            indices: One stream for each.
        """
        return RandomStreams(derive_seed(self._seed, "streams"), purpose, indices)

    @contextmanager
    def torch_seed(self, purpose: str) -> Iterator[None]:
        """Seed torch's global generator within the block: layers draw their weights from it.

        ``torch.initial_seed()`` reveals as little there as that of ``generator``.
        """
        with torch_seed_hidden(derive_seed(self._seed, purpose)):
            yield

    def fit_or_load(self, recipe: Facts, module: nn.Module, train: Callable[[], Facts]) -> None:
        """Train a network of the adversary once for this recipe and view; load it afterwards.

        Args:
            recipe: All that the training depends on besides the view, as json can hold it.
            module: Untrained; trained or loaded in place.
            train: Trains it, and returns facts for the record, which are logged on loading too.
        """
        depends = {
            "recipe": recipe,
            "access": self.access.names,
            "queries": self._counter.queries,
        }
        if "edge" in vars(self):  # also a surrogate's, which no other part of the key describes
            depends["edge"] = _fingerprint(self.edge)
        if getattr(vars(self).get("fresh_edge"), "is_extended", False):
            depends["fresh_edge"] = _fingerprint(self.fresh_edge())  # a clipping has no weights
        if "traffic" in vars(self):
            depends["traffic"] = _digest(self.traffic)
        facts = dict(
            self._fit_or_load(
                depends, module, lambda: {**train(), "queries": self._counter.queries}
            )
        )
        # a loaded network has cost what its training cost, and later queries draw afresh
        self._counter.queries = facts["queries"]
        self.logger.note(**facts)

    def with_edge(self, edge: nn.Sequential) -> "AdversaryView":
        """Return a white-box view of a surrogate edge that the adversary built itself."""
        return self._derive(self.access | Access.EDGE_WEIGHTS, edge=frozen(edge))

    def restricted_to(self, access: Access) -> "AdversaryView":
        """Return this view with only those of its rights that ``access`` names."""
        return self._derive(self.access & access)

    def assuming(self, defense: Any) -> "AdversaryView":
        """Return this view for an adversary who believes that a defense runs; it gains no right."""
        return self._derive(self.access, defense=defense)

    def without_images(self, count: int) -> "AdversaryView":
        """Return this view without its first auxiliary images, on which an attack is then tried.

        What it trains is kept apart from what is trained on all images.
        """

        def fit_or_load(recipe: Facts, module: nn.Module, train: Callable[[], Facts]) -> Facts:
            fewer = {**recipe["recipe"], "without_images": count}
            return self._fit_or_load({**recipe, "recipe": fewer}, module, train)

        held = {
            name: vars(self)[name][count:] for name in ("images", "labels") if name in vars(self)
        }
        view = self._derive(self.access, **held)
        view._fit_or_load = fit_or_load
        return view

    def without_logging(self) -> "AdversaryView":
        """Return this view with a logger that discards everything, for trials."""
        return self._derive(self.access, logger=NullLogger())

    def _derive(self, access: Access, **changes: Any) -> "AdversaryView":
        granted = {
            name: value
            for name, value in vars(self).items()
            if name in ALWAYS or (name in RIGHTS and RIGHTS[name] in access)
        }
        return AdversaryView(
            access, self._seed, self._fit_or_load, self._counter, **{**granted, **changes}
        )


def backing(view: AdversaryView) -> tuple[int, FitOrLoad, QueryCounter]:
    """Return the adversary's seed, store and counter, for a copy of its view in another process."""
    return view._seed, view._fit_or_load, view._counter


def frozen(module: nn.Sequential) -> nn.Sequential:
    """Return a copy in evaluation mode whose weights take no gradient."""
    return copy.deepcopy(module).eval().requires_grad_(False)


def _fingerprint(module: nn.Module) -> str:
    """Hash a module's layers, weights and constants.

    Constants that no checkpoint holds, such as a normalisation's, are part of it; names of the
    package's classes are not, for they may change while the numbers stay.
    """
    digest = hashlib.sha256()
    for name, layer in module.named_modules():
        ours = type(layer).__module__.startswith("privbench.")
        digest.update(f"{name} {'' if ours else type(layer)} {layer.extra_repr()}\n".encode())
    for name, tensor in sorted([*module.named_parameters(), *module.named_buffers()]):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()[:20]


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(_bytes(tensor)).hexdigest()[:20]


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data
