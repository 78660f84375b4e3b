"""Attention forward: one pass over the keys for every block of queries.

Online softmax: the largest score and the sum of exponentials of a query are updated block by block of
keys; where a block has a larger score, sums and accumulators are rescaled. Only the scores of a panel
of queries with a block of keys are stored at a time.

Source: T. Dao, "FlashAttention-2", 2023; M. Milakov and N. Gimelshein, "Online normalizer
calculation for softmax", 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu import tuning
from tilegrad.kernels.cpu.attention.block import (
    AT,
    NO_MASK,
    causal_masker,
    masker,
    multiplier,
    packer,
)
from tilegrad.kernels.cpu.parts.micro_kernel import micro_kernel
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import local, offset, pointer
from tilegrad.kernels.cpu.simd.vector import (
    head,
    hsum,
    lanes,
    load,
    load_masked,
    splat,
    store,
    store_masked,
)
from tilegrad.kernels.cpu.tuning import NR_VECTORS, Attention
from tilegrad.kernels.formulas.primitives import select
from tilegrad.kernels.formulas.transcendental import exp_decay, log
from tilegrad.kernels.function import DeviceFunction, inline


def _online_softmax(dtype: str) -> DeviceFunction:
    """The device function ``online_softmax(scores, keys, row_max, sums, rescale, at)`` for one panel.

    Scores become e^(score - largest so far). ``rescale`` receives the factors of earlier sums; returns
    whether any is not 1.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    N, one = NR_VECTORS * W, T(1)

    @inline
    def online_softmax(scores, keys, row_max, sums, rescale, at):
        rescales = False
        for v in range(0, N, W):
            old = load(row_max, at + v)
            a, b = old, old
            j = 0
            while j + 2 <= keys:
                x, y = load(scores, j * N + v), load(scores, (j + 1) * N + v)
                a, b = select(x > a, x, a), select(y > b, y, b)
                j += 2
            if j < keys:
                x = load(scores, j * N + v)
                a = select(x > a, x, a)
            top = select(a > b, a, b)
            less = exp_decay(old - top)
            a, b = load(sums, at + v) * less, splat(T(0))
            j = 0
            while j + 2 <= keys:
                x = exp_decay(load(scores, j * N + v) - top)
                y = exp_decay(load(scores, (j + 1) * N + v) - top)
                store(scores, j * N + v, x)
                store(scores, (j + 1) * N + v, y)
                a, b = a + x, b + y
                j += 2
            if j < keys:
                x = exp_decay(load(scores, j * N + v) - top)
                store(scores, j * N + v, x)
                a = a + x
            store(row_max, at + v, top)
            store(sums, at + v, a + b)
            store(rescale, v, less)
            rescales = rescales or hsum(less) != T(W) * one
        return rescales

    return online_softmax


def _finisher(dtype: str) -> DeviceFunction:
    """The device function ``finish(accumulator, accumulator_row, row_max, sums, out, lse, rows, columns)``: the
    results and the logarithms of the sums; infinite for a query that sees no key, whose result is 0.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    zero, one, infinity = T(0), T(1), T(np.inf)

    @inline
    def finish(accumulator, accumulator_row, row_max, sums, out, lse, rows, columns):
        for i in range(rows):
            total = sums[i]
            factor = splat(zero if total == zero else one / total)
            lse[i] = infinity if total == zero else row_max[i] + log(total)
            for c in range(0, columns - W + 1, W):
                store(out, i * columns + c, load(accumulator, i * accumulator_row + c) * factor)
            c = columns - columns % W
            if c < columns:
                mask = head(T, columns - c)
                part = load_masked(accumulator, i * accumulator_row + c, mask, factor) * factor
                store_masked(out, i * columns + c, part, mask)

    return finish


class _Panel(NamedTuple):
    """``queries`` from ``i0 + i`` on with ``keys`` from ``j0`` on."""

    i: int
    queries: int
    i0: int
    j0: int
    keys: int


def _panel_scorer(dtype: str) -> DeviceFunction:
    """The device function ``score(q_t, k, mask, scores, tile, p)``: the scores of a panel."""
    T, size, W = np.dtype(dtype).type, np.dtype(dtype).itemsize, lanes(dtype)
    N, fill, mask_future = NR_VECTORS * W, masker(dtype), causal_masker(dtype)
    product = micro_kernel(NR_VECTORS, tuning.micro_kernel(dtype).mr, unmasked=True)

    @inline
    def score(q_t, k, mask, scores, tile, p):
        i, i0, j0, keys, c_in = tile.i, tile.i0, tile.j0, tile.keys, pointer(0, T)
        width = size if p[AT.mask] > 1 else 1
        if p[AT.mask] != NO_MASK:
            at = mask + width * (i * p[AT.mask_row] + j0 * p[AT.mask_col])
            fill(
                at, p[AT.mask], p[AT.mask_row], p[AT.mask_col], scores, N, tile.queries, keys,
            )  # fmt: skip
            c_in = scores
        near = pointer(k + size * j0 * p[AT.k_row], T)
        product(near, p[AT.k_row], 1, q_t, N, scores, N, c_in, N, keys, p[AT.E], W)
        if p[AT.causal] != 0:
            mask_future(scores, N, i0 + i, j0, keys)

    return score


def _rescaler(dtype: str) -> DeviceFunction:
    """The device function ``scale_rows(accumulator, accumulator_row, rescale, rows, columns)``."""
    W = lanes(dtype)

    @inline
    def scale_rows(accumulator, accumulator_row, rescale, rows, columns):
        for i in range(rows):
            factor = splat(rescale[i])
            for c in range(0, columns, W):
                at = i * accumulator_row + c
                store(accumulator, at, load(accumulator, at) * factor)

    return scale_rows


@kernel
def forward(dtype: str) -> Kernel:
    """A unit of work is a block of queries; ``out`` is (items, L, F), ``lse`` (items, L)."""
    T, size, W = np.dtype(dtype).type, np.dtype(dtype).itemsize, lanes(dtype)
    N, least = NR_VECTORS * W, np.finfo(T).min
    pack, score, times = packer(dtype), _panel_scorer(dtype), multiplier(dtype)
    online_softmax, scale_rows, finish = _online_softmax(dtype), _rescaler(dtype), _finisher(dtype)
    queries, results = local(dtype, Attention.capacity), local(dtype, Attention.capacity)
    panel, rescale_memory = local(dtype, Attention.keys * N), local(dtype, N)
    most = Attention.queries
    maxima, totals = local(dtype, most), local(dtype, most)

    def body(task, q, k, v, mask, out, lse, params, scale):
        p = pointer(params, np.int64)
        q_t, accumulator, scores, rescale = queries(), results(), panel(), rescale_memory()
        row_max, sums = maxima(), totals()
        blocks, n = p[AT.blocks], p[AT.F]
        item, number = task // blocks, task % blocks
        # causal blocks differ in size: large and small ones alternate
        number = number // 2 if number % 2 == 0 else blocks - 1 - number // 2
        outer, inner = item // p[AT.inner_items], item % p[AT.inner_items]
        i0 = number * p[AT.queries]
        rows, accumulator_row = min(p[AT.queries], p[AT.L] - i0), (n + W - 1) // W * W
        q += size * (outer * p[AT.q_outer] + inner * p[AT.q_inner] + i0 * p[AT.q_row])
        k += size * (outer * p[AT.k_outer] + inner // p[AT.share] * p[AT.k_inner])
        v += size * (outer * p[AT.v_outer] + inner // p[AT.share] * p[AT.v_inner])
        width = size if p[AT.mask] > 1 else 1
        mask += width * (outer * p[AT.mask_outer] + inner * p[AT.mask_inner] + i0 * p[AT.mask_row])
        pack(pointer(q, T), p[AT.q_row], rows, p[AT.E], q_t, T(scale))
        for i in range(most):
            row_max[i], sums[i] = least, T(0)  # finite, so that it may be subtracted
        end = min(p[AT.S], i0 + rows) if p[AT.causal] != 0 else p[AT.S]
        for j0 in range(0, end, p[AT.keys]):
            for i in range(0, rows, N):
                keys = min(p[AT.keys], p[AT.S] - j0)
                if p[AT.causal] != 0:
                    keys = min(keys, i0 + i + N - j0)
                if keys <= 0:
                    continue
                tile = _Panel(i, min(N, rows - i), i0, j0, keys)
                score(offset(q_t, i * p[AT.E]), k, mask, scores, tile, p)
                rescales = online_softmax(scores, keys, row_max, sums, rescale, i)
                here = offset(accumulator, i * accumulator_row)
                if rescales and j0 > 0:
                    scale_rows(here, accumulator_row, rescale, tile.queries, n)
                values = pointer(v + size * j0 * p[AT.v_row], T)
                times(
                    scores, 1, N, values, p[AT.v_row], here, accumulator_row, j0 == 0, tile.queries, keys, n
                )  # fmt: skip
        at = item * p[AT.L] + i0
        finish(
            accumulator, accumulator_row, row_max, sums, pointer(out + size * at * n, T),
            pointer(lse + size * at, T), rows, n,
        )  # fmt: skip

    return body, "iiiiiiid"
