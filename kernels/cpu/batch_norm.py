"""Batch normalisation: every channel has a mean and a variance over samples and positions.

Arrays are row-major (N, C, S). ``channels`` kernels take one channel after the other, runs of ``S``
elements; ``columns`` kernels serve S = 1, a block of adjacent channels at a time. In training the
statistics are computed and the running ones updated, else the running ones are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.norm import deviation_run, gradient_runs, scale_run, variance
from tilegrad.kernels.cpu.parts.reduce_runs import float_run
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, backward_follows, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import local, pointer, read, write
from tilegrad.kernels.cpu.tuning import BatchNorm
from tilegrad.kernels.function import inline
from tilegrad.kernels.plans import with_absent


class Channels(NamedTuple):
    """What a task works on: ``per`` of ``C`` channels, or blocks of them, over N samples of S."""

    per: int
    N: int
    C: int
    S: int
    training: int


@inline
def blend(running, value, momentum):
    """``(1 - momentum) running + momentum value``"""
    return (1.0 - momentum) * running + momentum * value


@kernel
def forward_channels(dtype: str) -> Kernel:
    """``per`` channels a task; weight, bias and running statistics may be null."""
    T = np.dtype(dtype).type
    total, deviations = float_run("sum", dtype, "lanes", "c"), deviation_run(dtype)
    apply = scale_run(dtype)

    def body(task, x, weight, bias, rmean, rvar, y, mean, rstd, eps, momentum, p):
        N, C, S = p.N, p.C, p.S
        source, made = pointer(x, T), pointer(y, T)
        weights, biases = pointer(weight, T), pointer(bias, T)
        r_means, r_vars = pointer(rmean, T), pointer(rvar, T)
        means, rstds = pointer(mean, T), pointer(rstd, T)
        count = N * S
        for c in range(task * p.per, min(C, (task + 1) * p.per)):
            if p.training:
                a = 0.0
                for i in range(N):
                    a += total(source, (i * C + c) * S, S, 1, T(0), T(0))
                m = T(a / count)
                a, v = 0.0, 0.0
                for i in range(N):
                    rest, square = deviations(source, (i * C + c) * S, S, m)
                    a += rest
                    v += square
                low = T(a / count)
                v = variance(v / count, low) * count
                if rmean != 0:
                    r_means[c] = T(blend(r_means[c], m + a / count, momentum))
                    r_vars[c] = T(blend(r_vars[c], v / (count - 1), momentum))
                v = v / count
            else:
                m, low = r_means[c], T(0)
                v = r_vars[c] + 0.0
            rs = 1.0 / math.sqrt(v + eps)
            means[c] = m + low
            rstds[c] = T(rs)
            w = weights[c] * rs if weight != 0 else rs
            b = biases[c] if bias != 0 else T(0)
            for i in range(N):
                apply(source, made, (i * C + c) * S, S, m, low, w, b)

    return body, ("iiiiiiiidd", Channels)


@kernel
def forward_columns(dtype: str) -> Kernel:
    """As :func:`forward_channels` for S = 1, ``per`` blocks of channels a task."""
    T, block = np.dtype(dtype).type, BatchNorm.columns
    sums, line = local("float64", block), local(dtype, block)

    def body(task, x, weight, bias, rmean, rvar, y, mean, rstd, eps, momentum, p):
        N, C = p.N, p.C
        source, made = pointer(x, T), pointer(y, T)
        weights, biases = pointer(weight, T), pointer(bias, T)
        r_means, r_vars = pointer(rmean, T), pointer(rvar, T)
        means, rstds = pointer(mean, T), pointer(rstd, T)
        total, center, lows, scale, shift = sums(), line(), line(), line(), line()
        for column in range(task * p.per * block, min(C, (task + 1) * p.per * block), block):
            size = min(block, C - column)
            if p.training:
                for j in range(size):
                    total[j] = 0.0
                for i in range(N):
                    for j in range(size):
                        total[j] += source[i * C + column + j]
                for j in range(size):
                    center[j] = T(total[j] / N)
                    lows[j] = T(total[j] / N - center[j])
                    if rmean != 0:
                        old = r_means[column + j]
                        r_means[column + j] = T(blend(old, total[j] / N, momentum))
                    total[j] = 0.0
                for i in range(N):
                    for j in range(size):
                        d = source[i * C + column + j] - center[j]
                        total[j] += d * d
                for j in range(size):
                    total[j] = variance(total[j] / N, lows[j]) * N
                    if rmean != 0:
                        old = r_vars[column + j]
                        r_vars[column + j] = T(blend(old, total[j] / (N - 1), momentum))
                    total[j] = total[j] / N
            else:
                for j in range(size):
                    center[j] = r_means[column + j]
                    lows[j] = T(0)
                    total[j] = r_vars[column + j]
            for j in range(size):
                rs = T(1.0 / math.sqrt(total[j] + eps))
                means[column + j] = center[j]
                rstds[column + j] = rs
                scale[j] = weights[column + j] * rs if weight != 0 else rs
                b = biases[column + j] if bias != 0 else T(0)
                shift[j] = b - lows[j] * scale[j]
            for i in range(N):
                for j in range(size):
                    q = i * C + column + j
                    write(made, q, (read(source, q) - center[j]) * scale[j] + shift[j])

    return body, ("iiiiiiiidd", Channels)


@kernel
def backward_channels(dtype: str) -> Kernel:
    """``out = rs (g w - (sum g + xhat sum g xhat) w / count)``; ``sums_g_xhat`` and ``sums_g`` are those
    sums, the gradients of weight and bias. Not ``training``: ``out = rs g w``.
    """
    T = np.dtype(dtype).type
    add_up, grad_input = gradient_runs(dtype)

    def body(task, g, x, mean, rstd, weight, out, sums_g_xhat, sums_g, p):
        N, C, S = p.N, p.C, p.S
        grad, source, made = pointer(g, T), pointer(x, T), pointer(out, T)
        weights, means, rstds = pointer(weight, T), pointer(mean, T), pointer(rstd, T)
        out_g_xhat, out_g = pointer(sums_g_xhat, T), pointer(sums_g, T)
        for c in range(task * p.per, min(C, (task + 1) * p.per)):
            m, rs = means[c], rstds[c]
            a, b = 0.0, 0.0
            for i in range(N):
                s, t = add_up(grad, source, (i * C + c) * S, S, m, rs)
                a += s
                b += t
            out_g_xhat[c] = T(b)
            out_g[c] = T(a)
            w = weights[c] if weight != 0 else T(1)
            mean_g, mean_g_xhat = T(0), T(0)
            if p.training:
                mean_g, mean_g_xhat = T(w * a / (N * S)), T(w * b / (N * S))
            for i in range(N):
                grad_input(grad, source, made, (i * C + c) * S, S, m, rs, w, mean_g, mean_g_xhat)

    return body, ("iiiiiiii", Channels)


@kernel
def backward_columns(dtype: str) -> Kernel:
    """As :func:`backward_channels` for S = 1, ``per`` blocks of channels a task."""
    T, block = np.dtype(dtype).type, BatchNorm.columns
    wide, line = local("float64", block), local(dtype, block)

    def body(task, g, x, mean, rstd, weight, out, sums_g_xhat, sums_g, p):
        N, C = p.N, p.C
        grad, source, made = pointer(g, T), pointer(x, T), pointer(out, T)
        weights, means, rstds = pointer(weight, T), pointer(mean, T), pointer(rstd, T)
        out_g_xhat, out_g = pointer(sums_g_xhat, T), pointer(sums_g, T)
        a, b, w, mean_g, mean_g_xhat = wide(), wide(), line(), line(), line()
        for column in range(task * p.per * block, min(C, (task + 1) * p.per * block), block):
            size = min(block, C - column)
            for j in range(size):
                a[j] = 0.0
                b[j] = 0.0
            for i in range(N):
                for j in range(size):
                    q = i * C + column + j
                    v = grad[q]
                    a[j] += v
                    b[j] += v * ((source[q] - means[column + j]) * rstds[column + j])
            for j in range(size):
                out_g_xhat[column + j] = T(b[j])
                out_g[column + j] = T(a[j])
                w[j] = weights[column + j] if weight != 0 else T(1)
                mean_g[j] = T(w[j] * a[j] / N) if p.training else T(0)
                mean_g_xhat[j] = T(w[j] * b[j] / N) if p.training else T(0)
            for i in range(N):
                for j in range(size):
                    q = i * C + column + j
                    rs = rstds[column + j]
                    xhat = (read(source, q) - means[column + j]) * rs
                    write(made, q, (read(grad, q) * w[j] - mean_g[j] - xhat * mean_g_xhat[j]) * rs)

    return body, ("iiiiiiii", Channels)


def _shared(N: int, C: int, S: int, training: bool) -> tuple[Channels, int]:
    """What tasks work on, and how many there are."""
    units, work = (
        (C, N * S) if S > 1 else (-(-C // BatchNorm.columns), N * min(C, BatchNorm.columns))
    )
    per, tasks = splitting.share(units, work, BatchNorm.grain)
    return Channels(per=per, N=N, C=C, S=S, training=training), tasks


def batch_norm(
    dtype: str, given: tuple[bool, bool, bool], training: bool, N: int, C: int, S: int
) -> Callable[..., None]:
    """A launch ``(x, [weight], [bias], [running_mean, running_var], y, mean, rstd, eps, momentum)``.

    ``given``: whether there is a weight, a bias, and running statistics, which training updates.
    """
    if N * C * S == 0:
        return lambda *arguments: None
    if backward_follows():
        (backward_channels if S > 1 else backward_columns).begin(dtype)
    function = (forward_channels if S > 1 else forward_columns).build(dtype)
    work, tasks = _shared(N, C, S, training)
    bound = bind(function, *work, tasks, TEAM if tasks > 1 else 0)
    weighted, biased, tracked = given
    return with_absent(bound, (True, weighted, biased, tracked, tracked))


def batch_norm_backward(
    dtype: str, weighted: bool, training: bool, N: int, C: int, S: int
) -> Callable[..., None]:
    """A launch ``(g, x, mean, rstd, [weight], out, weight_grad, bias_grad)``."""
    if N * C * S == 0:
        return lambda *addresses: None
    function = (backward_channels if S > 1 else backward_columns).build(dtype)
    work, tasks = _shared(N, C, S, training)
    bound = bind(function, *work, tasks, TEAM if tasks > 1 else 0)
    return with_absent(bound, (True, True, True, True, weighted))
