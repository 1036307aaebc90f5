"""The harness's side of isolation: start the process of an attack and serve its requests."""

import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from privbench.attacks.base import Attack, Reconstruct
from privbench.defenses.base import Defense
from privbench.experiment.isolation import child
from privbench.experiment.isolation.channel import Channel, Message, described, rebuilt
from privbench.threat import Access, AdversaryView
from privbench.threat.access import ALWAYS, RIGHTS
from privbench.threat.view import Facts, backing

SERVED = ("query", "clean_query")
"""Rights that are requested from the harness, because they need the edge."""
START = """
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv.pop()))
try:
    sys.path[:], parent = connection.recv()
except EOFError:  # the harness was stopped at once
    sys.exit()
from privbench.experiment.isolation.child import main
main(connection, parent)
"""
"""Program of the process. ``multiprocessing`` would start it differently within a worker."""
EXIT_TIMEOUT = 10.0
"""Seconds within which the process must end by itself after its work."""


def require_picklable(attack: Attack, defense: Defense) -> None:
    """Refuse an attack or a defense that cannot be sent to another process.

    Raises:
        ValueError: naming its class, and ``isolate=false``.
    """
    for part in (attack, defense):
        try:
            pickle.dumps(part)
        except Exception as error:  # pickle passes on any error of the class
            raise ValueError(
                f"isolate=true sends {type(part).__name__} to another process, and it cannot be "
                f"pickled ({error}): choose isolate=false, or define what it holds in a module"
            ) from error


class Isolated:
    """An attack whose ``fit`` and reconstructor run in a separate process.

    Its results are the same, bit for bit, at the same number of threads. It is a context manager;
    the process ends with the context.

    Args:
        attack: The attack; it and the contents of its view must be picklable.
    """

    def __init__(self, attack: Attack) -> None:
        self.attack = attack
        self.process: subprocess.Popen[bytes]
        self.connection: Connection

    @property
    def access(self) -> Access:
        """Rights of the attack."""
        return self.attack.access

    def __enter__(self) -> Self:
        self.connection, theirs = Pipe()
        with theirs, _interrupt_blocked():  # closed here, so that the pipe ends with the process
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self.connection.send((sys.path, os.getpid()))  # imports start while the victim is prepared
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.connection.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(EXIT_TIMEOUT if error is None else 0)
        self.process.kill()
        self.process.wait()

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Fit in the other process, and return a reconstructor that runs there.

        Raises:
            Exception: of the type and with the text that the attack raised.
            ChildProcessError: if the process ended too early.
        """
        server = Server(Channel(self.connection, backing(view)[2]), self.process, view)
        server.start(self.attack)

        def reconstruct(v: Tensor) -> Tensor:
            """Reconstruct images ``(N, C, H, W)`` from features ``(N, K, *feature_shape)``."""
            server.send("reconstruct", v=v, fence=torch.initial_seed())
            message = server.serve_until("reconstructed")
            if "type" in message:  # not a tensor: the harness names the type in its error
                x_hat: Any = type(message["type"], (), {})()
                return x_hat  # type: ignore[no-any-return]
            return _to_device(message["x_hat"], view)

        return reconstruct


@contextmanager
def _interrupt_blocked() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, since the harness ends them.

    A Ctrl-C within the block reaches this process at its end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True)
class Server:
    """Server of an attack's requests, within the rights of its view.

    Attributes:
        channel: The harness's end of the pipe.
        process: The process at the other end.
        view: The view of the attack.
    """

    channel: Channel
    process: subprocess.Popen[bytes]
    view: AdversaryView

    def start(self, attack: Attack) -> None:
        """Send the attack and the contents of its view, and wait until it is fitted."""
        held = {
            name: value
            for name, value in vars(self.view).items()
            if (name in ALWAYS or name in RIGHTS) and name not in (*SERVED, "logger")
        }
        setup = child.Setup(
            attack=attack,
            access=self.view.access,
            seed=backing(self.view)[0],
            held=held,
            requested=tuple(name for name in SERVED if name in vars(self.view)),
            fence=torch.initial_seed(),
            threads=torch.get_num_threads(),
            levels={name: logging.getLogger(name).level for name in (None, "privbench")},
        )
        with self._explain_end():
            self.channel.connection.send_bytes(pickle.dumps(setup))
        self.serve_until("fitted")

    def send(self, kind: str, **values: Any) -> None:
        """Send a message.

        Raises:
            ChildProcessError: if the process has ended.
        """
        with self._explain_end():
            self.channel.send(kind, **values)

    def serve_until(self, kind: str) -> Message:
        """Serve requests until a message of a kind comes.

        Raises:
            Exception: the error of the attack.
            ChildProcessError: if the process ends before that.
        """
        while True:
            message = self._receive()
            if message["kind"] == "failed":
                raise rebuilt(message["error"])
            if message["kind"] == kind:
                return message
            self._serve(message)

    def _receive(self) -> Message:
        with self._explain_end():
            # processes that the attack started may hold the pipe open after its own end
            while not self.channel.connection.poll(1.0):
                if self.process.poll() is not None and not self.channel.connection.poll():
                    raise EOFError
            return self.channel.receive()

    @contextmanager
    def _explain_end(self) -> Iterator[None]:
        """Raise an error that names how the process ended, if the pipe is closed."""
        try:
            yield
        except (EOFError, ConnectionError) as error:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(EXIT_TIMEOUT)
            code = self.process.returncode
            how = f"ended with exit code {code}" if code is not None else "closed its pipe"
            if code is not None and code < 0:
                how = f"was killed by {signal.Signals(-code).name}"
            raise ChildProcessError(
                f"isolate=true: the process of the attack {how} before it was done"
            ) from error

    def _serve(self, message: Message) -> None:
        """Answer a request, with the error if it fails, which the attack then raises."""
        served: dict[str, Callable[[Message], Message]] = {
            "query": lambda m: {"v": self.view.query(_to_device(m["x"], self.view))},
            "clean_query": lambda m: {"v": self.view.clean_query(_to_device(m["x"], self.view))},
            "step": self._step,
            "note": self._note,
            "keep": self._keep,
        }
        try:
            answer = served[message["kind"]](message)
        except Exception as error:
            self.send("error", error=described(error))
        else:
            self.send("answer", **answer)

    def _step(self, message: Message) -> Message:
        x_hat = message["x_hat"]
        shown = None if x_hat is None else _to_device(x_hat, self.view)
        self.view.logger.step(message["n"], shown, **message["scalars"])
        return {}

    def _note(self, message: Message) -> Message:
        self.view.logger.note(**message["facts"])
        return {}

    def _keep(self, message: Message) -> Message:
        """Load a network from the store, or let the attack train it under the claim of its key."""
        recipe, network = message["recipe"], Network()
        # an adversary holds the weights of a surrogate that it trained itself
        allowed = (self.view.access | Access.EDGE_WEIGHTS).names
        if not set(recipe["access"]) <= set(allowed):
            raise ValueError(f"a network is kept for rights beyond the view's: {recipe['access']}")

        def train() -> Facts:
            self.send("train")
            made = self.serve_until("trained")
            network.load_state_dict(made["tensors"])
            facts: Facts = made["facts"]
            return facts

        facts = backing(self.view)[1](recipe, network, train)
        return {"facts": facts, "tensors": network.state_dict()}


class Network(nn.Module):
    """Weights of a network in the other process by name, without its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: dict[str, Tensor] = {}

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Tensor]:  # type: ignore[override]
        """Return the weights."""
        return dict(self.tensors)

    def load_state_dict(self, state_dict: Any, *args: Any, **options: Any) -> Any:
        """Store the weights; there are no layers to match."""
        self.tensors = dict(state_dict)


def _to_device(tensor: Tensor, view: AdversaryView) -> Tensor:
    return tensor.to(view.device)
