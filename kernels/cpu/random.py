"""Random numbers: every task draws the Philox blocks of its own elements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels import distributions, variates
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, get_num_threads, kernel
from tilegrad.kernels.cpu.simd.memory import pointer, read, write
from tilegrad.kernels.cpu.tuning import Random
from tilegrad.kernels.distributions import distribution
from tilegrad.kernels.function import DeviceFunction, arithmetic, steps
from tilegrad.kernels.philox import philox


@kernel
def draw_blocks(draw: DeviceFunction, dtype: str, elements: int, letter: str) -> Kernel:
    """Fill memory from a distribution.

    Arguments: address of out, seed, first block, two parameters, number of elements, blocks per
    task.
    """
    T = np.uint8 if dtype == "bool" else np.dtype(dtype).type
    P = T if letter == "d" else np.int64
    W = np.uint64

    def fours(task, a0, seed, offset, a, b, total, chunk):
        out = pointer(a0, T)
        first = task * chunk
        key = W(seed)
        whole = min(total // 4, first + chunk)
        for block in range(first, whole):
            w0, w1, w2, w3 = philox(W(offset + block), key)
            v0, v1, v2, v3 = draw(w0, w1, w2, w3, P(a), P(b))
            out[4 * block] = T(v0)
            out[4 * block + 1] = T(v1)
            out[4 * block + 2] = T(v2)
            out[4 * block + 3] = T(v3)
        if whole < first + chunk and 4 * whole < total and whole >= first:
            w0, w1, w2, w3 = philox(W(offset + whole), key)
            v0, v1, v2, _ = draw(w0, w1, w2, w3, P(a), P(b))
            out[4 * whole] = T(v0)
            if 4 * whole + 1 < total:
                out[4 * whole + 1] = T(v1)
            if 4 * whole + 2 < total:
                out[4 * whole + 2] = T(v2)

    def twos(task, a0, seed, offset, a, b, total, chunk):
        out = pointer(a0, T)
        first = task * chunk
        key = W(seed)
        whole = min(total // 2, first + chunk)
        for block in range(first, whole):
            w0, w1, w2, w3 = philox(W(offset + block), key)
            v0, v1 = draw(w0, w1, w2, w3, P(a), P(b))
            out[2 * block] = T(v0)
            out[2 * block + 1] = T(v1)
        if whole < first + chunk and 2 * whole < total and whole >= first:
            w0, w1, w2, w3 = philox(W(offset + whole), key)
            v0, _ = draw(w0, w1, w2, w3, P(a), P(b))
            out[2 * whole] = T(v0)

    body = fours if elements == 4 else twos
    if steps(draw) >= Random.long:
        body = arithmetic(body)
    return body, "iii" + 2 * letter + "ii"


@kernel
def map_blocks(formula: DeviceFunction, dtype: str) -> Kernel:
    """``out[i] = formula(x[i], word i, a, b)``.

    Arguments: addresses of x and out, seed, first block, a (int64), b (of x's type), number of
    elements, blocks per task.
    """
    T = np.dtype(dtype).type
    W = np.uint64

    def map_body(task, a0, a1, seed, offset, a, b, total, chunk):
        x, out = pointer(a0, T), pointer(a1, T)
        first = task * chunk
        key = W(seed)
        whole = min(total // 4, first + chunk)
        for block in range(first, whole):
            w0, w1, w2, w3 = philox(W(offset + block), key)
            i = 4 * block
            v0 = T(formula(read(x, i), w0, a, T(b)))
            v1 = T(formula(read(x, i + 1), w1, a, T(b)))
            v2 = T(formula(read(x, i + 2), w2, a, T(b)))
            v3 = T(formula(read(x, i + 3), w3, a, T(b)))
            write(out, i, v0)
            write(out, i + 1, v1)
            write(out, i + 2, v2)
            write(out, i + 3, v3)
        if whole < first + chunk and 4 * whole < total and whole >= first:
            w0, w1, w2, w3 = philox(W(offset + whole), key)
            i = 4 * whole
            out[i] = T(formula(x[i], w0, a, T(b)))
            if i + 1 < total:
                out[i + 1] = T(formula(x[i + 1], w1, a, T(b)))
            if i + 2 < total:
                out[i + 2] = T(formula(x[i + 2], w2, a, T(b)))

    return map_body, "iiiiidii"


@kernel
def map_variates(sampler: DeviceFunction, dtype: str) -> Kernel:
    """``out[i] = sampler(x[i], y[i], block i, seed)``.

    Arguments: addresses of x, y and out, seed, first block, number of elements, elements per task.
    """
    T = np.dtype(dtype).type
    W = np.uint64

    def variates(task, a0, a1, a2, seed, offset, total, chunk):
        x, y, out = pointer(a0, T), pointer(a1, T), pointer(a2, T)
        first = task * chunk
        key = W(seed)
        for i in range(first, min(total, first + chunk)):
            block = W(offset + i)
            out[i] = T(sampler(np.float64(x[i]), np.float64(y[i]), block, key))

    return variates, "iiiiiii"


def draw(name: str, dtype: str, total: int) -> tuple[Callable[..., None], int]:
    """A launch ``(out, seed, offset, a, b)`` that draws ``total`` elements, and the blocks it uses."""
    row = distribution(name, dtype)
    blocks = -(-total // row.elements)
    if total == 0:
        return lambda *args: None, 0
    function = draw_blocks.build(row.draw, dtype, row.elements, row.letter)
    chunk, tasks = splitting.share(blocks, 1, Random.grain, Random.tasks)

    def launch(out: int, seed: int, offset: int, a: float, b: float) -> None:
        threads = get_num_threads() if tasks > 1 else 0
        function(out, seed, offset, a, b, total, chunk, tasks, threads)

    return launch, blocks


def _mapped(formula: DeviceFunction, dtype: str, total: int) -> Callable[..., None]:
    if total == 0:
        return lambda *args: None
    function = map_blocks.build(formula, dtype)
    chunk, tasks = splitting.share(-(-total // 4), 1, Random.grain, Random.tasks)

    def launch(x: int, out: int, seed: int, offset: int, a: int, b: float) -> None:
        threads = get_num_threads() if tasks > 1 else 0
        function(x, out, seed, offset, a, b, total, chunk, tasks, threads)

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
    function = map_variates.build(variates.TABLE[name], dtype)
    chunk, tasks = splitting.share(total, 1, Random.variates, Random.tasks)

    def launch(x: int, y: int, out: int, seed: int, offset: int) -> None:
        threads = get_num_threads() if tasks > 1 else 0
        function(x, y, out, seed, offset, total, chunk, tasks, threads)

    return launch
