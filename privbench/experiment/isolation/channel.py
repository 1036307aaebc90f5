"""Messages by value between the harness and the process of an attack."""

import io
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from privbench.threat.view import QueryCounter

Message = dict[str, Any]
"""``kind`` and its values: numbers, strings, lists, mappings and tensors."""
PRIMITIVE = (str, int, float, bool, type(None))


@dataclass
class Channel:
    """An end of the pipe, which also keeps the number of queries equal at both ends.

    Attributes:
        connection: Connection of this end.
        counter: Queries counted by this process; each message raises it to the sender's count.
    """

    connection: Connection
    counter: QueryCounter

    def send(self, kind: str, **values: Any) -> None:
        """Send a message as bytes, tensors included; no memory is shared."""
        buffer = io.BytesIO()
        torch.save(by_value({"kind": kind, "queries": self.counter.queries, **values}), buffer)
        self.connection.send_bytes(buffer.getbuffer())

    def receive(self) -> Message:
        """Wait for a message; it holds tensors and plain containers, never a pickled object.

        Raises:
            EOFError: if the other end is closed.
        """
        data = io.BytesIO(self.connection.recv_bytes())
        message: Message = torch.load(data, weights_only=True)
        self.counter.queries = max(self.counter.queries, message["queries"])
        return message


def by_value(value: Any) -> Any:
    """Copy a value of a message; tensors go to the CPU, each with a storage that it fills.

    A slice of a tensor would otherwise be sent with its whole storage, so with other images.

    Raises:
        TypeError: for a value that is not a number, a string, a container or a tensor.
    """
    if isinstance(value, Tensor):
        return value.detach().as_subclass(Tensor).cpu().clone()
    if isinstance(value, Mapping):
        return {by_value(name): by_value(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [by_value(part) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    for kind in (bool, int, float, str):  # no subclass is sent, such as numpy's float64
        if isinstance(value, kind):
            return kind(value)
    if value is None:
        return None
    raise TypeError(f"{type(value).__name__} cannot leave the process of an attack")


def described(error: BaseException) -> Message:
    """Describe an error for the other end, which may lack its class."""
    arguments = list(error.args)
    return {
        "module": type(error).__module__,
        "name": type(error).__qualname__,
        "text": str(error),
        "arguments": arguments if all(type(a) in PRIMITIVE for a in arguments) else [str(error)],
        "trace": "".join(traceback.format_exception(error)),
    }


def rebuilt(message: Message) -> BaseException:
    """Return an error of the described type and text, with the other end's trace as a note."""
    error = _of_its_class(message) or _of_its_name(message)
    error.add_note(f"In the other process:\n{message['trace']}")
    return error


def _of_its_class(message: Message) -> BaseException | None:
    """Return an error of the original class, if it is imported here and gives the same text."""
    kind: Any = sys.modules.get(message["module"])
    for name in message["name"].split("."):
        kind = getattr(kind, name, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        return None
    for arguments in (message["arguments"], [message["text"]]):
        try:
            error = kind(*arguments)
            if str(error) == message["text"]:
                return error
        except Exception:  # its constructor takes other arguments
            continue
    return None


def _of_its_name(message: Message) -> BaseException:
    """Return an error of another class that prints the same line."""
    kind = type(message["name"].rpartition(".")[2], (RuntimeError,), {})
    error: BaseException = kind(message["text"])
    return error
