"""The Mersenne Twisters of Python and NumPy, where they lie in memory.

Reading and writing a state through their modules takes longer than loading many a sample. Where a state
lies is not promised anywhere (but NumPy's words), so it is looked for once, by what the modules say of
it; where it is not found, the modules are asked.
"""

from __future__ import annotations

import ctypes
import random
import struct
import sys
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np

from tilegrad.engine.random import default_generator
from tilegrad.kernels.cpu.parts.seeding import WORDS, seed_twisters
from tilegrad.kernels.cpu.run.jit import bind

_BYTES = 4 * (WORDS + 1)  # a state's words and its index
_PYTHON: Any = random._inst
_NUMPY: Any = np.random


@cache
def python_address() -> int:
    """Where the index of Python's global generator lies, before its words; 0 if it is not found."""
    if sys.implementation.name != "cpython":
        return 0
    *words, index = random.getstate()[1]
    whole = ctypes.string_at(id(_PYTHON), type(_PYTHON).__mro__[1].__basicsize__)
    at = whole.find(struct.pack(f"={WORDS + 1}I", index, *words))
    return id(_PYTHON) + at if at >= 0 else 0


@cache
def _gauss_offset() -> int:
    """Where in a ``RandomState`` the flag lies that it keeps a Gaussian, eight bytes before that
    number; 0 if it is not found.
    """
    if sys.implementation.name != "cpython":
        return 0
    state = np.random.RandomState(1)
    size = type(state).__basicsize__
    before = ctypes.string_at(id(state), size)
    state.standard_normal()
    after = ctypes.string_at(id(state), size)
    kept: Any = state.get_state(legacy=False)
    number = after.find(struct.pack("=d", kept["gauss"]))
    flag = slice(number - 8, number - 4)
    found = number >= 8 and before[flag] == b"\0\0\0\0" and after[flag] == struct.pack("=i", 1)
    return number - 8 if found and kept["has_gauss"] == 1 else 0


@lru_cache(maxsize=1)
def numpy_addresses(bits: Any) -> tuple[int, int]:
    """Of NumPy's global generator over ``bits``: its words, and its kept Gaussian; 0, 0 if they are
    not found.

    Raises:
        TypeError: it is no Mersenne Twister, which alone ``np.random.seed`` serves.
    """
    if not isinstance(bits, np.random.MT19937):
        raise TypeError(
            f"DataLoader: can only seed np.random over MT19937; got {type(bits).__name__}"
        )
    state: Any = np.random.get_state(legacy=False)
    words = int(bits.ctypes.state_address)
    there = state["state"]["key"].tobytes() + struct.pack("=i", state["state"]["pos"])
    if not _gauss_offset() or ctypes.string_at(words, _BYTES) != there:
        return 0, 0
    return words, id(_NUMPY.mtrand._rand) + _gauss_offset()


class Seeder:
    """Seeds the global generators of Python, NumPy and tilegrad for samples of ``seed``."""

    def __init__(self, seed: int):
        self.seed = seed
        self._bits: Any = None
        self._found = ctypes.c_uint64()
        self._push: Callable[[], None] | None = None

    def __call__(self, place: int) -> None:
        """For the ``place``-th sample."""
        if _NUMPY.get_bit_generator() is not self._bits:
            self._look()
        self._fill(place)
        if self._push is not None:
            self._push()
        _PYTHON.gauss_next = None
        default_generator.position = (self._found.value, 0)

    def _look(self) -> None:
        self._bits = _NUMPY.get_bit_generator()
        python, (words, gauss) = python_address(), numpy_addresses(self._bits)
        self._push = None
        if not (python and words):
            own = np.zeros(2 * WORDS + 4, np.uint32)
            python, words, gauss = (own.ctypes.data + 4 * k for k in (0, WORDS + 1, 2 * WORDS + 2))
            self._push = lambda: _push(own)
        self._fill = bind(
            seed_twisters.build(), self.seed, python, words, gauss, ctypes.addressof(self._found), 1, 0
        )  # fmt: skip


def _push(own: np.ndarray) -> None:
    """Hand both states to their modules."""
    random.setstate((3, (*own[1 : WORDS + 1].tolist(), WORDS), None))
    np.random.set_state(("MT19937", own[WORDS + 1 : 2 * WORDS + 1], WORDS, 0, 0.0))


def kept() -> Callable[[], None]:
    """What puts the global generators back to where they are now."""
    position, following = default_generator.position, _PYTHON.gauss_next
    bits: Any = _NUMPY.get_bit_generator()
    python = python_address()
    words, gauss = numpy_addresses(bits) if isinstance(bits, np.random.MT19937) else (0, 0)
    if not (python and words):
        state, other = random.getstate(), np.random.get_state(legacy=False)

        def by_modules() -> None:
            random.setstate(state)
            np.random.set_state(other)
            default_generator.position = position

        return by_modules
    blocks = [ctypes.string_at(at, _BYTES) for at in (python, words)]
    number = ctypes.string_at(gauss, 16)

    def restore(owner: Any = bits) -> None:  # of the words
        ctypes.memmove(python, blocks[0], _BYTES)
        ctypes.memmove(words, blocks[1], _BYTES)
        ctypes.memmove(gauss, number, 16)
        _PYTHON.gauss_next = following
        default_generator.position = position

    return restore
