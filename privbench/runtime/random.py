"""Random draws keyed by seed and purpose, independent of the order of computations."""

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
"""Function that fills a row with draws of a generator."""


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator within the context, e.g. for the weights of layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


HEADER = 24
"""Bytes before the words in a CPU generator's state: initial seed, counter, flag, position."""
WORDS = 624
"""Words of a Mersenne twister, 64 bits each in torch's state, of which 32 count."""


def secret_seed(seed: int, secret: str, user: str) -> int:
    """Derive the seed of a party's random streams, which the cell's seed does not reveal.

    Args:
        seed: The cell's seed, a small number that is easily guessed.
        secret: A value that only the harness has: the fingerprint of the private test set.
        user: The party, such as ``"defense"`` or ``"adversary"``; the seed of one party does not
            reveal that of another.
    """
    return derive_seed(seed, user, secret)


def generator_without_seed(seed: int) -> torch.Generator:
    """Return a CPU generator whose state does not contain the seed that it follows from.

    ``manual_seed`` would leave the seed in ``initial_seed()`` and its lower half in the state. Here
    a hash of the seed fills the whole state, and ``initial_seed()`` is the one that torch gives to
    every new generator.
    """
    generator = torch.Generator()
    state = generator.get_state().numpy()
    digest = hashlib.shake_256(str(seed).encode()).digest(4 * WORDS)
    state[HEADER : HEADER + 8 * WORDS].view(np.uint64)[:] = np.frombuffer(digest, "<u4")
    generator.set_state(torch.from_numpy(state))
    return generator


@contextmanager
def torch_seed_hidden(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator by ``generator_without_seed`` within the context."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator_without_seed(seed).get_state())
        yield


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python within the context; restore them after.

    So an attack that draws from them does not depend on what ran before.
    """
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
    """Random streams, one per image, keyed by (seed, purpose, image index, draw number).

    Philox is counter-based: seed, purpose and draw number make its key, the image's index the high
    word of its counter. So an image's draws never depend on the other images of a batch, nor on
    earlier draws, and two streams never overlap. Draws are made on the CPU and are the same at
    every strength of a defense (common random numbers).

    Attributes:
        seed: From ``secret_seed``, so that the cell's seed does not reveal the draws.
        purpose: Use of the draws, e.g. ``"transmission"``.
        indices: The index of each image, in the order of the tensors.
        number: Number of the draw, from 0.
    """

    seed: int
    purpose: str
    indices: Sequence[int]
    number: int = 0

    def for_draw(self, number: int) -> "RandomStreams":
        """Return the same streams for another draw."""
        return replace(self, number=number)

    def uniform(self, like: Tensor) -> Tensor:
        """Draw uniformly from [0, 1), with shape, device and dtype of ``like`` ``(N, ...)``."""
        return self._fill(like, lambda generator, row: generator.random(dtype=np.float32, out=row))

    def normal(self, like: Tensor) -> Tensor:
        """Draw standard normal values, with shape, device and dtype of ``like`` ``(N, ...)``."""
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
