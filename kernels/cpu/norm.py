"""Normalisation of rows: layer, group, instance and root-mean-square norm.

A row is ``n`` adjacent elements that share a mean and a variance. The scale is either one weight per
element of the row, or one per channel, a run of ``S`` elements; row ``r`` belongs to group
``r % groups``, which has the channels ``r % groups * (n / S)`` onward. Weight and bias may be null.

The mean comes first and the squares about it second, both while the row is in the cache. The
deviations from the first mean also correct it (by ``low``), so that a large mean costs no digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.parts.reduce_runs import float_run
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, backward_follows, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import local, pointer
from tilegrad.kernels.cpu.simd.vector import (
    fma,
    head,
    hsum,
    lanes,
    load,
    load_masked,
    splat,
    store,
    store_masked,
)
from tilegrad.kernels.cpu.tuning import Norm
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.plans import with_absent


class Rows(NamedTuple):
    """Rows of ``n`` elements, ``per`` a task; ``S`` and ``groups`` as :func:`row_norm` has them."""

    rows: int
    per: int
    n: int
    S: int
    groups: int


class _Row(NamedTuple):
    """A row in a kernel: its first element, its statistics, and which of weight (1) and bias or
    parts (2) there are.
    """

    at: int
    n: int
    mean: float
    low: float
    rstd: float
    has: int


def _row_scaler(dtype: str) -> DeviceFunction:
    """The device function ``elements(x, y, row, weights, biases)``: a row with a weight per element."""
    T, W = np.dtype(dtype).type, lanes(dtype)

    @inline
    def part(x, y, i, mask, row, weights, biases):
        rs = T(row.rstd)
        center, scale, extra = splat(row.mean), splat(rs), splat(T(row.rstd - rs))
        shift = splat(-row.low * rs)
        d = load_masked(x, row.at + i, mask, center) - center
        v = fma(d, scale, fma(d, extra, shift))
        if row.has & 1:
            v = v * load_masked(weights, i, mask, center)
        if row.has & 2:
            v = v + load_masked(biases, i, mask, center)
        store_masked(y, row.at + i, v, mask)

    @inline
    def elements(x, y, row, weights, biases):
        whole = row.n - row.n % W
        for i in range(0, whole, W):
            part(x, y, i, head(T, W), row, weights, biases)
        if whole < row.n:
            part(x, y, whole, head(T, row.n - whole), row, weights, biases)

    return elements


@kernel
def forward(dtype: str, centred: bool, channels: bool) -> Kernel:
    """``(x - mean) / sqrt(var + eps) * weight + bias``; not ``centred``: with 0 for the mean."""
    T = np.dtype(dtype).type
    total, deviations = float_run("sum", dtype, "lanes", "c"), deviation_run(dtype)
    apply, elements = scale_run(dtype), _row_scaler(dtype)
    together, held = Norm.together, Norm.held
    centers, shifts, scales = (
        local(dtype, together),
        local(dtype, together),
        local("float64", together),
    )

    def body(task, x, weight, bias, y, mean, rstd, eps, p):
        n, S = p.n, p.S
        source, made = pointer(x, T), pointer(y, T)
        weights, biases = pointer(weight, T), pointer(bias, T)
        means, rstds = pointer(mean, T), pointer(rstd, T)
        has = (weight != 0) + 2 * (bias != 0)
        share = 1.0 / n
        center, shift, scale = centers(), shifts(), scales()
        # short rows step by step together: alone, each would wait for its sums, root and division
        group = max(1, min(together, held // max(n, 1)))
        end = min(p.rows, (task + 1) * p.per)
        for first in range(task * p.per, end, group):
            count = min(group, end - first)
            if centred:
                for k in range(count):
                    center[k] = T(total(source, (first + k) * n, n, 1, T(0), T(0)) * share)
            for k in range(count):
                m = center[k] if centred else T(0)
                rest, square = deviations(source, (first + k) * n, n, m)
                low = T(rest * share) if centred else T(0)
                if centred:
                    means[first + k] = m + low
                rs = 1.0 / math.sqrt(variance(square * share, low) + eps)
                rstds[first + k] = T(rs)
                shift[k] = low
                scale[k] = rs
            for k in range(count):
                r = first + k
                at, m, low, rs = r * n, center[k] if centred else T(0), shift[k], scale[k]
                if channels:
                    of_row = r % p.groups * (n // S)
                    for c in range(n // S):
                        w = weights[of_row + c] * rs if has & 1 else rs
                        b = biases[of_row + c] if has & 2 else T(0)
                        apply(source, made, at + c * S, S, m, low, w, b)
                else:
                    elements(source, made, _Row(at, n, m, low, rs, has), weights, biases)

    return body, ("iiiiiid", Rows)


@inline
def variance(square, low):
    """The mean square about the mean, from that about a number ``low`` below it."""
    return max(square - low * low, 0.0) if square == square else square


def deviation_run(dtype: str) -> DeviceFunction:
    """``deviations(x, at, n, m)``: the sums of ``x - m`` and of its squares over a run of ``n``."""
    T, W = np.dtype(dtype).type, lanes(dtype)

    @inline
    def deviations(x, at, n, m):
        zero, center = splat(T(0)), splat(m)
        total, square = 0.0, 0.0
        i = 0
        while i < n:
            end = min(n, i + 128 * W)
            a, b, s, t = zero, zero, zero, zero
            while i + 2 * W <= end:
                d, e = load(x, at + i) - center, load(x, at + i + W) - center
                a, b = a + d, b + e
                s, t = fma(d, d, s), fma(e, e, t)
                i += 2 * W
            while i < end:
                d = load_masked(x, at + i, head(T, end - i), center) - center
                a, s = a + d, fma(d, d, s)
                i += W
            i = end
            total += hsum(a + b)
            square += hsum(s + t)
        return total, square

    return deviations


def scale_run(dtype: str) -> DeviceFunction:
    """``apply(x, y, at, n, m, low, w, b)``: ``y = (x - m - low) * w + b`` on a run of ``n``.

    ``w`` is a float64, of which both halves are used.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)

    @inline
    def apply(x, y, at, n, m, low, w, b):
        high = T(w)
        center, scale, extra, shift = (
            splat(m),
            splat(high),
            splat(T(w - high)),
            splat(T(b - low * w)),
        )
        i = 0
        while i + W <= n:
            d = load(x, at + i) - center
            store(y, at + i, fma(d, scale, fma(d, extra, shift)))
            i += W
        if i < n:
            mask = head(T, n - i)
            d = load_masked(x, at + i, mask, center) - center
            store_masked(y, at + i, fma(d, scale, fma(d, extra, shift)), mask)

    return apply


def gradient_runs(dtype: str) -> tuple[DeviceFunction, ...]:
    """Inline functions for the backward pass of a run with one weight.

    ``sums_g(g, x, at, n, m, rs)`` gives ``(sum g, sum g xhat)`` with ``xhat = (x - m) rs``;
    ``grad_input(g, x, out, at, n, m, rs, w, a, b)`` writes ``rs (g w - a - xhat b)``.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)

    @inline
    def sums_g(g, x, at, n, m, rs):
        zero, center, scale = splat(T(0)), splat(m), splat(rs)
        a, b = 0.0, 0.0
        i = 0
        while i < n:
            end = min(n, i + 128 * W)
            s, t = zero, zero
            while i + W <= end:
                v = load(g, at + i)
                s, t = s + v, fma(v, (load(x, at + i) - center) * scale, t)
                i += W
            if i < end:
                mask = head(T, end - i)
                v = load_masked(g, at + i, mask, zero)
                s = s + v
                t = fma(v, (load_masked(x, at + i, mask, center) - center) * scale, t)
                i = end
            a += hsum(s)
            b += hsum(t)
        return a, b

    @inline
    def grad_input(g, x, out, at, n, m, rs, w, a, b):
        center, scale = splat(m), splat(rs)
        weight, mean_g, mean_g_xhat = splat(w), splat(a), splat(b)
        i = 0
        while i + W <= n:
            xhat = (load(x, at + i) - center) * scale
            v = (load(g, at + i) * weight - mean_g - xhat * mean_g_xhat) * scale
            store(out, at + i, v)
            i += W
        if i < n:
            mask = head(T, n - i)
            xhat = (load_masked(x, at + i, mask, center) - center) * scale
            v = load_masked(g, at + i, mask, center) * weight - mean_g - xhat * mean_g_xhat
            store_masked(out, at + i, v * scale, mask)

    return sums_g, grad_input


@kernel
def backward_elements(dtype: str, centred: bool) -> Kernel:
    """Gradients of a chunk of rows a task, and of weight and bias summed over them.

    ``parts[task]`` = (sum of g xhat, sum of g), each ``n`` long; null: not wanted.
    """
    T, W, size = np.dtype(dtype).type, lanes(dtype), np.dtype(dtype).itemsize

    @inline
    def sums_g(grad, source, weights, part, i, mask, row, a, b):
        zero, center, other = splat(T(0)), splat(row.mean), row.n + i
        v = load_masked(grad, row.at + i, mask, zero)
        xhat = (load_masked(source, row.at + i, mask, center) - center) * splat(row.rstd)
        if row.has & 2:
            store_masked(part, i, fma(v, xhat, load_masked(part, i, mask, zero)), mask)
            store_masked(part, other, load_masked(part, other, mask, zero) + v, mask)
        if row.has & 1:
            v = v * load_masked(weights, i, mask, zero)
        return a + v, fma(v, xhat, b)

    @inline
    def grad_input(grad, source, weights, made, i, mask, row, mean_g, mean_g_xhat):
        zero, center, scale, at = splat(T(0)), splat(row.mean), splat(row.rstd), row.at + i
        v = load_masked(grad, at, mask, zero)
        xhat = (load_masked(source, at, mask, center) - center) * scale
        if row.has & 1:
            v = v * load_masked(weights, i, mask, zero)
        store_masked(made, at, (v - splat(mean_g) - xhat * splat(mean_g_xhat)) * scale, mask)

    def body(task, g, x, weight, mean, rstd, out, parts, p):
        n = p.n
        grad, source, made = pointer(g, T), pointer(x, T), pointer(out, T)
        weights, means, rstds = pointer(weight, T), pointer(mean, T), pointer(rstd, T)
        part = pointer(parts + task * 2 * n * size, T)
        has = (weight != 0) + 2 * (parts != 0)
        whole, rest = n - n % W, head(T, n % W)
        if parts != 0:
            for i in range(2 * n):
                part[i] = T(0)
        for r in range(task * p.per, min(p.rows, (task + 1) * p.per)):
            row = _Row(r * n, n, means[r] if centred else T(0), T(0), rstds[r], has)
            a, b = splat(T(0)), splat(T(0))
            for i in range(0, whole, W):
                a, b = sums_g(grad, source, weights, part, i, head(T, W), row, a, b)
            if whole < n:
                a, b = sums_g(grad, source, weights, part, whole, rest, row, a, b)
            mean_g, mean_g_xhat = hsum(a) / T(n) if centred else T(0), hsum(b) / T(n)
            for i in range(0, whole, W):
                grad_input(grad, source, weights, made, i, head(T, W), row, mean_g, mean_g_xhat)
            if whole < n:
                grad_input(grad, source, weights, made, whole, rest, row, mean_g, mean_g_xhat)

    return body, ("iiiiiii", Rows)


@kernel
def backward_channels(dtype: str) -> Kernel:
    """Gradients of rows, and per row and channel ``sums_g`` = sum g, ``sums_g_xhat`` = sum g xhat."""
    T = np.dtype(dtype).type
    add_up, grad_input = gradient_runs(dtype)

    def body(task, g, x, weight, mean, rstd, out, sums_g_xhat, sums_g, p):
        n, S = p.n, p.S
        grad, source, made = pointer(g, T), pointer(x, T), pointer(out, T)
        weights, means, rstds = pointer(weight, T), pointer(mean, T), pointer(rstd, T)
        out_g_xhat, out_g = pointer(sums_g_xhat, T), pointer(sums_g, T)
        count = n // S
        for r in range(task * p.per, min(p.rows, (task + 1) * p.per)):
            at, first = r * n, r % p.groups * count
            m, rs = means[r], rstds[r]
            a, b = 0.0, 0.0
            for c in range(count):
                s, t = add_up(grad, source, at + c * S, S, m, rs)
                out_g[r * count + c] = T(s)
                out_g_xhat[r * count + c] = T(t)
                w = weights[first + c] if weight != 0 else T(1)
                a += w * s
                b += w * t
            for c in range(count):
                w = weights[first + c] if weight != 0 else T(1)
                grad_input(grad, source, made, at + c * S, S, m, rs, w, T(a / n), T(b / n))

    return body, ("iiiiiiii", Rows)


def row_norm(
    dtype: str, centred: bool, weighted: bool, biased: bool, rows: int, n: int, S: int, groups: int
) -> Callable[..., None]:
    """A launch ``(x, [weight], [bias], y, [mean], rstd, eps)``; the mean if ``centred``.

    ``S``: elements that share a weight, within ``groups`` kinds of rows; 0 for a weight per element.
    """
    if rows * n == 0:
        return lambda *arguments: None
    if backward_follows():
        if S == 0:
            backward_elements.begin(dtype, centred)
        else:
            backward_channels.begin(dtype)
    function = forward.build(dtype, centred, S > 0)
    per, tasks = splitting.share(rows, n, Norm.grain, Norm.tasks)
    bound = bind(function, *Rows(rows, per, n, S, groups), tasks, TEAM if tasks > 1 else 0)
    return with_absent(bound, (True, weighted, biased, True, centred))


def row_norm_parts(dtype: str, rows: int) -> int:
    """How many partial sums of weight gradients :func:`row_norm_backward` writes."""
    return splitting.share(rows, 1, Norm.chunk)[1]


def row_norm_backward(
    dtype: str, centred: bool, weighted: bool, rows: int, n: int, S: int, groups: int
) -> Callable[..., None]:
    """The backward launch.

    One weight per element (``S`` 0): ``(g, x, [weight], [mean], rstd, out, parts)`` with ``parts``
    (row_norm_parts(dtype, rows), 2, n), sums of ``g xhat`` and of ``g``. Else
    ``(g, x, [weight], mean, rstd, out, sums_g_xhat, sums_g)``, the same sums for every row and channel.
    """
    if rows * n == 0:
        return lambda *addresses: None

    if S == 0:
        per, tasks = splitting.share(rows, 1, Norm.chunk)
        function = backward_elements.build(dtype, centred)
    else:
        per, tasks = splitting.share(rows, n, Norm.grain, Norm.tasks)
        function = backward_channels.build(dtype)
    small = tasks == 1 or splitting.serial(rows * n, 2 * Norm.grain)
    bound = bind(function, *Rows(rows, per, n, S, groups), tasks, 0 if small else TEAM)
    return with_absent(bound, (True, True, weighted, centred))
