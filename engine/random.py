"""Generators: who draws which random numbers.

A generator is a seed and an offset. Every draw reserves as many Philox blocks as it needs and
moves the offset on by that; the numbers follow from (seed, offset, place) alone, so the same calls
after the same seed give the same numbers on every device and for any number of threads. Draws of n
elements take ``ceil(n / 4)`` blocks where an element is made of one word (float32, dropout,
Bernoulli) and ``ceil(n / 2)`` where it is made of two (float64, integers). See
``tilegrad.kernels.philox``.

A forked child goes on from a copy of every generator, as in PyTorch: until one of the two is seeded
anew, parent and child draw the same numbers.
"""

from __future__ import annotations

import operator
import os
from typing import Any

import numpy as np

from tilegrad.engine.array import Array, from_numpy, to_numpy
from tilegrad.engine.device import Device, device as as_device
from tilegrad.kernels.forking import DATA, fork_lock

_lock = fork_lock(DATA)  # over the state of every generator


_MOST = (1 << 64) - 1


class Generator:
    """A source of random numbers with a seed of its own.

    Attributes:
        device: where its numbers are meant to be used; they do not depend on it.
    """

    def __init__(self, device: Any = "cpu"):
        self.device: Device = as_device(device)
        self.seed()

    def manual_seed(self, seed: int) -> Generator:
        """Start anew from ``seed``.

        Raises:
            ValueError: it lies outside [-2^63, 2^64).
            RuntimeError: it is no number.
        """
        if isinstance(seed, str):
            raise RuntimeError(f"manual_seed: expected a long, but got {type(seed).__name__}")
        number = int(seed)
        if not -(1 << 63) <= number < 1 << 64:
            raise ValueError(f"manual_seed: seed must lie within [-2**63, 2**64); got {seed}")
        with _lock:
            self._seed = number & ((1 << 64) - 1)
            self._offset = 0
        return self

    @property
    def position(self) -> tuple[int, int]:
        """Seed and offset, both below 2^64: where it is, or goes on from when assigned."""
        with _lock:
            return self._seed, self._offset

    @position.setter
    def position(self, place: tuple[int, int]) -> None:
        with _lock:
            self._seed, self._offset = map(operator.index, place)

    def seed(self) -> int:
        """Start anew from a seed that the system chooses; returns it."""
        number = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(number)
        return number

    def initial_seed(self) -> int:
        """The seed it last started from."""
        return self._seed

    def reserve(self, blocks: int) -> tuple[int, int]:
        """(seed as a signed 64-bit number, first of ``blocks`` blocks nobody else will draw)."""
        blocks = operator.index(blocks)  # whatever else is added would stay with later draws
        with _lock:
            offset = self._offset
            self._offset = (offset + blocks) & _MOST
            seed = self._seed
        return seed - (1 << 64) if seed >> 63 else seed, (
            offset - (1 << 64) if offset >> 63 else offset
        )

    def give_back(self, first: int, blocks: int) -> None:
        """Draw the blocks that :meth:`reserve` gave again, unless later ones were given since."""
        with _lock:
            if self._offset == (first + blocks) & _MOST:
                self._offset = first & _MOST

    def get_state(self) -> Any:
        """A tensor of 16 bytes, uint8: seed and offset, little-endian."""
        return from_numpy(np.array([self._seed, self._offset], "<u8").view(np.uint8))

    def clone_state(self) -> Generator:
        """A generator that goes on from where this one is now, apart from it."""
        made = Generator(self.device)
        made._seed, made._offset = self._seed, self._offset
        return made

    def set_state(self, new_state: Any) -> Generator:
        """Go on from where :meth:`get_state` was taken; returns the generator.

        Raises:
            TypeError: not uint8.
            RuntimeError: not 16 bytes.
        """
        if isinstance(new_state, Array):
            new_state = to_numpy(new_state)
        state = np.asarray(new_state)
        if state.dtype != np.uint8:
            raise TypeError(f"set_state: expected a uint8 state; got {state.dtype}")
        if state.shape != (16,):
            raise RuntimeError(f"set_state: RNG state must have 16 bytes; got shape {state.shape}")
        seed, offset = np.ascontiguousarray(state).view("<u8")
        with _lock:
            self._seed, self._offset = int(seed), int(offset)
        return self


default_generator = Generator()


def source_of(generator: object) -> Generator:
    """``generator``, or the default one for None.

    Raises:
        TypeError: it is something else.
    """
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"argument 'generator' must be Generator, not {type(generator).__name__}")
    return generator
