"""Random draws keyed by what they are for, so that nothing else can move them."""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privbench.runtime.hashing import derive_seed

Fill = Callable[[np.random.Generator, NDArray[np.float32]], object]


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Within, torch's global CPU generator starts from a seed, as layers draw their weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


HEADER = 24
"""Bytes of a CPU generator's state before its words: initial seed, counter, flag, position."""
WORDS = 624
"""Words of a Mersenne twister, 64 bits each in torch's state, of which 32 count."""


def secret_seed(seed: int, secret: str, user: str) -> int:
    """Derive the seed of all streams of one user, which a guess of the cell's seed does not give.

    Args:
        seed: The cell's seed, a small number that anyone guesses.
        secret: What only the harness holds: the fingerprint of the private test set.
        user: Such as ``"defense"`` or ``"adversary"``; one's seed does not give the other's.
    """
    return derive_seed(seed, user, secret)


def generator_without_seed(seed: int) -> torch.Generator:
    """Return a CPU generator whose stream follows from a seed that it does not hold.

    ``manual_seed`` would leave the seed in ``initial_seed()`` and its lower half in the state. Here
    a hash of the seed fills the whole state, and the recorded seed stays the one that torch gives
    to every new generator.
    """
    generator = torch.Generator()
    state = generator.get_state().numpy()
    digest = hashlib.shake_256(str(seed).encode()).digest(4 * WORDS)
    state[HEADER : HEADER + 8 * WORDS].view(np.uint64)[:] = np.frombuffer(digest, "<u4")
    generator.set_state(torch.from_numpy(state))
    return generator


@contextmanager
def torch_seed_hidden(seed: int) -> Iterator[None]:
    """Within, torch's global CPU generator is one of ``generator_without_seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator_without_seed(seed).get_state())
        yield


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Fence the global generators: an attack's use of them depends on nothing that came before."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


@dataclass(frozen=True)
class RandomStreams:
    """One stream for each image, keyed by (seed, purpose, image index, draw number).

    Philox is counter-based: seed, purpose and draw number make its key, the image's index the high
    word of its counter. So an image's draws never depend on which images stand beside it, nor on
    what was drawn before, and two streams never overlap. Drawn on the CPU, the same at every
    strength of a defense (common random numbers).

    Attributes:
        seed: From ``secret_seed``, so that who guesses the cell's seed has none of the draws.
        purpose: What the draws are for, e.g. ``"transmission"``.
        indices: The index of each image, in the order of the tensors.
        number: Which draw of several.
    """

    seed: int
    purpose: str
    indices: Sequence[int]
    number: int = 0

    def for_draw(self, number: int) -> "RandomStreams":
        """The same streams, another draw."""
        return replace(self, number=number)

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform draws in [0, 1), shaped and placed like ``like`` ``(N, ...)``."""
        return self._fill(like, lambda generator, row: generator.random(dtype=np.float32, out=row))

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal draws, shaped and placed like ``like`` ``(N, ...)``."""
        return self._fill(
            like, lambda generator, row: generator.standard_normal(dtype=np.float32, out=row)
        )

    def _fill(self, like: Tensor, fill: Fill) -> Tensor:
        if len(self.indices) != len(like):
            raise ValueError(f"{len(self.indices)} streams for {len(like)} images")
        key = derive_seed(self.seed, self.purpose, self.number)
        rows = np.empty((len(like), like[0].numel() if len(like) else 0), np.float32)
        for row, index in zip(rows, self.indices, strict=True):
            philox = np.random.Philox(key=key, counter=[0, 0, int(index), 0])
            fill(np.random.Generator(philox), row)
        return torch.from_numpy(rows).view(like.shape).to(like.device, like.dtype)
