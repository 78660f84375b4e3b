"""Elements that only move, as words of up to 16 bytes, as wide as sizes and addresses allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.kernels.cuda.device.ptx import load_vector, store_vector
from tilegrad.kernels.function import DeviceFunction, inline

Sizes = tuple[int, ...]

BYTES = 16  # of the widest access

_load_pair, _store_pair = load_vector(2), store_vector(2)


@inline
def read_pair(p, i):
    """The pair number ``i`` of 8-byte words, in one access."""
    return _load_pair(p, 2 * i)


@inline
def write_pair(p, i, value):
    """The counterpart of :func:`read_pair`."""
    _store_pair(p, 2 * i, value)


@inline
def read_word(p, i):
    """``p[i]``"""
    return p[i]


@inline
def write_word(p, i, value):
    """``p[i] = value``"""
    p[i] = value


def words(width: int) -> tuple[Any, DeviceFunction, DeviceFunction]:
    """(NumPy type, ``read(p, i)``, ``write(p, i, value)``) for elements of ``width`` bytes, 1 to 16."""
    if width == BYTES:
        return np.uint64, read_pair, write_pair
    return np.dtype(f"u{width}").type, read_word, write_word


def word_factors(itemsize: int, sizes: Sizes, *strides: Sizes) -> list[int]:
    """How many elements may move as one word where addresses allow it, most first; the last is 1.

    ``strides``: of operands that are consecutive in the innermost dimension, or 0 all over it.
    """
    factors = []
    factor = BYTES // itemsize
    while factor > 1:
        if sizes[-1] % factor == 0 and all(s % factor == 0 for o in strides for s in o[:-1]):
            factors.append(factor)
        factor //= 2
    return [*factors, 1]


def by_address(
    itemsize: int, factors: list[int], make: Callable[[int], Callable[..., None]]
) -> Callable[[int], Callable[..., None]]:
    """A function of addresses, or-ed: ``make(factor)``, made once, of the first of ``factors``
    whose words lie at multiples of their size.
    """
    built: dict[int, Callable[..., None]] = {}

    def chosen(addresses: int) -> Callable[..., None]:
        factor = next(f for f in factors if addresses & (f * itemsize - 1) == 0)
        found = built.get(factor)
        if found is None:
            found = built[factor] = make(factor)
        return found

    return chosen
