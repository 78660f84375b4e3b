"""Distances of all rows of one matrix to all rows of another, and the sums of their slopes.

Rows of ``y`` are packed by panels, an element of each in a lane: a tile of rows of ``x`` against a panel is
summed in registers over the elements of the rows. A task has a block of rows of one item of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels.cpu.parts import gemm
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import local, offset, pointer, read, write
from tilegrad.kernels.cpu.simd.vector import (
    broadcast,
    head,
    lanes,
    load,
    load_masked,
    splat,
    store,
    store_masked,
)
from tilegrad.kernels.cpu.tuning import Distance
from tilegrad.kernels.formulas.distance import NORMS
from tilegrad.kernels.function import DeviceFunction, inline

Launch = Callable[..., None]
ROWS = Distance.rows


class Pairs(NamedTuple):
    """The parameters of a launch.

    Attributes:
        table: address of the numbers (int64) of the matrices of x and of y of each item.
        P, R, M: rows of x and of y, elements of a row. panel: bytes of a packed matrix of y.
        blocks, per: blocks of rows of x in an item, rows of a block.
    """

    table: int
    P: int
    R: int
    M: int
    panel: int
    blocks: int
    per: int


def _tile(dtype: str, norm: str) -> DeviceFunction:
    """The device function ``tile(x, i, y, held, of, p)``: the distances of rows from ``i`` on to the rows of
    panel ``y``, in ``held`` (ROWS, 2 vectors); rows past the last are the last again, or nothing. A power is
    a long formula of scalars, whose loops are vectorised by the compiler.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    NR = 2 * W
    grow, finish = NORMS[norm].grow, NORMS[norm].finish

    @inline
    def by_elements(x, i, y, held, of, p):
        M, power = of.M, T(p)
        for r in range(min(ROWS, of.P - i)):
            line, row = offset(held, r * NR), offset(x, (i + r) * M)
            for j in range(NR):
                write(line, j, T(0))
            for k in range(M):
                s, v = row[k], offset(y, k * NR)
                for j in range(NR):
                    write(line, j, grow(line[j], s - read(v, j), power))
            for j in range(NR):
                write(line, j, finish(line[j], power))

    @inline
    def tile(x, i, y, held, of, p):
        M, last = of.M, of.P - 1
        x0, x1 = offset(x, i * M), offset(x, min(i + 1, last) * M)
        x2, x3 = offset(x, min(i + 2, last) * M), offset(x, min(i + 3, last) * M)
        zero, power = splat(T(0)), splat(T(p))
        a0, a1, b0, b1, c0, c1, d0, d1 = zero, zero, zero, zero, zero, zero, zero, zero
        for k in range(M):
            u, v = load(y, k * NR), load(y, k * NR + W)
            s = broadcast(x0, k)
            a0, a1 = grow(a0, s - u, power), grow(a1, s - v, power)
            s = broadcast(x1, k)
            b0, b1 = grow(b0, s - u, power), grow(b1, s - v, power)
            s = broadcast(x2, k)
            c0, c1 = grow(c0, s - u, power), grow(c1, s - v, power)
            s = broadcast(x3, k)
            d0, d1 = grow(d0, s - u, power), grow(d1, s - v, power)
        store(held, 0, finish(a0, power))
        store(held, W, finish(a1, power))
        store(held, NR, finish(b0, power))
        store(held, NR + W, finish(b1, power))
        store(held, 2 * NR, finish(c0, power))
        store(held, 2 * NR + W, finish(c1, power))
        store(held, 3 * NR, finish(d0, power))
        store(held, 3 * NR + W, finish(d1, power))

    return by_elements if norm == "other" else tile


@kernel
def distances(dtype: str, norm: str, upper: bool) -> Kernel:
    """Arguments: x, packed y, out, the norm's power. ``upper``: x is y, and ``out`` has only the pairs of a row
    and a later one, row after row.
    """
    T, size, NR = np.dtype(dtype).type, np.dtype(dtype).itemsize, 2 * lanes(dtype)
    W, tile, tiles = lanes(dtype), _tile(dtype, norm), local(dtype, ROWS * 2 * lanes(dtype))

    def body(task, x_, panels, out_, p, of):
        item, first = task // of.blocks, task % of.blocks * of.per
        P, R, M, table, held = of.P, of.R, of.M, pointer(of.table, np.int64), tiles()
        x = pointer(x_ + size * table[2 * item] * P * M, T)
        y_ = panels + table[2 * item + 1] * of.panel
        for j in range(first // NR * NR if upper else 0, R, NR):
            y, end = pointer(y_ + size * j * M, T), min(P, first + of.per)
            if upper:
                end = min(end, j + NR - 1)
            for i in range(first, end, ROWS):
                tile(x, i, y, held, of, p)
                for r in range(min(ROWS, P - i)):
                    row, line = i + r, offset(held, r * NR)
                    begin, stop = j, min(R, j + NR)
                    at = (item * P + row) * R
                    if upper:
                        at = row * R - row * (row + 3) // 2 - 1
                        begin = max(begin, row + 1)
                    out = pointer(out_ + size * (at + j), T)
                    if stop - begin == NR:
                        store(out, 0, load(line, 0))
                        store(out, W, load(line, W))
                    else:
                        for k in range(begin - j, stop - j):
                            out[k] = line[k]

    return body, ("iiid", Pairs)


def _pull(dtype: str, norm: str) -> DeviceFunction:
    """The device function ``pull(x, y, factors, far, out, i, of, p)``: :func:`slopes` of rows from ``i`` on."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    slope = NORMS[norm].slope

    chunk = Distance.chunk
    parts = local(dtype, chunk)

    @inline
    def long_rows(a, y, factors, made, of, power):
        M = of.M
        for k in range(M):
            write(made, k, T(0))
        for j in range(of.R):
            f, b = factors[j], offset(y, j * M)
            for k in range(M):
                write(made, k, made[k] + slope(f, read(a, k) - read(b, k), f, power))

    @inline
    def short_rows(a, y, factors, made, of, power):
        R, M, held = of.R, of.M, parts()
        for k in range(M):
            at, total = a[k], T(0)
            for j in range(0, R, chunk):
                b, f, count = offset(y, j * M + k), offset(factors, j), min(chunk, R - j)
                for q in range(count):
                    held[q] = at - b[q * M]
                for q in range(count):
                    write(held, q, slope(read(f, q), read(held, q), at, power))
                for q in range(count):
                    total += held[q]
            made[k] = total

    @inline
    def by_elements(x, y, factors, far, out, i, of, p):
        M, power = of.M, T(p)
        for row in range(i, min(of.P, i + ROWS)):
            made, a, f = offset(out, row * M), offset(x, row * M), offset(factors, row * of.R)
            if M < W:  # too few elements for the lanes
                short_rows(a, y, f, made, of, power)
            else:
                long_rows(a, y, f, made, of, power)

    @inline
    def pull(x, y, factors, far, out, i, of, p):
        R, M, last, zero, power = of.R, of.M, of.P - 1, splat(T(0)), splat(T(p))
        i1, i2, i3 = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        f0, f1 = offset(factors, i * R), offset(factors, i1 * R)
        f2, f3 = offset(factors, i2 * R), offset(factors, i3 * R)
        e0, e1 = offset(far, i * R), offset(far, i1 * R)
        e2, e3 = offset(far, i2 * R), offset(far, i3 * R)
        for k in range(0, M, W):
            mask = head(T, M - k)
            x0, x1 = load_masked(x, i * M + k, mask, zero), load_masked(x, i1 * M + k, mask, zero)
            x2, x3 = load_masked(x, i2 * M + k, mask, zero), load_masked(x, i3 * M + k, mask, zero)
            a, b, c, d = zero, zero, zero, zero
            for j in range(R):
                v = load_masked(y, j * M + k, mask, zero)
                a = a + slope(broadcast(f0, j), x0 - v, broadcast(e0, j), power)
                b = b + slope(broadcast(f1, j), x1 - v, broadcast(e1, j), power)
                c = c + slope(broadcast(f2, j), x2 - v, broadcast(e2, j), power)
                d = d + slope(broadcast(f3, j), x3 - v, broadcast(e3, j), power)
            store_masked(out, i * M + k, a, mask)
            store_masked(out, i1 * M + k, b, mask)
            store_masked(out, i2 * M + k, c, mask)
            store_masked(out, i3 * M + k, d, mask)

    return by_elements if norm == "other" else pull


@kernel
def slopes(dtype: str, norm: str) -> Kernel:
    """``out[i] = sum over j of factor[i, j] times the slope of |x[i] - y[j]|``, for each element; arguments:
    factors, x, y, the distances (read for the largest difference), out, the norm's power.
    """
    T, size, pull = np.dtype(dtype).type, np.dtype(dtype).itemsize, _pull(dtype, norm)

    def body(task, factors_, x_, y_, far_, out_, p, of):
        item, first = task // of.blocks, task % of.blocks * of.per
        P, R, M, table = of.P, of.R, of.M, pointer(of.table, np.int64)
        x = pointer(x_ + size * table[2 * item] * P * M, T)
        y = pointer(y_ + size * table[2 * item + 1] * R * M, T)
        factors = pointer(factors_ + size * item * P * R, T)
        far = pointer(far_ + size * item * P * R, T)
        out = pointer(out_ + size * item * P * M, T)
        for i in range(first, min(P, first + of.per), ROWS):
            pull(x, y, factors, far, out, i, of, p)

    return body, ("iiiiid", Pairs)


def _blocks(P: int, work: int, items: int) -> tuple[int, int, int]:
    """(rows of a block, blocks of an item, threads), where a row has so much work."""
    per, _ = splitting.share(P, work, Distance.grain)
    per = min(-(-per // ROWS) * ROWS, max(P, 1))
    threads = 0 if splitting.serial(items * P * work, 2 * Distance.grain) else TEAM
    return per, -(-P // per), threads


def distance(
    dtype: str, norm: str, upper: bool, items: Sequence[tuple[int, int]], P: int, R: int, M: int
) -> tuple[Launch, int]:
    """Prepare ``launch(x, y, out, scratch, p)``; gives ``(launch, scratch_bytes)``.

    Args:
        norm: a row of :data:`tilegrad.kernels.formulas.distance.NORMS`.
        upper: ``y`` is x again, and ``out`` has only pairs of a row and a later one.
        items: of every item of the batch the numbers of its matrices, (P, M) of ``x`` and (R, M) of ``y``.
    """
    size, W = np.dtype(dtype).itemsize, lanes(dtype)
    panels, matrices = -(-R // (2 * W)), 1 + max(y for _, y in items)
    table = np.array(items, np.int64)
    per, blocks, threads = _blocks(P, R * max(M, 1) * NORMS[norm].weight, len(items))
    of = Pairs(table.ctypes.data, P, R, M, panels * 2 * W * M * size, blocks, per)
    run = bind(distances.build(dtype, norm, upper), *of, len(items) * blocks, threads)
    pack = None
    if M:
        tail = (M, R, 1, M, R * M, 0, 1, matrices * panels, threads)
        pack = bind(gemm.prepack_b.build(dtype, 2), *tail)

    def launch(x: int, y: int, out: int, scratch: int, p: float, _keep: Any = table) -> None:
        if pack is not None:
            pack(y, scratch)
        run(x, scratch, out, p)

    return launch, max(64, matrices * of.panel)


def distance_backward(
    dtype: str, norm: str, items: Sequence[tuple[int, int]], P: int, R: int, M: int
) -> tuple[Launch, int]:
    """Prepare ``launch(factors, x, y, [distances], out, p)``, the distances for the norm "inf" alone; see
    :func:`slopes`. Gives ``(launch, 0)``.
    """
    table = np.array(items, np.int64)
    per, blocks, threads = _blocks(P, R * M * NORMS[norm].weight, len(items))
    of = Pairs(table.ctypes.data, P, R, M, 0, blocks, per)
    run = bind(slopes.build(dtype, norm), *of, len(items) * blocks, threads)

    def launch(factors: int, x: int, y: int, *rest: Any, _keep: Any = table) -> None:
        *far, out, p = rest
        run(factors, x, y, far[0] if far else factors, out, p)

    return launch, 0
