"""Random numbers: every thread draws Philox blocks and writes the elements they give.

Which block an element gets depends on its place alone (:mod:`tilegrad.kernels.philox`), so the bits
are those of the CPU, but for the last ones of a logarithm or a cosine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels import distributions, variates
from tilegrad.kernels.cuda.device.ptx import (
    block,
    blocks,
    load_vector,
    pointer,
    store_vector,
    thread,
)
from tilegrad.kernels.cuda.run.jit import Source, blocks_for, kernel
from tilegrad.kernels.cuda.tuning import grid
from tilegrad.kernels.distributions import distribution
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.philox import philox

BYTES = 16  # of the widest access


def _fours(itemsize: int) -> tuple[DeviceFunction, DeviceFunction]:
    """``load(p, i)`` and ``store(p, i, values)`` of four elements, by accesses of up to 16 bytes."""
    load, store = load_vector(4), store_vector(4)
    load_two, store_two = load_vector(2), store_vector(2)

    @inline
    def load_whole(p, i):
        return load(p, i)

    @inline
    def store_whole(p, i, v):
        store(p, i, v)

    @inline
    def load_halves(p, i):
        a, b = load_two(p, i), load_two(p, i + 2)
        return a[0], a[1], b[0], b[1]

    @inline
    def store_halves(p, i, v):
        store_two(p, i, (v[0], v[1]))
        store_two(p, i + 2, (v[2], v[3]))

    return (load_whole, store_whole) if 4 * itemsize <= BYTES else (load_halves, store_halves)


@kernel
def draw_blocks(
    draw: DeviceFunction, dtype: str, elements: int, letter: str, threads: int
) -> Source:
    """Fill memory from a distribution, a Philox block per thread at a time.

    Parameters: out, seed, first block, two parameters of the distribution, number of elements.
    """
    T = np.dtype("uint8" if dtype == "bool" else dtype).type
    P = T if letter == "d" else np.int64
    W = np.uint64
    mask = min(BYTES, elements * np.dtype(T).itemsize) - 1
    _, store_four = _fours(np.dtype(T).itemsize)
    store_two = store_vector(2)

    def fours(a0, seed, offset, a, b, total):
        out = pointer(a0, T)
        key = W(np.int64(seed))
        number = block() * threads + thread()
        while 4 * number < total:
            w0, w1, w2, w3 = philox(W(offset + number), key)
            v0, v1, v2, v3 = draw(w0, w1, w2, w3, P(a), P(b))
            i = 4 * number
            if i + 3 < total and a0 & mask == 0:
                store_four(out, i, (T(v0), T(v1), T(v2), T(v3)))
            else:
                out[i] = T(v0)
                if i + 1 < total:
                    out[i + 1] = T(v1)
                if i + 2 < total:
                    out[i + 2] = T(v2)
                if i + 3 < total:
                    out[i + 3] = T(v3)
            number += blocks() * threads

    def twos(a0, seed, offset, a, b, total):
        out = pointer(a0, T)
        key = W(np.int64(seed))
        number = block() * threads + thread()
        while 2 * number < total:
            w0, w1, w2, w3 = philox(W(offset + number), key)
            v0, v1 = draw(w0, w1, w2, w3, P(a), P(b))
            i = 2 * number
            if i + 1 < total and a0 & mask == 0:
                store_two(out, i, (T(v0), T(v1)))
            else:
                out[i] = T(v0)
                if i + 1 < total:
                    out[i + 1] = T(v1)
            number += blocks() * threads

    return Source(fours if elements == 4 else twos, "iii" + 2 * letter + "i", threads)


@kernel
def map_blocks(formula: DeviceFunction, dtype: str, threads: int) -> Source:
    """``out[i] = formula(x[i], word i, a, b)``, four elements and their block per thread at a time.

    Parameters: x, out, seed, first block, a (int64), b (of x's type), number of elements.
    """
    T = np.dtype(dtype).type
    W = np.uint64
    mask = BYTES - 1
    load, store = _fours(np.dtype(T).itemsize)

    def map_body(a0, a1, seed, offset, a, b, total):
        x, out = pointer(a0, T), pointer(a1, T)
        key, scale = W(np.int64(seed)), T(b)
        number = block() * threads + thread()
        while 4 * number < total:
            i = 4 * number
            w0, w1, w2, w3 = philox(W(offset + number), key)
            if i + 3 < total and (a0 | a1) & mask == 0:
                v = load(x, i)
                v0, v1 = T(formula(v[0], w0, a, scale)), T(formula(v[1], w1, a, scale))
                v2, v3 = T(formula(v[2], w2, a, scale)), T(formula(v[3], w3, a, scale))
                store(out, i, (v0, v1, v2, v3))
            else:
                out[i] = T(formula(x[i], w0, a, scale))
                if i + 1 < total:
                    out[i + 1] = T(formula(x[i + 1], w1, a, scale))
                if i + 2 < total:
                    out[i + 2] = T(formula(x[i + 2], w2, a, scale))
                if i + 3 < total:
                    out[i + 3] = T(formula(x[i + 3], w3, a, scale))
            number += blocks() * threads

    return Source(map_body, "iiiiidi", threads)


@kernel
def map_variates(sampler: DeviceFunction, dtype: str, threads: int) -> Source:
    """``out[i] = sampler(x[i], y[i], block i, seed)``, an element per thread at a time.

    Parameters: x, y, out, seed, first block, number of elements.
    """
    T = np.dtype(dtype).type
    W = np.uint64

    def variates_body(a0, a1, a2, seed, offset, total):
        x, y, out = pointer(a0, T), pointer(a1, T), pointer(a2, T)
        key = W(np.int64(seed))
        i = block() * threads + thread()
        while i < total:
            out[i] = T(sampler(np.float64(x[i]), np.float64(y[i]), W(offset + i), key))
            i += blocks() * threads

    return Source(variates_body, "iiiiii", threads)


def draw(name: str, dtype: str, total: int) -> tuple[Callable[..., None], int]:
    """A launch ``(out, seed, offset, a, b)`` that draws ``total`` elements, and the blocks it uses."""
    row = distribution(name, dtype)
    count = -(-total // row.elements)
    if total == 0:
        return lambda *args: None, 0
    chosen = grid("random", dtype)
    threads = chosen.bounds.threads
    function = draw_blocks.build(row.draw, dtype, row.elements, row.letter, threads)
    where = blocks_for(count, threads, chosen.blocks)

    def launch(out: int, seed: int, offset: int, a: float, b: float) -> None:
        function(out, seed, offset, a, b, total, where, 1, 1)

    return launch, count


def _mapped(formula: DeviceFunction, dtype: str, total: int) -> Callable[..., None]:
    if total == 0:
        return lambda *args: None
    chosen = grid("random", dtype)
    function = map_blocks.build(formula, dtype, chosen.bounds.threads)
    where = blocks_for(-(-total // 4), chosen.bounds.threads, chosen.blocks)

    def launch(x: int, out: int, seed: int, offset: int, a: int, b: float) -> None:
        function(x, out, seed, offset, a, b, total, where, 1, 1)

    return launch


def dropout(dtype: str, total: int) -> Callable[..., None]:
    """A launch ``(x, out, seed, offset, threshold, scale)``; a block of words per four elements."""
    return _mapped(distributions.dropout, dtype, total)


def bernoulli_of(dtype: str, total: int) -> Callable[..., None]:
    """A launch ``(p, out, seed, offset, 0, 0.0)``; a block of words per four elements."""
    return _mapped(distributions.bernoulli_of, dtype, total)


def variates_of(name: str, dtype: str, total: int) -> Callable[..., None]:
    """A launch ``(x, y, out, seed, offset)`` of a sampler of :mod:`tilegrad.kernels.variates`; a block of
    words per element.
    """
    if total == 0:
        return lambda *args: None
    chosen = grid("random", dtype)
    function = map_variates.build(variates.TABLE[name], dtype, chosen.bounds.threads)
    where = blocks_for(total, chosen.bounds.threads, chosen.blocks)

    def launch(x: int, y: int, out: int, seed: int, offset: int) -> None:
        function(x, y, out, seed, offset, total, where, 1, 1)

    return launch
