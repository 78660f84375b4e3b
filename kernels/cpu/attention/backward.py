"""Attention backward: the scores once more, block by block, from the saved logarithms of the sums.

With ``P = e^(scores - lse)`` and ``D = sum(g * out)`` over features, for a block of queries (rows of
q, g) and one of keys (rows of k, v)::

    dv += P' g        dS = P * (g v' - D)        dk += dS' q        dq += dS k

Source: T. Dao, "FlashAttention-2", 2023.
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
from tilegrad.kernels.cpu.simd.vector import fma, head, hsum, lanes, load, load_masked, splat, store
from tilegrad.kernels.cpu.tuning import NR_VECTORS, Attention
from tilegrad.kernels.formulas.transcendental import exp_decay
from tilegrad.kernels.function import DeviceFunction, inline


class Grads(NamedTuple):
    """Addresses of the gradients."""

    dq: int
    dk: int
    dv: int


class _Tile(NamedTuple):
    """A block of queries with one of keys, from ``i0`` and ``j0`` on; its scores have keys ``row``
    apart. Where ``causal``, some of the queries do not see all of the keys.
    """

    row: int
    queries: int
    keys: int
    i0: int
    j0: int
    causal: bool


def _products(dtype: str) -> DeviceFunction:
    """The device function ``sums(x, y, rows, columns, out)``: of ``x * y`` along each row."""
    T, W = np.dtype(dtype).type, lanes(dtype)

    @inline
    def sums(x, y, rows, columns, out):
        zero = splat(T(0))
        for i in range(rows):
            total = zero
            for c in range(0, columns, W):
                at, mask = i * columns + c, head(T, columns - c)
                total = fma(load_masked(x, at, mask, zero), load_masked(y, at, mask, zero), total)
            out[i] = hsum(total)

    return sums


def _score_grads(dtype: str) -> DeviceFunction:
    """The device function ``score_grads(scores, grads, row, lse, sums, scale, keys, all_keys)`` for a
    panel: scores become ``P``, and grads, ``v g'`` before, become ``scale * dS``; 0 from ``keys`` on.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    N = NR_VECTORS * W

    @inline
    def score_grads(scores, grads, row, lse, sums, scale, keys, all_keys):
        factor, zero = splat(scale), splat(T(0))
        for v in range(0, N, W):
            shift, delta = load(lse, v), load(sums, v)
            for j in range(keys):
                at = j * row + v
                prob = exp_decay(load(scores, at) - shift)
                store(scores, at, prob)
                store(grads, at, prob * (load(grads, at) - delta) * factor)
            for j in range(keys, all_keys):
                store(scores, j * row + v, zero)
                store(grads, j * row + v, zero)

    return score_grads


def _accumulator(dtype: str) -> DeviceFunction:
    """The device function ``add(which, probs, score_grads, tile, y, y_row, out, columns, overwrite)``:
    one of dv, dk and dq of a tile. Of a causal one, parts that are 0 are left out.
    """
    times = multiplier(dtype)
    N = NR_VECTORS * lanes(dtype)

    @inline
    def add(which, probs, score_grads, tile, y, y_row, out, columns, overwrite):
        row, rows, keys, causal = tile.row, tile.queries, tile.keys, tile.causal
        i0, j0 = tile.i0, tile.j0
        count = rows if which == 2 else keys
        step = N if causal else count
        for r in range(0, count, step):
            some = min(step, count - r)
            if which == 2:
                depth = min(keys, i0 + r + N - j0) if causal else keys
                x, x_row, x_step, first = offset(score_grads, r), 1, row, 0
            else:
                first = max(0, j0 + r - i0) if causal else 0
                depth = rows - first
                x, x_row, x_step = (
                    offset(score_grads if which == 1 else probs, r * row + first),
                    row,
                    1,
                )
            if depth > 0:
                at = offset(y, first * y_row)
                to = offset(out, r * columns)
                times(x, x_row, x_step, at, y_row, to, columns, overwrite, some, depth, columns)

    return add


def _tile_scorer(dtype: str) -> DeviceFunction:
    """The device function ``score(rows_k, rows_v, q_t, g_t, probs, grads, lses, deltas, mask, tile, p,
    scale)``: ``probs`` becomes ``P`` of a tile, and ``grads`` ``scale * dS``, panel by panel.
    """
    T, size, W = np.dtype(dtype).type, np.dtype(dtype).itemsize, lanes(dtype)
    N, fill, mask_future = NR_VECTORS * W, masker(dtype), causal_masker(dtype)
    score_grads = _score_grads(dtype)
    product = micro_kernel(NR_VECTORS, tuning.micro_kernel(dtype).mr, unmasked=True)

    @inline
    def score(rows_k, rows_v, q_t, g_t, probs, grads, lses, deltas, mask, tile, p, scale):
        row, rows, keys, causal = tile.row, tile.queries, tile.keys, tile.causal
        i0, j0, n, m = tile.i0, tile.j0, p[AT.E], p[AT.F]
        width = size if p[AT.mask] > 1 else 1
        for i in range(0, rows, N):
            some, c_in = keys, pointer(0, T)
            if causal:
                some = max(0, min(keys, i0 + i + N - j0))
            if p[AT.mask] != NO_MASK:
                there = mask + width * ((i0 + i) * p[AT.mask_row] + j0 * p[AT.mask_col])
                c_in = offset(probs, i)
                fill(
                    there, p[AT.mask], p[AT.mask_row], p[AT.mask_col], c_in, row,
                    min(N, rows - i), some,
                )  # fmt: skip
            for turn in range(2):
                x, x_row = (rows_k, p[AT.k_row]) if turn == 0 else (rows_v, p[AT.v_row])
                y, depth = (q_t, n) if turn == 0 else (g_t, m)
                made = offset(probs if turn == 0 else grads, i)
                start = c_in if turn == 0 else pointer(0, T)
                y = offset(y, i * depth)
                product(x, x_row, 1, y, N, made, row, start, row, some, depth, W)
            if causal:
                mask_future(offset(probs, i), row, i0 + i, j0, some)
            score_grads(
                offset(probs, i), offset(grads, i), row, offset(lses, i),
                offset(deltas, i), scale, some, keys,
            )  # fmt: skip

    return score


def _clearer(dtype: str) -> DeviceFunction:
    """The device function ``clear(out, count)``: zeros."""
    T = np.dtype(dtype).type

    @inline
    def clear(out, count):
        for i in range(count):
            out[i] = T(0)

    return clear


@kernel
def backward(dtype: str) -> Kernel:
    """A unit of work is every ``GROUPS``-th block of queries of an item.

    ``g``, ``out`` and ``dq`` are (items, L, …); ``dk`` and ``dv`` are (groups, items, S, …): sums
    over the blocks of a group.
    """
    T, size, W = np.dtype(dtype).type, np.dtype(dtype).itemsize, lanes(dtype)
    N, infinity, row = NR_VECTORS * W, T(np.inf), Attention.queries
    pack, products, add = packer(dtype), _products(dtype), _accumulator(dtype)
    score, capacity = _tile_scorer(dtype), Attention.capacity
    first, second = local(dtype, capacity), local(dtype, capacity)
    third, fourth = local(dtype, Attention.keys * row), local(dtype, Attention.keys * row)
    fifth, sixth, clear = local(dtype, row), local(dtype, row), _clearer(dtype)

    def body(task, g, q, k, v, out, lse, mask, grads_of, params, scale):
        p = pointer(params, np.int64)
        q_t, g_t, probs, grads = first(), second(), third(), fourth()
        deltas, lses = fifth(), sixth()
        groups, items, n, m = p[AT.groups], p[AT.items], p[AT.E], p[AT.F]
        L, S = p[AT.L], p[AT.S]
        item, group = task // groups, task % groups
        outer, inner = item // p[AT.inner_items], item % p[AT.inner_items]
        q += size * (outer * p[AT.q_outer] + inner * p[AT.q_inner])
        k += size * (outer * p[AT.k_outer] + inner // p[AT.share] * p[AT.k_inner])
        v += size * (outer * p[AT.v_outer] + inner // p[AT.share] * p[AT.v_inner])
        width = size if p[AT.mask] > 1 else 1
        mask += width * (outer * p[AT.mask_outer] + inner * p[AT.mask_inner])
        here = group * items + item
        to_k = pointer(grads_of.dk + size * here * S * n, T)
        to_v = pointer(grads_of.dv + size * here * S * m, T)
        clear(to_k, S * n)
        clear(to_v, S * m)
        for number in range(group, p[AT.blocks], groups):
            i0 = number * p[AT.queries]
            rows, at = min(p[AT.queries], L - i0), item * L + i0
            rows_q = pointer(q + size * i0 * p[AT.q_row], T)
            rows_g, to_q = pointer(g + size * at * m, T), pointer(grads_of.dq + size * at * n, T)
            pack(rows_q, p[AT.q_row], rows, n, q_t, T(scale))
            pack(rows_g, m, rows, m, g_t, T(1))
            products(rows_g, pointer(out + size * at * m, T), rows, m, deltas)
            for i in range(rows, (rows + N - 1) // N * N):
                deltas[i], lses[i] = T(0), infinity
            for i in range(rows):
                lses[i] = pointer(lse + size * at, T)[i]
            for j0 in range(0, min(S, i0 + rows) if p[AT.causal] != 0 else S, p[AT.keys]):
                keys = min(p[AT.keys], S - j0)
                rows_k = pointer(k + size * j0 * p[AT.k_row], T)
                rows_v = pointer(v + size * j0 * p[AT.v_row], T)
                tile = _Tile(row, rows, keys, i0, j0, p[AT.causal] != 0 and j0 + keys > i0)
                score(rows_k, rows_v, q_t, g_t, probs, grads, lses, deltas, mask, tile, p, T(scale))
                for which in range(3):
                    y, y_row, columns, made = rows_g, m, m, offset(to_v, j0 * m)
                    if which == 1:
                        y, y_row, columns, made = rows_q, p[AT.q_row], n, offset(to_k, j0 * n)
                    if which == 2:
                        y, y_row, columns, made = rows_k, p[AT.k_row], n, to_q
                    overwrite = which == 2 and j0 == 0
                    add(which, probs, grads, tile, y, y_row, made, columns, overwrite)

    return body, ("iiiiiii", Grads, "id")


@kernel
def collect(dtype: str) -> Kernel:
    """Add up the sums of the groups, ``out[i] = sum over g of parts[g, i]``, ``each`` a task."""
    T, W = np.dtype(dtype).type, lanes(dtype)

    def body(task, parts, out, total, groups, each):
        source, target = pointer(parts, T), pointer(out, T)
        end = min(total, (task + 1) * each)
        i = task * each
        while i + W <= end:
            a = load(source, i)
            for g in range(1, groups):
                a = a + load(source, g * total + i)
            store(target, i, a)
            i += W
        while i < end:
            b = source[i]
            for g in range(1, groups):
                b += source[g * total + i]
            target[i] = b
            i += 1

    return body, "iiiii"
