"""Softmax and its logarithm along one dimension, and their backward passes.

``rows`` kernels take lines of adjacent elements, ``columns`` kernels adjacent lines. Both find the
largest element first, so that no exponential overflows, and read each line two or three times
while it is in the cache. All arrays are row-major, of shape (outer, n, inner); rows have inner 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.jit import KernelFactory, bind, kernel
from tilegrad.kernels.cpu.memory import local, pointer, read, write
from tilegrad.kernels.cpu.threads import get_num_threads
from tilegrad.kernels.cpu.vector import (
    fma,
    head,
    hmax,
    hsum,
    lanes,
    load,
    load_masked,
    splat,
    store,
    store_masked,
)
from tilegrad.kernels.formulas.transcendental import exp, log
from tilegrad.kernels.function import inline
from tilegrad.kernels.monoids import larger

GRAIN = 1 << 13  # elements a task handles at least; fewer in all: no threads
TASKS = 64
COLUMNS = 128  # lines a column task takes together


def row_pieces(dtype: str):  # type: ignore[no-untyped-def]
    """Inline functions on ``n`` elements from ``x[at]``: ``(highest, sum of e^(x - c))``."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    low = T(-np.inf)

    @inline
    def highest(x, at, n):  # type: ignore[no-untyped-def]
        a, b = splat(low), splat(low)
        i = 0
        while i + 2 * W <= n:
            a = larger(a, load(x, at + i))
            b = larger(b, load(x, at + i + W))
            i += 2 * W
        while i < n:
            a = larger(a, load_masked(x, at + i, head(T, n - i), splat(low)))
            i += W
        return hmax(larger(a, b))

    @inline
    def sum_exp(x, at, n, c):  # type: ignore[no-untyped-def]
        center = splat(c)
        a, b = splat(T(0)), splat(T(0))
        i = 0
        while i + 2 * W <= n:
            a = a + exp(load(x, at + i) - center)
            b = b + exp(load(x, at + i + W) - center)
            i += 2 * W
        while i < n:
            a = a + exp(load_masked(x, at + i, head(T, n - i), splat(low)) - center)
            i += W
        return hsum(a + b)

    return highest, sum_exp


@kernel
def softmax_rows(dtype: str, logs: bool):  # type: ignore[no-untyped-def]
    """``e^(x - max) / sum``, or ``(x - max) - log(sum)``."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    highest, sum_exp = row_pieces(dtype)
    low = T(-np.inf)

    @inline
    def plain(x, y, at, n):  # type: ignore[no-untyped-def]
        center = splat(highest(x, at, n))
        a, b = splat(T(0)), splat(T(0))
        i = 0
        while i + 2 * W <= n:
            e, f = exp(load(x, at + i) - center), exp(load(x, at + i + W) - center)
            store(y, at + i, e)
            store(y, at + i + W, f)
            a, b = a + e, b + f
            i += 2 * W
        while i < n:
            mask = head(T, n - i)
            e = exp(load_masked(x, at + i, mask, splat(low)) - center)
            store_masked(y, at + i, e, mask)
            a = a + e
            i += W
        factor = splat(T(1) / hsum(a + b))
        i = 0
        while i + W <= n:
            store(y, at + i, load(y, at + i) * factor)
            i += W
        if i < n:
            mask = head(T, n - i)
            store_masked(y, at + i, load_masked(y, at + i, mask, factor) * factor, mask)

    @inline
    def logarithmic(x, y, at, n):  # type: ignore[no-untyped-def]
        top = highest(x, at, n)
        center, shift = splat(top), splat(log(sum_exp(x, at, n, top)))
        i = 0
        while i + W <= n:
            store(y, at + i, load(x, at + i) - center - shift)
            i += W
        if i < n:
            mask = head(T, n - i)
            store_masked(y, at + i, load_masked(x, at + i, mask, center) - center - shift, mask)

    row = logarithmic if logs else plain

    def body(task, x, y, rows, per, n):  # type: ignore[no-untyped-def]
        source, target = pointer(x, T), pointer(y, T)
        for r in range(task * per, min(rows, (task + 1) * per)):
            row(source, target, r * n, n)

    return body, "iiiii"


@kernel
def softmax_columns(dtype: str, logs: bool):  # type: ignore[no-untyped-def]
    """As :func:`softmax_rows`; a unit is up to ``COLUMNS`` adjacent lines."""
    T = np.dtype(dtype).type
    low, block = T(-np.inf), COLUMNS
    tops, sums, shifts = local(dtype, COLUMNS), local("float64", COLUMNS), local(dtype, COLUMNS)

    def body(task, x, y, units, per, n, inner):  # type: ignore[no-untyped-def]
        source, target = pointer(x, T), pointer(y, T)
        top, total, shift = tops(), sums(), shifts()
        blocks = (inner + block - 1) // block
        for unit in range(task * per, min(units, (task + 1) * per)):
            outer = unit // blocks
            column = (unit - outer * blocks) * block
            size = min(block, inner - column)
            at = outer * n * inner + column
            for j in range(size):
                top[j] = low
                total[j] = 0.0
            for i in range(n):
                for j in range(size):
                    top[j] = larger(top[j], read(source, at + i * inner + j))
            for i in range(n):
                for j in range(size):
                    e = exp(read(source, at + i * inner + j) - top[j])
                    total[j] += e
                    if not logs:
                        write(target, at + i * inner + j, e)
            for j in range(size):
                shift[j] = log(T(total[j])) if logs else T(1.0 / total[j])
            for i in range(n):
                for j in range(size):
                    q = at + i * inner + j
                    if logs:
                        write(target, q, read(source, q) - top[j] - shift[j])
                    else:
                        target[q] = target[q] * shift[j]

    return body, "iiiiii"


@kernel
def backward_rows(dtype: str, logs: bool):  # type: ignore[no-untyped-def]
    """``y (g - sum(g y))``; for the logarithm ``g - e^y sum(g)``."""
    T, W = np.dtype(dtype).type, lanes(dtype)

    @inline
    def weighed(g, y):  # type: ignore[no-untyped-def]
        return g if logs else g * y

    @inline
    def slope(g, y, total):  # type: ignore[no-untyped-def]
        return fma(-exp(y), total, g) if logs else y * (g - total)

    def body(task, g, y, out, rows, per, n):  # type: ignore[no-untyped-def]
        grad, value, target = pointer(g, T), pointer(y, T), pointer(out, T)
        zero = splat(T(0))
        for r in range(task * per, min(rows, (task + 1) * per)):
            at = r * n
            end = at + n
            a, b = zero, zero
            i = at
            while i + 2 * W <= end:
                a = a + weighed(load(grad, i), load(value, i))
                b = b + weighed(load(grad, i + W), load(value, i + W))
                i += 2 * W
            while i < end:
                mask = head(T, end - i)
                part = load_masked(grad, i, mask, zero)
                a = a + weighed(part, load_masked(value, i, mask, zero))
                i += W
            total = splat(hsum(a + b))
            i = at
            while i + W <= end:
                store(target, i, slope(load(grad, i), load(value, i), total))
                i += W
            if i < end:
                mask = head(T, end - i)
                part = load_masked(grad, i, mask, zero)
                held = load_masked(value, i, mask, zero)
                store_masked(target, i, slope(part, held, total), mask)

    return body, "iiiiii"


@kernel
def backward_columns(dtype: str, logs: bool):  # type: ignore[no-untyped-def]
    """As :func:`backward_rows`; a unit is up to ``COLUMNS`` adjacent lines."""
    T, block = np.dtype(dtype).type, COLUMNS
    sums, totals = local("float64", COLUMNS), local(dtype, COLUMNS)

    def body(task, g, y, out, units, per, n, inner):  # type: ignore[no-untyped-def]
        grad, value, target = pointer(g, T), pointer(y, T), pointer(out, T)
        wide, total = sums(), totals()
        blocks = (inner + block - 1) // block
        for unit in range(task * per, min(units, (task + 1) * per)):
            outer = unit // blocks
            column = (unit - outer * blocks) * block
            size = min(block, inner - column)
            at = outer * n * inner + column
            for j in range(size):
                wide[j] = 0.0
            for i in range(n):
                for j in range(size):
                    q = at + i * inner + j
                    wide[j] += read(grad, q) if logs else read(grad, q) * read(value, q)
            for j in range(size):
                total[j] = T(wide[j])
            for i in range(n):
                for j in range(size):
                    q = at + i * inner + j
                    d, v = read(grad, q), read(value, q)
                    write(target, q, d - exp(v) * total[j] if logs else v * (d - total[j]))

    return body, "iiiiiii"


def softmax(dtype: str, logs: bool, outer: int, n: int, inner: int) -> Callable[..., None]:
    """A launch ``(x, y)`` of softmax (``logs``: its logarithm) over the middle dimension."""
    kernels = (softmax_rows, softmax_columns)
    return _shared(kernels, (dtype, logs), outer, n, inner)


def softmax_backward(dtype: str, logs: bool, outer: int, n: int, inner: int) -> Callable[..., None]:
    """A launch ``(g, y, out)``: the gradient of softmax's input, given that of its result ``y``."""
    kernels = (backward_rows, backward_columns)
    return _shared(kernels, (dtype, logs), outer, n, inner)


def _shared(
    kernels: tuple[KernelFactory, KernelFactory],
    variant: tuple[str, bool],
    outer: int,
    n: int,
    inner: int,
) -> Callable[..., None]:
    """Rows or columns, shared out so that a task has enough to do."""
    if outer * n * inner == 0:
        return lambda *addresses: None
    by_rows = inner == 1
    units = outer if by_rows else outer * -(-inner // COLUMNS)
    work = n if by_rows else n * min(inner, COLUMNS)
    per = max(1, GRAIN // work, -(-units // TASKS))
    tasks = -(-units // per)
    function = kernels[not by_rows].build(*variant)
    sizes = (units, per, n) if by_rows else (units, per, n, inner)
    if tasks == 1:
        return bind(function, *sizes, 1, 0)
    return lambda *addresses: function(*addresses, *sizes, tasks, get_num_threads())
