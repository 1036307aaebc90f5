"""Passes on the meta device, without torch's compiler."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FunctionType

KERNELS = (
    "torch._refs",
    "torch._refs.nn.functional",
    "torch._decomp.decompositions",
    "torch._meta_registrations",
    "torch._prims",
)
"""Modules of kernels of the meta device."""
UNCOMPILED = "__dynamo_disable"
"""Where ``torch._compile`` keeps a kernel that is left out of compilations."""


@contextmanager
def without_compiler() -> Iterator[None]:
    """Spare the import of torch.compile's front end, a third of the time of a plan.

    A kernel of the meta device imports it on its first call, to be left out of compilations. Within
    the context each kernel is marked as left out, since there are none. With another torch, whose
    kernels are kept elsewhere, a plan takes longer and is the same.
    """
    changed = [kernel for kernel in _kernels() if not hasattr(kernel, UNCOMPILED)]
    for kernel in changed:
        setattr(kernel, UNCOMPILED, kernel)
    try:
        yield
    finally:
        for kernel in changed:
            delattr(kernel, UNCOMPILED)


def _kernels() -> set[FunctionType]:
    """Return the functions that ``torch._compile`` has wrapped."""
    found: set[FunctionType] = set()
    modules = [vars(sys.modules[name]) for name in KERNELS if name in sys.modules]
    waiting = [value for module in modules for value in module.values()]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, FunctionType) and id(value) not in seen:
            seen.add(id(value))
            inner = list(_enclosed(value))
            waiting += inner
            if Path(value.__code__.co_filename).name == "_compile.py":
                found.update(inner)
    return found


def _enclosed(function: FunctionType) -> Iterator[FunctionType]:
    """Yield the functions that a wrapper calls."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a cell that is empty
            if isinstance(cell.cell_contents, FunctionType):
                yield cell.cell_contents
