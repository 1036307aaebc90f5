"""The process of an attack: it holds the view and sends requests to the harness."""

import json
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, nn

from privbench.attacks.base import Attack, Reconstruct
from privbench.experiment.isolation.channel import Channel, Message, described, rebuilt
from privbench.runtime.hashing import canonical
from privbench.runtime.random import isolated_rng
from privbench.threat import Access, AdversaryView
from privbench.threat.view import Facts, QueryCounter, jsonable


@dataclass(frozen=True)
class Setup:
    """Objects that the process of an attack receives at its start, by value.

    Attributes:
        attack: The attack.
        access: Rights of the view.
        seed: The adversary's seed, from which the cell's cannot be derived.
        held: Contents of the view by name, without the rights that are requested.
        requested: Names of the granted rights among ``query`` and ``clean_query``.
        fence: Seed of the global generators during ``fit``.
        threads: Number of threads on the CPU, as in the harness.
        levels: Levels of the loggers by name; ``None`` for the root.
    """

    attack: Attack
    access: Access
    seed: int
    held: Mapping[str, Any]
    requested: tuple[str, ...]
    fence: int
    threads: int
    levels: Mapping[str | None, int]


def main(connection: Connection, parent: int) -> None:
    """Fit, then reconstruct every batch of features, until the harness closes the pipe.

    Args:
        connection: Connection to the harness.
        parent: Process id of the harness.
    """
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    harness = Harness(Channel(connection, QueryCounter()))
    try:
        reconstruct = harness.report(partial(_fitted, connection.recv_bytes(), harness))
        while reconstruct is not None:
            harness.report(partial(_reconstructed, reconstruct, harness.channel.receive()))
    except (EOFError, OSError):  # closed: the harness is done or has ended
        return


def _end_with(parent: int) -> None:
    """End this process when the harness is killed: a training would go on for hours."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _fitted(setup: bytes, harness: "Harness") -> tuple[Reconstruct, Message]:
    given: Setup = pickle.loads(setup)
    logging.basicConfig(format="privbench: %(message)s")
    for name, level in given.levels.items():
        logging.getLogger(name).setLevel(level)
    replace(given.held["device_config"], threads=given.threads).configure()
    view = harness.view(given)
    with isolated_rng(given.fence):
        reconstruct = given.attack.fit(view)
    device = view.device
    return (lambda v: reconstruct(v.to(device))), {"kind": "fitted"}


def _reconstructed(reconstruct: Reconstruct, command: Message) -> tuple[None, Message]:
    with isolated_rng(command["fence"]):
        x_hat: Any = reconstruct(command["v"])
    made = {"x_hat": x_hat} if isinstance(x_hat, Tensor) else {"type": type(x_hat).__name__}
    return None, {"kind": "reconstructed", **made}


@dataclass
class Harness:
    """Client of the harness in the process of an attack: a pipe that serves requests.

    Attributes:
        channel: The end of the pipe in this process.
    """

    channel: Channel

    def view(self, setup: Setup) -> AdversaryView:
        """Assemble the view; rights that are requested have the interface of the harness's."""
        requested = {name: self._requester(name) for name in setup.requested}
        return AdversaryView(
            setup.access,
            setup.seed,
            self._keep,
            self.channel.counter,
            **setup.held,
            **requested,
            logger=RemoteLogger(self),
        )

    def request(self, kind: str, **values: Any) -> Message:
        """Send a request and return its answer.

        Raises:
            Exception: the error that the request raised in the harness.
        """
        self.channel.send(kind, **values)
        return self._answer()

    def report(self, work: Callable[[], tuple[Any, Message]]) -> Any:
        """Run a command of the harness, and send its result or its error."""
        try:
            made, message = work()
        except BaseException as error:  # also SystemExit, which then ends the harness
            made, message = None, {"kind": "failed", "error": described(error)}
        # here a failed attempt's memory is free, since its frames ended with the error
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        self.channel.send(**message)
        return made

    def _answer(self) -> Message:
        message = self.channel.receive()
        if message["kind"] == "error":
            raise rebuilt(message["error"])
        return message

    def _requester(self, kind: str) -> Callable[[Tensor], Tensor]:
        def count(x: Tensor) -> Tensor:
            """Return the edge's answers ``(N, *feature_shape)`` to images ``(N, C, H, W)``."""
            v: Tensor = self.request(kind, x=x)["v"]
            return v.to(x.device)

        return count

    def _keep(self, recipe: Facts, module: nn.Module, train: Callable[[], Facts]) -> Facts:
        """Load the network from the store, or train it here and send it to the store."""
        canonical(recipe)  # raises the store's error
        message = self.request("keep", recipe=recipe)
        if message["kind"] == "train":
            with self._sending_failure():
                facts = train()
                json.dumps(facts)
            message = self.request("trained", facts=facts, tensors=module.state_dict())
        module.load_state_dict(message["tensors"])
        kept: Facts = message["facts"]
        return kept

    @contextmanager
    def _sending_failure(self) -> Iterator[None]:
        """Report the failure of a training, for which the harness waits."""
        try:
            yield
        except BaseException as error:
            self.channel.send("failed", error=described(error))
            self.channel.receive()
            raise


@dataclass(frozen=True)
class RemoteLogger:
    """The logger of the harness, which returns nothing.

    Attributes:
        harness: Client of the harness.
    """

    harness: Harness

    def step(self, n: int, x_hat: Tensor | None = None, **scalars: float) -> None:
        """Send progress after step ``n``."""
        numbers = {name: float(value) for name, value in scalars.items()}
        self.harness.request("step", n=int(n), x_hat=x_hat, scalars=numbers)

    def note(self, **facts: Any) -> None:
        """Send facts for the record."""
        plain = {name: jsonable(fact) for name, fact in facts.items()}
        self.harness.request("note", facts=plain)
