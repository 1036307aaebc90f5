"""Passes on the meta device, without torch's compiler."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


@contextmanager
def without_compiler() -> Iterator[None]:
    """Spare the import of torch.compile's front end, half of the time of a plan.

    Every kernel of the meta device imports it to ask that it be left out of a compilation, which
    there is none of here. Within the context a small module answers that; all else that is asked
    of it imports the front end. Where that is imported already, nothing changes.
    """
    if COMPILER in sys.modules:
        yield
        return
    sys.modules[COMPILER] = small = ModuleType(COMPILER)
    small.disable = _as_it_is  # type: ignore[attr-defined]
    small.__getattr__ = _of_the_front_end  # type: ignore[method-assign]
    try:
        yield
    finally:
        _remove(small)


def _as_it_is(function: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
    return function


def _of_the_front_end(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    _remove(sys.modules[COMPILER])
    return getattr(import_module(COMPILER), name)


def _remove(module: ModuleType) -> None:
    if sys.modules.get(COMPILER) is module:
        del sys.modules[COMPILER]
    torch = sys.modules.get("torch")
    if torch is not None and vars(torch).get("_dynamo") is module:
        del torch._dynamo
