"""Running totals of a pass: operations, layers, weights that are read, and memory in use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

LINEAR = ("aten::convolution", "aten::addmm", "aten::mm")
"""Operations whose outputs are activations of the latency model."""
PRODUCTS = (*LINEAR, "aten::bmm", "aten::baddbmm")
"""Operations that are layers of the latency model, besides attention."""


@dataclass
class _Use:
    """Memory of a tensor, from the operation that makes it to the last one that reads it."""

    born: int
    read: int


class Weight(NamedTuple):
    """A parameter or a buffer: its bytes, and its trained numbers."""

    size: int
    trained: int


@dataclass
class Totals:
    """Running totals of a pass; views of a tensor share its memory.

    Attributes:
        weights: Parameters and buffers, by memory.
        used: First and last operation that reads each of them.
        sizes: Bytes of every other tensor, by memory.
        lives: Their lifetimes.
        operations: Number of operations so far.
        flops: Of those that torch's counter has a formula for.
        activation_bytes: Of outputs of convolutions and linear layers.
        layers: Number of those operations and of other products.
    """

    weights: Mapping[StorageWeakRef, Weight]
    used: dict[StorageWeakRef, _Use] = field(default_factory=dict)
    sizes: dict[StorageWeakRef, int] = field(default_factory=dict)
    lives: dict[StorageWeakRef, _Use] = field(default_factory=dict)
    operations: int = 0
    flops: int = 0
    activation_bytes: int = 0
    layers: int = 0

    def record(self, name: str, given: list[Tensor], made: list[Tensor]) -> None:
        """Record an operation with the tensors that it reads and makes."""
        now = self.operations
        for storage in (tensor.untyped_storage() for tensor in (*given, *made)):
            ref = StorageWeakRef(storage)
            uses = self.used if ref in self.weights else self.lives
            uses.setdefault(ref, _Use(now, now)).read = now
            self.sizes[ref] = storage.nbytes()
        if name in LINEAR:
            self.activation_bytes += sum(t.numel() * t.element_size() for t in made)
        self.layers += name in PRODUCTS or "attention" in name
        self.operations += 1

    def peaks(self) -> list[int]:
        """Return the largest number of bytes in use at once, up to each operation.

        A tensor is in use from the operation that makes it to the last one that reads it, however
        long a program keeps it.
        """
        change = [0] * (self.operations + 1)
        for ref, use in self.lives.items():
            change[use.born] += self.sizes[ref]
            change[use.read + 1] -= self.sizes[ref]
        return list(accumulate(accumulate(change), max))

    def read_before(self, operation: int) -> list[Weight]:
        """Return the weights that operations before this one read."""
        return self._weights(ref for ref, use in self.used.items() if use.born < operation)

    def read_from(self, operation: int) -> list[Weight]:
        """Return the weights that this operation and later ones read."""
        return self._weights(ref for ref, use in self.used.items() if use.read >= operation)

    def _weights(self, refs: Iterable[StorageWeakRef]) -> list[Weight]:
        return [self.weights[ref] for ref in refs]


class Tracker(TorchDispatchMode):
    """Records every operation in running totals."""

    def __init__(self, totals: Totals) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.totals = totals

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Spare the import of torch.compile's front end, which takes seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if formula := flop_registry.get(func._overloadpacket):
            self.totals.flops += formula(*args, **kwargs, out_val=out)
        self.totals.record(func._schema.name, _tensors((args, kwargs)), _tensors(out))
        return out


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def weights_of(model: nn.Module) -> dict[StorageWeakRef, Weight]:
    """Return parameters and buffers by memory; a tensor that layers share comes once."""
    found = {}
    for tensor in (*model.buffers(), *model.parameters()):
        trained = tensor.numel() if isinstance(tensor, nn.Parameter) else 0
        size = tensor.numel() * tensor.element_size()
        found[StorageWeakRef(tensor.untyped_storage())] = Weight(size, trained)
    return found
