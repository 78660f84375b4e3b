"""Softmax and its logarithm along one dimension, and their backward passes.

``rows`` kernels take lines of adjacent elements, ``columns`` kernels adjacent lines. Both find the
largest element first, so that no exponential overflows, and read each line two or three times
while it is in the cache. All arrays are row-major, of shape (outer, n, inner); rows have inner 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, KernelFactory, backward_follows, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import local, pointer
from tilegrad.kernels.cpu.simd.vector import (
    accumulate,
    fma,
    head,
    hmax,
    hsum,
    lanes,
    load,
    load_masked,
    select,
    splat,
    store,
    store_masked,
)
from tilegrad.kernels.cpu.tuning import Softmax
from tilegrad.kernels.formulas.transcendental import exp_decay, log
from tilegrad.kernels.function import DeviceFunction, inline


@inline
def peak(x, top):
    """max(x, top) of vectors, one instruction; NaN in ``x`` is ignored, as its
    exponential is NaN in the sum anyway.
    """
    return select(x > top, x, top)


def row_pieces(dtype: str) -> tuple[DeviceFunction, ...]:
    """Inline functions on ``n`` elements from ``x[at]``: ``(highest, sum of e^(x - c), c >= x)``."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    low = T(-np.inf)

    @inline
    def highest(x, at, n):
        a, b, c, d = splat(low), splat(low), splat(low), splat(low)
        i = 0
        while i + 4 * W <= n:
            a = peak(load(x, at + i), a)
            b = peak(load(x, at + i + W), b)
            c = peak(load(x, at + i + 2 * W), c)
            d = peak(load(x, at + i + 3 * W), d)
            i += 4 * W
        while i < n:
            a = peak(load_masked(x, at + i, head(T, n - i), splat(low)), a)
            i += W
        return hmax(peak(peak(a, b), peak(c, d)))

    @inline
    def sum_exp(x, at, n, c):
        center = splat(c)
        a, b = splat(T(0)), splat(T(0))
        i = 0
        while i + 2 * W <= n:
            a = a + exp_decay(load(x, at + i) - center)
            b = b + exp_decay(load(x, at + i + W) - center)
            i += 2 * W
        while i < n:
            a = a + exp_decay(load_masked(x, at + i, head(T, n - i), splat(low)) - center)
            i += W
        return hsum(a + b)

    return highest, sum_exp


@kernel
def softmax_rows(dtype: str, logs: bool) -> Kernel:
    """``e^(x - max) / sum``, or ``(x - max) - log(sum)``."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    highest, sum_exp = row_pieces(dtype)
    low = T(-np.inf)

    @inline
    def store_exp(x, y, q, mask, top):
        e = exp_decay(load_masked(x, q, mask, splat(low)) - splat(top))
        store_masked(y, q, e, mask)
        return e

    @inline
    def result(x, y, q, mask, top, shift):
        if logs:
            v = load_masked(x, q, mask, splat(low)) - splat(top) - splat(shift)
        else:
            v = load_masked(y, q, mask, splat(low)) * splat(shift)
        store_masked(y, q, v, mask)

    def body(task, x, y, rows, per, n):
        source, target = pointer(x, T), pointer(y, T)
        every, rest, odd = head(T, W), head(T, n % W), n % (2 * W) >= W
        for r in range(task * per, min(rows, (task + 1) * per)):
            at = r * n
            last = at + n - n % W
            top = highest(source, at, n)
            if logs:
                shift = log(sum_exp(source, at, n, top))
            else:
                a, b = splat(T(0)), splat(T(0))
                for q in range(at, last - W, 2 * W):
                    a = a + store_exp(source, target, q, every, top)
                    b = b + store_exp(source, target, q + W, every, top)
                if odd:
                    a = a + store_exp(source, target, last - W, every, top)
                if n % W:
                    b = b + store_exp(source, target, last, rest, top)
                shift = T(1) / hsum(a + b)
            for q in range(at, last, W):
                result(source, target, q, every, top, shift)
            if n % W:
                result(source, target, last, rest, top, shift)

    return body, "iiiii"


def column_runs(dtype: str, step: DeviceFunction) -> DeviceFunction:
    """``run(rows, sums, size, args)``: ``size`` accumulators from ``sums[0]`` on go down ``rows`` rows as
    ``sum = step(sum, i, j, mask, *args)``, vectors of which ``mask`` says the lanes in use.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    group, together, single = Softmax.together * W, accumulate(Softmax.together), accumulate(1)

    @inline
    def run(rows, sums, size, args):
        whole, last = size - size % group, size - size % W
        for j in range(0, whole, group):
            together(step, rows, sums, j, (head(T, W), *args))
        for j in range(whole, last, W):
            single(step, rows, sums, j, (head(T, W), *args))
        if last < size:
            single(step, rows, sums, last, (head(T, size - last), *args))

    return run


@kernel
def softmax_columns(dtype: str, logs: bool) -> Kernel:
    """As :func:`softmax_rows`; a unit is a block of adjacent lines."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    low, block, flush = T(-np.inf), Softmax.columns, Softmax.flush
    line, wide = local(dtype, Softmax.columns), local("float64", Softmax.columns)

    @inline
    def running_max(top, i, j, mask, x, at, inner):
        return peak(load_masked(x, at + i * inner + j, mask, splat(low)), top)

    @inline
    def add_exp(part, i, j, mask, x, y, at, inner, top):
        q = at + i * inner + j
        e = exp_decay(load_masked(x, q, mask, splat(low)) - load(top, j))
        if not logs:
            store_masked(y, q, e, mask)
        return part + e

    @inline
    def result(x, y, q, mask, top, shift, j):
        if logs:
            v = load_masked(x, q + j, mask, splat(low)) - load(top, j) - load(shift, j)
        else:
            v = load_masked(y, q + j, mask, splat(low)) * load(shift, j)
        store_masked(y, q + j, v, mask)

    run_max, run_exp = column_runs(dtype, running_max), column_runs(dtype, add_exp)

    def body(task, x, y, units, per, n, inner):
        source, target = pointer(x, T), pointer(y, T)
        top, part, shift, total = line(), line(), line(), wide()
        blocks = (inner + block - 1) // block
        every = head(T, W)
        for unit in range(task * per, min(units, (task + 1) * per)):
            outer = unit // blocks
            column = (unit - outer * blocks) * block
            size = min(block, inner - column)
            at = outer * n * inner + column
            last, rest = size - size % W, head(T, size % W)
            for j in range(0, size, W):
                store(top, j, splat(low))
                store(part, j, splat(T(0)))
            for j in range(size):
                total[j] = 0.0
            run_max(n, top, size, (source, at, inner))
            for i in range(0, n, flush):
                rows = min(flush, n - i)
                run_exp(rows, part, size, (source, target, at + i * inner, inner, top))
                for j in range(size):
                    total[j] += part[j]
                    part[j] = T(0)
            for j in range(size):
                shift[j] = log(T(total[j])) if logs else T(1.0 / total[j])
            for i in range(n):
                for j in range(0, last, W):
                    result(source, target, at + i * inner, every, top, shift, j)
                if last < size:
                    result(source, target, at + i * inner, rest, top, shift, last)

    return body, "iiiiii"


def gradient_functions(dtype: str, logs: bool) -> tuple[DeviceFunction, ...]:
    """Inline functions on vectors: what a line's ``total`` sums, and the gradient from it."""

    @inline
    def weighed(g, y):
        return g if logs else g * y

    @inline
    def grad_input(g, y, total):
        return fma(-exp_decay(y), total, g) if logs else y * (g - total)

    return weighed, grad_input


@kernel
def backward_rows(dtype: str, logs: bool) -> Kernel:
    """``y (g - sum(g y))``; for the logarithm ``g - e^y sum(g)``."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    weighed, grad_input = gradient_functions(dtype, logs)

    @inline
    def term(g, y, q, mask):
        zero = splat(T(0))
        return weighed(load_masked(g, q, mask, zero), load_masked(y, q, mask, zero))

    @inline
    def result(g, y, out, q, mask, total):
        zero = splat(T(0))
        part, held = load_masked(g, q, mask, zero), load_masked(y, q, mask, zero)
        store_masked(out, q, grad_input(part, held, splat(total)), mask)

    def body(task, g, y, out, rows, per, n):
        grad, value, target = pointer(g, T), pointer(y, T), pointer(out, T)
        every, rest, odd = head(T, W), head(T, n % W), n % (2 * W) >= W
        for r in range(task * per, min(rows, (task + 1) * per)):
            at = r * n
            last = at + n - n % W
            a, b = splat(T(0)), splat(T(0))
            for q in range(at, last - W, 2 * W):
                a = a + term(grad, value, q, every)
                b = b + term(grad, value, q + W, every)
            if odd:
                a = a + term(grad, value, last - W, every)
            if n % W:
                b = b + term(grad, value, last, rest)
            total = hsum(a + b)
            for q in range(at, last, W):
                result(grad, value, target, q, every, total)
            if n % W:
                result(grad, value, target, last, rest, total)

    return body, "iiiiii"


@kernel
def backward_columns(dtype: str, logs: bool) -> Kernel:
    """As :func:`backward_rows`; a unit is a block of adjacent lines."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    weighed, grad_input = gradient_functions(dtype, logs)
    block, flush = Softmax.columns, Softmax.flush
    line, wide = local(dtype, Softmax.columns), local("float64", Softmax.columns)

    @inline
    def term(part, i, j, mask, g, y, at, inner):
        q, zero = at + i * inner + j, splat(T(0))
        return part + weighed(load_masked(g, q, mask, zero), load_masked(y, q, mask, zero))

    @inline
    def result(g, y, out, q, mask, total, j):
        zero = splat(T(0))
        piece, held = load_masked(g, q + j, mask, zero), load_masked(y, q + j, mask, zero)
        store_masked(out, q + j, grad_input(piece, held, load(total, j)), mask)

    run_term = column_runs(dtype, term)

    def body(task, g, y, out, units, per, n, inner):
        grad, value, target = pointer(g, T), pointer(y, T), pointer(out, T)
        part, total, sums = line(), line(), wide()
        blocks = (inner + block - 1) // block
        every = head(T, W)
        for unit in range(task * per, min(units, (task + 1) * per)):
            outer = unit // blocks
            column = (unit - outer * blocks) * block
            size = min(block, inner - column)
            at = outer * n * inner + column
            last, rest = size - size % W, head(T, size % W)
            for j in range(0, size, W):
                store(part, j, splat(T(0)))
            for j in range(size):
                sums[j] = 0.0
            for i in range(0, n, flush):
                run_term(min(flush, n - i), part, size, (grad, value, at + i * inner, inner))
                for j in range(size):
                    sums[j] += part[j]
                    part[j] = T(0)
            for j in range(size):
                total[j] = T(sums[j])
            for i in range(n):
                for j in range(0, last, W):
                    result(grad, value, target, at + i * inner, every, total, j)
                if last < size:
                    result(grad, value, target, at + i * inner, rest, total, last)

    return body, "iiiiiii"


def softmax(dtype: str, logs: bool, outer: int, n: int, inner: int) -> Callable[..., None]:
    """A launch ``(x, y)`` of softmax (``logs``: its logarithm) over the middle dimension."""
    kernels = (softmax_rows, softmax_columns)
    if backward_follows() and outer * n * inner:
        (backward_rows, backward_columns)[inner != 1].begin(dtype, logs)
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
    units = outer if by_rows else outer * -(-inner // Softmax.columns)
    work = n if by_rows else n * min(inner, Softmax.columns)
    per, tasks = splitting.share(units, work, Softmax.grain, Softmax.tasks)
    function = kernels[not by_rows].build(*variant)
    sizes = (units, per, n) if by_rows else (units, per, n, inner)
    return bind(function, *sizes, tasks, TEAM if tasks > 1 else 0)
